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
pub struct PointIndex(pub u32);

impl PointIndex {
    /// As an index into a slice.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// Index of a rule in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u32);

impl RuleIndex {
    /// As an index into a slice.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// Index of a named state in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateIndex(pub u32);

impl StateIndex {
    /// As an index into a slice.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// An event, with points resolved against a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A step in a point's life.
    Point(PointIndex, Life),
    /// `guest.NAME`.
    Guest(String),
    /// `control.NAME`.
    Control(String),
    /// `policy.NAME`: a rule made it happen.
    Policy(String),
    /// `attempt.finished`: the guest's script came to its end.
    Finished,
    /// `attempt.stalled`: a hold has stood for half of its watchdog, time to see who waits where.
    Stalled,
}

/// What is counted at this moment rather than since the attempt began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gauge {
    /// `in-flight`: requests on the disk that have arrived and have not completed.
    InFlight,
    /// `held`: those of them that stand at a gate.
    Held,
}

impl Gauge {
    /// All of them.
    pub const ALL: [Gauge; 2] = [Gauge::InFlight, Gauge::Held];

    /// The word in expressions.
    pub fn name(self) -> &'static str {
        match self {
            Gauge::InFlight => "in-flight",
            Gauge::Held => "held",
        }
    }
}

/// What an expression is evaluated against.
pub trait Facts {
    /// How often an event has happened in this attempt.
    fn times(&self, event: &Event) -> u64;
    /// Whether a named state is on.
    fn state(&self, state: StateIndex) -> bool;
    /// What a gauge shows.
    fn gauge(&self, gauge: Gauge) -> u64;
}

/// An expression over events and states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// The event has happened at least so many times in this attempt: once true it stays true.
    Event(Event, u64),
    /// The named state is on.
    State(StateIndex),
    /// The gauge shows at least so much.
    Gauge(Gauge, u64),
    /// One of them is true.
    Any(Vec<Expr>),
    /// Each of them is true.
    All(Vec<Expr>),
    /// It is not true.
    Not(Box<Expr>),
}

impl Expr {
    /// Whether it is true now.
    pub fn holds(&self, facts: &impl Facts) -> bool {
        match self {
            Expr::Event(event, times) => facts.times(event) >= *times,
            Expr::State(state) => facts.state(*state),
            Expr::Gauge(gauge, least) => facts.gauge(*gauge) >= *least,
            Expr::Any(parts) => parts.iter().any(|part| part.holds(facts)),
            Expr::All(parts) => parts.iter().all(|part| part.holds(facts)),
            Expr::Not(part) => !part.holds(facts),
        }
    }

    /// Every leaf (event, state or gauge), in order of writing.
    pub fn leaves(&self) -> Vec<&Expr> {
        match self {
            Expr::Any(parts) | Expr::All(parts) => parts.iter().flat_map(Expr::leaves).collect(),
            Expr::Not(part) => part.leaves(),
            leaf => vec![leaf],
        }
    }

    /// Every event it names, in order of writing.
    pub fn events(&self) -> Vec<&Event> {
        let leaves = self.leaves().into_iter();
        leaves.filter_map(|leaf| if let Expr::Event(event, _) = leaf { Some(event) } else { None }).collect()
    }

    /// Whether a gauge decides it, so that it has to be looked at when nothing but that has changed.
    pub fn reads_gauge(&self) -> bool {
        self.leaves().iter().any(|leaf| matches!(leaf, Expr::Gauge(..)))
    }
}
