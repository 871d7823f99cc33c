//! Memory that a server maps too.

use anyhow::{Context, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use vhost::VhostUserMemoryRegionInfo;

/// Guest-physical address of the first byte.
const BASE: u64 = 0x4000_0000;

/// A guest's memory, of which both sides see every byte.
#[derive(Debug)]
pub struct Shared {
    file: File,
    first: NonNull<c_void>,
    bytes: usize,
}

impl Shared {
    /// Memory of that size, all zero.
    ///
    /// # Errors
    /// There is not so much.
    pub fn new(bytes: usize) -> Result<Shared> {
        let file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).context("memfd_create")?);
        file.set_len(bytes as u64).context("size of the guest's memory")?;
        let length = NonZeroUsize::new(bytes).context("a guest without memory")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping of a file that keeps its size; it is read and written through atomics alone.
        let first = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &file, 0) }
            .context("cannot map the guest's memory")?;
        Ok(Shared { file, first, bytes })
    }

    /// As a server is told of it.
    pub fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: BASE,
            memory_size: self.bytes as u64,
            userspace_addr: self.first.as_ptr() as u64,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    /// Guest-physical address of the byte at `offset`: for descriptors.
    pub fn physical(offset: usize) -> u64 {
        BASE + offset as u64
    }

    /// This process's address of the byte at `offset`: for where the rings are.
    pub fn user(&self, offset: usize) -> u64 {
        self.first.as_ptr() as u64 + offset as u64
    }

    /// What is at `offset`: an atomic number.
    ///
    /// # Panics
    /// It is not all within the memory, or not aligned: a mistake in the layout of the rings.
    pub fn at<A: Atomic>(&self, offset: usize) -> &A {
        assert!(offset + size_of::<A>() <= self.bytes && offset.is_multiple_of(align_of::<A>()));
        // SAFETY: within the mapping, which lives as long as `self`, and aligned; any bits are such a number, and
        // both sides use it as an atomic.
        unsafe { self.first.byte_add(offset).cast().as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and nothing refers to it any more.
        let _ = unsafe { munmap(self.first, self.bytes) };
    }
}

/// The types that memory may be seen as: any bits are one.
pub trait Atomic {}
impl Atomic for std::sync::atomic::AtomicU8 {}
impl Atomic for std::sync::atomic::AtomicU16 {}
impl Atomic for std::sync::atomic::AtomicU32 {}
impl Atomic for std::sync::atomic::AtomicU64 {}
