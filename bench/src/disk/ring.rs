//! The driver's side of a split ring of block requests (virtio 1.3, sections 2.7 and 5.2.6), as lean as can be: each
//! slot has a chain of three descriptors that are written once, and what differs from one request to the next is the
//! sector. With `EVENT_IDX`, like a Linux guest.

use super::shared::Shared;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// Bytes that each request transfers.
pub const BLOCK: usize = 4096;

/// Descriptors of a request: header, data, status.
const CHAIN: u16 = 3;

const DESCRIPTOR_BYTES: usize = 16;
const NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;

/// Each request's header (16 bytes) and status lie in a cache line of their own.
const CELL_BYTES: usize = 64;
const STATUS_AT: usize = 32;
const UNWRITTEN: u8 = 0xff;

/// What requests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read a block.
    Read,
    /// Write a block.
    Write,
}

/// A queue: where its parts are, and how far both sides are.
#[derive(Debug)]
pub struct Ring {
    memory: Rc<Shared>,
    layout: Layout,
    size: u16,
    /// Requests that were made available so far, and how many of them were when the device was last kicked.
    available: u16,
    told: u16,
    /// Requests that were taken back.
    used: u16,
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    descriptors: usize,
    available: usize,
    used: usize,
    cells: usize,
    data: usize,
    end: usize,
}

impl Layout {
    fn new(first: usize, size: u16, slots: u16) -> Layout {
        let (size, slots) = (usize::from(size), usize::from(slots));
        let descriptors = first;
        let available = descriptors + size * DESCRIPTOR_BYTES;
        let used = (available + 6 + 2 * size).next_multiple_of(CELL_BYTES);
        let cells = (used + 6 + 8 * size).next_multiple_of(CELL_BYTES);
        let data = (cells + slots * CELL_BYTES).next_multiple_of(BLOCK);
        Layout { descriptors, available, used, cells, data, end: data + slots * BLOCK }
    }
}

impl Ring {
    /// Bytes of memory that a ring of that size needs for so many slots.
    pub fn bytes(size: u16, slots: u16) -> usize {
        Layout::new(0, size, slots).end
    }

    /// Descriptors that a ring needs for so many slots: a power of two.
    pub fn size(slots: u16) -> u16 {
        (CHAIN * slots).next_power_of_two()
    }

    /// A ring at `first` in the memory, a multiple of [`BLOCK`], whose requests all do `op`.
    pub fn new(memory: Rc<Shared>, first: usize, size: u16, slots: u16, op: Op) -> Ring {
        let layout = Layout::new(first, size, slots);
        let ring = Ring { memory, layout, size, available: 0, told: 0, used: 0 };
        for slot in 0..slots {
            ring.write_chain(slot, op);
        }
        ring
    }

    fn write_chain(&self, slot: u16, op: Op) {
        let (cell, data) = (self.cell(slot), self.data(slot));
        let first = CHAIN * slot;
        let of_data = if op == Op::Read { NEXT | DEVICE_WRITES } else { NEXT };
        self.write_descriptor(first, cell, 16, NEXT);
        self.write_descriptor(first + 1, data, BLOCK as u32, of_data);
        self.write_descriptor(first + 2, cell + STATUS_AT, 1, DEVICE_WRITES);
        let kind = if op == Op::Read { 0 } else { 1 };
        self.memory.at::<AtomicU32>(cell).store(kind, Ordering::Relaxed);
    }

    fn write_descriptor(&self, number: u16, offset: usize, bytes: u32, flags: u16) {
        let at = self.layout.descriptors + usize::from(number) * DESCRIPTOR_BYTES;
        let memory = &self.memory;
        memory.at::<AtomicU64>(at).store(Shared::physical(offset), Ordering::Relaxed);
        memory.at::<AtomicU32>(at + 8).store(bytes, Ordering::Relaxed);
        memory.at::<AtomicU16>(at + 12).store(flags, Ordering::Relaxed);
        let next = if flags & NEXT == 0 { 0 } else { number + 1 };
        memory.at::<AtomicU16>(at + 14).store(next, Ordering::Relaxed);
    }

    fn cell(&self, slot: u16) -> usize {
        self.layout.cells + usize::from(slot) * CELL_BYTES
    }

    fn data(&self, slot: u16) -> usize {
        self.layout.data + usize::from(slot) * BLOCK
    }

    /// This process's addresses of the descriptors, the available ring and the used ring.
    pub fn addresses(&self) -> [u64; 3] {
        let Layout { descriptors, available, used, .. } = self.layout;
        [descriptors, available, used].map(|at| self.memory.user(at))
    }

    /// The first number in a slot's data.
    pub fn stamp(&self, slot: u16) -> u64 {
        self.memory.at::<AtomicU64>(self.data(slot)).load(Ordering::Relaxed)
    }

    /// Sets it.
    pub fn set_stamp(&self, slot: u16, stamp: u64) {
        self.memory.at::<AtomicU64>(self.data(slot)).store(stamp, Ordering::Relaxed);
    }

    /// Makes a slot's request available, for that sector.
    pub fn offer(&mut self, slot: u16, sector: u64) {
        let cell = self.cell(slot);
        self.memory.at::<AtomicU64>(cell + 8).store(sector, Ordering::Relaxed);
        self.memory.at::<AtomicU8>(cell + STATUS_AT).store(UNWRITTEN, Ordering::Relaxed);
        let entry = self.layout.available + 4 + 2 * usize::from(self.available % self.size);
        self.memory.at::<AtomicU16>(entry).store(CHAIN * slot, Ordering::Relaxed);
        self.available = self.available.wrapping_add(1);
        self.memory.at::<AtomicU16>(self.layout.available + 2).store(self.available, Ordering::Release);
    }

    /// Whether the device wants a kick for what was offered since it was last asked.
    pub fn wants_kick(&mut self) -> bool {
        // The device writes when it wants one, then looks for requests again; here it is the other way round.
        fence(Ordering::SeqCst);
        let event_at = self.layout.used + 4 + 8 * usize::from(self.size);
        let event = self.memory.at::<AtomicU16>(event_at).load(Ordering::Relaxed);
        let since = self.available.wrapping_sub(self.told);
        self.told = self.available;
        self.available.wrapping_sub(event).wrapping_sub(1) < since
    }

    /// Has the device call for the next request that it uses, or (but for one in 65,536) not at all.
    pub fn want_call(&self, wanted: bool) {
        let event_at = self.layout.available + 4 + 2 * usize::from(self.size);
        let event = if wanted { self.used } else { self.used.wrapping_sub(1) };
        self.memory.at::<AtomicU16>(event_at).store(event, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// How many requests the device has used that were not taken back.
    pub fn ready(&self) -> u16 {
        let used = self.memory.at::<AtomicU16>(self.layout.used + 2).load(Ordering::Acquire);
        used.wrapping_sub(self.used)
    }

    /// Takes back the next one of the [`Ring::ready`] ones: its slot and its status, 0 if all is well.
    pub fn take(&mut self) -> (u16, u8) {
        let entry = self.layout.used + 4 + 8 * usize::from(self.used % self.size);
        self.used = self.used.wrapping_add(1);
        let head = self.memory.at::<AtomicU32>(entry).load(Ordering::Relaxed);
        let slot = (head / u32::from(CHAIN)) as u16;
        (slot, self.memory.at::<AtomicU8>(self.cell(slot) + STATUS_AT).load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Ring {
        let memory = Rc::new(Shared::new(Ring::bytes(64, 16)).expect("memory"));
        Ring::new(memory, 0, 64, 16, Op::Read)
    }

    fn device_uses(ring: &Ring, nth: u16, slot: u16) {
        let at = ring.layout.used;
        ring.memory.at::<AtomicU8>(ring.cell(slot) + STATUS_AT).store(0, Ordering::Relaxed);
        let entry = at + 4 + 8 * usize::from(nth % ring.size);
        ring.memory.at::<AtomicU32>(entry).store(u32::from(CHAIN * slot), Ordering::Relaxed);
        ring.memory.at::<AtomicU16>(at + 2).store(nth.wrapping_add(1), Ordering::Release);
    }

    #[test]
    fn what_the_device_used_is_taken_back_in_its_order() {
        let mut ring = ring();
        (0..3).for_each(|slot| ring.offer(slot, 8));
        device_uses(&ring, 0, 2);
        device_uses(&ring, 1, 0);
        assert_eq!(ring.ready(), 2);
        assert_eq!([ring.take(), ring.take()], [(2, 0), (0, 0)]);
        assert_eq!(ring.ready(), 0);
    }

    #[test]
    fn a_device_that_has_not_asked_again_is_kicked_once() {
        let mut ring = ring();
        ring.offer(0, 0);
        assert!(ring.wants_kick(), "it asked for the first");
        ring.offer(1, 0);
        assert!(!ring.wants_kick(), "it is still busy with the first");
    }

    #[test]
    fn the_indices_wrap_around() {
        let mut ring = ring();
        for nth in 0..=u16::MAX {
            ring.offer(5, 0);
            device_uses(&ring, nth, 5);
            assert_eq!((ring.ready(), ring.take()), (1, (5, 0)));
        }
        assert_eq!(ring.ready(), 0);
    }
}
