//! The words that records are made of.

use crate::request::Nanos;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a policy does in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The policy watches but holds nothing.
    Control,
    /// Holds hold.
    Forced,
    /// The policy does nothing, not even watch, and the guest waits for none of its points: what is left to chance.
    Natural,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arm::Control => "control",
            Arm::Forced => "forced",
            Arm::Natural => "natural",
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

pub(super) fn is_false(value: &bool) -> bool {
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

impl fmt::Display for Abandon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Abandon::Disconnect => "disconnect",
            Abandon::Shutdown => "shutdown",
        })
    }
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

impl Does {
    /// Everything that a rule can do, by number.
    pub const ALL: [Does; 8] = [
        Does::Pass,
        Does::Fail,
        Does::Hold,
        Does::Delay,
        Does::Reorder,
        Does::Limit,
        Does::Stall,
        Does::Pause,
    ];
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

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::HeldAtSubmit => "held-at-submit",
            Stage::Submitted => "submitted",
            Stage::HeldAtComplete => "held-at-complete",
        })
    }
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
