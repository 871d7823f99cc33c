//! A split virtqueue, driven by hand (virtio 1.3, section 2.7), so that it can also be driven wrongly.

use crate::WATCHDOG;
use crate::memory::{BASE, Memory, user};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;
use vhost::VringConfigData;
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Flag: `next` is valid.
pub const NEXT: u16 = VRING_DESC_F_NEXT as u16;
/// Flag: the device writes there.
pub const WRITE: u16 = VRING_DESC_F_WRITE as u16;
/// Flag: there is a table of descriptors.
pub const INDIRECT: u16 = VRING_DESC_F_INDIRECT as u16;

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: u64 = 16;

/// Memory that a queue of up to 1024 descriptors has for its three parts, in bytes; longer ones have a multiple.
const RING_BYTES: u64 = 0x1_0000;
const AVAILABLE: u64 = 0x5000;
const USED: u64 = 0x8000;

/// Memory that a queue of so many descriptors has for its three parts, in bytes.
pub fn ring_bytes(size: u16) -> u64 {
    RING_BYTES * scale(size)
}

fn scale(size: u16) -> u64 {
    u64::from(size.div_ceil(1024).max(1))
}

/// A descriptor, as it is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Guest-physical address.
    pub at: u64,
    /// Bytes.
    pub length: u32,
    /// [`NEXT`], [`WRITE`], [`INDIRECT`].
    pub flags: u16,
    /// Index of the next one.
    pub next: u16,
}

impl Descriptor {
    /// One that the device reads.
    pub fn readable(at: u64, length: u32) -> Descriptor {
        Descriptor { at, length, flags: 0, next: 0 }
    }

    /// One that the device writes.
    pub fn writable(at: u64, length: u32) -> Descriptor {
        Descriptor { at, length, flags: WRITE, next: 0 }
    }

    /// One that names a table of descriptors.
    pub fn table(at: u64, length: u32) -> Descriptor {
        Descriptor { at, length, flags: INDIRECT, next: 0 }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.at.to_le_bytes().to_vec();
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.next.to_le_bytes());
        bytes
    }
}

/// Makes a chain of descriptors that will be at `indexes`.
pub fn link(mut descriptors: Vec<Descriptor>, indexes: &[u16]) -> Vec<Descriptor> {
    for (descriptor, next) in descriptors.iter_mut().zip(&indexes[1..]) {
        descriptor.flags |= NEXT;
        descriptor.next = *next;
    }
    descriptors
}

/// One queue.
#[derive(Debug)]
pub struct Queue {
    /// Its index.
    pub index: usize,
    /// Number of descriptors.
    pub size: u16,
    /// Tells the device that something is available.
    pub kick: EventFd,
    /// The device's answer.
    pub call: EventFd,
    /// Index of the next available entry.
    pub available: u16,
    memory: Memory,
    used: u16,
    free: Vec<u16>,
    finished: BTreeMap<u16, u32>,
}

impl Queue {
    /// An empty queue in its own part of the memory.
    pub fn new(index: usize, size: u16, memory: Memory) -> Queue {
        let event = || EventFd::new(EFD_NONBLOCK).expect("eventfd");
        Queue {
            index,
            size,
            kick: event(),
            call: event(),
            available: 0,
            memory,
            used: 0,
            free: (0..size).rev().collect(),
            finished: BTreeMap::new(),
        }
    }

    /// Address of its descriptor table.
    pub fn table_at(&self) -> u64 {
        BASE + self.index as u64 * ring_bytes(self.size)
    }

    /// Address of its available ring.
    pub fn available_at(&self) -> u64 {
        self.table_at() + AVAILABLE * scale(self.size)
    }

    /// Address of its used ring.
    pub fn used_at(&self) -> u64 {
        self.table_at() + USED * scale(self.size)
    }

    /// As the daemon is told of it.
    pub fn config(&self) -> VringConfigData {
        VringConfigData {
            queue_max_size: self.size,
            queue_size: self.size,
            flags: 0,
            desc_table_addr: user(self.table_at()),
            used_ring_addr: user(self.used_at()),
            avail_ring_addr: user(self.available_at()),
            log_addr: None,
        }
    }

    /// Writes a descriptor into the table.
    pub fn set_descriptor(&self, index: u16, descriptor: Descriptor) {
        self.memory.write(self.table_at() + u64::from(index) * DESCRIPTOR_BYTES, &descriptor.bytes());
    }

    /// Puts a chain into free descriptors and makes it available; returns its head.
    pub fn offer(&mut self, chain: Vec<Descriptor>) -> u16 {
        let indexes: Vec<u16> =
            chain.iter().map(|_| self.free.pop().expect("the ring has a free descriptor")).collect();
        for (index, descriptor) in indexes.iter().zip(link(chain, &indexes)) {
            self.set_descriptor(*index, descriptor);
        }
        self.offer_head(indexes[0]);
        indexes[0]
    }

    /// Makes whatever is at a descriptor available.
    pub fn offer_head(&mut self, head: u16) {
        let slot = u64::from(self.available % self.size);
        self.memory.write_u16(self.available_at() + 4 + 2 * slot, head);
        self.set_available(self.available.wrapping_add(1));
    }

    /// Writes the index of the available ring.
    pub fn set_available(&mut self, index: u16) {
        self.available = index;
        self.memory.write_u16(self.available_at() + 2, index);
    }

    /// Tells the device to look.
    pub fn kick(&self) {
        self.kick.write(1).expect("kick");
    }

    /// Index of the used ring, as the device wrote it.
    pub fn used_index(&self) -> u16 {
        self.memory.read_u16(self.used_at() + 2)
    }

    /// The heads that the device has used since its index was `from`, in its order.
    pub fn used_since(&self, from: u16) -> Vec<u16> {
        let count = self.used_index().wrapping_sub(from);
        let slot = |n: u16| u64::from(from.wrapping_add(n) % self.size);
        (0..count).map(|n| self.memory.read_u32(self.used_at() + 4 + 8 * slot(n)) as u16).collect()
    }

    /// Takes the next chain that the device has used: its head, and the bytes that the device says it wrote.
    pub fn take_used(&mut self) -> Option<(u16, u32)> {
        if self.used == self.used_index() {
            return None;
        }
        let entry = self.used_at() + 4 + 8 * u64::from(self.used % self.size);
        self.used = self.used.wrapping_add(1);
        Some((self.memory.read_u32(entry) as u16, self.memory.read_u32(entry + 4)))
    }

    /// Takes what the device has used; how many bytes it wrote for `head`, if that is among it.
    pub fn finished(&mut self, head: u16) -> Option<u32> {
        while let Some((used, written)) = self.take_used() {
            let twice = self.finished.insert(used, written);
            assert!(twice.is_none(), "the device used head {used} twice");
        }
        self.finished.get(&head).copied()
    }

    /// Asks to be called for the next chain that is used (virtio 1.3, section 2.7.7).
    pub fn want_call(&self) {
        self.memory.write_u16(self.available_at() + 4 + 2 * u64::from(self.size), self.used);
    }

    /// Tells the device to look if it asked for that since the index of the available ring was `before` (section
    /// 2.7.10, with event indexes).
    pub fn kick_if_wanted(&self, before: u16) {
        let event = self.memory.read_u16(self.used_at() + 4 + 8 * u64::from(self.size));
        let since_event = self.available.wrapping_sub(event).wrapping_sub(1);
        if since_event < self.available.wrapping_sub(before) {
            self.kick();
        }
    }

    /// How many descriptors are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Waits until the device has used `head` and gives its descriptors back; the bytes it wrote.
    /// Sleeps until the device calls, so a device that forgets to is found out.
    #[track_caller]
    pub fn wait(&mut self, head: u16, descriptors: usize) -> u32 {
        let start = Instant::now();
        loop {
            // Ask first, then look.
            let asked = self.used;
            self.want_call();
            if let Some(written) = self.finished(head) {
                self.finished.remove(&head);
                self.take_back(head, descriptors);
                return written;
            }
            if self.used == asked {
                self.sleep_until_called(start);
            }
        }
    }

    /// Descriptors of a chain that was used are free again.
    pub fn take_back(&mut self, head: u16, descriptors: usize) {
        let mut index = head;
        for _ in 0..descriptors {
            self.free.push(index);
            index = self.memory.read_u16(self.table_at() + u64::from(index) * DESCRIPTOR_BYTES + 14);
        }
    }

    #[track_caller]
    fn sleep_until_called(&self, start: Instant) {
        let left = WATCHDOG.saturating_sub(start.elapsed());
        // SAFETY: the file descriptor is open as long as `self`.
        let call = unsafe { BorrowedFd::borrow_raw(self.call.as_raw_fd()) };
        let mut polled = [PollFd::new(call, PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).expect("a timeout that fits");
        let events = poll(&mut polled, timeout).expect("poll");
        assert!(events > 0, "queue {}: the device did not call within {WATCHDOG:?}", self.index);
        let _ = self.call.read();
    }

    /// Pretends that the ring has been in use for a while: both of its indexes are `index`.
    pub fn start_at(&mut self, index: u16) {
        self.set_available(index);
        self.used = index;
        self.memory.write_u16(self.used_at() + 2, index);
    }

    /// Forgets everything, as a driver does that sets its ring up anew.
    pub fn reset(&mut self) {
        let rings = self.table_at() + ring_bytes(self.size) - self.available_at();
        self.memory.write(self.available_at(), &vec![0; rings as usize]);
        *self = Queue {
            kick: self.kick.try_clone().expect("eventfd"),
            call: self.call.try_clone().expect("eventfd"),
            ..Queue::new(self.index, self.size, self.memory.clone())
        };
    }
}
