//! Reads chains. Nothing is taken on trust: lengths, addresses, flags and sectors are checked here.

use super::walk::{Table, walk};
use super::{
    Arrived, Asked, Body, Broken, DISCARD_SECTORS_MAX, Finished, Limits, Parsed, Segments,
    WRITE_ZEROES_SECTORS_MAX,
};
use crate::memory::Memory;
use blkstay_engine::request::{ByteRange, Op, SECTOR, Status};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryBackend};

/// The request header (virtio 1.3, section 5.2.6), little endian.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Header {
    kind: u32,
    reserved: u32,
    sector: u64,
}

// SAFETY: three plain integers without padding; any bytes are a valid value.
unsafe impl ByteValued for Header {}

/// What a discard or a write of zeros has as its data (virtio 1.3, section 5.2.6), little endian.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Clearing {
    sector: u64,
    sectors: u32,
    flags: u32,
}

// SAFETY: three plain integers without padding; any bytes are a valid value.
unsafe impl ByteValued for Clearing {}

/// Reads chains.
#[derive(Debug, Default)]
pub struct Parser {
    /// The descriptors of the last one; kept for its room.
    descriptors: Vec<Descriptor>,
}

impl Parser {
    /// Reads the chain that begins with `head`.
    ///
    /// # Errors
    /// It is nothing that could be answered.
    pub fn parse(
        &mut self,
        table: Table,
        head: u16,
        memory: &Memory,
        limits: &Limits,
    ) -> Result<Parsed, Broken> {
        walk(table, head, memory, &mut self.descriptors)?;
        let status_at = status(memory, &self.descriptors)?;
        let (header, data) = header(&mut self.descriptors, memory);
        let segments = segments(data, limits);
        let body = Body { head, memory: memory.clone(), segments, status_at, ended: false };
        Ok(match header.and_then(|header| request(&header, data, &body, limits)) {
            Ok(asked) => Parsed::Request(Arrived { asked, body }),
            Err((status, why)) => Parsed::Refused(Finished { asked: None, body, written: 0 }, status, why),
        })
    }
}

/// Where the status goes: the last byte.
fn status(memory: &Memory, descriptors: &[Descriptor]) -> Result<GuestAddress, Broken> {
    let last = descriptors.last().ok_or(Broken::NoList)?;
    if !last.is_write_only() || last.len() == 0 || descriptors.len() < 2 {
        return Err(Broken::NoStatus);
    }
    let status_at = last.addr().0.checked_add(u64::from(last.len()) - 1).map(GuestAddress);
    status_at.filter(|at| memory.address_in_range(*at)).ok_or(Broken::StatusOutside)
}

/// The data of a chain that ends with its status; nothing is kept of a chain that will be refused for
/// its length, so that a ring full of them does not fill memory.
fn segments(descriptors: &[Descriptor], limits: &Limits) -> Segments {
    let mut segments = Segments::new();
    let Some((last, data)) = descriptors.split_last() else { return segments };
    if data.len() > limits.segments_max as usize {
        return segments;
    }
    // The status is the last byte of the last descriptor; data may come before it there.
    let beside_status = last.len().saturating_sub(1) as usize;
    let data = data.iter().map(|descriptor| (descriptor.addr(), descriptor.len() as usize));
    segments.extend(data.chain([(last.addr(), beside_status)]).filter(|(_, length)| *length > 0));
    segments
}

type Refusal = (Status, String);

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err((Status::IoError, why.into()))
}

fn unsupported<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err((Status::Unsupported, why.into()))
}

fn request(header: &Header, data: &[Descriptor], body: &Body, limits: &Limits) -> Result<Asked, Refusal> {
    let most = limits.segments_max;
    if data.len() > most as usize + 1 {
        return refuse(format!("{} segments, more than SEG_MAX, {most}", data.len() - 1));
    }
    if let Some((at, length)) =
        body.segments.iter().find(|(at, length)| !body.memory.check_range(*at, *length))
    {
        return refuse(format!("a data segment of {length} bytes at {:#x} is outside memory", at.0));
    }
    let length: u64 = body.segments.iter().map(|(_, length)| *length as u64).sum();
    let op = op(u32::from_le(header.kind), limits.read_only)?;
    let asked = |range| Asked { op, range, unmap: false };
    match op {
        Op::Flush => return Ok(asked(ByteRange::default())),
        Op::GetId if length < u64::from(VIRTIO_BLK_ID_BYTES) => {
            return refuse(format!("{length} bytes for a serial number of {VIRTIO_BLK_ID_BYTES}"));
        }
        _ => check_direction(op, data)?,
    }
    match op {
        Op::Discard | Op::WriteZeroes => clearing(op, body, length, limits),
        Op::Read | Op::Write => check_range(u64::from_le(header.sector), length, limits).map(asked),
        Op::Flush | Op::GetId => Ok(asked(ByteRange::default())),
    }
}

/// Takes the header off the front of a chain, however it lies there (virtio 1.3, section 2.7.4.1: nothing may be assumed of
/// the arrangement); the descriptors that have the rest. The last one has the status, so it is not of the header.
fn header<'d>(
    descriptors: &'d mut [Descriptor],
    memory: &Memory,
) -> (Result<Header, Refusal>, &'d [Descriptor]) {
    let mut header = Header::default();
    let bytes = header.as_mut_slice();
    let (mut found, mut first) = (0, 0);
    // Of most it is all of the first.
    while let Some(descriptor) = descriptors.get_mut(first)
        && found < bytes.len()
    {
        if descriptor.is_write_only() {
            let why = format!("a header of {found} bytes before memory that only the device writes");
            return (refuse(why), &descriptors[first..]);
        }
        let here = (descriptor.len() as usize).min(bytes.len() - found);
        let into = &mut bytes[found..found + here];
        if here > 0 && memory.read_slice(into, descriptor.addr()).is_err() {
            return (refuse("the header is outside memory"), &descriptors[first..]);
        }
        found += here;
        match descriptor.len() as usize - here {
            0 => first += 1,
            left => *descriptor = behind(descriptor, here as u64, left as u32),
        }
    }
    (Ok(header), &descriptors[first..])
}

/// What is left of a descriptor.
fn behind(descriptor: &Descriptor, bytes: u64, left: u32) -> Descriptor {
    // It was read up to there, so that is an address.
    let at = descriptor.addr().0.wrapping_add(bytes);
    Descriptor::new(at, left, descriptor.flags(), descriptor.next())
}

fn op(kind: u32, read_only: bool) -> Result<Op, Refusal> {
    match kind {
        VIRTIO_BLK_T_IN => Ok(Op::Read),
        VIRTIO_BLK_T_OUT if read_only => refuse("a write to a read-only disk"),
        VIRTIO_BLK_T_OUT => Ok(Op::Write),
        VIRTIO_BLK_T_FLUSH => Ok(Op::Flush),
        VIRTIO_BLK_T_GET_ID => Ok(Op::GetId),
        VIRTIO_BLK_T_DISCARD if !read_only => Ok(Op::Discard),
        VIRTIO_BLK_T_WRITE_ZEROES if !read_only => Ok(Op::WriteZeroes),
        other => unsupported(format!("request type {other} is not offered")),
    }
}

/// The device reads what is written and writes what is read (virtio 1.3, section 5.2.6.1).
fn check_direction(op: Op, data: &[Descriptor]) -> Result<(), Refusal> {
    let device_writes = matches!(op, Op::Read | Op::GetId);
    let segments = data.iter().take(data.len() - 1).chain(data.last().filter(|last| last.len() > 1));
    let mut wrong = segments.filter(|segment| segment.is_write_only() != device_writes);
    match wrong.next() {
        None => Ok(()),
        Some(_) => refuse(format!("a {op} has a data segment of the wrong direction")),
    }
}

fn check_range(sector: u64, length: u64, limits: &Limits) -> Result<ByteRange, Refusal> {
    let (block, disk) = (limits.block_bytes, limits.bytes);
    if length == 0 || !length.is_multiple_of(block) {
        return refuse(format!("a length of {length} bytes is not a positive multiple of {block}"));
    }
    let range = sector.checked_mul(SECTOR).map(|offset| ByteRange { offset, length });
    match range {
        Some(range) if range.offset.checked_add(length).is_none_or(|end| end > disk) => {
            refuse(format!("{length} bytes at sector {sector} reach past the end of the disk"))
        }
        Some(range) if !range.offset.is_multiple_of(block) => {
            refuse(format!("sector {sector} is not the beginning of a block of {block} bytes"))
        }
        Some(range) => Ok(range),
        None => refuse(format!("{length} bytes at sector {sector} reach past the end of the disk")),
    }
}

/// A discard or a write of zeros, of the one range that is offered. Flags come first: those that the device does
/// not know are unsupported, whatever else is wrong (virtio 1.3, section 5.2.6.2).
fn clearing(op: Op, body: &Body, length: u64, limits: &Limits) -> Result<Asked, Refusal> {
    let mut bytes = [0; size_of::<Clearing>()];
    if length != bytes.len() as u64 || !body.payload().read(0, &mut bytes) {
        return refuse(format!("a {op} has {length} bytes instead of the {} of one range", bytes.len()));
    }
    let mut clearing = Clearing::default();
    clearing.as_mut_slice().copy_from_slice(&bytes);
    let Clearing { sector, sectors, flags } = clearing;
    let (sector, sectors, flags) = (u64::from_le(sector), u32::from_le(sectors), u32::from_le(flags));
    let (known, most) = match op {
        Op::Discard => (0, DISCARD_SECTORS_MAX),
        _ => (VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, WRITE_ZEROES_SECTORS_MAX),
    };
    if flags & !known != 0 {
        return unsupported(format!("a {op} has flags {flags:#x}"));
    }
    if sectors > most {
        return refuse(format!("a {op} of {sectors} sectors, at most {most} are offered"));
    }
    let range = check_range(sector, u64::from(sectors) * SECTOR, limits)?;
    Ok(Asked { op, range, unmap: op == Op::Discard || flags != 0 })
}
