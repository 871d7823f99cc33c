//! The used ring: a batch of completions becomes visible to the guest at once (virtio 1.3, section 2.7.8).

use super::Inflight;
use crate::memory::Memory;
use std::sync::atomic::{Ordering, fence};
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, VolatileSlice};

/// Bytes before the entries: flags and index.
const HEADER: usize = 4;

/// Bytes of an entry: index of the chain's head, bytes written.
const ENTRY: usize = 8;

/// A batch of completions that the guest cannot see yet.
pub struct Used<'m> {
    queue: &'m Queue,
    memory: &'m Memory,
    entries: VolatileSlice<'m>,
    first: u16,
    next: u16,
}

const OUTSIDE: &str = "its used ring or its available ring is outside memory";

impl<'m> Used<'m> {
    /// An empty batch.
    ///
    /// # Errors
    /// The ring is outside memory.
    pub fn new(queue: &'m Queue, memory: &'m Memory) -> Result<Used<'m>, &'static str> {
        let bytes = HEADER + ENTRY * usize::from(queue.size());
        let entries = memory.get_slice(GuestAddress(queue.used_ring()), bytes).map_err(|_| OUTSIDE)?;
        Ok(Used { queue, memory, entries, first: queue.next_used(), next: queue.next_used() })
    }

    /// Where the next entry goes.
    fn place(&self) -> usize {
        HEADER + ENTRY * usize::from(self.next % self.queue.size())
    }

    /// Looks at where the next entry goes.
    pub fn look_ahead(&self) {
        // Whether it can be read does not matter before it has to be written.
        let _: Result<u64, _> = self.entries.read_obj(self.place());
    }

    /// Adds a completion.
    ///
    /// # Errors
    /// The ring is outside memory.
    pub fn put(
        &mut self,
        head: u16,
        written: u32,
        inflight: Option<&mut Inflight>,
    ) -> Result<(), &'static str> {
        let at = self.place();
        let entry = u64::from(head).to_le() | (u64::from(written) << 32).to_le();
        self.entries.write_obj(entry, at).map_err(|_| OUTSIDE)?;
        if let Some(inflight) = inflight {
            inflight.used(head);
        }
        self.next = self.next.wrapping_add(1);
        Ok(())
    }

    /// Lets the guest see it; returns the next index, and whether the guest wants to be notified.
    ///
    /// # Errors
    /// The rings are outside memory.
    pub fn publish(self, inflight: Option<&mut Inflight>) -> Result<(u16, bool), &'static str> {
        if self.next == self.first {
            return Ok((self.next, false));
        }
        self.entries.store(self.next.to_le(), 2, Ordering::Release).map_err(|_| OUTSIDE)?;
        if let Some(inflight) = inflight {
            inflight.published(self.next);
        }
        // The guest that looks for completions after it has said what it wants sees these, or is notified.
        fence(Ordering::SeqCst);
        Ok((self.next, self.wants_notification()?))
    }

    /// Section 2.7.7.2: with event indexes, whether the entry it waits for is among these; else what its flag says.
    fn wants_notification(&self) -> Result<bool, &'static str> {
        let available = GuestAddress(self.queue.avail_ring());
        if !self.queue.event_idx_enabled() {
            let flags: u16 = self.memory.load(available, Ordering::Relaxed).map_err(|_| OUTSIDE)?;
            return Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0);
        }
        let at = available.0.checked_add(4 + 2 * u64::from(self.queue.size())).ok_or(OUTSIDE)?;
        let event: u16 = self.memory.load(GuestAddress(at), Ordering::Relaxed).map_err(|_| OUTSIDE)?;
        let since_event = self.next.wrapping_sub(u16::from_le(event)).wrapping_sub(1);
        Ok(since_event < self.next.wrapping_sub(self.first))
    }
}
