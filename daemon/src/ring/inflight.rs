//! What is in flight, kept in memory that QEMU holds for a daemon that dies ("Inflight I/O tracking" in QEMU's
//! vhost-user protocol, split rings).

use crate::cut::Watched;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::sync::Arc;
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

/// Bytes before the states: features 8, version 2, number of states 2, last batch 2, used index 2.
const HEADER: usize = 16;
const VERSION_AT: usize = 8;
const NUMBER_AT: usize = 10;
const LAST_BATCH_AT: usize = 12;
const USED_INDEX_AT: usize = 14;

/// Bytes of the state of a chain, by its head: in flight 1, padding 5, next of the batch 2, counter 8.
const STATE: usize = 16;
const NEXT_AT: usize = 6;
const COUNTER_AT: usize = 8;

/// The rings' parts begin at multiples of this.
const ALIGNMENT: usize = 64;

/// The protocol's version.
const VERSION: u16 = 1;

/// Bytes behind the rings' parts, which the protocol leaves to the daemon: a mark, and how the cache writes, in 8 each.
const TRAILER: usize = ALIGNMENT;
const MARK: u64 = u64::from_le_bytes(*b"blkcache");
const CACHE_AT: usize = 8;

/// The memory for all rings of a device.
#[derive(Clone, Debug)]
pub struct Region {
    shared: Arc<Shared>,
    queues: u16,
    queue_size: u16,
}

/// A mapping of a file that somebody else may cut short.
#[derive(Debug)]
struct Shared {
    /// Let go of before what is watched.
    _watched: Watched,
    mapped: MmapRegion,
}

impl Region {
    /// Bytes for so many rings of that size, and what is kept beside them.
    pub fn bytes(queues: u16, queue_size: u16) -> usize {
        Region::rings_bytes(queues, queue_size) + TRAILER
    }

    fn rings_bytes(queues: u16, queue_size: u16) -> usize {
        usize::from(queues) * Region::queue_bytes(queue_size)
    }

    fn queue_bytes(queue_size: u16) -> usize {
        (HEADER + STATE * usize::from(queue_size)).next_multiple_of(ALIGNMENT)
    }

    /// Memory without a name, all zeros: nothing is in flight.
    ///
    /// # Errors
    /// The system has none.
    pub fn create(queues: u16, queue_size: u16) -> io::Result<File> {
        let file = File::from(memfd_create("blkstay-inflight", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(Region::bytes(queues, queue_size) as u64)?;
        Ok(file)
    }

    /// Maps it.
    ///
    /// # Errors
    /// It is too small for these rings, or cannot be mapped.
    pub fn map(file: File, offset: u64, bytes: u64, queues: u16, queue_size: u16) -> io::Result<Region> {
        let needed = Region::rings_bytes(queues, queue_size);
        let end = offset.checked_add(needed as u64);
        let there = file.metadata()?.len();
        if bytes < needed as u64 || end.is_none_or(|end| end > there) {
            return Err(io::Error::other("the memory for requests in flight is smaller than its rings need"));
        }
        // Another daemon may have made it, which kept nothing else in it.
        let whole = Region::bytes(queues, queue_size) as u64;
        let has_more = bytes >= whole && offset.checked_add(whole).is_some_and(|end| end <= there);
        let length = if has_more { whole as usize } else { needed };
        let mapped: MmapRegion =
            MmapRegion::from_file(FileOffset::new(file, offset), length).map_err(io::Error::other)?;
        let watched = Watched::new(mapped.as_ptr(), mapped.size())?;
        Ok(Region { shared: Arc::new(Shared { _watched: watched, mapped }), queues, queue_size })
    }

    fn trailer(&self) -> Option<VolatileSlice<'_>> {
        let at = Region::rings_bytes(self.queues, self.queue_size);
        self.shared.mapped.get_slice(at, TRAILER).ok()
    }

    /// Whether the cache writes back or through, if a guest has chosen.
    pub fn writes_back(&self) -> Option<bool> {
        let trailer = self.trailer()?;
        let word = |at| trailer.read_obj::<u64>(at).ok();
        match (word(0)?, word(CACHE_AT)?) {
            (MARK, 1) => Some(false),
            (MARK, 2) => Some(true),
            _ => None,
        }
    }

    /// A guest has chosen how the cache writes.
    pub fn set_writes_back(&self, writes_back: bool) {
        let Some(trailer) = self.trailer() else { return };
        let _ = trailer.write_obj(1 + u64::from(writes_back), CACHE_AT);
        let _ = trailer.write_obj(MARK, 0);
    }

    /// The part of one ring.
    pub fn ring(&self, index: u16) -> Option<Inflight> {
        let bytes = Region::queue_bytes(self.queue_size);
        let offset = usize::from(index) * bytes;
        (index < self.queues).then(|| Inflight {
            shared: self.shared.clone(),
            offset,
            bytes,
            counter: 0,
            batch: Vec::new(),
        })
    }
}

/// What is in flight in one ring.
#[derive(Debug)]
pub struct Inflight {
    shared: Arc<Shared>,
    offset: usize,
    bytes: usize,
    counter: u64,
    /// Heads that were put into the used ring and are not published.
    batch: Vec<u16>,
}

fn state_at(head: u16) -> usize {
    HEADER + STATE * usize::from(head)
}

impl Inflight {
    fn slice(&self) -> Option<VolatileSlice<'_>> {
        self.shared.mapped.get_slice(self.offset, self.bytes).ok()
    }

    /// A chain is in flight from now on.
    pub fn taken(&mut self, head: u16) {
        let counter = self.counter;
        self.counter += 1;
        let Some(slice) = self.slice() else { return };
        // A head beyond the ring's end has no place, and is refused as well.
        let _ = slice.write_obj(counter, state_at(head) + COUNTER_AT);
        let _ = slice.write_obj(1_u8, state_at(head));
    }

    /// A chain was put into the used ring, where the guest cannot see it yet.
    pub fn used(&mut self, head: u16) {
        self.batch.push(head);
        let Some(slice) = self.slice() else { return };
        let last: u16 = slice.read_obj(LAST_BATCH_AT).unwrap_or_default();
        let _ = slice.write_obj(last, state_at(head) + NEXT_AT);
        let _ = slice.write_obj(head, LAST_BATCH_AT);
    }

    /// The guest can see all that were put there.
    pub fn published(&mut self, used_index: u16) {
        let batch = std::mem::take(&mut self.batch);
        if let Some(slice) = self.slice() {
            for head in &batch {
                let _ = slice.write_obj(0_u8, state_at(*head));
            }
            let _ = slice.write_obj(used_index, USED_INDEX_AT);
        }
        self.batch = batch;
        self.batch.clear();
    }

    /// Heads of the chains that were in flight when a daemon died, in the order in which it took them.
    ///
    /// # Errors
    /// What is there was not kept for such a ring.
    pub fn left(&mut self, queue_size: u16, used_index: u16) -> Result<Vec<u16>, String> {
        let slice = self.slice().ok_or("what was in flight is out of reach")?;
        let read = |at| slice.read_obj::<u16>(at).map_err(|error| error.to_string());
        match read(VERSION_AT)? {
            0 => {
                let _ = slice.write_obj(VERSION, VERSION_AT);
                let _ = slice.write_obj(queue_size, NUMBER_AT);
                let _ = slice.write_obj(used_index, USED_INDEX_AT);
                return Ok(Vec::new());
            }
            VERSION => {}
            other => return Err(format!("what was in flight is kept in version {other}, not {VERSION}")),
        }
        let number = read(NUMBER_AT)?;
        if number < queue_size || state_at(number) > self.bytes {
            return Err(format!("what was in flight is kept for {number} chains, the ring has {queue_size}"));
        }
        self.forget_published(&slice, number, used_index)?;
        let mut left = Vec::new();
        for head in 0..number {
            if slice.read_obj::<u8>(state_at(head)).unwrap_or_default() == 1 {
                let counter: u64 = slice.read_obj(state_at(head) + COUNTER_AT).unwrap_or_default();
                left.push((counter, head));
            }
        }
        left.sort_unstable();
        let counter = left.last().map_or(0, |(counter, _)| counter.wrapping_add(1));
        self.counter = counter;
        Ok(left.into_iter().map(|(_, head)| head).collect())
    }

    /// Nothing is in flight any more, whatever the guest has seen.
    pub fn forget(&mut self) {
        self.batch.clear();
        let Some(slice) = self.slice() else { return };
        for at in (HEADER..self.bytes).step_by(STATE) {
            let _ = slice.write_obj(0_u8, at);
        }
    }

    /// The guest saw the last batch, and the daemon died before it could note that.
    fn forget_published(
        &self,
        slice: &VolatileSlice<'_>,
        number: u16,
        used_index: u16,
    ) -> Result<(), String> {
        let read = |at| slice.read_obj::<u16>(at).map_err(|error| error.to_string());
        let unnoted = used_index.wrapping_sub(read(USED_INDEX_AT)?);
        let mut head = read(LAST_BATCH_AT)?;
        for _ in 0..unnoted.min(number) {
            if head >= number {
                return Err(format!("chain {head} was in flight, the ring has {number}"));
            }
            let _ = slice.write_obj(0_u8, state_at(head));
            head = read(state_at(head) + NEXT_AT)?;
        }
        let _ = slice.write_obj(used_index, USED_INDEX_AT);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUES: u16 = 2;
    const SIZE: u16 = 8;

    /// The same memory as two daemons see it, one after the other.
    struct Kept(File);

    impl Kept {
        fn new() -> Kept {
            Kept(Region::create(QUEUES, SIZE).unwrap())
        }

        fn ring(&self, index: u16) -> Inflight {
            let bytes = Region::bytes(QUEUES, SIZE) as u64;
            let region = Region::map(self.0.try_clone().unwrap(), 0, bytes, QUEUES, SIZE).unwrap();
            region.ring(index).unwrap()
        }
    }

    #[test]
    fn nothing_is_left_at_first() {
        assert_eq!(Kept::new().ring(1).left(SIZE, 0), Ok(vec![]));
    }

    #[test]
    fn what_was_taken_and_not_seen_by_the_guest_is_left_in_order() {
        let kept = Kept::new();
        let mut ring = kept.ring(1);
        ring.left(SIZE, 65535).unwrap();
        for head in [5, 2, 7, 0] {
            ring.taken(head);
        }
        ring.used(2);
        ring.published(0);
        // The next one is in the used ring, and its index was not stored.
        ring.used(7);
        assert_eq!(kept.ring(1).left(SIZE, 0), Ok(vec![5, 7, 0]));
        assert_eq!(kept.ring(0).left(SIZE, 0), Ok(vec![]), "the other ring is another");
    }

    #[test]
    fn a_batch_that_the_guest_saw_is_not_left_though_that_was_not_noted() {
        let kept = Kept::new();
        let mut ring = kept.ring(0);
        ring.left(SIZE, 10).unwrap();
        for head in [1, 2, 3, 4] {
            ring.taken(head);
        }
        ring.used(3);
        ring.used(1);
        // The index 12 was stored, and then the daemon died.
        assert_eq!(kept.ring(0).left(SIZE, 12), Ok(vec![2, 4]));
        let mut next = kept.ring(0);
        assert_eq!(next.left(SIZE, 12), Ok(vec![2, 4]), "a third daemon finds the same");
        next.taken(6);
        assert_eq!(kept.ring(0).left(SIZE, 12), Ok(vec![2, 4, 6]), "what comes later counts as later");
    }

    #[test]
    fn how_the_cache_writes_is_kept_where_there_is_room_for_it() {
        let kept = Kept::new();
        let region =
            |bytes: usize| Region::map(kept.0.try_clone().unwrap(), 0, bytes as u64, QUEUES, SIZE).unwrap();
        let whole = Region::bytes(QUEUES, SIZE);
        assert_eq!(region(whole).writes_back(), None);
        for mode in [false, true] {
            region(whole).set_writes_back(mode);
            assert_eq!(region(whole).writes_back(), Some(mode));
            region(whole - TRAILER).set_writes_back(!mode);
            assert_eq!(region(whole - TRAILER).writes_back(), None);
        }
        assert_eq!(kept.ring(1).left(SIZE, 0), Ok(vec![]), "it is nobody's ring");
        assert!(region(whole).ring(QUEUES).is_none());
    }

    #[test]
    fn nonsense_is_refused() {
        let kept = Kept::new();
        let ring = kept.ring(0);
        ring.slice().unwrap().write_obj(9_u16, VERSION_AT).unwrap();
        assert!(kept.ring(0).left(SIZE, 0).unwrap_err().contains("version 9"));
        ring.slice().unwrap().write_obj(VERSION, VERSION_AT).unwrap();
        ring.slice().unwrap().write_obj(60_000_u16, NUMBER_AT).unwrap();
        assert!(kept.ring(0).left(SIZE, 0).unwrap_err().contains("60000 chains"));
        ring.slice().unwrap().write_obj(SIZE, NUMBER_AT).unwrap();
        ring.slice().unwrap().write_obj(60_000_u16, LAST_BATCH_AT).unwrap();
        assert!(kept.ring(0).left(SIZE, 3).unwrap_err().contains("chain 60000"));
        let small = Region::create(1, 1).unwrap();
        Region::map(small, 0, 1 << 20, QUEUES, SIZE).expect_err("it is too small");
    }
}
