//! The engine: what happens goes in, what to do comes out, in one order.
//!
//! [`Engine::step`] is the only way in. It never looks at a clock (`now` is given), never waits and
//! never fails: an input that makes no sense, such as the drive finishing a request that was given
//! up, does nothing.

mod attempt;
mod calls;
mod lifecycle;

use crate::control::{Answer, Command};
use crate::event::{Expr, Gate, PointIndex};
use crate::journal::{Abandon, Cause, Record, Source, Stage};
use crate::policy::Policy;
use crate::request::{Nanos, Request, RequestId, Status};
use attempt::{Attempt, Witness};
use std::collections::{BTreeMap, BTreeSet};

/// Names a call whose answer is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A request came out of a ring.
    Arrived(Request),
    /// The drive finished a request.
    Done {
        /// The request.
        id: RequestId,
        /// How it ended.
        status: Status,
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
    standing: Option<Standing>,
}

/// A hold that stands.
#[derive(Clone, Debug)]
struct Standing {
    gate: Gate,
    /// Indexes of the policy's holds at this gate.
    holds: Vec<usize>,
    since: Nanos,
    /// When it has stood for so long that whoever is interested is told; `None` once that is done.
    stalls_at: Option<Nanos>,
    limit: Nanos,
}

/// How many times its limit a hold may stand while a witness in the guest has yet to report.
const WITNESS_PATIENCE: u64 = 8;

impl Standing {
    /// When the watchdog ends it.
    fn deadline(&self, witness: Witness) -> Nanos {
        let patience = if witness == Witness::Told { WITNESS_PATIENCE } else { 1 };
        self.since.saturating_add(self.limit.saturating_mul(patience))
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
}

/// The decisions of one device.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    attempt: Attempt,
    live: BTreeMap<RequestId, Live>,
    /// Those of `live` that are held, so that a step costs no more than what is held.
    held: BTreeSet<RequestId>,
    waiters: Vec<Waiter>,
    stopped_queues: BTreeSet<u16>,
    /// Whether the policy holds outside of attempts that are begun.
    armed: bool,
    wake_at: Option<Nanos>,
    now: Nanos,
    actions: Vec<Action>,
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
            live: BTreeMap::new(),
            held: BTreeSet::new(),
            waiters: Vec::new(),
            stopped_queues: BTreeSet::new(),
            armed: false,
            wake_at: None,
            now: 0,
            actions: Vec::new(),
        }
    }

    /// Takes an input at a time and returns what to do. Time never runs backwards: an earlier `now`
    /// counts as the latest one seen.
    pub fn step(&mut self, now: Nanos, input: Input) -> Vec<Action> {
        self.now = self.now.max(now);
        match input {
            Input::Arrived(request) => self.arrived(request),
            Input::Done { id, status } => self.done(id, status),
            Input::Call { token, source, during, command } => match self.out_of_turn(during, &command) {
                Some(message) => self.reply(token, Answer::Error { message }),
                None => self.call(token, source, command),
            },
            Input::Forget(token) => self.waiters.retain(|waiter| waiter.token() != token),
            Input::Tick => {
                self.stall();
                self.expire();
            }
            Input::Connected => self.record(Record::Connected),
            Input::RingStopped { queue } => self.ring_stopped(queue),
            Input::BadRequest { queue, why } => self.record(Record::BadRequest { queue, why }),
            Input::Abandon(why) => self.abandon(why),
        }
        self.settle();
        std::mem::take(&mut self.actions)
    }

    /// Loads a policy that is armed at once, as `--policy` does.
    pub fn load(&mut self, now: Nanos, policy: Policy) -> Vec<Action> {
        self.now = self.now.max(now);
        self.replace_policy(policy, true);
        self.settle();
        std::mem::take(&mut self.actions)
    }

    /// Requests that have arrived and not completed, on one queue.
    pub fn in_flight(&self, queue: u16) -> usize {
        self.live.values().filter(|live| live.request.queue == queue).count()
    }

    fn record(&mut self, record: Record) {
        self.actions.push(Action::Record(record));
    }

    fn reply(&mut self, token: Token, answer: Answer) {
        self.actions.push(Action::Reply(token, answer));
    }

    /// Releases what has become free, one after the other, until nothing has any more.
    fn release_free(&mut self) {
        while let Some(id) = self.next_free() {
            let cause = self.until_cause(id);
            self.release(id, cause);
        }
    }

    /// What follows from every input: releases, answers to who has waited, the next wake-up.
    fn settle(&mut self) {
        self.release_free();
        self.answer_waiters();
        let witness = self.attempt.witness;
        let wake_at = self.standing().map(|(_, s)| s.stalls_at.unwrap_or_else(|| s.deadline(witness))).min();
        if wake_at != self.wake_at {
            self.wake_at = wake_at;
            self.actions.push(Action::WakeAt(wake_at));
        }
    }

    /// Every hold that stands, in order of arrival.
    fn standing(&self) -> impl Iterator<Item = (&Live, &Standing)> {
        let held = self.held.iter().filter_map(|id| self.live.get(id));
        held.filter_map(|live| Some((live, live.standing.as_ref()?)))
    }

    /// The oldest held request whose holds are all over.
    fn next_free(&self) -> Option<RequestId> {
        let over = |hold: &usize| self.attempt.holds[*hold].true_by.is_some();
        self.standing().find(|(_, standing)| standing.holds.iter().all(over)).map(|(live, _)| live.request.id)
    }

    /// The event that made the last of a request's holds true.
    fn until_cause(&self, id: RequestId) -> Cause {
        let standing = self.live[&id].standing.as_ref();
        let holds = standing.into_iter().flat_map(|standing| &standing.holds);
        let last = holds
            .filter_map(|hold| self.attempt.holds[*hold].true_by.as_ref())
            .max_by_key(|true_by| true_by.order);
        Cause::Until { event: last.map(|true_by| true_by.event.clone()).unwrap_or_default() }
    }

    fn answer_waiters(&mut self) {
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            let attempt = &self.attempt;
            match &waiter {
                Waiter::Until(token, expr) if expr.holds(&|event| attempt.has(event)) => {
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
