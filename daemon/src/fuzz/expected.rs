//! What a device has to do with a chain, told once more from the specification (virtio 1.3, sections 2.7.5 and 5.2.6) on a
//! copy of the memory and the disk, with nothing of the code that is tested.

use super::world::{DISK, Layout, REGION, REGIONS};
use super::{SEGMENTS_MAX, SERIAL};
use std::ops::Range;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

pub const OK: u8 = 0;
pub const IO_ERROR: u8 = 1;
pub const UNSUPPORTED: u8 = 2;

/// A copy of all that a device can change.
#[derive(Clone)]
pub struct State {
    /// Both regions.
    pub memory: [Vec<u8>; 2],
    pub disk: Vec<u8>,
}

impl State {
    pub fn bytes(&self, at: u64, length: u64) -> Option<&[u8]> {
        let (region, offset) = place(at, length)?;
        Some(&self.memory[region][offset..offset + length as usize])
    }

    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        let (region, offset) = place(at, bytes.len() as u64).expect("it was checked");
        self.memory[region][offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub fn number(&self, at: u64, length: u64) -> Option<u64> {
        self.bytes(at, length).map(little_endian)
    }

    pub fn u16(&self, at: u64) -> Option<u16> {
        self.number(at, 2).map(|number| number as u16)
    }
}

/// In which region some bytes are, and where there.
fn place(at: u64, length: u64) -> Option<(usize, usize)> {
    let fits = |start: &u64| at >= *start && length <= REGION as u64 && at - start <= REGION as u64 - length;
    let region = REGIONS.iter().position(fits)?;
    Some((region, (at - REGIONS[region]) as usize))
}

#[derive(Clone, Copy)]
struct Descriptor {
    at: u64,
    length: u32,
    flags: u16,
    next: u16,
}

/// What becomes of the disk.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Write(Vec<u8>),
    Zero,
    /// It may become zero, or stay.
    Discard,
}

/// What a chain has to lead to.
#[derive(Debug, Clone)]
pub struct Expected {
    pub head: u16,
    pub status: u8,
    /// Bytes that the used ring says were written.
    pub written: u32,
    /// What is written into memory, the status at last.
    pub writes: Vec<(u64, Vec<u8>)>,
    /// What is read of memory when the chain was looked at already.
    pub reads: Vec<Range<u64>>,
    /// What was read of the disk, or changed.
    pub disk: Range<usize>,
    pub change: Option<Change>,
}

fn descriptor(state: &State, table: u64, index: u16) -> Option<Descriptor> {
    let at = table + 16 * u64::from(index);
    Some(Descriptor {
        at: state.number(at, 8)?,
        length: state.number(at + 8, 4)? as u32,
        flags: state.u16(at + 12)?,
        next: state.u16(at + 14)?,
    })
}

/// The list, or nothing if it is none.
fn list(state: &State, layout: &Layout, head: u16) -> Option<Vec<Descriptor>> {
    let (mut table, mut entries, mut index, mut inner) = (layout.table, u64::from(layout.size), head, false);
    let (mut list, mut seen, mut bytes) = (Vec::new(), 0, 0_u64);
    loop {
        if u64::from(index) >= entries || seen == entries {
            return None;
        }
        seen += 1;
        let found = descriptor(state, table, index)?;
        if found.flags & INDIRECT != 0 {
            let length = u64::from(found.length);
            let whole = length > 0 && length.is_multiple_of(16) && length / 16 <= 0xffff;
            if inner || found.flags & NEXT != 0 || !whole || state.bytes(found.at, length).is_none() {
                return None;
            }
            (table, entries, index, inner, seen) = (found.at, length / 16, 0, true, 0);
            continue;
        }
        bytes += u64::from(found.length);
        if bytes > u64::from(u32::MAX) {
            return None;
        }
        list.push(found);
        if found.flags & NEXT == 0 {
            return Some(list);
        }
        index = found.next;
    }
}

/// What has to become of the chain that begins with `head`; nothing if it stops its ring. `refused`: writes fail.
pub fn expected(state: &State, layout: &Layout, head: u16, refused: bool) -> Option<Expected> {
    let list = list(state, layout, head)?;
    let (last, rest) = list.split_last()?;
    if rest.is_empty() || last.flags & WRITE == 0 || last.length == 0 {
        return None;
    }
    let status_at = last.at.checked_add(u64::from(last.length) - 1)?;
    state.bytes(status_at, 1)?;
    let mut expected = Expected {
        head,
        status: OK,
        written: 1,
        writes: Vec::new(),
        reads: Vec::new(),
        disk: 0..0,
        change: None,
    };
    expected.status = match request(state, rest, last, &mut expected) {
        Ok(()) if refused && matches!(expected.change, Some(Change::Write(_))) => {
            expected.change = None;
            IO_ERROR
        }
        Ok(()) => OK,
        Err(status) => status,
    };
    if expected.status != OK {
        expected.writes.clear();
    }
    expected.written += expected.writes.iter().map(|(_, bytes)| bytes.len() as u32).sum::<u32>();
    expected.writes.push((status_at, vec![expected.status]));
    Some(expected)
}

/// The sixteen bytes that a request begins with, in whatever pieces they are, and what is left behind them.
fn header(state: &State, rest: &[Descriptor]) -> Option<(Vec<u8>, Vec<Descriptor>)> {
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for piece in rest {
        let missing = (16 - header.len()) as u32;
        if missing == 0 {
            data.push(*piece);
            continue;
        }
        if piece.flags & WRITE != 0 {
            return None;
        }
        let here = piece.length.min(missing);
        if here > 0 {
            header.extend_from_slice(state.bytes(piece.at, here.into())?);
        }
        if piece.length > here {
            data.push(Descriptor { at: piece.at + u64::from(here), length: piece.length - here, ..*piece });
        }
    }
    (header.len() == 16).then_some((header, data))
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn request(state: &State, rest: &[Descriptor], last: &Descriptor, expected: &mut Expected) -> Result<(), u8> {
    let (header, mut data) = header(state, rest).ok_or(IO_ERROR)?;
    let (kind, sector) = (little_endian(&header[..4]), little_endian(&header[8..]));
    if data.len() > SEGMENTS_MAX as usize {
        return Err(IO_ERROR);
    }
    data.push(Descriptor { length: last.length - 1, ..*last });
    let mut content = Vec::new();
    for segment in data.iter().filter(|segment| segment.length > 0) {
        content.extend(state.bytes(segment.at, segment.length.into()).ok_or(IO_ERROR)?);
    }
    let length = content.len();
    // An empty segment is of no direction where it is only what is left beside the status.
    let (last, middle) = data.split_last().ok_or(IO_ERROR)?;
    let all = |write: bool| {
        let is_right = |segment: &Descriptor| (segment.flags & WRITE != 0) == write;
        middle.iter().all(is_right) && (last.length == 0 || is_right(last))
    };
    let place = |sector: u64, length: u64| {
        let start = sector.checked_mul(512).filter(|_| length > 0 && length.is_multiple_of(512));
        let end = start.and_then(|start| start.checked_add(length)).filter(|end| *end <= DISK as u64);
        end.map(|end| (end - length) as usize..end as usize).ok_or(IO_ERROR)
    };
    match kind {
        4 => return Ok(()),
        0 if all(true) => {
            expected.disk = place(sector, length as u64)?;
            put(&data, &state.disk[expected.disk.clone()], expected);
        }
        1 if all(false) => {
            expected.disk = place(sector, length as u64)?;
            expected.change = Some(Change::Write(content));
        }
        8 if length < 20 => return Err(IO_ERROR),
        8 if all(true) => {
            let mut serial = SERIAL.as_bytes().to_vec();
            serial.resize(20, 0);
            put(&data, &serial, expected);
            return Ok(());
        }
        11 | 13 if all(false) && length == 16 => {
            let number = |at: usize, length: usize| little_endian(&content[at..at + length]);
            let (sector, sectors, flags) = (number(0, 8), number(8, 4), number(12, 4));
            if flags & !u64::from(kind == 13) != 0 {
                return Err(UNSUPPORTED);
            }
            if sectors > if kind == 13 { 1 << 17 } else { 1 << 21 } {
                return Err(IO_ERROR);
            }
            expected.disk = place(sector, sectors * 512)?;
            expected.change = Some(if kind == 13 { Change::Zero } else { Change::Discard });
        }
        0 | 1 | 8 | 11 | 13 => return Err(IO_ERROR),
        _ => return Err(UNSUPPORTED),
    }
    if kind == 1 {
        let read = data.iter().filter(|segment| segment.length > 0);
        expected.reads.extend(read.map(|segment| segment.at..segment.at + u64::from(segment.length)));
    }
    Ok(())
}

/// Puts bytes into segments, as many as there are.
fn put(data: &[Descriptor], mut bytes: &[u8], expected: &mut Expected) {
    for segment in data {
        let (now, later) = bytes.split_at(bytes.len().min(segment.length as usize));
        if !now.is_empty() {
            expected.writes.push((segment.at, now.to_vec()));
        }
        bytes = later;
    }
}
