//! What a rule is: which requests, at which gate, and what becomes of them.

use crate::class::ClassSet;
use crate::event::{Expr, Gate, PointIndex, StateIndex};
use crate::request::{ByteRange, Nanos, OpSet, Request, Status};

/// Which requests are meant. All parts that are given have to be true.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The operation is one of these.
    pub ops: OpSet,
    /// It shares a byte with this range.
    pub range: Option<Where>,
    /// Its length in bytes is at least this.
    pub length_min: u64,
    /// And at most this.
    pub length_max: u64,
    /// The queue it comes through.
    pub queue: Option<u16>,
    /// Its blocks are one of these to the filesystem.
    pub class: Option<ClassSet>,
    /// Index of the payload test that its data passes.
    pub probe: Option<u8>,
    /// A flush has arrived after it: at the complete gate, while it stood or was with the drive; for a point, at
    /// any time before another write arrives on its queue.
    pub flush_follows: bool,
    /// It is this point. Of rules only.
    pub point: Option<PointIndex>,
    /// What must be true at that moment: `after`, not `before`, and `when`.
    pub when: Option<Expr>,
    /// Which of those that all the rest is true of.
    pub turn: Turn,
}

impl Filter {
    /// Every request.
    pub const ANY: Filter = Filter {
        ops: OpSet::ANY,
        range: None,
        length_min: 0,
        length_max: u64::MAX,
        queue: None,
        class: None,
        probe: None,
        flush_follows: false,
        point: None,
        when: None,
        turn: Turn::EACH,
    };

    /// Whether operation, length and queue are those of a request.
    pub fn is_of_kind(&self, request: &Request) -> bool {
        self.ops.has(request.op)
            && (self.length_min..=self.length_max).contains(&request.range.length)
            && self.queue.is_none_or(|queue| queue == request.queue)
    }
}

/// A range of the disk, known or to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Written where it is used.
    Range(ByteRange),
    /// Index of a place.
    Place(usize),
}

/// Which of the requests that match are meant, counted from 1 in each attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// The first.
    pub from: u64,
    /// And every so many after it; 1 is each, [`u64::MAX`] none.
    pub every: u64,
    /// How probable it is that one of these is meant; drawn from the policy's seed.
    pub probability: Option<f64>,
    /// How many are meant at most.
    pub count: Option<u64>,
}

impl Turn {
    /// Each of them.
    pub const EACH: Turn = Turn { from: 1, every: 1, probability: None, count: None };

    /// The first; of points, the first that no earlier point takes.
    pub const FIRST: Turn = Turn { count: Some(1), ..Turn::EACH };

    /// Only the n-th, and none if that is taken.
    pub fn nth(nth: u64) -> Turn {
        Turn { from: nth, every: u64::MAX, ..Turn::FIRST }
    }

    /// Whether the n-th of those that match is one of those that are meant, but for chance and count.
    pub fn has(&self, nth: u64) -> bool {
        nth >= self.from && (nth - self.from).is_multiple_of(self.every)
    }
}

/// A test of a write's data, or of what a read brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// All of it is zero.
    Zero,
    /// It has these bytes there.
    Bytes {
        /// Offset in the request's data, in bytes.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// For every request of a match: what becomes of it at a gate. The first rule in file order that matches and
/// has a verdict decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name: as written, or `rule-N`, counted from 1.
    pub name: String,
    /// Where it decides.
    pub gate: Gate,
    /// Which requests.
    pub filter: Filter,
    /// What is noted when one matches.
    pub notes: Notes,
    /// What becomes of it; `None`: the rule only notes, and later ones decide.
    pub verdict: Option<Verdict>,
    /// How long a request may stand because of it.
    pub watchdog_ns: Nanos,
}

/// What a rule notes of a request that it matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// States to turn on.
    pub set: Vec<StateIndex>,
    /// States to turn off.
    pub clear: Vec<StateIndex>,
    /// Names of events that happen: `policy.NAME`.
    pub emit: Vec<String>,
}

/// What becomes of a request; with neither wait nor failure it goes on at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What it waits for first.
    pub wait: Option<Wait>,
    /// The status it ends with. At the submit gate the drive never sees it; at the complete gate it has done its work.
    pub fail: Option<Status>,
}

/// What a request waits for at a gate.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    /// That the expression is true.
    Until(Expr),
    /// That a time has passed.
    Delay(Delay),
    /// Its turn in another order.
    Reorder(Reorder),
    /// Its share of what a slow disk can do.
    Limit(Limit),
    /// The end of a stall, if there is one now.
    Stall(Stall),
    /// It begins a pause, in which it and others stand.
    Pause(Pause),
}

/// How long a request is delayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Delay {
    /// How the time is drawn.
    pub shape: Shape,
    /// Least that is drawn, in nanoseconds; less counts as this.
    pub min_ns: Nanos,
    /// Most, likewise.
    pub max_ns: Nanos,
}

/// How a delay is drawn; all times in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Always this.
    Fixed(Nanos),
    /// Anything from here to there, all alike.
    Uniform(Nanos, Nanos),
    /// The normal distribution.
    Normal {
        /// Its mean.
        mean_ns: Nanos,
        /// Its standard deviation.
        deviation_ns: Nanos,
    },
    /// The lognormal distribution.
    LogNormal {
        /// Half are less than this.
        median_ns: Nanos,
        /// Of a hundred, 99 are less than this.
        p99_ns: Nanos,
    },
    /// The Pareto distribution.
    Pareto {
        /// Its least value (scale).
        least_ns: Nanos,
        /// Its shape: the smaller, the heavier the tail; above 0.
        shape: f64,
    },
    /// Delays and how often each comes, relative to the sum; not empty, weights above 0.
    Table(Vec<(Nanos, f64)>),
}

/// Another order among requests that are collected at the gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Reorder {
    /// The order in which they go on.
    pub order: Order,
    /// When they do.
    pub close: Close,
}

/// In which order collected requests go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The youngest first.
    LastFirst,
    /// Drawn from the policy's seed.
    Random,
    /// By where they are on the disk.
    BySector,
    /// Positions by arrival at the gate, counted from 0, in the order in which they go on. Those beyond its end
    /// follow as they came.
    Written(Vec<usize>),
}

/// When collecting ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Close {
    /// When there are so many, or when the first has waited for so long.
    Window {
        /// How many.
        requests: u64,
        /// How long, in nanoseconds, if it is limited: what is there then goes on.
        within_ns: Option<Nanos>,
    },
    /// When the expression is true.
    Until(Expr),
}

/// What a slow disk can do in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub of: Share,
    /// How much in a second; above 0.
    pub per_second: u64,
    /// How much at once after idling; at least 1 request or byte.
    pub burst: u64,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Requests.
    Requests,
    /// Bytes that requests move.
    Bytes,
}

/// Nothing goes on for some time, periodically, counted from when the attempt began or the policy was armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// From the beginning of one stall to that of the next; the first begins after one period.
    pub every_ns: Nanos,
    /// How long each takes; less than `every_ns`.
    pub for_ns: Nanos,
}

/// Requests stand at whatever gate they come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pause {
    /// Which requests.
    pub scope: Scope,
    /// What ends it; `None`: somebody resumes, the guest resets the ring, or the watchdog.
    pub until: Option<Expr>,
}

/// Which requests a pause is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Disk,
    /// Those of the ring of the request that began it.
    Ring,
}
