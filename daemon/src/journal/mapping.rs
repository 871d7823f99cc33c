//! A part of the journal's file, mapped. What is stored in it is in the kernel's hands at once.

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Some pages of a file, shared with whoever reads it.
#[derive(Debug)]
pub struct Mapping {
    first: NonNull<c_void>,
    bytes: usize,
    /// Where in the file they begin.
    pub offset: u64,
}

// SAFETY: the mapping belongs to nobody but this value, and all access goes through atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps pages that the file has.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(file: &File, offset: u64, bytes: usize) -> Result<Mapping, Errno> {
        let length = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let place = i64::try_from(offset).map_err(|_| Errno::EFBIG)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory.
        let first = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file, place) }?;
        Ok(Mapping { first, bytes, offset })
    }

    /// Brings so many bytes from `at` on into memory, both multiples of a page; fewer where the mapping ends.
    ///
    /// # Errors
    /// The media does not take them.
    pub fn populate(&self, at: usize, bytes: usize) -> Result<(), Errno> {
        let bytes = bytes.min(self.bytes.saturating_sub(at));
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the pages are this mapping's, for it does not end before; to populate them does not change what they
        // hold.
        match unsafe { madvise(self.first.byte_add(at), bytes, MmapAdvise::MADV_POPULATE_WRITE) } {
            // The media has to take them now: later a failure would be a signal.
            Err(error @ (Errno::EFAULT | Errno::EHWPOISON)) => Err(error),
            // Kernels before 5.14 don't know this; pages then come one by one.
            _ => Ok(()),
        }
    }

    /// Lets go of pages, both numbers as in [`Mapping::populate`]: what they hold is the file's, and whoever looks at them
    /// again finds it there. Many at a time, when the mapping goes, would take longer.
    pub fn leave(&self, at: usize, bytes: usize) {
        let bytes = bytes.min(self.bytes.saturating_sub(at));
        if bytes > 0 {
            // SAFETY: the pages are this mapping's; those of a file that is shared keep what they hold.
            let _ = unsafe { madvise(self.first.byte_add(at), bytes, MmapAdvise::MADV_DONTNEED) };
        }
    }

    /// The pages, as words.
    pub fn words(&self) -> &[AtomicU64] {
        let words = self.bytes / size_of::<AtomicU64>();
        // SAFETY: the mapping has that many bytes and begins at a page; it stays until this value is dropped. Nothing
        // but atomics accesses it here, and the file is not made shorter while it is mapped.
        unsafe { std::slice::from_raw_parts(self.first.cast::<AtomicU64>().as_ptr(), words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference outlives it.
        let _ = unsafe { munmap(self.first, self.bytes) };
    }
}
