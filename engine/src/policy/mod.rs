//! A policy in its compiled form: every name resolved, every mistake already reported.
//!
//! [`Policy::parse`] makes it from the text of a policy file; the grammar is in `docs/policy.md`.

mod circle;
mod explain;
mod expr;
pub mod grammar;
mod names;
mod phrase;
mod quantity;
mod read;
mod rule;
mod table;
mod text;
mod tree;
mod warn;

use crate::event::{Event, Expr, Gate, Life, PointIndex, StateIndex};
use crate::journal::Source;
use crate::request::{ByteRange, Nanos};

pub use names::is_name;
pub use quantity::{parse_bytes, parse_duration};
pub use rule::{
    Close, Delay, Filter, Limit, Notes, Order, Pause, Probe, Reorder, Rule, Scope, Shape, Share, Stall, Turn,
    Verdict, Wait, Where,
};
pub use text::{Checked, Included, Settings, Written};

/// How long a hold may stand when neither policy nor attempt says.
pub const WATCHDOG_NS_DEFAULT: Nanos = 10_000_000_000;

/// How long an attempt of a case may take when the case does not say.
pub const LIMIT_NS_DEFAULT: Nanos = 60_000_000_000;

/// What a policy file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What it was read from.
    pub written: Written,
    /// What chance is drawn from.
    pub seed: u64,
    /// What it takes to run it in a guest, for policies that are cases.
    pub case: Option<Case>,
    /// Named ranges of the disk.
    pub places: Vec<Place>,
    /// Events that the guest, the control socket or a rule may make happen and the policy waits for.
    pub events: Vec<NamedEvent>,
    /// Named states, in file order.
    pub states: Vec<State>,
    /// Tests of requests' data; at most [`Probes::MAX`](crate::request::Probes::MAX).
    pub probes: Vec<Probe>,
    /// Named requests, in file order.
    pub points: Vec<Point>,
    /// Holds, in file order.
    pub holds: Vec<Hold>,
    /// Rules, in the order in which they are tried.
    pub rules: Vec<Rule>,
    /// Signs of the symptom, in file order.
    pub signs: Vec<Sign>,
    /// How long a pause that is made by hand may stand.
    pub watchdog_ns: Nanos,
}

/// How a case is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What it shows, in a line or two.
    pub about: String,
    /// File name of the guest script.
    pub guest: String,
    /// Whether the script waits for `attempt.stalled` to report as `stuck` where the guest stands;
    /// a guest that does not go on counts as closed only if it has said so.
    pub witness: bool,
    /// Processes that the script may name with `stuck`, and where each has to sleep for the attempt to be
    /// closed; if there are none, any sleep will do.
    pub waits: Vec<GuestWait>,
    /// Points that are direct writes, and how the guest tells that one is complete.
    pub direct: Vec<DirectWrite>,
    /// What the script finds in its environment, in file order.
    pub variables: Vec<(String, String)>,
    /// Events of the guest that divide an attempt; what the disk does between one and the next is counted.
    pub phases: Vec<String>,
    /// How long an attempt may take, beside its holds, before the guest counts as lost.
    pub limit_ns: Nanos,
    /// How the disk is made.
    pub image: ImageRecipe,
    /// What QEMU is told of the disk.
    pub device: CaseDevice,
}

/// Where a process of the guest has to sleep for an attempt to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestWait {
    /// What the script calls the process.
    pub process: String,
    /// Kernel functions; the innermost one of its stack has to be one of them.
    pub functions: Vec<String>,
    /// What that means, for people.
    pub means: String,
}

/// A point that is a direct write, unless the kernel sends it through the page cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectWrite {
    /// The point's name.
    pub point: String,
    /// The guest event, without `guest.`, that says that the guest has seen it complete.
    pub seen: String,
}

/// Properties of the disk that QEMU has, if they are not QEMU's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaseDevice {
    /// Requests that fit into a ring; a power of 2.
    pub queue_size: Option<u16>,
    /// How many rings there are.
    pub num_queues: Option<u16>,
}

/// How the disk of a case is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecipe {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Filesystem to make: `mkfs.NAME` is called with `options` and the image.
    pub filesystem: String,
    /// Options of `mkfs`.
    pub options: Vec<String>,
}

/// A named range of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Where it is; `None` if the guest binds it at run time.
    pub range: Option<ByteRange>,
}

/// An event with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedEvent {
    /// Who makes it happen.
    pub source: Source,
    /// Its name.
    pub name: String,
}

/// A state that rules turn on and off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Whether it is on when an attempt begins.
    pub on: bool,
}

/// A named request, or several of them: those of an attempt that match.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Which requests.
    pub filter: Filter,
}

/// Keeps a point at a gate until an expression is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The point.
    pub point: PointIndex,
    /// Where.
    pub gate: Gate,
    /// Until when.
    pub until: Expr,
    /// How long it may stand before it is ended and that is called out.
    pub watchdog_ns: Nanos,
}

/// A sign of the symptom: any one of them is the symptom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Its name.
    pub name: String,
    /// How it is seen.
    pub test: SignTest,
}

/// How a sign is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignTest {
    /// A line of the guest's kernel log has this text in it.
    KernelLog {
        /// The text.
        text: String,
        /// How many such lines a kernel prints in one boot before it falls silent.
        per_boot_max: Option<u64>,
    },
    /// The guest reported this value.
    Report {
        /// Name of the report.
        name: String,
        /// The value that is a sign.
        is: String,
    },
}

impl Policy {
    /// The policy that says nothing.
    pub fn none() -> Policy {
        Policy {
            written: Written::default(),
            seed: 0,
            case: None,
            places: Vec::new(),
            events: Vec::new(),
            states: Vec::new(),
            probes: Vec::new(),
            points: Vec::new(),
            holds: Vec::new(),
            rules: Vec::new(),
            signs: Vec::new(),
            watchdog_ns: WATCHDOG_NS_DEFAULT,
        }
    }

    /// The point of that name.
    pub fn point(&self, name: &str) -> Option<PointIndex> {
        let index = self.points.iter().position(|point| point.name == name)?;
        u32::try_from(index).ok().map(PointIndex)
    }

    /// Every point, in file order.
    pub fn point_indexes(&self) -> impl Iterator<Item = PointIndex> + use<> {
        (0..self.points.len() as u32).map(PointIndex)
    }

    /// The place of that name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.iter().position(|place| place.name == name)
    }

    /// Resolves an expression written at run time, as in `await`. Without a policy, and for
    /// `guest.ready`, nobody has to declare an event.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn resolve(&self, written: &crate::control::ExprText) -> Result<Expr, String> {
        let free: fn(&str) -> bool =
            if self.written.text.is_empty() { |_| true } else { |event| event == "guest.ready" };
        expr::resolve(&names::Names::of(self, free), written)
    }

    /// The names of the events that the guest makes happen.
    pub fn guest_events(&self) -> Vec<&str> {
        let of_guest = self.events.iter().filter(|event| event.source == Source::Guest);
        of_guest.map(|event| event.name.as_str()).collect()
    }

    /// An event's name as it is written in policies.
    pub fn event_name(&self, event: &Event) -> String {
        match event {
            Event::Point(point, life) => self.life_name(*point, *life),
            Event::Guest(name) => format!("guest.{name}"),
            Event::Control(name) => format!("control.{name}"),
            Event::Policy(name) => format!("policy.{name}"),
            Event::Finished => "attempt.finished".to_owned(),
            Event::Stalled => "attempt.stalled".to_owned(),
        }
    }

    /// `A.arrived`, say.
    pub fn life_name(&self, point: PointIndex, life: Life) -> String {
        format!("{}.{}", self.points[point.get()].name, life.name())
    }

    /// `A.complete`, say.
    pub fn gate_name(&self, hold: &Hold) -> String {
        format!("{}.{}", self.points[hold.point.get()].name, hold.gate.name())
    }

    /// An expression as it would be written on one line.
    pub fn expr_text(&self, expr: &Expr) -> String {
        let join = |word: &str, parts: &[Expr]| {
            let parts: Vec<String> = parts.iter().map(|part| self.expr_text(part)).collect();
            format!("{word}({})", parts.join(", "))
        };
        match expr {
            Expr::Event(event, 1) => self.event_name(event),
            Expr::Event(event, times) => format!("{} >= {times}", self.event_name(event)),
            Expr::State(state) => self.state_name(*state),
            Expr::Gauge(gauge, least) => format!("{} >= {least}", gauge.name()),
            Expr::Any(parts) => join("any", parts),
            Expr::All(parts) => join("all", parts),
            Expr::Not(part) => format!("not({})", self.expr_text(part)),
        }
    }

    /// `state.degraded`, say.
    pub fn state_name(&self, state: StateIndex) -> String {
        format!("state.{}", self.states[state.get()].name)
    }
}
