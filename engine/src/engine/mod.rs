//! The engine: what happens goes in, what to do comes out, in one order.
//!
//! [`Engine::step`] is the only way in. It never looks at a clock (`now` is given), never waits and
//! never fails: an input that makes no sense, such as the drive finishing a request that was given
//! up, does nothing.

mod attempt;
mod calls;
mod chance;
mod gate;
mod index;
mod lifecycle;
mod matching;
mod pause;
mod ranges;
mod release;
mod sieve;
mod stands;

use crate::control::{Answer, Command};
use crate::event::{Expr, PointIndex};
use crate::journal::{Abandon, Arm, Record, Source, Stage};
use crate::policy::Policy;
use crate::report::PolicyReport;
use crate::request::{Nanos, Probes, Request, RequestId, Status};
use attempt::{Attempt, Moment};
use index::Index;
pub use sieve::Sieve;

use pause::Pausing;
use sieve::Meshes;
use stands::{Standing, Stands};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names a call whose answer is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A request came out of a ring.
    Arrived(Request),
    /// The same of one that was in flight when an earlier daemon died.
    Resubmitted(Request),
    /// The drive finished a request.
    Done {
        /// The request.
        id: RequestId,
        /// How it ended.
        status: Status,
        /// Which of the policy's payload tests the data of a read passes.
        probes: Probes,
    },
    /// The drive could not do a request.
    Failed {
        /// The request.
        id: RequestId,
        /// How it ended.
        status: Status,
        /// What the host said.
        error: String,
    },
    /// A client of the control socket, or the guest, wants something.
    Call {
        /// Comes back with the answer.
        token: Token,
        /// Whose connection it came through.
        source: Source,
        /// The attempt it belongs to, if it says so.
        during: Option<u64>,
        /// What is wanted.
        command: Command,
    },
    /// A client is gone: nobody waits for this answer any more.
    Forget(Token),
    /// Time has passed.
    Tick,
    /// A guest connected.
    Connected,
    /// The guest stopped a ring. Its requests are released, so that the guest can go on.
    RingStopped {
        /// Index of the queue.
        queue: u16,
    },
    /// A chain was no request.
    BadRequest {
        /// Index of the queue.
        queue: u16,
        /// What is wrong with it.
        why: String,
    },
    /// Every request is given up: whoever sent them is gone, or the daemon is about to be.
    Abandon(Abandon),
}

/// Something to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Hand the request to the drive.
    Submit(RequestId),
    /// Tell the guest.
    Complete(RequestId, Status),
    /// Let go of the request without telling anybody.
    Abandon(RequestId),
    /// Send [`Input::Tick`] at that time; replaces what was asked before. `None`: never.
    WakeAt(Option<Nanos>),
    /// The answer to a call, which comes next, is to tell of these doubts, too.
    Warn(Token, Vec<String>),
    /// Answer a call.
    Reply(Token, Answer),
    /// Append to the journal.
    Record(Record),
}

/// A request that has arrived and has not completed.
#[derive(Clone, Debug)]
struct Live {
    request: Request,
    stage: Stage,
    status: Status,
    point: Option<PointIndex>,
    /// Whether a policy that has been replaced since had its say at the submit gate.
    is_former: bool,
    standing: Option<Standing>,
}

impl Live {
    fn new(request: Request, point: Option<PointIndex>) -> Live {
        let (stage, status) = (Stage::HeldAtSubmit, Status::Ok);
        Live { request, stage, status, point, is_former: false, standing: None }
    }
}

/// An answer that is owed until something is true.
#[derive(Clone, Debug)]
enum Waiter {
    Until(Token, Expr),
    Attempt(Token, u64),
}

impl Waiter {
    fn token(&self) -> Token {
        match self {
            Waiter::Until(token, _) | Waiter::Attempt(token, _) => *token,
        }
    }

    /// Whether it waits for a count of requests.
    fn counts(&self) -> bool {
        matches!(self, Waiter::Until(_, expr) if expr.reads_gauge())
    }
}

/// The decisions of one device.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    index: Index,
    meshes: Arc<Meshes>,
    attempt: Attempt,
    /// Boxed: the map's nodes are half empty, since requests come in ascending order.
    live: BTreeMap<RequestId, Box<Live>>,
    stands: Stands,
    pauses: Vec<Pausing>,
    waiters: Vec<Waiter>,
    stopped_queues: BTreeSet<u16>,
    /// The last flush that arrived.
    last_flush: Option<RequestId>,
    /// Writes that are points if a flush follows them.
    by_flush: Vec<(PointIndex, Request)>,
    /// Whether the policy acts outside of attempts that are begun.
    armed: bool,
    /// Whether something has happened that somebody may stand for.
    changed: bool,
    wake_at: Option<Nanos>,
    now: Nanos,
    actions: Vec<Action>,
    /// Numbers of the filters that are being looked at; kept for its room.
    scratch: Vec<u32>,
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new()
    }
}

impl Engine {
    /// An engine with no policy: every request goes straight through.
    pub fn new() -> Engine {
        let policy = Policy::none();
        Engine {
            attempt: Attempt::idle(&policy, 0, 0),
            policy,
            index: Index::default(),
            meshes: Arc::default(),
            live: BTreeMap::new(),
            stands: Stands::default(),
            pauses: Vec::new(),
            waiters: Vec::new(),
            stopped_queues: BTreeSet::new(),
            last_flush: None,
            by_flush: Vec::new(),
            armed: false,
            changed: false,
            wake_at: None,
            now: 0,
            actions: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The policy that it follows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes an input at a time and returns what to do. Time never runs backwards: an earlier `now`
    /// counts as the latest one seen.
    pub fn step(&mut self, now: Nanos, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.step_into(now, input, &mut actions);
        actions
    }

    /// The same, appended to what is there already.
    pub fn step_into(&mut self, now: Nanos, input: Input, actions: &mut Vec<Action>) {
        std::mem::swap(&mut self.actions, actions);
        self.take(now, input);
        std::mem::swap(&mut self.actions, actions);
    }

    fn take(&mut self, now: Nanos, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Arrived(request) => self.arrived(request, false),
            Input::Resubmitted(request) => self.arrived(request, true),
            Input::Done { id, status, probes } => self.done(id, status, probes, None),
            Input::Failed { id, status, error } => self.done(id, status, Probes::default(), Some(error)),
            Input::Call { token, source, during, command } => match self.out_of_turn(during, &command) {
                Some(message) => self.reply(token, Answer::Error { message }),
                None => self.call(token, source, command),
            },
            Input::Forget(token) => self.forget(token),
            Input::Tick => {
                self.wake_at = None;
                self.tick();
            }
            Input::Connected => self.record(Record::Connected),
            Input::RingStopped { queue } => self.ring_stopped(queue),
            Input::BadRequest { queue, why } => self.record(Record::BadRequest { queue, why }),
            Input::Abandon(why) => self.abandon(why),
        }
        self.settle();
    }

    /// Loads a policy; `armed`: it acts at once, as with `--policy`.
    pub fn load(&mut self, now: Nanos, policy: Policy, armed: bool) -> Vec<Action> {
        self.now = self.now.max(now);
        self.replace_policy(policy, armed);
        self.settle();
        std::mem::take(&mut self.actions)
    }

    /// Requests that have arrived and not completed, on one queue.
    pub fn in_flight(&self, queue: u16) -> usize {
        self.live.values().filter(|live| live.request.queue == queue).count()
    }

    /// How many requests have arrived and not completed, and how many of them stand at a gate.
    pub fn counts(&self) -> (u64, u64) {
        (self.live.len() as u64, self.stands.len() as u64)
    }

    /// The request for which something is due next by itself, if there is one.
    pub fn next_due(&self) -> Option<RequestId> {
        self.stands.next().filter(|id| self.live.contains_key(id))
    }

    /// Which policy it follows, and how that stands.
    pub fn policy_report(&self) -> PolicyReport {
        let Attempt { number, arm, begun, armed, expired, .. } = &self.attempt;
        let expired = expired.is_some();
        PolicyReport {
            origin: (!self.policy.written.text.is_empty()).then(|| self.policy.written.origin.clone()),
            armed: *armed && *arm == Arm::Forced && !expired,
            attempt: begun.then_some(*number),
            arm: begun.then_some(*arm),
            expired,
            paused: !self.pauses.is_empty(),
        }
    }

    fn record(&mut self, record: Record) {
        self.actions.push(Action::Record(record));
    }

    fn reply(&mut self, token: Token, answer: Answer) {
        self.actions.push(Action::Reply(token, answer));
    }

    /// What follows from every input: releases, answers to who has waited, the next wake-up.
    fn settle(&mut self) {
        self.release_free();
        self.answer_waiters();
        self.set_alarm();
    }

    /// What expressions are evaluated against.
    fn moment(&self) -> Moment<'_> {
        Moment { attempt: &self.attempt, in_flight: self.live.len() as u64, held: self.stands.len() as u64 }
    }

    /// Somebody who waited is gone.
    fn forget(&mut self, token: Token) {
        let until = |waiter: &Waiter| matches!(waiter, Waiter::Until(of, _) if *of == token);
        if self.waiters.iter().any(until) {
            self.record(Record::Forgotten { token: token.0 });
        }
        self.waiters.retain(|waiter| waiter.token() != token);
    }

    fn answer_waiters(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            let attempt = &self.attempt;
            match &waiter {
                Waiter::Until(token, expr) if expr.holds(&self.moment()) => {
                    self.reply(*token, Answer::Done);
                }
                Waiter::Attempt(token, after) if attempt.begun && attempt.number > *after => {
                    let answer = Answer::Attempt { attempt: attempt.number, arm: attempt.arm };
                    self.reply(*token, answer);
                }
                _ => self.waiters.push(waiter),
            }
        }
    }
}
