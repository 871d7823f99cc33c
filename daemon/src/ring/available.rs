//! The available ring: the heads of the chains that the guest offers (virtio 1.3, section 2.7.6).

use crate::chain::Broken;
use std::sync::atomic::Ordering;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

/// Bytes before the entries: flags and index.
const HEADER: u64 = 4;

/// Bytes of an entry: index of a chain's head.
const ENTRY: usize = 2;

/// Heads that were not taken, oldest first.
pub struct Available<'m> {
    entries: VolatileSlice<'m>,
    size: u16,
    next: u16,
    end: u16,
}

impl<'m> Available<'m> {
    /// Those up to the index that the guest has written.
    ///
    /// # Errors
    /// A part of the queue is outside memory, or the index is further ahead than the ring is long.
    pub fn new(queue: &Queue, memory: &'m GuestMemoryMmap, end: u16) -> Result<Available<'m>, Broken> {
        let (size, next) = (queue.size(), queue.next_avail());
        let is_good = queue.avail_ring() != 0 && queue.is_valid(memory) && end.wrapping_sub(next) <= size;
        let at = queue.avail_ring().checked_add(HEADER).filter(|_| is_good).ok_or(Broken::Rings)?;
        let entries = memory.get_slice(GuestAddress(at), ENTRY * usize::from(size));
        Ok(Available { entries: entries.map_err(|_| Broken::Rings)?, size, next, end })
    }
}

impl Iterator for Available<'_> {
    type Item = Result<u16, Broken>;

    fn next(&mut self) -> Option<Result<u16, Broken>> {
        if self.next == self.end {
            return None;
        }
        let at = ENTRY * usize::from(self.next % self.size);
        self.next = self.next.wrapping_add(1);
        let head: Result<u16, _> = self.entries.load(at, Ordering::Relaxed);
        Some(head.map(u16::from_le).map_err(|_| Broken::Rings))
    }
}
