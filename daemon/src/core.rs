//! Where everything meets: the engine decides under one lock, in one order, and what follows is carried out before the
//! lock is let go.
//!
//! Records reach the journal before the actions of their step have any effect outside, so whatever
//! a guest or a client has seen happen is in the journal, also after `kill -9`.

use crate::carried::Carried;
use crate::chain::{Finished, Parsed};
use crate::classes::Classes;
use crate::complaints::Complaints;
use crate::connection::Connections;
use crate::device::Device;
use crate::inner::{Inner, Owed, Pending, Stage};
use crate::journal::{Journal, Lane};
use crate::ring::{Ring, Taken};
use crate::stats::{Passed, Stats};
use crate::timer::{NEVER, Timer};
use arc_swap::ArcSwap;
use blkstay_drives::{Drive, Ended};
use blkstay_engine::control::{Answer, Call, Command, Reply};
use blkstay_engine::engine::{Action, Input, Sieve, Token};
use blkstay_engine::journal::{Abandon, Record, Source};
use blkstay_engine::policy::Policy;
use blkstay_engine::report::StatsReport;
use blkstay_engine::request::{Nanos, Op, RequestId, Status};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// How often the timer tries to get the lock before it sleeps for it: some tens of microseconds.
const TRIES: usize = 2000;

/// How long requests that went past the policy may take before another one is loaded: a watchdog.
const QUIET_LIMIT: Duration = Duration::from_secs(10);

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
        let Parts { drive, lanes, device, journal, classes, failed } = parts;
        let mut inner = Inner::new(journal.lane(), classes);
        inner.effects.submissions.resize_with(lanes, Vec::new);
        Arc::new(Core {
            inner: Mutex::new(inner),
            sieve: ArcSwap::from_pointee(Sieve::default()),
            next_request: AtomicU64::new(1),
            shut: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            drive,
            lanes,
            device,
            journal,
            passed: Passed::new(lanes),
            connections: Connections::default(),
            complaints: Complaints::default(),
            timer: Timer::default(),
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

    /// Writes the journal's first record.
    pub fn begin_journal(&self, image: String) {
        let version = blkstay_engine::journal::VERSION;
        let monotonic_ns = monotonic_now().saturating_sub(self.now());
        let record = Record::Journal { version, image, image_bytes: self.drive.bytes(), monotonic_ns };
        let mut inner = self.lock();
        self.carry_out(&mut inner, self.now(), vec![Action::Record(record)]);
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
        let mut inner = self.lock();
        for Taken { parsed, resubmitted } in taken {
            let queue = ring.index;
            match parsed {
                Parsed::Request(request) => {
                    let id = RequestId(self.names(1));
                    let seen = inner.look_at(id, queue, &request);
                    let (stage, ring, since) = (Stage::Arrived(request), ring.clone(), self.now());
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

    /// Carries out a command; the answer goes to `client` once it has taken effect.
    pub fn call(&self, source: Source, call: Call, client: &UnboundedSender<Reply>) {
        let Call { id, during, command } = call;
        let owed = Owed { id, client: client.clone(), warnings: Vec::new() };
        match command {
            Command::Load { .. } if source != Source::Guest => self.call_load(owed, source, during, command),
            Command::Stats if source != Source::Guest => {
                let mut inner = self.lock();
                let answer = self.stats(&inner);
                self.answer(&mut inner, owed, answer);
            }
            Command::Resize { bytes } if source != Source::Guest => {
                let mut inner = self.lock();
                let answer = self.resize(&mut inner, bytes);
                self.answer(&mut inner, owed, answer);
            }
            Command::Pause { queue: Some(queue), .. }
                if source != Source::Guest && queue >= self.queues() =>
            {
                let answer = Answer::Error { message: self.no_queue(queue) };
                self.answer(&mut self.lock(), owed, answer);
            }
            command => {
                let mut inner = self.lock();
                self.call_engine(&mut inner, owed, source, during, command);
                self.settle(&mut inner);
            }
        }
    }

    fn queues(&self) -> u16 {
        self.device.model().queues
    }

    fn no_queue(&self, queue: u16) -> String {
        match self.queues() {
            1 => {
                format!("there is no queue {queue}, only queue 0; leave `queue` out to pause the whole disk")
            }
            queues => format!(
                "there is no queue {queue}: they are 0 to {}; leave `queue` out to pause the whole disk",
                queues - 1
            ),
        }
    }

    /// Another policy begins when nothing is under way that has gone past the one before.
    fn call_load(&self, owed: Owed, source: Source, during: Option<u64>, command: Command) {
        self.shut.store(true, Ordering::Release);
        self.settle(&mut self.lock());
        let is_quiet = self.passed.wait_until_none(QUIET_LIMIT);
        let mut inner = self.lock();
        self.shut.store(false, Ordering::Release);
        if is_quiet {
            self.call_engine(&mut inner, owed, source, during, command);
            match inner.effects.replies.last() {
                Some((_, Answer::Error { .. })) => tracing::info!("a policy was refused"),
                _ => inner.policy_is_loaded(),
            }
            self.settle(&mut inner);
        } else {
            let message = format!(
                "the drive has not finished what it has within {} s; the policy is the one before",
                QUIET_LIMIT.as_secs()
            );
            self.answer(&mut inner, owed, Answer::Error { message });
        }
    }

    fn call_engine(
        &self,
        inner: &mut Inner,
        owed: Owed,
        source: Source,
        during: Option<u64>,
        command: Command,
    ) {
        let token = inner.owe(owed);
        self.step(inner, Input::Call { token, source, during, command });
    }

    fn answer(&self, inner: &mut Inner, owed: Owed, answer: Answer) {
        let token = inner.owe(owed);
        inner.effects.replies.push((token, answer));
        self.settle(inner);
    }

    /// A client is gone: what it waits for is forgotten.
    pub fn forget(&self, client: &UnboundedSender<Reply>) {
        let mut inner = self.lock();
        let owed = inner.owed.iter().filter(|(_, owed)| owed.client.same_channel(client));
        let tokens: Vec<Token> = owed.map(|(token, _)| *token).collect();
        for token in tokens {
            inner.owed.remove(&token);
            self.step(&mut inner, Input::Forget(token));
        }
        self.settle(&mut inner);
    }

    /// A guest connected.
    pub fn connected(&self) {
        let mut inner = self.lock();
        self.step(&mut inner, Input::Connected);
        self.settle(&mut inner);
    }

    /// Time has passed.
    pub fn tick(&self) {
        let mut inner = self.lock_soon();
        self.tick_if_due(&mut inner);
        self.settle(&mut inner);
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
    pub fn shut_down(&self) {
        self.closing.store(true, Ordering::Release);
        self.connections.finish();
        let mut inner = self.lock();
        self.step(&mut inner, Input::Abandon(Abandon::Shutdown));
        self.settle(&mut inner);
        inner.closed = true;
        inner.journal = Lane::default();
        self.journal.close();
    }

    /// The daemon cannot go on.
    pub fn fail(&self, error: &std::io::Error) {
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

    /// What is due comes first: whoever is here does it, rather than the timer that waits for the lock.
    fn step(&self, inner: &mut Inner, input: Input) {
        self.tick_if_due(inner);
        if inner.closed {
            return inner.give_up(input);
        }
        let now = self.now();
        let actions = inner.engine.step(now, input);
        self.carry_out(inner, now, actions);
    }

    fn tick_if_due(&self, inner: &mut Inner) {
        let now = self.now();
        if inner.due <= now && !inner.closed {
            inner.due = NEVER;
            let actions = inner.engine.step(now, Input::Tick);
            self.carry_out(inner, now, actions);
        }
    }

    /// `now` is the time at which the engine decided: the journal fed back gives the same decisions.
    fn carry_out(&self, inner: &mut Inner, now: Nanos, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Record(record) => inner.journal.add(now, &record),
                Action::Submit(id) => self.submit(inner, id),
                Action::Complete(id, status) => inner.complete(now, id, status),
                Action::Abandon(id) => inner.abandon(id),
                Action::WakeAt(at) => {
                    inner.due = at.unwrap_or(NEVER);
                    self.timer.set(inner.due);
                }
                Action::Warn(token, warnings) => inner.warn(token, warnings),
                Action::Reply(token, answer) => inner.effects.replies.push((token, answer)),
            }
        }
    }

    fn submit(&self, inner: &mut Inner, id: RequestId) {
        let Some(Pending { stage, ring, since }) = inner.pending.remove(&id) else { return };
        let stage = match stage {
            Stage::Arrived(request) if request.asked.op == Op::GetId => {
                let request = request.submit();
                let written = request.answer(&self.device.serial());
                inner.effects.answered.push(id);
                Stage::Finished(request.finish(written))
            }
            Stage::Arrived(request) => {
                let (ring, durable) = (ring.clone(), self.device.writes_through());
                let lane = usize::from(ring.index) % self.lanes;
                let request = request.submit();
                let carried = Carried { id, ring, request, passed: false, durable, since };
                inner.effects.submissions[lane].push(carried);
                Stage::InDrive
            }
            other => other,
        };
        inner.pending.insert(id, Pending { stage, ring, since });
    }

    /// Does what follows from what was decided, now that it is recorded, until nothing follows any more.
    fn settle(&self, inner: &mut Inner) {
        self.publish_sieve(inner);
        let mut ended = Vec::new();
        while !inner.effects.is_empty() {
            if let Err(error) = inner.journal.check() {
                if !inner.closed {
                    inner.closed = true;
                    self.fail(&error);
                }
                inner.forget_effects();
                break;
            }
            for lane in 0..self.lanes {
                let mut requests = std::mem::take(&mut inner.effects.submissions[lane]);
                if !requests.is_empty() {
                    self.drive.submit(lane, &mut requests, &mut ended);
                }
                inner.effects.submissions[lane] = requests;
            }
            inner.tell_guest();
            for (token, answer) in std::mem::take(&mut inner.effects.replies) {
                inner.reply(token, answer);
            }
            for id in std::mem::take(&mut inner.effects.answered) {
                let (status, probes) = (Status::Ok, Default::default());
                self.step(inner, Input::Done { id, status, probes });
            }
            self.take_back(inner, &mut ended);
            self.publish_sieve(inner);
        }
    }

    /// Before anybody gets an answer, so that what it does next is seen by the new one.
    fn publish_sieve(&self, inner: &Inner) {
        let everything = inner.classes.is_followed() || self.shut.load(Ordering::Acquire);
        if let Some(sieve) = inner.engine.other_sieve(&self.sieve.load(), everything) {
            self.sieve.store(Arc::new(sieve));
        }
    }

    fn take_back(&self, inner: &mut Inner, ended: &mut Vec<Ended<Carried>>) {
        for Ended { request: carried, result } in ended.drain(..) {
            let Carried { id, passed, since, .. } = carried;
            let ring = carried.ring.clone();
            let (request, status, error) = carried.finish(&result);
            if let Some(error) = &error {
                self.drive_failed(id, status, error);
            }
            if passed {
                inner.journal.completed(self.now(), id, status, error.as_deref());
                inner.stats.ended(request.asked, status, self.now().saturating_sub(since));
                self.passed.left(usize::from(ring.index) % self.lanes, 1);
                inner.effects.completions.push((ring, request, status));
                continue;
            }
            inner.is_through(id, &request, status);
            match inner.pending.remove(&id) {
                Some(Pending { stage: Stage::InDrive, .. }) => {
                    let probes = inner.probes_of_read(&request, status);
                    self.put_back(inner, id, request, ring, since);
                    self.step(
                        inner,
                        match error {
                            None => Input::Done { id, status, probes },
                            Some(error) => Input::Failed { id, status, error },
                        },
                    );
                }
                _ => ring.abandon(request),
            }
        }
    }

    fn put_back(&self, inner: &mut Inner, id: RequestId, request: Finished, ring: Arc<Ring>, since: Nanos) {
        inner.pending.insert(id, Pending { stage: Stage::Finished(request), ring, since });
    }

    fn stats(&self, inner: &Inner) -> Answer {
        let mut all = Stats::default();
        all.add(&inner.stats);
        self.passed.add_to(&mut all);
        let (in_flight, held) = inner.engine.counts();
        Answer::Stats(Box::new(StatsReport {
            uptime_ns: self.now(),
            bytes: self.drive.bytes(),
            connected: self.connections.is_connected(),
            in_flight,
            held,
            passing: self.passed.all_in_flight(),
            policy: inner.engine.policy_report(),
            ops: all.report(),
        }))
    }

    fn resize(&self, inner: &mut Inner, bytes: u64) -> Answer {
        let block = u64::from(self.device.model().block_bytes);
        if bytes == 0 || !bytes.is_multiple_of(block) {
            let message = format!("a disk has a positive multiple of {block} bytes, {bytes} is none");
            return Answer::Error { message };
        }
        if self.device.model().read_only {
            return Answer::Error {
                message: "the disk is read-only; serve it without --read-only".to_owned(),
            };
        }
        // A smaller disk ends for the guest before it ends for the drive.
        let before = self.drive.bytes();
        self.device.set_bytes(bytes.min(before));
        match self.drive.resize(bytes) {
            Ok(()) => {
                tracing::info!(bytes, before, "the disk has another size");
                inner.journal.add(self.now(), &Record::Resized { bytes });
                inner.classes.resized(bytes);
                self.device.set_bytes(bytes);
                self.connections.config_changed();
                Answer::Done
            }
            Err(error) => {
                self.device.set_bytes(before);
                Answer::Error { message: format!("the disk cannot have {bytes} bytes: {error}") }
            }
        }
    }
}

/// What the host's monotonic clock shows, in nanoseconds.
fn monotonic_now() -> Nanos {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| Nanos::try_from(std::time::Duration::from(now).as_nanos()).unwrap_or(0))
}
