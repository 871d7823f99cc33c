//! A guest's memory between walls, a ring in it, and what serves that: all in one thread.

use super::Random;
use super::held::Held;
use crate::carried::Carried;
use crate::core::Core;
use crate::memory::MemoryMap;
use crate::passage::Passage;
use crate::ring::{Region, Ring};
use blkstay_drives::{ImageSpec, Spec};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};
use std::num::NonZero;
use std::sync::Arc;
use vhost_user_backend::VringT;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// Bytes of the disk.
pub const DISK: usize = 64 << 10;
/// Bytes of each of the two regions of memory.
pub const REGION: usize = 32 << 10;
/// Where they are; there is nothing before, between and behind them.
pub const REGIONS: [u64; 2] = [0x4000_0000, 0x4001_0000];
/// What is mapped without access on either side of a region in this process.
const WALL: usize = 64 << 10;

/// Where the parts of a ring are, and how it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub size: u16,
    pub table: u64,
    pub available: u64,
    pub used: u64,
    pub event_idx: bool,
}

impl Layout {
    /// Parts that lie beside each other at the beginning of memory, for all that rings can be.
    pub fn any(random: &mut Random) -> Layout {
        let at = REGIONS[0];
        Layout {
            size: random.pick(&[1, 2, 16, 32, 32, 64, 64]),
            table: at + 16 * random.below(8),
            available: at + 1280 + 2 * random.below(8),
            used: at + 1536 + 4 * random.below(8),
            event_idx: random.one_in(2),
        }
    }
}

pub struct World {
    pub core: Arc<Core>,
    pub drive: Arc<Held>,
    pub ring: Arc<Ring>,
    pub passage: Passage,
    pub memory: Arc<GuestMemoryMmap>,
    /// Memory for what is in flight, as long as the world lasts.
    inflight: Region,
}

/// A region with walls around it; it stays mapped.
fn region(at: u64) -> GuestRegionMmap {
    let whole = NonZero::new(REGION + 2 * WALL).expect("it has bytes");
    let private = MapFlags::MAP_PRIVATE;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, and the middle of it.
    let middle = unsafe {
        let first = mmap_anonymous(None, whole, ProtFlags::PROT_NONE, private).expect("mmap");
        let middle = first.byte_add(WALL);
        mprotect(middle, REGION, access).expect("mprotect");
        middle
    };
    // SAFETY: it was mapped above with that access, and is never unmapped.
    let mapped =
        unsafe { MmapRegion::build_raw(middle.as_ptr().cast(), REGION, access.bits(), private.bits()) };
    GuestRegionMmap::new(mapped.expect("a region"), GuestAddress(at)).expect("a region that has addresses")
}

impl World {
    pub fn new(image: ImageSpec, policy: &str) -> World {
        let opened = blkstay_drives::open::<Carried>(&Spec::new(image)).expect("a drive");
        let drive = Arc::new(Held::new(opened.drive));
        let core = super::core(drive.clone(), policy);
        let memory = GuestMemoryMmap::from_regions(REGIONS.map(region).into()).expect("memory");
        let map = MemoryMap::new(memory.clone());
        let ring = Arc::new(Ring::new(0, map, 64).expect("a ring"));
        let passage = Passage::new(core.clone(), 0, vec![ring.clone()]);
        let bytes = Region::bytes(1, 64) as u64;
        let file = Region::create(1, 64).expect("memory for what is in flight");
        let inflight = Region::map(file, 0, bytes, 1, 64).expect("memory for what is in flight");
        World { core, drive, ring, passage, memory: Arc::new(memory), inflight }
    }

    /// The guest sets the ring up anew, with indexes that begin anywhere; the index of both.
    pub fn set_up(&mut self, layout: Layout, random: &mut Random) -> u16 {
        self.stop();
        let Layout { size, table, available, used, event_idx } = layout;
        let anywhere = random.next() as u16;
        let index = random.pick(&[0, 0xffff, 0xfff0, anywhere]);
        for at in [available, used] {
            // It may be outside memory.
            let _ = self.memory.write_obj(0_u16, GuestAddress(at));
            let _ = self.memory.write_obj(index, GuestAddress(at.wrapping_add(2)));
        }
        self.ring.with(|vring| {
            vring.set_queue_size(size);
            vring.set_queue_event_idx(event_idx);
            let _ = vring.set_queue_info(table, available, used);
            vring.set_queue_next_used(index);
            vring.set_queue_next_avail(index);
            vring.set_enabled(true);
        });
        let mut inflight = self.inflight.ring(0).expect("one ring");
        inflight.forget();
        self.ring.set_inflight(random.one_in(2).then_some(inflight));
        let _ = self.ring.start();
        index
    }

    /// The guest stops the ring, as the handler of messages does it.
    pub fn stop(&mut self) {
        self.ring.stop();
        self.core.stop_ring(0);
        self.settle();
        self.ring.wait_until_idle();
        self.ring.reset();
    }

    /// Serves the ring until there is nothing more to do.
    pub fn settle(&mut self) {
        while self.passage.turn() || !(self.passage.is_empty() || self.drive.holds()) {}
    }
}
