//! The same from the flags that the kernel has of each page of memory: proc_pid_pagemap(5), /proc/kpageflags.

use super::{PAGE, Pages, Range};
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::null_mut;

/// Bits of a page's flags (kernel-page-flags.h).
const KPF_DIRTY: u64 = 1 << 4;
const KPF_WRITEBACK: u64 = 1 << 8;

/// In an entry of a pagemap: the page is there, and its number.
const PRESENT: u64 = 1 << 63;
const NUMBER: u64 = (1 << 55) - 1;

/// Looks at every page of a range that begins at a page's start. Of a large folio only the first page has its flags.
///
/// # Errors
/// The kernel does not tell, or not this user.
pub fn read(file: &File, range: &Range) -> io::Result<Pages> {
    let mapping = Mapping::new(file, range)?;
    let (pagemap, flags) = (File::open("/proc/self/pagemap")?, File::open("/proc/kpageflags")?);
    let mut pages = Pages::default();
    for index in mapping.cached()? {
        let address = mapping.touch(index);
        let entry = entry(&pagemap, address / PAGE)?;
        if entry & PRESENT == 0 || entry & NUMBER == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let flags = self::entry(&flags, entry & NUMBER)?;
        pages.cached += 1;
        pages.dirty += u64::from(flags & KPF_DIRTY != 0);
        pages.in_writeback += u64::from(flags & KPF_WRITEBACK != 0);
    }
    Ok(pages)
}

/// A table of eight bytes an entry.
fn entry(table: &File, index: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    table.read_exact_at(&mut bytes, index * 8)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A range of a file in this process' memory.
struct Mapping {
    start: *mut libc::c_void,
    length: usize,
}

impl Mapping {
    fn new(file: &File, range: &Range) -> io::Result<Mapping> {
        let length = usize::try_from(range.length.next_multiple_of(PAGE)).map_err(io::Error::other)?;
        let offset = libc::off_t::try_from(range.offset).map_err(io::Error::other)?;
        let (access, kind) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: a mapping where the kernel likes it is in nobody's way.
        let start = unsafe { libc::mmap(null_mut(), length, access, kind, file.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start, length })
    }

    /// Which of its pages the cache has; none of those beyond the file's end.
    fn cached(&self) -> io::Result<Vec<usize>> {
        let mut told = vec![0_u8; self.length / PAGE as usize];
        // SAFETY: the kernel writes a byte for each page of the mapping.
        let result = unsafe { libc::mincore(self.start, self.length, told.as_mut_ptr()) };
        Errno::result(result)?;
        Ok((0..told.len()).filter(|index| told[*index] & 1 != 0).collect())
    }

    /// Has the kernel put a page that is in the cache into the mapping; its address.
    fn touch(&self, index: usize) -> u64 {
        let page = self.start.cast::<u8>().wrapping_add(index * PAGE as usize);
        // SAFETY: it is in the mapping, and its page in the file, which nobody cuts short while its pages are counted.
        unsafe { page.read_volatile() };
        page as u64
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is this mapping, and nothing refers to it.
        unsafe { libc::munmap(self.start, self.length) };
    }
}
