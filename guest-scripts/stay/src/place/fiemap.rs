//! Where file data is, as the filesystem tells it: `FS_IOC_FIEMAP` (Documentation/filesystems/fiemap.rst).

use super::Location;
use nix::errno::Errno;
use nix::libc;
use std::fmt;
use std::fs::File;
use std::os::fd::AsRawFd;

/// `_IOWR('f', 11, struct fiemap)`.
const FS_IOC_FIEMAP: libc::Ioctl = 0xC020_660Bu32 as libc::Ioctl;
const LAST: u32 = 0x1;
const UNKNOWN: u32 = 0x2;
const DELALLOC: u32 = 0x4;
const ENCODED: u32 = 0x8;
const NOT_ALIGNED: u32 = 0x100;
const DATA_INLINE: u32 = 0x200;
const DATA_TAIL: u32 = 0x400;
const UNWRITTEN: u32 = 0x800;
const SHARED: u32 = 0x2000;

/// How many extents are asked for at a time.
const BATCH: usize = 32;

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

impl Extent {
    fn logical_end(&self) -> u64 {
        self.logical.saturating_add(self.length)
    }
}

/// `struct fiemap` with room for extents.
#[repr(C)]
#[derive(Default)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    extents: [Extent; BATCH],
}

/// Asks for the extents of a range. Nothing is flushed first: what is not on the disk yet is told as such.
pub fn extents(file: &File, offset: u64, length: u64) -> nix::Result<Vec<Extent>> {
    let end = offset.saturating_add(length);
    let mut found: Vec<Extent> = Vec::new();
    let mut start = offset;
    loop {
        let mut request =
            Request { start, length: end - start, extent_count: BATCH as u32, ..Request::default() };
        // SAFETY: the kernel writes at most `extent_count` extents, for which there is room.
        Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &raw mut request) })?;
        found.extend(request.extents.iter().take(request.mapped_extents as usize));
        match found.last() {
            Some(last)
                if request.mapped_extents > 0 && last.flags & LAST == 0 && last.logical_end() > start =>
            {
                start = last.logical_end();
            }
            _ => return Ok(found),
        }
        if start >= end {
            return Ok(found);
        }
    }
}

/// Why a range has no one place on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The range has no bytes, or ends beyond what a file can have.
    NoRange,
    /// Nothing is allocated at this offset.
    Hole(u64),
    /// Data at this offset has no place yet.
    Delayed(u64),
    /// Data at this offset is not stored in blocks of its own, as it is: the reason is given.
    Odd(u64, &'static str),
    /// It is in several pieces: pairs of offset on the disk and length.
    Split(Vec<(u64, u64)>),
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPlace::NoRange => write!(f, "the range has no bytes, or no file is that long"),
            NoPlace::Hole(at) => write!(f, "there is a hole at byte {at}: no block is allocated"),
            NoPlace::Delayed(at) => {
                write!(f, "the data at byte {at} has no block yet (delayed allocation): `sync` first")
            }
            NoPlace::Odd(at, what) => write!(f, "the data at byte {at} is {what}"),
            NoPlace::Split(pieces) => {
                let pieces: Vec<String> =
                    pieces.iter().map(|(offset, length)| format!("{length} bytes at {offset}")).collect();
                write!(f, "the range is split on the disk: {}", pieces.join(", "))
            }
        }
    }
}

/// Finds the one place of a range among the extents that cover it, in order.
pub fn locate(extents: &[Extent], offset: u64, length: u64) -> Result<Location, NoPlace> {
    let end = offset.checked_add(length).filter(|&end| end > offset).ok_or(NoPlace::NoRange)?;
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    let mut at = offset;
    let mut is_unwritten = false;
    for extent in extents {
        if extent.logical_end() <= at {
            continue;
        }
        if at >= end {
            break;
        }
        if extent.logical > at {
            return Err(NoPlace::Hole(at));
        }
        check(extent, at)?;
        is_unwritten |= extent.flags & UNWRITTEN != 0;
        let piece_length = extent.logical_end().min(end) - at;
        append(&mut pieces, extent.physical + (at - extent.logical), piece_length);
        at += piece_length;
    }
    match pieces[..] {
        _ if at < end => Err(NoPlace::Hole(at)),
        [(offset, length)] => Ok(Location { offset, length, is_unwritten }),
        _ => Err(NoPlace::Split(pieces)),
    }
}

fn check(extent: &Extent, at: u64) -> Result<(), NoPlace> {
    let odd = |what| Err(NoPlace::Odd(at, what));
    match extent.flags {
        flags if flags & DELALLOC != 0 => Err(NoPlace::Delayed(at)),
        flags if flags & (DATA_INLINE | DATA_TAIL) != 0 => {
            odd("stored inside metadata, not in blocks of its own")
        }
        flags if flags & ENCODED != 0 => odd("compressed or encrypted, so its bytes are elsewhere"),
        flags if flags & SHARED != 0 => odd("shared with another file: a write would go elsewhere"),
        flags if flags & UNKNOWN != 0 => Err(NoPlace::Delayed(at)),
        flags if flags & NOT_ALIGNED != 0 => odd("not aligned to blocks"),
        _ => Ok(()),
    }
}

/// Adds a piece, or makes the last one longer if it ends where this begins.
fn append(pieces: &mut Vec<(u64, u64)>, offset: u64, length: u64) {
    match pieces.last_mut() {
        Some(last) if last.0 + last.1 == offset => last.1 += length,
        _ => pieces.push((offset, length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(logical: u64, physical: u64, length: u64, flags: u32) -> Extent {
        Extent { logical, physical, length, flags, ..Extent::default() }
    }

    fn place(offset: u64, length: u64) -> Result<Location, NoPlace> {
        Ok(Location { offset, length, is_unwritten: false })
    }

    #[test]
    fn a_range_is_found_inside_its_extent() {
        let extents = [extent(0, 100_000, 8192, 0), extent(8192, 500_000, 8192, LAST)];
        assert_eq!(locate(&extents, 4096, 4096), place(104_096, 4096));
        assert_eq!(locate(&extents, 8192, 1), place(500_000, 1));
    }

    #[test]
    fn extents_that_touch_are_one_place() {
        let extents = [extent(0, 100_000, 4096, 0), extent(4096, 104_096, 4096, LAST)];
        assert_eq!(locate(&extents, 1024, 7000), place(101_024, 7000));
    }

    #[test]
    fn a_split_range_is_refused_with_its_pieces() {
        let extents = [extent(0, 100_000, 4096, 0), extent(4096, 900_000, 4096, LAST)];
        let refusal = locate(&extents, 0, 8192).expect_err("a refusal");
        assert_eq!(
            refusal.to_string(),
            "the range is split on the disk: 4096 bytes at 100000, 4096 bytes at 900000"
        );
    }

    #[test]
    fn holes_are_refused_before_between_and_after_extents() {
        let extents = [extent(4096, 100_000, 4096, 0), extent(12288, 108_192, 4096, LAST)];
        assert_eq!(locate(&[], 0, 1), Err(NoPlace::Hole(0)));
        assert_eq!(locate(&extents, 0, 8192), Err(NoPlace::Hole(0)));
        assert_eq!(locate(&extents, 4096, 12288), Err(NoPlace::Hole(8192)));
        assert_eq!(locate(&extents, 12288, 4097), Err(NoPlace::Hole(16384)));
    }

    #[test]
    fn data_without_a_place_is_refused_by_its_kind() {
        let refusal =
            |flags| locate(&[extent(0, 0, 4096, flags)], 0, 4096).expect_err("a refusal").to_string();
        assert!(refusal(DELALLOC | UNKNOWN).ends_with("has no block yet (delayed allocation): `sync` first"));
        assert!(refusal(UNKNOWN).contains("has no block yet"));
        assert!(refusal(DATA_INLINE | NOT_ALIGNED).contains("stored inside metadata"));
        assert!(refusal(ENCODED).contains("compressed or encrypted"));
        assert!(refusal(SHARED).contains("shared with another file"));
        assert!(refusal(NOT_ALIGNED).contains("not aligned"));
    }

    #[test]
    fn an_unwritten_extent_has_a_place_and_says_so() {
        let found = locate(&[extent(0, 4096, 4096, UNWRITTEN)], 0, 512).expect("a place");
        assert_eq!(found.to_string(), "4096 512 unwritten");
    }

    #[test]
    fn a_range_needs_bytes() {
        assert_eq!(locate(&[], 7, 0), Err(NoPlace::NoRange));
        assert_eq!(locate(&[], u64::MAX, 2), Err(NoPlace::NoRange));
    }
}
