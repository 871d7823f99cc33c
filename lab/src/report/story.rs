//! What a journal tells: attempts, each with the life of its requests and with what was said meanwhile.

use super::reader::Reader;
use crate::run::word::Word;
use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Abandon, Arm, Cause, Does, Line, Outcome, Source};
use blkstay_engine::policy::{Policy, Settings, Written};
use blkstay_engine::report::AttemptReport;
use blkstay_engine::request::{Nanos, Request, Status};
use std::collections::BTreeMap;

/// Everything that one guest's journal tells.
#[derive(Debug, Default)]
pub struct Story {
    /// The policy as it was read.
    pub written: Option<Written>,
    /// The same, understood; none if this version cannot.
    pub policy: Option<Policy>,
    /// What the guest reported before the first attempt.
    pub setup: BTreeMap<String, String>,
    /// Attempts in the order in which they were made.
    pub attempts: Vec<Attempt>,
    /// Places where the journal is damaged.
    pub damage: usize,
}

/// An attempt.
#[derive(Debug)]
pub struct Attempt {
    /// Its number.
    pub number: u64,
    /// Its arm.
    pub arm: Arm,
    /// When it began, in the journal's time.
    pub began_ns: Nanos,
    /// What it showed; none if the run was cut short.
    pub outcome: Option<Outcome>,
    /// Why, in words.
    pub why: String,
    /// Requests that arrived in it, in that order.
    pub requests: Vec<Life>,
    /// What was said in it, in order.
    pub said: Vec<Said>,
    /// The daemon's own report of it, if that was kept.
    pub report: Option<AttemptReport>,
}

/// A request's life.
#[derive(Debug)]
pub struct Life {
    /// What it is.
    pub request: Request,
    /// The point it is.
    pub point: Option<String>,
    /// When it arrived.
    pub arrived_ns: Nanos,
    /// When it went to the drive.
    pub submitted_ns: Option<Nanos>,
    /// When the drive finished it, and how.
    pub done: Option<(Nanos, Status)>,
    /// When and how it ended.
    pub ended: Option<(Nanos, End)>,
    /// Where it stood, in order.
    pub stands: Vec<Stand>,
    /// The rule that gave it another end than the drive's, and which.
    pub failed: Option<(String, Status)>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest was told this.
    Completed(Status),
    /// It was given up.
    Abandoned(Abandon),
}

/// A time that a request stood at a gate.
#[derive(Debug)]
pub struct Stand {
    /// The gate.
    pub gate: Gate,
    /// The rule that made it stand; the point's holds if there is none.
    pub rule: Option<String>,
    /// What the rule does, if it is one.
    pub does: Option<Does>,
    /// What it stood for, if that is an expression.
    pub until: Option<String>,
    /// Since when.
    pub from_ns: Nanos,
    /// Until when, and why it went on.
    pub released: Option<(Nanos, Cause)>,
}

/// Something that was said, or that the policy said of it.
#[derive(Debug)]
pub struct Said {
    /// When the daemon heard it.
    pub t: Nanos,
    /// What.
    pub what: What,
}

/// What can be said.
#[derive(Debug)]
pub enum What {
    /// An event happened.
    Event {
        /// Who made it happen.
        source: Source,
        /// Its name.
        name: String,
        /// What was said beside it.
        detail: Option<String>,
    },
    /// The guest reported an observation.
    Report {
        /// Of what.
        name: String,
        /// What it saw.
        value: String,
    },
    /// A line of the guest's kernel log.
    Log(String),
    /// A place was bound.
    Bound {
        /// Its name.
        place: String,
        /// Its first byte.
        offset: u64,
    },
    /// A hold has stood for half of its watchdog: `attempt.stalled`.
    Stalled,
    /// The guest's script ended.
    Finished(i32),
}

impl Story {
    /// Reads what a journal tells.
    pub fn of(lines: Vec<Line>) -> Story {
        let mut reader = Reader::default();
        for line in lines {
            reader.take(line);
        }
        let mut story = reader.story;
        story.policy = story.written.as_ref().and_then(understood);
        story
    }

    /// Attempts of one arm.
    pub fn arm(&self, arm: Arm) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.arm == arm)
    }

    /// What most attempts of an arm showed, how many did, and the first of them; of as many, what came first.
    pub fn typical(&self, arm: Arm) -> Option<(&Attempt, usize)> {
        let count = |wanted: &Attempt| self.arm(arm).filter(|one| one.word() == wanted.word()).count();
        let mut best: Option<(&Attempt, usize)> = None;
        for attempt in self.arm(arm) {
            let count = count(attempt);
            if best.is_none_or(|(_, most)| count > most) {
                best = Some((attempt, count));
            }
        }
        best
    }
}

fn understood(written: &Written) -> Option<Policy> {
    let settings = Settings { set: written.set.clone(), seed: written.seed };
    let mut include = |path: &str| {
        let found = written.included.iter().find(|included| included.path == path);
        found.map(|included| included.text.clone()).ok_or_else(|| "it is not in the journal".to_owned())
    };
    Policy::read(&written.origin, &written.text, &settings, &mut include).ok().map(|checked| checked.policy)
}

impl Attempt {
    /// What it showed; none if the run was cut short.
    pub fn word(&self) -> Option<Word> {
        self.outcome.map(|outcome| Word::of(outcome, &self.why))
    }
}

impl Life {
    /// When it ended, or `otherwise` if it did not.
    pub fn end_ns(&self, otherwise: Nanos) -> Nanos {
        self.ended.map_or(otherwise, |(t, _)| t)
    }

    /// The times of the steps of its life that there were.
    pub fn times(&self) -> impl Iterator<Item = Nanos> {
        let steps =
            [Some(self.arrived_ns), self.submitted_ns, self.done.map(|(t, _)| t), self.ended.map(|(t, _)| t)];
        steps.into_iter().flatten()
    }
}
