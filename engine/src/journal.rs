//! The journal's schema: what happened, in the one order in which the engine saw it.
//!
//! A journal is a sequence of [`Line`]s, the first of them [`Record::Journal`]. A step of the engine begins with the
//! record of what came in and goes on with what follows from it; where nothing came in, time has passed. So a
//! journal can be fed back ([`crate::replay`]). Fields are only ever added.

use crate::control::ExprText;
use crate::event::Gate;
use crate::policy::Written;
use crate::request::{ByteRange, Nanos, Probes, Request, RequestId, Status};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Version of this schema, in the first line of every journal.
pub const VERSION: u32 = 1;

/// One record and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Monotonic nanoseconds since the daemon started.
    pub t: Nanos,
    /// What happened.
    #[serde(flatten)]
    pub record: Record,
}

/// Whether holds hold in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The policy watches but holds nothing.
    Control,
    /// Holds hold.
    Forced,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arm::Control => "control",
            Arm::Forced => "forced",
        })
    }
}

/// What an attempt showed, and, over all attempts, the verdict of a case on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The order was forced and the symptom appeared.
    Open,
    /// The guest would not go on while the hold stood, though the control arm reached every point.
    Closed,
    /// The order was forced and there was no symptom.
    Survived,
    /// A point was never reached.
    Missed,
    /// The guest crashed, hung or never answered.
    Lost,
    /// A control attempt in which every point was reached.
    Reached,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Open => "open",
            Outcome::Closed => "closed",
            Outcome::Survived => "survived",
            Outcome::Missed => "missed",
            Outcome::Lost => "lost",
            Outcome::Reached => "reached",
        })
    }
}

/// Why a request that stood at a gate goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Cause {
    /// Its `until` became true.
    Until {
        /// The event that made it true.
        event: String,
    },
    /// It stood longer than its watchdog allows.
    Watchdog {
        /// The limit.
        limit_ns: Nanos,
        /// Whether a guest that waited for `attempt.stalled`, to say where it stands, never said so:
        /// it may have been merely slow.
        #[serde(default, skip_serializing_if = "is_false")]
        unheard: bool,
    },
    /// The watchdog of another hold ended the forcing of this attempt.
    WatchdogOf {
        /// The gate of that hold, `A.complete` say. The record that this is part of has a `gate` of its own.
        #[serde(rename = "of")]
        gate: String,
    },
    /// Its delay has passed.
    Delay,
    /// Its share of what is limited has come.
    Limit,
    /// The stall is over.
    Stall,
    /// The window in which it was collected is closed.
    Window {
        /// How many requests were in it.
        requests: u64,
    },
    /// The pause is over; its gate decides anew.
    Resumed,
    /// Released over the control socket.
    Hand,
    /// The policy was disarmed.
    Disarmed,
    /// The attempt ended.
    AttemptEnd,
    /// The policy was replaced.
    PolicyReplaced,
    /// The guest stopped the request's ring: a reset, a stop, an unbound driver.
    RingStop,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Why a request was given up: it never completed, and whoever sent it is gone or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abandon {
    /// The guest's connection closed.
    Disconnect,
    /// The daemon was told to end.
    Shutdown,
}

/// What a rule does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// Lets it go on.
    Pass,
    /// Ends it with a status.
    Fail,
    /// Holds it until an expression is true.
    Hold,
    /// Delays it.
    Delay,
    /// Collects it, to go on in another order.
    Reorder,
    /// Lets it wait for its share.
    Limit,
    /// Lets it wait while the disk stalls.
    Stall,
    /// Pauses the disk or a ring.
    Pause,
}

impl fmt::Display for Does {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Does::Pass => "pass",
            Does::Fail => "fail",
            Does::Hold => "hold",
            Does::Delay => "delay",
            Does::Reorder => "reorder",
            Does::Limit => "limit",
            Does::Stall => "stall",
            Does::Pause => "pause",
        })
    }
}

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Held at the submit gate: its data is not on the media.
    HeldAtSubmit,
    /// With the drive.
    Submitted,
    /// Held at the complete gate: its data is on the media, the guest has not been told.
    HeldAtComplete,
}

/// Who made an event happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The guest.
    Guest,
    /// A client of the control socket.
    Control,
    /// A rule of the policy.
    Policy,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Guest => "guest",
            Source::Control => "control",
            Source::Policy => "policy",
        })
    }
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
    },
    /// It was given up.
    Abandoned {
        /// The request.
        id: RequestId,
        /// How far it had come.
        stage: Stage,
        /// Why.
        why: Abandon,
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
    /// The daemon ended: what had not completed is given up, nothing else follows.
    Stopped,
}
