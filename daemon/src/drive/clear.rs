//! Makes ranges of a file read as zeros, and gives back the room that they take.

use blkstay_engine::request::ByteRange;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How many bytes of zeros are written at once.
const ZEROS: usize = 1 << 18;

/// Gives back the room of a range. It is advice: where that can't be done, the data stays.
///
/// # Errors
/// The file does not work.
pub fn discard(file: &File, range: ByteRange) -> io::Result<()> {
    clear(file, range, FallocateFlags::FALLOC_FL_PUNCH_HOLE).map(|_| ())
}

/// Makes a range read as zeros; `unmap`: its room may be given back.
///
/// # Errors
/// The file does not work.
pub fn write_zeroes(file: &File, range: ByteRange, unmap: bool) -> io::Result<()> {
    let ways = [FallocateFlags::FALLOC_FL_PUNCH_HOLE, FallocateFlags::FALLOC_FL_ZERO_RANGE];
    for way in ways.into_iter().skip(usize::from(!unmap)) {
        if clear(file, range, way)? {
            return Ok(());
        }
    }
    write(file, range)
}

/// Clears a range in one way; says whether the file knows that way. A block device knows it only for whole blocks
/// of its own.
fn clear(file: &File, range: ByteRange, way: FallocateFlags) -> io::Result<bool> {
    let flags = way | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (offset, length) = (range.offset as libc::off_t, range.length as libc::off_t);
    loop {
        return match fallocate(file, flags, offset, length) {
            Ok(()) => Ok(true),
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(false),
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(errno.into()),
        };
    }
}

fn write(file: &File, range: ByteRange) -> io::Result<()> {
    let zeros = vec![0; ZEROS.min(range.length as usize)];
    let mut offset = range.offset;
    while offset < range.end() {
        let length = zeros.len().min((range.end() - offset) as usize);
        file.write_all_at(&zeros[..length], offset)?;
        offset += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clears a part of a file in some way and expects zeros there and nothing else changed.
    fn assert_clears(clear: impl Fn(&File, ByteRange) -> io::Result<()>) {
        for (offset, length) in [(0, 512), (512, 4096), (4096, 8192), (1 << 20, 1 << 20), (0, 2 << 20)] {
            let file = tempfile::tempfile().unwrap();
            let mut content = vec![7; 2 << 20];
            file.write_all_at(&content, 0).unwrap();
            clear(&file, ByteRange { offset, length }).unwrap();
            content[offset as usize..][..length as usize].fill(0);
            let mut seen = vec![1; content.len()];
            file.read_exact_at(&mut seen, 0).unwrap();
            assert!(seen == content, "{length} bytes at {offset}");
            assert_eq!(file.metadata().unwrap().len(), content.len() as u64);
        }
    }

    #[test]
    fn zeros_are_zeros_in_every_way() {
        assert_clears(write);
        assert_clears(|file, range| write_zeroes(file, range, false));
        assert_clears(|file, range| write_zeroes(file, range, true));
    }

    #[test]
    fn advice_that_is_not_taken_is_no_error_but_a_file_that_does_not_work_is() {
        let range = ByteRange { offset: 0, length: 512 };
        discard(&File::create("/dev/full").unwrap(), range).unwrap_err();
        let file = tempfile::tempfile().unwrap();
        discard(&file, ByteRange { offset: 0, length: 0 }).expect("what the file does not know is not done");
        let read_only = tempfile::NamedTempFile::new().unwrap();
        discard(&File::open(read_only.path()).unwrap(), range).unwrap_err();
    }
}
