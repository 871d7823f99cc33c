//! The way of a request that no policy concerns: out of its ring, to the drive and back, without the core's lock.
//!
//! What belongs to one batch is done once for it: a look at the clock, a lock of the ring, a call of the drive, a
//! notification. Only the journal and the drive have something to do for each request.

use crate::carried::Carried;
use crate::chain::{Arrived, Finished, Parsed};
use crate::core::Core;
use crate::journal::Lane;
use crate::ring::{Ring, TAKEN_AT_ONCE, Taken};
use blkstay_drives::Ended;
use blkstay_engine::class::ClassSet;
use blkstay_engine::request::{Nanos, Op, Probes, Request, RequestId, Status};
use std::sync::Arc;

/// Most requests that the core gets at once: it carries them out under its lock, for which what is due may have to wait.
const FOR_CORE_AT_ONCE: usize = 4;

/// The way through one lane; its buffers are kept from batch to batch.
pub struct Passage {
    core: Arc<Core>,
    lane: usize,
    journal: Lane,
    rings: Vec<Arc<Ring>>,
    taken: Vec<Taken>,
    for_core: Vec<Taken>,
    to_drive: Vec<Carried>,
    ended: Vec<Ended<Carried>>,
    back_to_core: Vec<Ended<Carried>>,
    /// What the guest is to be told, by the rings of this lane.
    done: Vec<Vec<(Finished, Status)>>,
    scratch: Vec<u32>,
}

impl Passage {
    /// The way through a lane for the rings that it serves: every so many from the lane's number on.
    pub fn new(core: Arc<Core>, lane: usize, rings: Vec<Arc<Ring>>) -> Passage {
        let journal = core.journal_lane();
        Passage {
            core,
            lane,
            journal,
            taken: Vec::with_capacity(TAKEN_AT_ONCE),
            for_core: Vec::new(),
            to_drive: Vec::with_capacity(TAKEN_AT_ONCE),
            ended: Vec::with_capacity(TAKEN_AT_ONCE),
            back_to_core: Vec::new(),
            done: rings.iter().map(|_| Vec::with_capacity(TAKEN_AT_ONCE)).collect(),
            scratch: Vec::new(),
            rings,
        }
    }

    /// The rings that it serves.
    pub fn rings(&self) -> &[Arc<Ring>] {
        &self.rings
    }

    /// How many requests are on their way here.
    pub fn in_flight(&self) -> usize {
        self.core.passed().in_flight(self.lane)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.in_flight() == 0
    }

    /// Takes what is in the rings and collects what the drive has finished; says whether there was anything.
    pub fn turn(&mut self) -> bool {
        let mut busy = false;
        if !self.core.is_closing() {
            for slot in 0..self.rings.len() {
                busy |= self.serve(slot);
            }
        }
        busy | self.collect()
    }

    /// Collects what the drive has finished; says whether there was anything.
    pub fn collect(&mut self) -> bool {
        self.core.drive().reap(self.lane, &mut self.ended);
        self.finish()
    }

    fn serve(&mut self, slot: usize) -> bool {
        // Most looks are in vain, of a worker that polls.
        if !self.rings[slot].has_some() {
            return false;
        }
        let ring = self.rings[slot].clone();
        // Until somebody answers for them.
        let taking = ring.taking();
        ring.take(&self.core.device().limits(), &mut self.taken);
        if self.taken.is_empty() {
            return false;
        }
        self.enter(&ring, slot);
        drop(taking);
        if self.journal.check().is_err() {
            self.give_up();
            return true;
        }
        self.core.drive().submit(self.lane, &mut self.to_drive, &mut self.ended);
        self.finish();
        true
    }

    /// Parts what the policy concerns from what it does not.
    fn enter(&mut self, ring: &Arc<Ring>, slot: usize) {
        let now = self.core.now();
        let sieve = self.core.sieve();
        let is_open = sieve.is_open();
        let mut name = if is_open { self.core.names(self.taken.len()) } else { 0 };
        let mut taken = std::mem::take(&mut self.taken);
        let mut entered = 0;
        for Taken { parsed, resubmitted } in taken.drain(..) {
            let Parsed::Request(request) = parsed else {
                self.for_core.push(Taken { parsed, resubmitted });
                continue;
            };
            let mut seen = seen(ring.index, &request);
            if !is_open && sieve.concerns(&seen, &mut self.scratch) {
                self.for_core.push(Taken { parsed: Parsed::Request(request), resubmitted });
                continue;
            }
            if !is_open {
                name = self.core.names(1);
            }
            seen.id = RequestId(name);
            name += 1;
            self.journal.arrived(now, &seen, resubmitted);
            entered += usize::from(self.pass(now, seen.id, ring, slot, request));
        }
        self.taken = taken;
        self.core.passed().entered(self.lane, entered);
        while !self.for_core.is_empty() {
            let some = self.for_core.len().min(FOR_CORE_AT_ONCE);
            self.core.arrive(ring, self.for_core.drain(..some));
        }
    }

    /// Says whether the drive gets it.
    fn pass(&mut self, since: Nanos, id: RequestId, ring: &Arc<Ring>, slot: usize, request: Arrived) -> bool {
        let (device, ring) = (self.core.device(), ring.clone());
        let asked = request.asked;
        let is_serial = asked.op == Op::GetId;
        let request = request.submit();
        if is_serial {
            let written = request.answer(&device.serial());
            self.journal.completed(since, id, Status::Ok, None);
            let latency = self.core.now().saturating_sub(since);
            self.core.passed().counting(self.lane).ended(Some(asked), Status::Ok, latency);
            self.done[slot].push((request.finish(written), Status::Ok));
        } else {
            let durable = device.writes_through();
            self.to_drive.push(Carried { id, ring, request, passed: true, durable, since });
        }
        !is_serial
    }

    /// Tells guests of what the drive has finished; says whether there was anything.
    fn finish(&mut self) -> bool {
        if self.ended.is_empty() && self.done.iter().all(Vec::is_empty) {
            return false;
        }
        let now = self.core.now();
        let mut stats = self.core.passed().counting(self.lane);
        let mut left = 0;
        for ended in self.ended.drain(..) {
            if !ended.request.passed {
                self.back_to_core.push(ended);
                continue;
            }
            let Ended { request: carried, result } = ended;
            let (id, slot) = (carried.id, usize::from(carried.ring.index) / self.core.lanes());
            let latency = now.saturating_sub(carried.since);
            let (request, status, error) = carried.finish(&result);
            if let Some(error) = &error {
                self.core.drive_failed(id, status, error);
            }
            self.journal.completed(now, id, status, error.as_deref());
            stats.ended(request.asked, status, latency);
            self.done[slot].push((request, status));
            left += 1;
        }
        drop(stats);
        self.tell_guest();
        self.core.passed().left(self.lane, left);
        if !self.back_to_core.is_empty() {
            self.core.back(&mut self.back_to_core);
        }
        true
    }

    fn tell_guest(&mut self) {
        if let Err(error) = self.journal.check() {
            self.core.fail(&error);
            for (ring, done) in self.rings.iter().zip(&mut self.done) {
                done.drain(..).for_each(|(request, _)| ring.abandon(request));
            }
            return;
        }
        for (ring, done) in self.rings.iter().zip(&mut self.done).filter(|(_, done)| !done.is_empty()) {
            ring.complete(done);
        }
    }

    /// What arrived is not on record, so it is not served.
    fn give_up(&mut self) {
        let count = self.to_drive.len();
        self.to_drive.drain(..).for_each(Carried::abandon);
        self.core.passed().left(self.lane, count);
        self.tell_guest();
    }
}

/// What a sieve looks at, and what is recorded.
fn seen(queue: u16, request: &Arrived) -> Request {
    let (op, range) = (request.asked.op, request.asked.range);
    Request { id: RequestId(0), queue, op, range, class: ClassSet::NONE, probes: Probes::default() }
}
