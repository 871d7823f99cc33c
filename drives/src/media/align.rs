//! What a file wants to be a multiple of what when it is read and written past the page cache.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// A boundary that any device is content with.
pub const LARGEST: usize = 4096;

/// Direct I/O's demands, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// On addresses in memory.
    pub memory: usize,
    /// On offsets and lengths.
    pub offset: usize,
}

/// What an open file demands: what the kernel says, or what turns out by trying.
///
/// # Errors
/// It cannot be read past the page cache at all.
pub fn ask(file: &File) -> io::Result<Alignment> {
    match statx(file) {
        Some(said) => Ok(said),
        None => try_out(file),
    }
}

/// Linux from 6.1 says it for most filesystems (statx(2), `STATX_DIOALIGN`).
fn statx(file: &File) -> Option<Alignment> {
    // SAFETY: all bits zero is a value of this structure of numbers.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let name: &CStr = c"";
    // SAFETY: the name is a string, and the call fills the structure at most.
    let result = unsafe {
        libc::statx(file.as_raw_fd(), name.as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &mut found)
    };
    let (memory, offset) = (found.stx_dio_mem_align as usize, found.stx_dio_offset_align as usize);
    let said = result == 0 && found.stx_mask & libc::STATX_DIOALIGN != 0 && memory > 0 && offset > 0;
    said.then_some(Alignment { memory, offset })
}

/// The shortest read that works tells.
fn try_out(file: &File) -> io::Result<Alignment> {
    let mut size = 512;
    loop {
        let mut buffer = Bounce::new(size);
        match file.read_at(buffer.bytes(), 0) {
            Ok(_) => return Ok(Alignment { memory: size, offset: size }),
            Err(error) if size >= LARGEST => return Err(error),
            Err(_) => size *= 2,
        }
    }
}

/// A buffer for what does not lie as direct I/O wants it.
pub struct Bounce {
    room: Vec<u8>,
    start: usize,
    length: usize,
}

impl Bounce {
    /// A buffer of zeros, on the largest boundary.
    pub fn new(length: usize) -> Bounce {
        let room = vec![0; length + LARGEST];
        let start = room.as_ptr().align_offset(LARGEST).min(LARGEST);
        Bounce { room, start, length }
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.room[self.start..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn bounce_buffers_lie_on_boundaries() {
        for length in [1, 512, 4096, 100_000] {
            let mut bounce = Bounce::new(length);
            assert!(bounce.bytes().as_ptr().addr().is_multiple_of(LARGEST));
            assert_eq!(bounce.bytes().len(), length);
        }
    }

    #[test]
    fn trying_finds_nothing_that_the_kernel_would_refuse() {
        let named = tempfile::NamedTempFile::new_in(".").unwrap();
        named.as_file().set_len(1 << 20).unwrap();
        let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(named.path());
        let Ok(file) = direct else { return eprintln!("skipped: no direct I/O here") };
        let tried = try_out(&file).unwrap();
        let said = ask(&file).unwrap();
        assert!(tried.offset.is_multiple_of(said.offset), "{tried:?} beside {said:?}");
        assert!(tried.memory.is_multiple_of(said.memory), "{tried:?} beside {said:?}");
    }
}
