//! Where everything meets: the engine decides under one lock, in one order, and what follows is carried out before the
//! lock is let go.
//!
//! Records reach the journal before the actions of their step have any effect outside, so whatever
//! a guest or a client has seen happen is in the journal, also after `kill -9`.

mod calls;
mod step;

pub use calls::waits_for_drive;

use crate::carried::Carried;
use crate::chain::Parsed;
use crate::classes::Classes;
use crate::complaints::Complaints;
use crate::connection::Connections;
use crate::device::Device;
use crate::inner::{Inner, Pending, Stage};
use crate::journal::{Journal, Lane};
use crate::ring::{Ring, Taken};
use crate::stats::Passed;
use crate::timer::Timer;
use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use blkstay_drives::{Drive, Ended};
use blkstay_engine::engine::{Action, Input, Sieve};
use blkstay_engine::journal::{Abandon, Record};
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{Nanos, RequestId, Status};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// How often the timer tries to get the lock before it sleeps for it: some tens of microseconds.
const TRIES: usize = 2000;

/// What a core is made of.
pub struct Parts {
    /// Where requests go.
    pub drive: Arc<dyn Drive<Carried>>,
    /// Threads that collect what the drive has finished.
    pub lanes: usize,
    /// What the guest sees.
    pub device: Device,
    /// Where everything is recorded.
    pub journal: Journal,
    /// What blocks are to the filesystem.
    pub classes: Classes,
    /// Wakes whoever ticks.
    pub timer: Timer,
    /// Told once when the daemon cannot go on.
    pub failed: UnboundedSender<String>,
}

/// The middle of the daemon.
pub struct Core {
    inner: Mutex<Inner>,
    /// Which requests have to come here at all.
    sieve: ArcSwap<Sieve>,
    next_request: AtomicU64,
    /// Nothing may go past, whatever the policy is: it is about to be another.
    shut: AtomicBool,
    /// Held by who loads a policy or gives the disk another size.
    changing: Mutex<()>,
    /// Nothing is taken out of rings any more.
    closing: AtomicBool,
    drive: Arc<dyn Drive<Carried>>,
    lanes: usize,
    device: Device,
    journal: Journal,
    /// What went past this.
    passed: Passed,
    connections: Connections,
    complaints: Complaints,
    timer: Timer,
    started: Instant,
    failed: UnboundedSender<String>,
}

impl Core {
    /// A core without a policy: everything goes past it.
    pub fn new(parts: Parts) -> Arc<Core> {
        let Parts { drive, lanes, device, journal, classes, timer, failed } = parts;
        let mut inner = Inner::new(journal.lane(), classes);
        inner.effects.submissions.resize_with(lanes, Vec::new);
        Arc::new(Core {
            inner: Mutex::new(inner),
            sieve: ArcSwap::from_pointee(Sieve::default()),
            next_request: AtomicU64::new(1),
            shut: AtomicBool::new(false),
            changing: Mutex::default(),
            closing: AtomicBool::new(false),
            drive,
            lanes,
            device,
            journal,
            passed: Passed::new(lanes),
            connections: Connections::default(),
            complaints: Complaints::default(),
            timer,
            started: Instant::now(),
            failed,
        })
    }

    /// Where requests go.
    pub fn drive(&self) -> &dyn Drive<Carried> {
        &*self.drive
    }

    /// What the guest sees.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Threads that collect what the drive has finished.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// A lane of the journal, for requests that go past this.
    pub fn journal_lane(&self) -> Lane {
        self.journal.lane()
    }

    /// What went past this.
    pub fn passed(&self) -> &Passed {
        &self.passed
    }

    /// The drive could not do a request.
    pub fn drive_failed(&self, id: RequestId, status: Status, error: &str) {
        self.complaints.drive_failed(self.now(), id, status, error);
    }

    /// The guest that is connected.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The timer that [`Core::tick`] has to follow.
    pub fn timer(&self) -> &Timer {
        &self.timer
    }

    /// Which requests have to come here. To be asked after they were taken out of their ring, so that whatever was
    /// answered to a client before that counts for them.
    pub fn sieve(&self) -> arc_swap::Guard<Arc<Sieve>> {
        self.sieve.load()
    }

    /// Names for so many requests, the first of them.
    pub fn names(&self, count: usize) -> u64 {
        self.next_request.fetch_add(count as u64, Ordering::Relaxed)
    }

    /// Whether nothing is to be taken out of rings any more.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Monotonic nanoseconds since the daemon started.
    pub fn now(&self) -> Nanos {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    /// Writes the journal's first record, and loads a policy that holds from then on.
    ///
    /// # Errors
    /// The journal has no room for that; nothing is left of it.
    pub fn begin(&self, image: String, policy: Option<Policy>) -> io::Result<()> {
        self.begin_journal(image);
        if let Some(policy) = policy {
            self.load(policy);
        }
        self.lock().journal.check().inspect_err(|_| self.journal.take_back())
    }

    fn begin_journal(&self, image: String) {
        let version = blkstay_engine::journal::VERSION;
        let monotonic_ns = monotonic_now().saturating_sub(self.now());
        let record = Record::Journal { version, image, image_bytes: self.drive.bytes(), monotonic_ns };
        let mut inner = self.lock();
        self.carry_out(&mut inner, self.now(), [Action::Record(record)]);
        self.settle(&mut inner);
    }

    /// Loads a policy that holds from now on.
    pub fn load(&self, policy: Policy) {
        let mut inner = self.lock();
        let now = self.now();
        let actions = inner.engine.load(now, policy, true);
        self.carry_out(&mut inner, now, actions);
        inner.policy_is_loaded();
        self.settle(&mut inner);
    }

    /// Takes what came out of a ring, oldest first.
    pub fn arrive(&self, ring: &Arc<Ring>, taken: impl Iterator<Item = Taken>) {
        let (queue, since) = (ring.index, self.now());
        let mut inner = self.lock();
        for Taken { parsed, resubmitted } in taken {
            match parsed {
                Parsed::Request(request) => {
                    let id = RequestId(self.names(1));
                    let seen = inner.look_at(id, queue, &request);
                    let (stage, ring) = (Stage::Arrived(request), ring.clone());
                    inner.pending.insert(id, Pending { stage, ring, since });
                    let input = if resubmitted { Input::Resubmitted(seen) } else { Input::Arrived(seen) };
                    self.step(&mut inner, input);
                }
                Parsed::Refused(request, status, why) => {
                    self.step(&mut inner, Input::BadRequest { queue, why });
                    inner.effects.completions.push((ring.clone(), request, status));
                }
                Parsed::Broken(why) => {
                    let why = format!("{why}; the ring is stopped");
                    self.step(&mut inner, Input::BadRequest { queue, why });
                }
            }
        }
        self.settle(&mut inner);
    }

    /// Takes back what the drive has finished.
    pub fn back(&self, ended: &mut Vec<Ended<Carried>>) {
        let mut inner = self.lock();
        self.take_back(&mut inner, ended);
        self.settle(&mut inner);
    }

    /// A guest connected.
    pub fn connected(&self) {
        let mut inner = self.lock();
        self.step(&mut inner, Input::Connected);
        self.settle(&mut inner);
    }

    /// Does what is due, if anything is; says whether there was something. Where nothing is to come this costs nothing.
    pub fn tick_if_time(&self) -> bool {
        let is_time = self.timer.take_due(|| self.now());
        if is_time {
            self.tick();
        }
        is_time
    }

    /// Time has passed.
    pub fn tick(&self) {
        let mut inner = self.lock_soon();
        self.tick_if_due(&mut inner);
        self.settle(&mut inner);
    }

    /// Looks at what the next release will need, so that it is not far when its time comes. Nothing comes of it.
    pub fn look_ahead(&self) {
        if let Ok(inner) = self.inner.try_lock() {
            inner.look_ahead();
        }
    }

    /// The guest stops a ring, from which nothing is taken any more: its requests are let go.
    pub fn stop_ring(&self, queue: u16) {
        let mut inner = self.lock();
        self.step(&mut inner, Input::RingStopped { queue });
        self.settle(&mut inner);
    }

    /// The guest is gone: its requests are given up.
    pub fn disconnected(&self) {
        let mut inner = self.lock();
        self.step(&mut inner, Input::Abandon(Abandon::Disconnect));
        self.settle(&mut inner);
    }

    /// The last thing that happens: every request is accounted for, nothing is done after it.
    ///
    /// # Errors
    /// The drive was not through with all that it had, or the journal did not reach its media.
    pub fn shut_down(&self) -> Result<()> {
        self.closing.store(true, Ordering::Release);
        let is_through = self.connections.finish();
        let mut inner = self.lock();
        self.step(&mut inner, Input::Abandon(Abandon::Shutdown));
        self.settle(&mut inner);
        inner.closed = true;
        inner.journal = Lane::default();
        self.journal.close();
        drop(inner);
        ensure!(
            is_through,
            "the drive does not finish what it has; the journal does not say what became of that"
        );
        self.journal.sync().context("the journal cannot be written to its media; what it says may be gone")
    }

    /// The daemon cannot go on.
    pub fn fail(&self, error: &io::Error) {
        self.closing.store(true, Ordering::Release);
        let why = format!("the journal cannot be written: {error}; nothing was served after that");
        let _ = self.failed.send(why);
    }

    /// Nothing that runs under the lock leaves it half done, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for who has no time to be put to sleep and woken up: whoever has it is through in a moment.
    fn lock_soon(&self) -> MutexGuard<'_, Inner> {
        for _ in 0..TRIES {
            match self.inner.try_lock() {
                Ok(inner) => return inner,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        self.lock()
    }
}

/// What the host's monotonic clock shows, in nanoseconds.
fn monotonic_now() -> Nanos {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| Nanos::try_from(std::time::Duration::from(now).as_nanos()).unwrap_or(0))
}
