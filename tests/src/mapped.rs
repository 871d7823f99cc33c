//! A guest's memory, mapped: for a client that looks often, or while time counts.

use crate::memory::{BASE, Memory};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

/// The same memory as the one that it was made of. Numbers are little endian, as on the machines this runs on.
#[derive(Debug)]
pub struct Mapped {
    first: NonNull<c_void>,
    bytes: usize,
}

impl Mapped {
    /// Maps it.
    #[track_caller]
    pub fn new(memory: &Memory) -> Mapped {
        let bytes = usize::try_from(memory.end() - BASE).expect("memory that fits");
        let length = NonZeroUsize::new(bytes).expect("memory that is there");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, which only atomics are read and written through; its file keeps its size.
        let first = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, memory.file(), 0) };
        Mapped { first: first.expect("map the guest's memory"), bytes }
    }

    #[track_caller]
    fn at<T>(&self, at: u64) -> NonNull<T> {
        let offset = usize::try_from(at - BASE).expect("an address in memory");
        assert!(offset + size_of::<T>() <= self.bytes && offset.is_multiple_of(align_of::<T>()), "{at:#x}");
        // SAFETY: it lies within the mapping, as was just seen.
        unsafe { self.first.byte_add(offset).cast() }
    }

    /// Reads a 16-bit number; what the device wrote before it is seen after this.
    pub fn load_u16(&self, at: u64) -> u16 {
        // SAFETY: within the mapping and aligned; both sides use it as an atomic.
        unsafe { self.at::<AtomicU16>(at).as_ref() }.load(Ordering::Acquire)
    }

    /// Reads a 32-bit number.
    pub fn load_u32(&self, at: u64) -> u32 {
        // SAFETY: within the mapping and aligned.
        unsafe { self.at::<AtomicU32>(at).as_ref() }.load(Ordering::Relaxed)
    }

    /// Writes a 16-bit number, after everything that was written before it; whatever is read later is read after it.
    pub fn store_u16(&self, at: u64, value: u16) {
        // SAFETY: within the mapping and aligned; both sides use it as an atomic.
        unsafe { self.at::<AtomicU16>(at).as_ref() }.store(value, Ordering::Release);
        fence(Ordering::SeqCst);
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and nothing refers to it any more.
        let _ = unsafe { munmap(self.first, self.bytes) };
    }
}
