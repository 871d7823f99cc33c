//! A policy in its compiled form: every name resolved, every mistake already reported.
//!
//! [`Policy::parse`] makes it from the text of a policy file; the grammar is in `docs/policy.md`.

mod circle;
mod expr;
mod quantity;
mod read;
mod table;

use crate::diagnostic::Diagnostics;
use crate::event::{Event, Expr, Gate, Life, PointIndex};
use crate::journal::Source;
use crate::request::{ByteRange, Nanos, Op};

pub use expr::is_name;
pub use quantity::{parse_bytes, parse_duration};

/// How long a hold may stand when neither policy nor attempt says.
pub const WATCHDOG_NS_DEFAULT: Nanos = 10_000_000_000;

/// How long an attempt of a case may take when the case does not say.
pub const LIMIT_NS_DEFAULT: Nanos = 60_000_000_000;

/// What a policy file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where the text came from.
    pub origin: String,
    /// The text.
    pub text: String,
    /// What it takes to run it in a guest, for policies that are cases.
    pub case: Option<Case>,
    /// Named ranges of the disk.
    pub places: Vec<Place>,
    /// Events that the guest or the control socket may make happen and the policy waits for.
    pub events: Vec<NamedEvent>,
    /// Named requests, in file order.
    pub points: Vec<Point>,
    /// Holds, in file order.
    pub holds: Vec<Hold>,
    /// Signs of the symptom, in file order.
    pub signs: Vec<Sign>,
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
    /// How long an attempt may take, beside its holds, before the guest counts as lost.
    pub limit_ns: Nanos,
    /// How the disk is made.
    pub image: ImageRecipe,
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

/// A named request: the `nth` of an attempt that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Its operation.
    pub op: Op,
    /// Index of the place that it shares a byte with.
    pub place: Option<usize>,
    /// The queue it comes through.
    pub queue: Option<u16>,
    /// What must be true when it arrives.
    pub after: Option<Expr>,
    /// Which of the requests that match, counted from 1.
    pub nth: u64,
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
            origin: String::new(),
            text: String::new(),
            case: None,
            places: Vec::new(),
            events: Vec::new(),
            points: Vec::new(),
            holds: Vec::new(),
            signs: Vec::new(),
        }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// Every mistake in the text, in one pass.
    pub fn parse(origin: &str, text: &str) -> Result<Policy, Diagnostics> {
        read::read(origin, text)
    }

    /// The point of that name.
    pub fn point(&self, name: &str) -> Option<PointIndex> {
        self.points.iter().position(|point| point.name == name).map(PointIndex)
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
        expr::resolve(&self.names(), self.text.is_empty(), written)
    }

    /// An event's name as it is written in policies.
    pub fn event_name(&self, event: &Event) -> String {
        match event {
            Event::Point(point, life) => self.life_name(*point, *life),
            Event::Guest(name) => format!("guest.{name}"),
            Event::Control(name) => format!("control.{name}"),
            Event::Finished => "attempt.finished".to_owned(),
            Event::Stalled => "attempt.stalled".to_owned(),
        }
    }

    /// `A.arrived`, say.
    pub fn life_name(&self, point: PointIndex, life: Life) -> String {
        format!("{}.{}", self.points[point.0].name, life.name())
    }

    /// `A.complete`, say.
    pub fn gate_name(&self, hold: &Hold) -> String {
        format!("{}.{}", self.points[hold.point.0].name, hold.gate.name())
    }

    /// An expression as it would be written on one line.
    pub fn expr_text(&self, expr: &Expr) -> String {
        let join = |word: &str, parts: &[Expr]| {
            let parts: Vec<String> = parts.iter().map(|part| self.expr_text(part)).collect();
            format!("{word}({})", parts.join(", "))
        };
        match expr {
            Expr::Event(event) => self.event_name(event),
            Expr::Any(parts) => join("any", parts),
            Expr::All(parts) => join("all", parts),
        }
    }

    fn names(&self) -> expr::Names<'_> {
        expr::Names {
            points: self.points.iter().map(|point| point.name.as_str()).collect(),
            events: &self.events,
        }
    }
}
