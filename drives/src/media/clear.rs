//! Makes ranges of a file read as zeros, and gives back the room that they take.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

nix::ioctl_write_ptr_bad!(
    /// Discards a range of a block device, given by its start and its length in bytes (Linux, `BLKDISCARD`).
    discard_device,
    nix::request_code_none!(0x12, 119),
    [u64; 2]
);

/// Gives back the room of a range. It is advice: where that can't be done, the data stays.
///
/// # Errors
/// The file does not work.
pub fn discard(file: &File, range: Range<u64>, is_device: bool) -> io::Result<()> {
    if clear(file, &range, FallocateFlags::FALLOC_FL_PUNCH_HOLE)? || !is_device {
        return Ok(());
    }
    let place = [range.start, range.end - range.start];
    // SAFETY: the call reads two numbers.
    match unsafe { discard_device(file.as_raw_fd(), &place) } {
        Ok(_) | Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOTTY) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes a range read as zeros without writing them; says whether the file knows how. `unmap`: its room may be given back.
///
/// # Errors
/// The file does not work.
pub fn zero(file: &File, range: &Range<u64>, unmap: bool) -> io::Result<bool> {
    let ways = [FallocateFlags::FALLOC_FL_PUNCH_HOLE, FallocateFlags::FALLOC_FL_ZERO_RANGE];
    for way in ways.into_iter().skip(usize::from(!unmap)) {
        if clear(file, range, way)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Clears a range in one way; says whether the file knows that way. A block device knows it only for whole blocks
/// of its own.
fn clear(file: &File, range: &Range<u64>, way: FallocateFlags) -> io::Result<bool> {
    let flags = way | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (offset, length) = (range.start as libc::off_t, (range.end - range.start) as libc::off_t);
    loop {
        return match fallocate(file, flags, offset, length) {
            Ok(()) => Ok(true),
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(false),
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(errno.into()),
        };
    }
}
