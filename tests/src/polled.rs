//! A queue that is polled: its requests are written once and offered often, and nobody sleeps for one.

use crate::client::Client;
use crate::mapped::Mapped;
use crate::request::Request;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;

/// Flag of the used ring: the device need not be told (virtio 1.3, section 2.7.10).
const NO_NOTIFY: u16 = 1;
/// Flag of the available ring: the driver need not be called (section 2.7.7).
const NO_INTERRUPT: u16 = 1;

/// What the host's monotonic clock shows, in nanoseconds: the clock that a journal's times count on.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock");
    Duration::from(now).as_nanos() as u64
}

/// A queue of a client that is set up without `EVENT_IDX`. Its slots are its descriptors: each holds a request in an
/// indirect table.
#[derive(Debug)]
pub struct Polled {
    map: Mapped,
    size: u16,
    available_at: u64,
    used_at: u64,
    available: u16,
    used: u16,
    kick: EventFd,
    call: EventFd,
}

impl Polled {
    /// Takes over a queue of a client. The slots hold what `request` says.
    #[track_caller]
    pub fn new(client: &mut Client, queue: usize, request: impl Fn(u16) -> Request) -> Polled {
        for slot in 0..client.queues[queue].size {
            let chain = client.chain(&request(slot));
            let table = client.table(chain);
            client.queues[queue].set_descriptor(slot, table);
        }
        let queue = &client.queues[queue];
        Polled {
            map: Mapped::new(&client.memory),
            size: queue.size,
            available_at: queue.available_at(),
            used_at: queue.used_at(),
            available: queue.available,
            used: queue.used_index(),
            kick: queue.kick.try_clone().expect("eventfd"),
            call: queue.call.try_clone().expect("eventfd"),
        }
    }

    /// Whether the device is to call when it has used something.
    pub fn want_calls(&self, wanted: bool) {
        self.map.store_u16(self.available_at, if wanted { 0 } else { NO_INTERRUPT });
    }

    /// Makes the request of a slot available.
    pub fn offer(&mut self, slot: u16) {
        let entry = self.available_at + 4 + 2 * u64::from(self.available % self.size);
        self.map.store_u16(entry, slot);
        self.available = self.available.wrapping_add(1);
        self.map.store_u16(self.available_at + 2, self.available);
    }

    /// Tells the device of what was offered, if it wants to be told.
    #[track_caller]
    pub fn kick(&self) {
        if self.map.load_u16(self.used_at) & NO_NOTIFY == 0 {
            self.kick.write(1).expect("kick");
        }
    }

    /// How many slots the device has used that were not taken yet.
    pub fn ready(&self) -> u16 {
        self.map.load_u16(self.used_at + 2).wrapping_sub(self.used)
    }

    /// Takes the slot that the device has used next, if there is one.
    pub fn take(&mut self) -> Option<u16> {
        if self.ready() == 0 {
            return None;
        }
        let entry = self.used_at + 4 + 8 * u64::from(self.used % self.size);
        self.used = self.used.wrapping_add(1);
        Some(self.map.load_u32(entry) as u16)
    }

    /// Takes the device's call, if it has called.
    pub fn take_call(&self) -> bool {
        self.call.read().is_ok()
    }
}
