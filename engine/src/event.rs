//! Events, gates and expressions: the vocabulary in which a policy orders what happens.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A step in a point's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    /// The request came out of the ring.
    Arrived,
    /// It went to the drive.
    Submitted,
    /// The drive finished it.
    Done,
    /// The guest was told.
    Completed,
}

impl Life {
    /// All steps in order.
    pub const ALL: [Life; 4] = [Life::Arrived, Life::Submitted, Life::Done, Life::Completed];

    /// The word after the point's name.
    pub fn name(self) -> &'static str {
        match self {
            Life::Arrived => "arrived",
            Life::Submitted => "submitted",
            Life::Done => "done",
            Life::Completed => "completed",
        }
    }
}

/// Where a request can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Before the drive: its data does not reach the media.
    Submit,
    /// After the drive: its data is on the media, the guest is not told.
    Complete,
}

impl Gate {
    /// Both gates in order.
    pub const ALL: [Gate; 2] = [Gate::Submit, Gate::Complete];

    /// The word after the point's name.
    pub fn name(self) -> &'static str {
        match self {
            Gate::Submit => "submit",
            Gate::Complete => "complete",
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Index of a point in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointIndex(pub usize);

/// An event, with points resolved against a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A step in a point's life.
    Point(PointIndex, Life),
    /// `guest.NAME`.
    Guest(String),
    /// `control.NAME`.
    Control(String),
    /// `attempt.finished`: the guest's script came to its end.
    Finished,
    /// `attempt.stalled`: a hold has stood for half of its watchdog, time to see who waits where.
    Stalled,
}

/// An expression over events. Events do not un-happen within an attempt, so once true it stays true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// The event has happened in this attempt.
    Event(Event),
    /// One of them is true.
    Any(Vec<Expr>),
    /// Each of them is true.
    All(Vec<Expr>),
}

impl Expr {
    /// Whether it is true, given which events have happened.
    pub fn holds(&self, happened: &impl Fn(&Event) -> bool) -> bool {
        match self {
            Expr::Event(event) => happened(event),
            Expr::Any(parts) => parts.iter().any(|part| part.holds(happened)),
            Expr::All(parts) => parts.iter().all(|part| part.holds(happened)),
        }
    }

    /// Every event it names, in order of writing.
    pub fn events(&self) -> Vec<&Event> {
        match self {
            Expr::Event(event) => vec![event],
            Expr::Any(parts) | Expr::All(parts) => parts.iter().flat_map(Expr::events).collect(),
        }
    }
}
