//! Where everything meets: the engine decides under one lock, in one order, and its actions are
//! carried out before the lock is let go.
//!
//! Records reach the journal before the actions of their step have any effect outside, so whatever
//! a guest or a client has seen happen is in the journal, also after `kill -9`.

use crate::chain::{Finished, Parsed};
use crate::classes::Classes;
use crate::drive::Drive;
use crate::frontend::Ring;
use crate::inner::{Inner, Owed, Pending};
use crate::journal::{Journal, Lane};
use crate::timer::{NEVER, Timer};
use blkstay_engine::control::{Call, Command, Reply};
use blkstay_engine::engine::{Action, Engine, Input, Token};
use blkstay_engine::journal::{Abandon, Record, Source};
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{Nanos, RequestId, Status};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// How often the timer tries to get the lock before it sleeps for it: some tens of microseconds.
const TRIES: usize = 2000;

/// The middle of the daemon.
pub struct Core {
    inner: Mutex<Inner>,
    journal: Journal,
    /// Signalled whenever a request is through.
    through: Condvar,
    drive: OnceLock<Box<dyn Drive>>,
    timer: Timer,
    started: Instant,
    /// Told once when the daemon cannot go on.
    failed: UnboundedSender<String>,
}

impl Core {
    /// A core without a drive; `failed` is told when the daemon has to end.
    pub fn new(journal: Journal, classes: Classes, failed: UnboundedSender<String>) -> Arc<Core> {
        let inner = Inner {
            engine: Engine::new(),
            classes,
            journal: journal.lane(),
            pending: HashMap::new(),
            owed: HashMap::new(),
            next_request: 1,
            next_token: 1,
            due: NEVER,
            in_drive: 0,
            closed: false,
        };
        Arc::new(Core {
            inner: Mutex::new(inner),
            journal,
            through: Condvar::new(),
            drive: OnceLock::new(),
            timer: Timer::default(),
            started: Instant::now(),
            failed,
        })
    }

    /// Gives it its drive, once.
    pub fn set_drive(&self, drive: Box<dyn Drive>) {
        if self.drive.set(drive).is_err() {
            tracing::error!("a core has one drive");
        }
    }

    /// The timer that [`Core::tick`] has to follow.
    pub fn timer(&self) -> &Timer {
        &self.timer
    }

    /// Monotonic nanoseconds since the daemon started.
    pub fn now(&self) -> Nanos {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    /// Writes the journal's first line.
    pub fn begin_journal(&self, image: String, image_bytes: u64) {
        let version = blkstay_engine::journal::VERSION;
        let monotonic_ns = monotonic_now().saturating_sub(self.now());
        let record = Record::Journal { version, image, image_bytes, monotonic_ns };
        self.carry_out(&mut self.lock(), self.now(), vec![Action::Record(record)]);
    }

    /// Loads a policy that holds from now on.
    pub fn load(&self, policy: Policy) {
        let mut inner = self.lock();
        let now = self.now();
        let actions = inner.engine.load(now, policy, true);
        self.carry_out(&mut inner, now, actions);
        inner.policy_is_loaded();
    }

    /// Takes what came out of a ring, oldest first.
    pub fn arrive(&self, queue: u16, ring: &Ring, chains: Vec<Parsed>) {
        let mut inner = self.lock();
        for chain in chains {
            match chain {
                Parsed::Request(request) => {
                    let id = RequestId(inner.next_request);
                    inner.next_request += 1;
                    let seen = inner.look_at(id, queue, &request);
                    inner.pending.insert(id, Pending::Arrived(request, ring.clone()));
                    self.step(&mut inner, Input::Arrived(seen));
                }
                Parsed::Refused(request, status, why) => {
                    self.step(&mut inner, Input::BadRequest { queue, why });
                    match inner.closed {
                        true => request.abandon(),
                        false => ring.complete(request, status),
                    }
                }
                Parsed::Broken(why) => {
                    let why = format!("{why}; the ring is stopped");
                    self.step(&mut inner, Input::BadRequest { queue, why });
                }
            }
        }
    }

    /// Takes back what the drive has finished.
    pub fn finished(&self, id: RequestId, request: Finished, status: Status) {
        let mut inner = self.lock();
        inner.in_drive -= 1;
        inner.is_through(id, &request, status);
        match inner.pending.remove(&id) {
            Some(Pending::InDrive(ring)) => {
                let probes = inner.probes_of_read(&request, status);
                inner.pending.insert(id, Pending::Finished(request, ring));
                self.step(&mut inner, Input::Done { id, status, probes });
            }
            _ => request.abandon(),
        }
        self.through.notify_all();
    }

    /// Carries out a command; the answer goes to `client` once it has taken effect.
    pub fn call(&self, source: Source, call: Call, client: &UnboundedSender<Reply>) {
        let mut inner = self.lock();
        let token = Token(inner.next_token);
        inner.next_token += 1;
        inner.owed.insert(token, Owed { id: call.id, client: client.clone() });
        let Call { during, command, .. } = call;
        let loads = matches!(command, Command::Load { .. });
        self.step(&mut inner, Input::Call { token, source, during, command });
        if loads {
            inner.policy_is_loaded();
        }
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
    }

    /// A guest connected.
    pub fn connected(&self) {
        self.step(&mut self.lock(), Input::Connected);
    }

    /// Time has passed.
    pub fn tick(&self) {
        self.tick_if_due(&mut self.lock_soon());
    }

    /// The guest stops a ring: its requests are let go, and this returns when all have completed and none is
    /// `in_flight` any more.
    pub fn stop_ring(&self, queue: u16, in_flight: impl Fn() -> usize) {
        let mut inner = self.lock();
        self.step(&mut inner, Input::RingStopped { queue });
        while in_flight() > 0 && !inner.closed {
            inner = self.through.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The guest is gone: its requests are given up. Returns when the drive is through with them,
    /// so that none reaches the media after one of the next guest's.
    pub fn disconnected(&self) {
        let mut inner = self.lock();
        self.step(&mut inner, Input::Abandon(Abandon::Disconnect));
        while inner.in_drive > 0 && !inner.closed {
            inner = self.through.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The last thing that happens: every request is accounted for, nothing is done after it.
    pub fn shut_down(&self) {
        let mut inner = self.lock();
        self.step(&mut inner, Input::Abandon(Abandon::Shutdown));
        inner.closed = true;
        inner.journal = Lane::default();
        self.journal.close();
        self.through.notify_all();
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
        let mut effects = Vec::with_capacity(actions.len());
        for action in actions {
            match action {
                Action::Record(record) => inner.journal.add(now, &record),
                effect => effects.push(effect),
            }
        }
        if let Err(error) = inner.journal.check() {
            inner.closed = true;
            let _ = self
                .failed
                .send(format!("the journal cannot be written: {error}; nothing was served after that"));
            return;
        }
        for effect in effects {
            self.effect(inner, effect);
        }
    }

    fn effect(&self, inner: &mut Inner, action: Action) {
        match action {
            Action::Submit(id) => self.submit(inner, id),
            Action::Complete(id, status) => inner.complete(id, status),
            Action::Abandon(id) => inner.abandon(id),
            Action::WakeAt(at) => {
                inner.due = at.unwrap_or(NEVER);
                self.timer.set(inner.due);
            }
            Action::Reply(token, answer) => inner.reply(token, answer),
            Action::Record(_) => {}
        }
    }

    fn submit(&self, inner: &mut Inner, id: RequestId) {
        if let Some(Pending::Arrived(request, ring)) = inner.pending.remove(&id) {
            inner.pending.insert(id, Pending::InDrive(ring));
            match self.drive.get() {
                Some(drive) => {
                    inner.in_drive += 1;
                    drive.submit(id, request.submit());
                }
                None => request.abandon(),
            }
        }
    }
}

/// What the host's monotonic clock shows, in nanoseconds.
fn monotonic_now() -> Nanos {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| Nanos::try_from(std::time::Duration::from(now).as_nanos()).unwrap_or(0))
}
