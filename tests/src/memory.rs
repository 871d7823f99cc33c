//! A guest's memory, as its owner sees it: a memfd that the daemon maps too.

use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use vhost::VhostUserMemoryRegionInfo;

/// Guest-physical address of the first byte. Not 0, so that there is an outside on both sides.
pub const BASE: u64 = 0x4000_0000;

/// What the client says its own address of the first byte is; nothing is mapped there.
pub const USER_BASE: u64 = 0x7f00_0000_0000;

/// The client's own address of a guest-physical one.
pub fn user(at: u64) -> u64 {
    at.wrapping_sub(BASE).wrapping_add(USER_BASE)
}

/// Some guest memory; clones are the same memory.
#[derive(Clone, Debug)]
pub struct Memory {
    file: Arc<File>,
    bytes: u64,
}

impl Memory {
    /// Memory of that size, all zero.
    pub fn new(bytes: u64) -> Memory {
        let file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).expect("memfd"));
        file.set_len(bytes).expect("size of the memfd");
        Memory { file: Arc::new(file), bytes }
    }

    /// First address after it.
    pub fn end(&self) -> u64 {
        BASE + self.bytes
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// As the daemon is told of it.
    pub fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: BASE,
            memory_size: self.bytes,
            userspace_addr: USER_BASE,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    /// Writes bytes at a guest-physical address.
    #[track_caller]
    pub fn write(&self, at: u64, bytes: &[u8]) {
        assert!(at >= BASE && at + bytes.len() as u64 <= self.end(), "{at:#x} is outside memory");
        self.file.write_all_at(bytes, at - BASE).expect("write to the memfd");
    }

    /// Reads bytes at a guest-physical address.
    #[track_caller]
    pub fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at - BASE).expect("read from the memfd");
        bytes
    }

    /// Writes a little-endian 16-bit number.
    #[track_caller]
    pub fn write_u16(&self, at: u64, value: u16) {
        self.write(at, &value.to_le_bytes());
    }

    /// Reads a little-endian 16-bit number.
    pub fn read_u16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.read(at, 2).try_into().expect("two bytes"))
    }

    /// Reads a little-endian 32-bit number.
    pub fn read_u32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.read(at, 4).try_into().expect("four bytes"))
    }
}
