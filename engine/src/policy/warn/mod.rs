//! What a policy that is read without mistakes probably does not mean.

mod behind;
mod bounds;
mod circle;
mod disk;
mod known;
mod meant;
mod most;
mod never;
mod ring;
mod script;
mod shadow;
mod stuck;
mod taken;
mod times;
mod union;
mod unused;
mod waits;
mod why;

use self::circle::Waiter;
use super::circle::Circle;
use super::read::{Parts, Read, Sound};
use super::table::Mistakes;
use super::tree::{Node, Value};
use super::{Close, Filter, Hold, Policy, Rule, Turn, Wait};
use crate::diagnostic::{Diagnostic, Spot};
use crate::event::{Event, Expr, Gate, Life, PointIndex, StateIndex};
use std::collections::{BTreeMap, BTreeSet};

pub use meant::Meant;
pub use script::warn_of_script;

/// Adds every warning about what was read without mistakes; `circles` are told already.
pub fn warn(policy: &Policy, parts: &Parts<'_>, sound: &Sound, circles: &[Circle], list: &mut Mistakes) {
    let notes = || policy.rules.iter().map(|rule| &rule.notes);
    let turned_on = notes().flat_map(|notes| &notes.set).copied().collect();
    let well = |list: &[Read]| {
        list.iter().filter(|read| **read != Read::Not).map(|read| *read == Read::Well).collect()
    };
    let (holds_well, rules_well) = (well(&sound.holds), well(&sound.rules));
    let (told, idle) = Default::default();
    let (emitted, held_most) = (most::emitted(policy), most::held(policy));
    let mut look = Look {
        policy,
        parts,
        sound,
        holds_well,
        rules_well,
        emitted,
        turned_on,
        held_most,
        told,
        idle,
        list,
    };
    look.never();
    look.contradictions(circles);
    look.taken();
    look.behind();
    look.failed();
    look.shadowed();
    look.circles();
    look.waits();
    look.unused();
    look.times();
}

struct Look<'l> {
    policy: &'l Policy,
    parts: &'l Parts<'l>,
    sound: &'l Sound,
    /// Whether each of the policy's holds was read without mistakes; what was not is not doubted.
    holds_well: Vec<bool>,
    /// The same of rules; one for a point also needs that point.
    rules_well: Vec<bool>,
    /// Events that a rule makes happen, and how often at most, if that is known.
    emitted: BTreeMap<&'l str, Option<u64>>,
    /// States that a rule turns on.
    turned_on: BTreeSet<StateIndex>,
    /// Most requests that holds and rules make stand at once, if that is known.
    held_most: Option<u64>,
    /// What is told of as never being what it asks for.
    told: BTreeSet<Waiter>,
    /// Rules that are told of as never deciding.
    idle: BTreeSet<usize>,
    list: &'l mut Mistakes,
}

impl<'l> Look<'l> {
    fn warn(&mut self, at: Spot, message: impl Into<String>, label: &str, help: impl Into<String>) {
        let warning = Diagnostic::warning(at, message).label(label).help(help);
        // Two parts of one comparison may have the same doubt.
        if self.list.last() != Some(&warning) {
            self.list.push(warning);
        }
    }

    /// Points and rules: what each is called, which requests it is for, and its table.
    fn filters(&self) -> Vec<(String, &'l Filter, &'l Node)> {
        let (policy, parts) = (self.policy, self.parts);
        let points = policy.points.iter().zip(&parts.points).zip(&self.sound.points);
        let points = points.filter(|(_, read)| **read == Read::Well).map(|(point, _)| point);
        let points =
            points.map(|(point, entry)| (format!("point `{}`", point.name), &point.filter, &entry.node));
        let rules = self.rules().map(|(rule, node)| (format!("rule `{}`", rule.name), &rule.filter, node));
        points.chain(rules).collect()
    }

    /// Rules and their tables.
    fn rules(&self) -> impl Iterator<Item = (&'l Rule, &'l Node)> + use<'_, 'l> {
        let rules = self.policy.rules.iter().zip(self.parts.rules.iter().map(|(node, _)| *node));
        rules.enumerate().filter(|(index, _)| self.is_well(*index)).map(|(_, rule)| rule)
    }

    /// A rule's place among the rules.
    fn index_of(&self, rule: &Rule) -> usize {
        let index = self.policy.rules.iter().position(|one| std::ptr::eq(one, rule));
        index.unwrap_or(self.policy.rules.len())
    }

    /// Holds and their tables.
    fn holds(&self) -> impl Iterator<Item = (&'l Hold, &'l Node)> + use<'_, 'l> {
        let holds = self.policy.holds.iter().zip(self.parts.holds.iter().map(|(node, _)| *node));
        holds
            .zip(&self.holds_well)
            .filter(|((hold, _), well)| **well && self.is_point(hold.point))
            .map(|(hold, _)| hold)
    }

    /// Whether a rule, and the point that it is for, was read without mistakes.
    fn is_well(&self, rule: usize) -> bool {
        self.rules_well[rule] && self.policy.rules[rule].filter.point.is_none_or(|point| self.is_point(point))
    }

    /// Whether a point was read without mistakes.
    fn is_point(&self, point: PointIndex) -> bool {
        self.sound.points[point.get()] == Read::Well
    }

    /// Every expression and where it stands, or the table that it is put together from.
    fn expressions(&self) -> Vec<(&'l Expr, &'l Node)> {
        let mut found = Vec::new();
        for (_, filter, node) in self.filters() {
            found.extend(filter.when.as_ref().map(|when| (when, node)));
        }
        for (hold, node) in self.holds() {
            found.extend(node.get("until").map(|node| (&hold.until, node)));
        }
        for (rule, node) in self.rules() {
            found.extend(until(rule).zip(node.get("until")));
        }
        found
    }

    /// Whether something is told already of what stands there.
    fn is_told(&self, at: &Spot) -> bool {
        let inside = |one: &Spot| {
            one.file == at.file && at.span.start <= one.span.start && one.span.end <= at.span.end
        };
        self.list.iter().any(|one| inside(&one.at))
    }

    fn meant(&self, filter: &Filter) -> Meant {
        Meant::of(self.policy, filter)
    }
}

/// What a rule waits for, if it is an expression.
fn until(rule: &Rule) -> Option<&Expr> {
    match rule.verdict.as_ref()?.wait.as_ref()? {
        Wait::Until(until) => Some(until),
        Wait::Reorder(reorder) => match &reorder.close {
            Close::Until(until) => Some(until),
            Close::Window { .. } => None,
        },
        Wait::Pause(pause) => pause.until.as_ref(),
        _ => None,
    }
}

/// Whether it is every request of which all else is true.
fn is_each(turn: Turn) -> bool {
    Turn { probability: turn.probability.filter(|probability| *probability < 1.0), ..turn } == Turn::EACH
}

/// Where a key's value stands, or else the table.
fn at(node: &Node, key: &str) -> Spot {
    node.get(key).map_or_else(|| node.at.clone(), |value| value.at.clone())
}

/// Where in an expression, or a table of them, a name stands.
fn find(node: &Node, name: &str) -> Option<Spot> {
    find_with(node, name, &|_| true)
}

/// The same of a name after which stands something.
fn find_with(node: &Node, name: &str, is: &impl Fn(&str) -> bool) -> Option<Spot> {
    match &node.value {
        Value::String(text) => {
            let rest = text.trim_start().strip_prefix(name)?;
            let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            (ends && is(rest)).then(|| node.at.clone())
        }
        Value::Array(items) => items.iter().find_map(|item| find_with(item, name, is)),
        Value::Table(entries) => {
            let words =
                |key: &str| ["name", "gate", "point", "place", "op", "set", "clear", "emit"].contains(&key);
            entries
                .iter()
                .filter(|entry| !words(&entry.name))
                .find_map(|entry| find_with(&entry.node, name, is))
        }
        _ => None,
    }
}

/// Whether an expression can become true if its leaves can as `leaf` says. Nothing is known of what must not
/// be.
fn can_be(expr: &Expr, leaf: &impl Fn(&Expr) -> bool) -> bool {
    match expr {
        Expr::Any(parts) => parts.iter().any(|part| can_be(part, leaf)),
        Expr::All(parts) => parts.iter().all(|part| can_be(part, leaf)),
        Expr::Not(_) => true,
        other => leaf(other),
    }
}

/// The parts that all have to be true.
fn conjuncts(when: Option<&Expr>) -> Vec<&Expr> {
    match when {
        Some(Expr::All(parts)) => parts.iter().flat_map(|part| conjuncts(Some(part))).collect(),
        Some(other) => vec![other],
        None => Vec::new(),
    }
}

/// Whether a request that stands at the gate has this step before it.
fn comes_after(life: Life, gate: Gate) -> bool {
    match gate {
        Gate::Submit => life != Life::Arrived,
        Gate::Complete => life == Life::Completed,
    }
}

/// The point of an event, if it is a point's.
fn step(event: &Event) -> Option<(PointIndex, Life)> {
    if let Event::Point(point, life) = event { Some((*point, *life)) } else { None }
}
