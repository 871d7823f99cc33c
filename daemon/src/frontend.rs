//! The vhost-user-blk front end: takes chains out of a guest's rings and puts completions back.

use crate::chain::{Broken, Finished, MemoryMap, Parsed, parse};
use crate::core::Core;
use crate::device::{Device, QUEUE_SIZE_MAX};
use blkstay_engine::request::Status;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{VhostUserBackend, VringMutex, VringState, VringT};
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

/// Chains that are taken out of a ring before the engine is told of them: nothing can be put back meanwhile.
const TAKEN_AT_ONCE: usize = 16;

/// How often that is done before the rest is taken in one go, so that a guest cannot keep a worker here for ever.
const ROUNDS_MAX: usize = 64;

type Vring = VringMutex<MemoryMap>;

/// Where a request's completion goes.
#[derive(Clone)]
pub struct Ring {
    vring: Vring,
    state: Arc<RingState>,
}

/// What is known of a ring, as long as its guest is connected.
#[derive(Default)]
struct RingState {
    /// Set when the guest broke it; it is left alone until the guest sets it up anew.
    broken: AtomicBool,
    /// Chains taken from it and not put back.
    in_flight: AtomicUsize,
    /// Held from taking chains out of it until the engine knows of them, so that stopping it misses
    /// none.
    taking: Mutex<()>,
}

impl Ring {
    /// Tells the guest that a request is through.
    pub fn complete(&self, request: Finished, status: Status) {
        // Before the guest can see it: from then on it may use the descriptors again.
        self.state.in_flight.fetch_sub(1, Ordering::AcqRel);
        let Some((head, written)) = request.complete(status) else {
            return self.set_broken("a status byte is outside memory by now");
        };
        if self.is_broken() {
            return;
        }
        let mut vring = self.vring.get_mut();
        if let Err(error) = vring.add_used(head, written) {
            return self.set_broken(&format!("its used ring cannot be written: {error}"));
        }
        if vring.needs_notification().unwrap_or(true)
            && let Err(error) = vring.signal_used_queue()
        {
            tracing::warn!(%error, "the guest could not be notified");
        }
    }

    fn is_broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }

    fn set_broken(&self, why: &str) {
        tracing::warn!(why, "a ring is stopped");
        self.state.broken.store(true, Ordering::Release);
    }

    /// What the guest has made available, oldest first; once there are so many there may be more.
    fn take(&self, memory: &MemoryMap, device: &Device, enough: usize) -> Vec<Parsed> {
        let mut taken = Vec::new();
        let mut vring = self.vring.get_mut();
        while !self.is_broken() && taken.len() < enough {
            match self.drain(&mut vring, memory, device, enough, &mut taken) {
                Ok(true) => {}
                Ok(false) => break,
                Err(why) => {
                    self.set_broken(&why.to_string());
                    taken.push(Parsed::Broken(why));
                }
            }
        }
        taken
    }

    /// Takes what is available now, until there is enough; says whether there may be more by the time it is done.
    fn drain(
        &self,
        vring: &mut VringState<MemoryMap>,
        memory: &MemoryMap,
        device: &Device,
        enough: usize,
        taken: &mut Vec<Parsed>,
    ) -> Result<bool, Broken> {
        if !vring.get_queue().ready() {
            return Ok(false);
        }
        vring.disable_notification().map_err(|_| Broken::Rings)?;
        let guard = memory.memory();
        let queue = vring.get_queue_mut();
        let size = usize::from(queue.size());
        let before = queue.next_avail();
        let available = queue.avail_idx(&*guard, Ordering::Acquire).map_err(|_| Broken::Rings)?.0;
        for chain in queue.iter(guard.clone()).map_err(|_| Broken::Rings)? {
            match parse(chain, guard.clone(), device.bytes, device.read_only) {
                Parsed::Broken(why) => return Err(why),
                parsed => taken.push(parsed),
            }
            if self.state.in_flight.fetch_add(1, Ordering::AcqRel) >= size {
                return Err(Broken::TooMany);
            }
            if taken.len() >= enough {
                return Ok(true);
            }
        }
        // Entries of the available ring are outside memory: looking again would never end.
        if queue.next_avail() == before && available != before {
            return Err(Broken::Rings);
        }
        vring.enable_notification().map_err(|_| Broken::Rings)
    }
}

/// One guest's connection.
pub struct Frontend {
    core: Arc<Core>,
    device: Device,
    memory: MemoryMap,
    rings: Vec<Arc<RingState>>,
    /// The reading ends of the events that end the workers; closed with the connection.
    exits: Mutex<Vec<OwnedFd>>,
}

impl Frontend {
    /// A front end for the next guest.
    pub fn new(core: Arc<Core>, device: Device, memory: MemoryMap) -> Frontend {
        let queues = usize::from(device.queues);
        Frontend {
            core,
            device,
            memory,
            rings: (0..queues).map(|_| Arc::default()).collect(),
            exits: Mutex::default(),
        }
    }

    fn serve(&self, queue: u16, vring: &Vring) {
        let state = &self.rings[usize::from(queue)];
        let _taking = state.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = Ring { vring: vring.clone(), state: state.clone() };
        for round in 0.. {
            let enough = if round < ROUNDS_MAX { TAKEN_AT_ONCE } else { usize::MAX };
            let taken = ring.take(&self.memory, &self.device, enough);
            let may_be_more = taken.len() >= enough;
            if !taken.is_empty() {
                self.core.arrive(queue, &ring, taken);
            }
            if !may_be_more {
                break;
            }
        }
    }
}

impl VhostUserBackend for Frontend {
    type Bitmap = ();
    type Vring = Vring;

    fn num_queues(&self) -> usize {
        usize::from(self.device.queues)
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE_MAX
    }

    fn features(&self) -> u64 {
        self.device.features()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        self.device.protocol_features()
    }

    fn set_event_idx(&self, _enabled: bool) {}

    /// Refuses memory that its file does not reach: touching it would kill the daemon (SIGBUS).
    fn update_memory(&self, memory: MemoryMap) -> io::Result<()> {
        for region in memory.memory().iter() {
            let Some(backing) = region.file_offset() else { continue };
            let file = backing.file().metadata()?;
            let end = backing.start().checked_add(region.len());
            if file.is_file() && end.is_none_or(|end| end > file.len()) {
                return Err(io::Error::other("a region of memory reaches past the end of its file"));
            }
        }
        Ok(())
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        self.device.config(offset, size)
    }

    fn exit_event(&self, _thread_index: usize) -> Option<(EventConsumer, EventNotifier)> {
        let (consumer, notifier) =
            new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC).ok()?;
        // SAFETY: vhost-user-backend 0.24.0 turns the consumer into a number, gives that to epoll and
        // never closes it, so that each guest would cost a file descriptor. It is closed with `self`,
        // when the workers have ended. Look again when that crate is updated; it is pinned for this.
        let exit = unsafe { OwnedFd::from_raw_fd(consumer.as_raw_fd()) };
        self.exits.lock().unwrap_or_else(PoisonError::into_inner).push(exit);
        Some((consumer, notifier))
    }

    /// Requests on the ring are released and completed before QEMU gets its answer, so that a guest
    /// that is stopped and continued misses none, and one that is reset finds its memory left alone.
    fn stop_vring(&self, queue: u32) -> io::Result<()> {
        let Ok(queue) = u16::try_from(queue) else { return Ok(()) };
        if let Some(state) = self.rings.get(usize::from(queue)) {
            drop(state.taking.lock().unwrap_or_else(PoisonError::into_inner));
            self.core.stop_ring(queue, || state.in_flight.load(Ordering::Acquire));
            state.broken.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Never an error: the worker would end without a word.
    fn handle_event(
        &self,
        event: u16,
        _events: EventSet,
        vrings: &[Vring],
        _thread: usize,
    ) -> io::Result<()> {
        if let Some(vring) = vrings.get(usize::from(event)) {
            self.serve(event, vring);
        }
        Ok(())
    }
}
