//! One ring of a guest: chains are taken out of it, completions are put back.

mod available;
mod inflight;
mod telling;
mod used;

pub use inflight::{Inflight, Region};
pub use telling::{Writing, can_be_interrupted};

use crate::chain::{Broken, Finished, Limits, Parsed, Parser, Table};
use crate::memory::{Memory, MemoryMap};
use available::Available;
use blkstay_engine::request::Status;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use telling::Telling;
use vhost_user_backend::{VringMutex, VringState, VringT};
use virtio_queue::{Error, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryMmap};

/// Most chains that are taken out of a ring at once.
pub const TAKEN_AT_ONCE: usize = 64;

/// A ring, as long as its guest is connected.
pub struct Ring {
    /// Index of the queue.
    pub index: u16,
    /// Held from taking chains out until somebody answers for them, so that stopping the ring misses none.
    taking: Mutex<()>,
    state: Mutex<State>,
    /// Signalled when nothing is in flight.
    idle: Condvar,
    /// Set when the guest broke it; it is left alone until the guest sets it up anew.
    broken: AtomicBool,
    /// Who notifies the guest; whoever does has the lock.
    telling: Telling,
}

struct State {
    /// Its addresses, size, indexes and descriptors for kicks and calls.
    vring: VringMutex<MemoryMap>,
    memory: Memory,
    parser: Parser,
    /// Chains taken from it and not put back.
    in_flight: usize,
    /// Threads that wait until there are none.
    waiting: usize,
    /// What is in flight, kept where it outlives this process.
    inflight: Option<Inflight>,
    /// Chains that were in flight when another daemon died, oldest first from the end.
    resubmit: Vec<u16>,
}

/// A chain out of a ring.
pub struct Taken {
    /// What it is.
    pub parsed: Parsed,
    /// It was in flight when another daemon died.
    pub resubmitted: bool,
}

impl Ring {
    /// A ring that the guest has not set up.
    ///
    /// # Errors
    /// None that can happen: the size is a constant that rings can have.
    pub fn new(index: u16, map: MemoryMap, queue_size_max: u16) -> Result<Ring, Error> {
        let memory = Memory::new(Arc::new(GuestMemoryMmap::clone(&map.memory())));
        let state = State {
            vring: VringMutex::new(map, queue_size_max)?,
            memory,
            parser: Parser::default(),
            in_flight: 0,
            waiting: 0,
            inflight: None,
            resubmit: Vec::new(),
        };
        Ok(Ring {
            index,
            taking: Mutex::default(),
            state: Mutex::new(state),
            idle: Condvar::new(),
            broken: AtomicBool::new(false),
            telling: Telling::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever takes chains out holds this until somebody answers for them.
    pub fn taking(&self) -> MutexGuard<'_, ()> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    fn set_broken(&self, why: &str) {
        tracing::warn!(queue = self.index, why, "a ring is stopped");
        self.broken.store(true, Ordering::Release);
    }

    /// Whether there is anything to take, as far as a look at its index tells.
    pub fn has_some(&self) -> bool {
        let state = self.lock();
        let vring = state.vring.get_ref();
        let queue = vring.get_queue();
        let is_new = || match queue.avail_idx(&*state.memory, Ordering::Relaxed) {
            Ok(available) => available.0 != queue.next_avail(),
            // Who takes finds that out as well.
            Err(_) => true,
        };
        !self.is_broken() && serves(&vring) && (!state.resubmit.is_empty() || is_new())
    }

    /// Appends what the guest has made available, oldest first, up to [`TAKEN_AT_ONCE`].
    pub fn take(&self, limits: &Limits, taken: &mut Vec<Taken>) {
        let mut state = self.lock();
        if self.is_broken() {
            return;
        }
        if let Err(why) = state.take(limits, taken) {
            self.set_broken(&why.to_string());
            taken.push(Taken { parsed: Parsed::Broken(why), resubmitted: false });
        }
    }

    /// Asks the guest to kick for the next chain; says whether there is one already.
    pub fn wants_kicks(&self) -> bool {
        let state = self.lock();
        let mut vring = state.vring.get_mut();
        if self.is_broken() || !serves(&vring) {
            return false;
        }
        let map = state.memory.clone();
        let more = vring.get_queue_mut().enable_notification(&*map);
        more.unwrap_or(false) || !state.resubmit.is_empty()
    }

    /// Asks the guest not to kick: somebody looks at the ring. A guest that has looked already kicks all the same.
    pub fn needs_no_kicks(&self) {
        let state = self.lock();
        let mut vring = state.vring.get_mut();
        if self.is_broken() || !serves(&vring) {
            return;
        }
        let queue = vring.get_queue_mut();
        if !queue.event_idx_enabled() {
            // A ring outside memory is noticed by whoever takes chains out of it.
            let _ = queue.disable_notification(&*state.memory);
            return;
        }
        // Section 2.7.10: the guest kicks when it makes the entry of that number available, of all others never. The one
        // before the next comes last.
        let event_at = queue.used_ring().checked_add(4 + 8 * u64::from(queue.size()));
        let last = queue.next_avail().wrapping_sub(1).to_le();
        if let Some(at) = event_at {
            let _ = state.memory.store(last, GuestAddress(at), Ordering::Relaxed);
        }
    }

    /// Tells the guest that requests are through, with one notification at most.
    pub fn complete(&self, requests: &mut Vec<(Finished, Status)>) {
        let count = requests.len();
        let mut state = self.lock();
        if let Err(why) = state.complete(requests.drain(..), self.is_broken(), &self.telling) {
            self.set_broken(why);
        }
        self.ended(&mut state, count);
    }

    /// Goes through telling the guest of nothing, and looks at what telling it of something will touch.
    pub fn look_ahead(&self) {
        let state = self.lock();
        if let Ok(used) = used::Used::new(state.vring.get_ref().get_queue(), &state.memory) {
            used.look_ahead();
        }
        drop(state);
        self.complete(&mut Vec::new());
    }

    /// A request is given up: the guest will not be told.
    pub fn abandon(&self, request: Finished) {
        request.abandon();
        self.ended(&mut self.lock(), 1);
    }

    fn ended(&self, state: &mut State, count: usize) {
        state.in_flight = state.in_flight.saturating_sub(count);
        // Signalling costs a system call, also if nobody waits.
        if state.in_flight == 0 && state.waiting > 0 {
            self.idle.notify_all();
        }
    }

    /// Returns when nothing is in flight any more.
    pub fn wait_until_idle(&self) {
        let mut state = self.lock();
        state.waiting += 1;
        while state.in_flight > 0 {
            state = self.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }

    /// The descriptor that the guest kicks through.
    pub fn kick(&self) -> Option<RawFd> {
        self.lock().vring.get_ref().get_kick().as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The guest's memory is another from now on.
    pub fn set_memory(&self, memory: Memory) {
        self.lock().memory = memory;
    }

    /// Does something with its settings.
    pub fn with<T>(&self, settings: impl FnOnce(&VringMutex<MemoryMap>) -> T) -> T {
        settings(&self.lock().vring)
    }

    /// What is in flight is kept there from now on; what is in flight there was when another daemon died.
    pub fn set_inflight(&self, inflight: Option<Inflight>) {
        self.lock().inflight = inflight;
    }

    /// Whether the guest has started it, and not stopped or broken it since.
    pub fn is_running(&self) -> bool {
        self.lock().vring.get_ref().get_queue().ready() && !self.is_broken()
    }

    /// The guest starts it: chains are taken from here on.
    ///
    /// # Errors
    /// What is kept of the requests in flight makes no sense; nothing is taken up then.
    pub fn start(&self) -> Result<(), String> {
        let mut state = self.lock();
        self.broken.store(false, Ordering::Release);
        state.vring.set_queue_ready(true);
        state.take_up()
    }

    /// The guest stops it: when this returns nothing is taken any more.
    pub fn stop(&self) {
        self.lock().vring.set_queue_ready(false);
        drop(self.taking());
    }

    /// The guest is told of everything and has stopped it; the descriptors for kicks and calls are let go.
    pub fn reset(&self) -> u16 {
        let mut state = self.lock();
        state.resubmit.clear();
        // What was in flight when it broke will never be in its used ring.
        if self.is_broken()
            && let Some(inflight) = &mut state.inflight
        {
            inflight.forget();
        }
        state.vring.set_kick(None);
        state.vring.set_call(None);
        state.vring.queue_next_avail()
    }

    /// Notifies the guest's descriptor for calls, whatever it wants: chains may have completed before it was there.
    pub fn set_call(&self, call: Option<File>) {
        let state = self.lock();
        state.vring.set_call(call);
        if let Err(why) = notify(&state.vring.get_ref(), &self.telling) {
            self.set_broken(why);
        }
    }

    /// The notification of the guest that is going on.
    pub fn writing(&self) -> Option<Writing> {
        self.telling.writing()
    }
}

/// Notifies the guest, if it has given a descriptor for that.
///
/// # Errors
/// That waits: nobody does for a guest.
fn notify(vring: &VringState<MemoryMap>, telling: &Telling) -> Result<(), &'static str> {
    let Some(call) = vring.get_call() else { return Ok(()) };
    // SAFETY: the notifier has it open.
    match telling.tell(unsafe { BorrowedFd::borrow_raw(call.as_raw_fd()) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err("its descriptor for calls was made to wait, and is full")
        }
        // Full: it has been notified often enough.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => {
            tracing::warn!(%error, "the guest could not be notified");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Whether the guest wants chains to be taken.
fn serves(vring: &VringState<MemoryMap>) -> bool {
    vring.get_queue().ready() && vring.is_enabled()
}

impl State {
    fn take(&mut self, limits: &Limits, taken: &mut Vec<Taken>) -> Result<(), Broken> {
        let mut vring = self.vring.get_mut();
        if !serves(&vring) {
            return Ok(());
        }
        let queue = vring.get_queue_mut();
        let memory: &GuestMemoryMmap = &self.memory;
        let table = || Table::new(GuestAddress(queue.desc_table()), queue.size(), memory);
        while let Some(head) = self.resubmit.pop() {
            let table = table()?;
            let parsed = self.parser.parse(table, head, &self.memory, limits)?;
            self.in_flight += 1;
            taken.push(Taken { parsed, resubmitted: true });
        }
        // They may be more than are taken at once; what is new comes after them.
        if !taken.is_empty() {
            return Ok(());
        }
        let next = queue.next_avail();
        let available = queue.avail_idx(memory, Ordering::Acquire).map_err(|_| Broken::Rings)?.0;
        if available == next {
            return Ok(());
        }
        let heads = Available::new(queue, memory, available)?;
        let table = table()?;
        queue.disable_notification(memory).map_err(|_| Broken::Rings)?;
        for head in heads.take(TAKEN_AT_ONCE) {
            queue.set_next_avail(queue.next_avail().wrapping_add(1));
            let parsed = self.parser.parse(table, head?, &self.memory, limits)?;
            taken.push(Taken { parsed, resubmitted: false });
            self.in_flight += 1;
            if self.in_flight > usize::from(queue.size()) {
                return Err(Broken::TooMany);
            }
            if let Some(inflight) = &mut self.inflight {
                inflight.taken(head?);
            }
        }
        Ok(())
    }

    fn complete(
        &mut self,
        requests: impl Iterator<Item = (Finished, Status)>,
        broken: bool,
        telling: &Telling,
    ) -> Result<(), &'static str> {
        let mut vring = self.vring.get_mut();
        let mut used = used::Used::new(vring.get_queue(), &self.memory);
        let mut put = |head, written| match &mut used {
            Ok(used) => used.put(head, written, self.inflight.as_mut()),
            Err(why) => Err(*why),
        };
        let mut wrong = None;
        for (request, status) in requests {
            match request.complete(status) {
                Some((head, written)) if !broken && wrong.is_none() => wrong = put(head, written).err(),
                Some(_) => {}
                None => wrong = Some("a status byte is outside memory by now"),
            }
        }
        if let Some(why) = wrong {
            return Err(why);
        }
        let (next, wants_it) = used?.publish(self.inflight.as_mut())?;
        vring.get_queue_mut().set_next_used(next);
        if wants_it { notify(&vring, telling) } else { Ok(()) }
    }

    /// Takes up what another daemon left in flight.
    fn take_up(&mut self) -> Result<(), String> {
        let mut vring = self.vring.get_mut();
        let queue = vring.get_queue_mut();
        let Some(inflight) = &mut self.inflight else { return Ok(()) };
        let used = queue.used_idx(&*self.memory, Ordering::Acquire).map_err(|error| error.to_string())?.0;
        self.resubmit = inflight.left(queue.size(), used)?;
        let taken = u16::try_from(self.resubmit.len()).map_err(|_| "too many are in flight")?;
        if taken > 0 {
            tracing::info!(taken, "requests that were in flight when a daemon died are taken up");
            queue.set_next_avail(used.wrapping_add(taken));
        }
        queue.set_next_used(used);
        // The oldest is taken first, from the end.
        self.resubmit.reverse();
        Ok(())
    }
}
