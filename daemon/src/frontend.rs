//! The vhost-user-blk front end: takes chains out of a guest's rings and puts completions back.

use crate::chain::{Finished, MemoryMap, Parsed, parse};
use crate::core::Core;
use crate::device::{Device, QUEUE_SIZE_MAX};
use blkstay_engine::request::Status;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{VhostUserBackend, VringMutex, VringT};
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

type Vring = VringMutex<MemoryMap>;

/// Where a request's completion goes.
#[derive(Clone)]
pub struct Ring {
    vring: Vring,
    /// Set when the guest broke it; it is left alone until the guest sets it up anew.
    broken: Arc<AtomicBool>,
}

impl Ring {
    /// Tells the guest that a request is through.
    pub fn complete(&self, request: Finished, status: Status) {
        let Some((head, written)) = request.complete(status) else {
            return self.set_broken("a status byte is outside memory by now");
        };
        if self.broken.load(Ordering::Acquire) {
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

    fn set_broken(&self, why: &str) {
        tracing::warn!(why, "a ring is stopped");
        self.broken.store(true, Ordering::Release);
    }

    /// Everything that the guest has made available, oldest first.
    fn take(&self, memory: &MemoryMap, device: &Device) -> Vec<Parsed> {
        let mut taken = Vec::new();
        let mut vring = self.vring.get_mut();
        while !self.broken.load(Ordering::Acquire) {
            if vring.disable_notification().is_err() {
                self.set_broken("its used ring is outside memory");
                break;
            }
            self.drain(&mut vring, memory, device, &mut taken);
            match vring.enable_notification() {
                Ok(true) => continue,
                Ok(false) => break,
                Err(error) => self.set_broken(&format!("its available ring is outside memory: {error}")),
            }
        }
        taken
    }

    fn drain(
        &self,
        vring: &mut vhost_user_backend::VringState<MemoryMap>,
        memory: &MemoryMap,
        device: &Device,
        taken: &mut Vec<Parsed>,
    ) {
        let queue = vring.get_queue_mut();
        if !queue.ready() {
            return;
        }
        let guard = memory.memory();
        let chains = match queue.iter(guard.clone()) {
            Ok(chains) => chains,
            Err(error) => return self.set_broken(&format!("its available ring makes no sense: {error}")),
        };
        for chain in chains {
            let parsed = parse(chain, guard.clone(), device.bytes, device.read_only);
            let broken = matches!(parsed, Parsed::Broken(_));
            taken.push(parsed);
            if broken {
                return self.set_broken("a chain is broken");
            }
        }
    }
}

/// One guest's connection.
pub struct Frontend {
    core: Arc<Core>,
    device: Device,
    memory: MemoryMap,
    broken: Vec<Arc<AtomicBool>>,
    /// Held from taking chains out of a queue until the engine knows of them, so that stopping a
    /// ring misses none.
    taking: Vec<Mutex<()>>,
}

impl Frontend {
    /// A front end for the next guest.
    pub fn new(core: Arc<Core>, device: Device, memory: MemoryMap) -> Frontend {
        let queues = usize::from(device.queues);
        Frontend {
            core,
            device,
            memory,
            broken: (0..queues).map(|_| Arc::default()).collect(),
            taking: (0..queues).map(|_| Mutex::default()).collect(),
        }
    }

    fn serve(&self, queue: u16, vring: &Vring) {
        let index = usize::from(queue);
        let _taking = self.taking[index].lock().unwrap_or_else(PoisonError::into_inner);
        let ring = Ring { vring: vring.clone(), broken: self.broken[index].clone() };
        let taken = ring.take(&self.memory, &self.device);
        if !taken.is_empty() {
            self.core.arrive(queue, &ring, taken);
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

    fn update_memory(&self, _memory: vm_memory::GuestMemoryAtomic<GuestMemoryMmap>) -> io::Result<()> {
        Ok(())
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        self.device.config(offset, size)
    }

    fn exit_event(&self, _thread_index: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC).ok()
    }

    /// Requests on the ring are released and completed before QEMU gets its answer, so that a guest
    /// that is stopped and continued misses none, and one that is reset finds its memory left alone.
    fn stop_vring(&self, queue: u32) -> io::Result<()> {
        let Ok(queue) = u16::try_from(queue) else { return Ok(()) };
        if let Some(taking) = self.taking.get(usize::from(queue)) {
            drop(taking.lock().unwrap_or_else(PoisonError::into_inner));
            self.core.stop_ring(queue);
            self.broken[usize::from(queue)].store(false, Ordering::Release);
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
