//! What is recorded.

use super::words::is_false;
use super::{Abandon, Arm, Cause, Does, Outcome, Source, Stage};
use crate::control::ExprText;
use crate::event::Gate;
use crate::policy::Written;
use crate::request::{ByteRange, Nanos, Probes, Request, RequestId, Status};
use serde::{Deserialize, Serialize};

/// One record and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Monotonic nanoseconds since the daemon started.
    pub t: Nanos,
    /// What happened.
    #[serde(flatten)]
    pub record: Record,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Record {
    /// First line: what this file is.
    Journal {
        /// [`VERSION`].
        version: u32,
        /// The image being served.
        image: String,
        /// Its size in bytes.
        image_bytes: u64,
        /// What the host's `CLOCK_MONOTONIC` showed at `t` = 0, in nanoseconds.
        #[serde(default)]
        monotonic_ns: Nanos,
    },
    /// A policy was loaded.
    Policy {
        /// What it was read from: enough to read it again.
        #[serde(flatten)]
        written: Written,
        /// Whether it holds from now on; else only in attempts that are begun.
        armed: bool,
    },
    /// A guest connected.
    Connected,
    /// It went away.
    Disconnected,
    /// An attempt began.
    AttemptBegan {
        /// Its number.
        attempt: u64,
        /// Its arm.
        arm: Arm,
        /// The watchdog that replaces the policy's own in this attempt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watchdog_ns: Option<Nanos>,
    },
    /// It ended.
    AttemptEnded {
        /// Its number.
        attempt: u64,
    },
    /// Its verdict, as the lab judged it.
    Verdict {
        /// The attempt.
        attempt: u64,
        /// What it showed.
        outcome: Outcome,
        /// Why, in words.
        why: String,
    },
    /// A request arrived.
    Arrived {
        /// The request.
        #[serde(flatten)]
        request: Request,
        /// The point it is, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        point: Option<String>,
        /// Whether no policy concerned it, so that the engine did not see it.
        #[serde(default, skip_serializing_if = "is_false")]
        passed: bool,
        /// Whether an earlier daemon died while it was in flight, and this one took it up again.
        #[serde(default, skip_serializing_if = "is_false")]
        resubmitted: bool,
    },
    /// It went to the drive.
    Submitted {
        /// The request.
        id: RequestId,
    },
    /// The drive finished it.
    Done {
        /// The request.
        id: RequestId,
        /// The drive's status.
        status: Status,
        /// Which of the policy's payload tests the data of a read passes.
        #[serde(default, skip_serializing_if = "Probes::is_empty")]
        probes: Probes,
        /// What the host said when the drive failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A rule decided.
    Decided {
        /// The request.
        id: RequestId,
        /// Where.
        gate: Gate,
        /// Its name.
        rule: String,
        /// What it does.
        does: Does,
        /// How long the request waits because of it, if that is known, in nanoseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wait_ns: Option<Nanos>,
        /// The status that the request ends with, if that is not the drive's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Status>,
    },
    /// A rule turned a state on or off.
    State {
        /// Its name.
        state: String,
        /// Whether it is on.
        on: bool,
    },
    /// The disk or a ring was paused.
    Paused {
        /// The ring; all of them if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<u16>,
        /// The rule that did it; a client if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// When the watchdog ends it.
        deadline_ns: Nanos,
    },
    /// A pause ended.
    Resumed {
        /// The ring; all of them if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<u16>,
        /// The rule that had paused it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Why.
        #[serde(flatten)]
        cause: Cause,
    },
    /// A client asked to resume.
    Resume,
    /// A client armed or disarmed the policy.
    Armed {
        /// Whether it acts from now on.
        armed: bool,
    },
    /// A client released what stands.
    Release {
        /// The request; if there is none, those of the point or all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
        /// The point.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        point: Option<String>,
    },
    /// Somebody waits.
    Awaiting {
        /// Names the wait.
        token: u64,
        /// For what.
        until: ExprText,
    },
    /// Who waited is gone.
    Forgotten {
        /// Names the wait.
        token: u64,
    },
    /// The guest stopped a ring.
    RingStopped {
        /// Index of the queue.
        queue: u16,
    },
    /// The guest was told.
    Completed {
        /// The request.
        id: RequestId,
        /// The status it was told.
        status: Status,
        /// Whether no policy concerned it, so that the engine did not see it.
        #[serde(default, skip_serializing_if = "is_false")]
        passed: bool,
        /// What the host said when the drive failed, if there is no record of that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// It was given up.
    Abandoned {
        /// The request.
        id: RequestId,
        /// How far it had come.
        stage: Stage,
        /// Why.
        why: Abandon,
        /// Whether no policy concerned it, so that the engine did not see it.
        #[serde(default, skip_serializing_if = "is_false")]
        passed: bool,
    },
    /// A hold began.
    Held {
        /// The request.
        id: RequestId,
        /// Its point; empty if it is none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        point: String,
        /// The rule that holds it; the point's holds if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Where it is held.
        gate: Gate,
        /// The expression that will end it.
        until: String,
        /// When the watchdog will.
        deadline_ns: Nanos,
    },
    /// A hold has stood for half of its watchdog: event `attempt.stalled`.
    Stalled {
        /// The request.
        id: RequestId,
        /// Its point; empty if it is none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        point: String,
        /// The rule that decided; the point's holds if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Where it is held.
        gate: Gate,
    },
    /// A hold ended.
    Released {
        /// The request.
        id: RequestId,
        /// Its point; empty if it is none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        point: String,
        /// The rule that decided; the point's holds if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Where it was held.
        gate: Gate,
        /// Why it ended.
        #[serde(flatten)]
        cause: Cause,
    },
    /// A place was bound.
    Bound {
        /// Its name.
        place: String,
        /// Where it is.
        #[serde(flatten)]
        range: ByteRange,
    },
    /// Somebody made an event happen.
    Event {
        /// Who.
        source: Source,
        /// Its name.
        event: String,
        /// What was said beside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The guest reported an observation.
    Report {
        /// What was observed.
        name: String,
        /// What was seen.
        value: String,
    },
    /// A line of the guest's kernel log.
    Log {
        /// The line.
        line: String,
    },
    /// The guest's script came to its end.
    Finished {
        /// Its exit status.
        exit: i32,
    },
    /// A chain in a ring was no request: it got a status, or the ring was stopped.
    BadRequest {
        /// Index of the queue.
        queue: u16,
        /// What is wrong with it.
        why: String,
    },
    /// A client changed the disk's capacity.
    Resized {
        /// The new capacity.
        bytes: u64,
    },
    /// The daemon ended: what had not completed is given up, nothing else follows.
    Stopped,
}

impl Record {
    /// Whether it is of a request that no policy concerned, so that the engine did not see it.
    pub fn is_passed(&self) -> bool {
        match self {
            Record::Arrived { passed, .. }
            | Record::Completed { passed, .. }
            | Record::Abandoned { passed, .. } => *passed,
            _ => false,
        }
    }
}
