//! How often something can happen, or how much there can be of it, at most; and what asks for more.

use super::bounds::Fact;
use super::{Look, find_with};
use crate::event::{Event, Expr, Gauge, PointIndex};
use crate::policy::read::Read;
use crate::policy::tree::Node;
use crate::policy::{Filter, Policy, Wait};
use std::collections::{BTreeMap, BTreeSet};

impl Look<'_> {
    /// Tells of a leaf that asks for more than there can be.
    pub(super) fn too_much(&mut self, leaf: &Expr, node: &Node) {
        let Some((fact, least)) = Fact::of(leaf) else { return };
        let Some(most) = self.most(&fact).filter(|most| least > *most) else { return };
        let name = self.fact_name(&fact);
        let message = match fact {
            Fact::Gauge(_) => format!("`{name}` is {most} at most"),
            _ => format!("`{name}` happens {}", times(most)),
        };
        let (at, help) = (find_with(node, &name, &|rest| asks_for(rest, least)), self.most_help(&fact));
        self.warn(at.unwrap_or_else(|| node.at.clone()), message, "never is", help);
    }

    /// How often something happens in an attempt, or how much there is of it at once, at most, if that is known.
    pub(super) fn most(&self, fact: &Fact) -> Option<u64> {
        match fact {
            Fact::Times(Event::Point(point, _)) => self.count(*point),
            Fact::Times(Event::Policy(name)) if self.knows_rules() => {
                self.emitted.get(name.as_str()).copied().flatten()
            }
            Fact::Gauge(Gauge::InFlight) => self.slots(),
            Fact::Gauge(Gauge::Held) => {
                let held = self.held_most.filter(|_| self.knows_rules());
                held.into_iter().chain(self.slots()).min()
            }
            _ => None,
        }
    }

    /// What to do where that is not enough.
    pub(super) fn most_help(&self, fact: &Fact) -> String {
        match fact {
            Fact::Times(Event::Point(point, _)) => {
                format!("give point `{}` a larger `count`", self.policy.points[point.get()].name)
            }
            Fact::Times(_) => "let more requests emit it, or wait for fewer".to_owned(),
            _ if self.most(fact) < self.slots() || self.slots().is_none() => {
                "ask for fewer, or let holds and rules be of more requests".to_owned()
            }
            _ => {
                let (size, queues) = (self.queue_size(), self.queues().unwrap_or(1));
                let rings = if queues == 1 { "one ring".to_owned() } else { format!("{queues} rings") };
                format!(
                    "the disk of the case has {rings} of {size}: ask for fewer, or give [case.device] a larger \
                     `queue-size`"
                )
            }
        }
    }

    /// How many requests of an attempt a point is at most, if that is known.
    pub(super) fn count(&self, point: PointIndex) -> Option<u64> {
        let count = self.policy.points[point.get()].filter.turn.count;
        count.filter(|_| self.is_point(point))
    }

    /// Whether everything that emits or holds was read without mistakes.
    fn knows_rules(&self) -> bool {
        let well = |list: &[Read]| list.iter().all(|read| *read == Read::Well);
        self.sound.are_rules() && well(&self.sound.points) && well(&self.sound.holds)
    }
}

/// Events that rules emit, and how often at most, if that is known.
pub(super) fn emitted(policy: &Policy) -> BTreeMap<&str, Option<u64>> {
    let mut emitted = BTreeMap::new();
    for rule in &policy.rules {
        for name in &rule.notes.emit {
            let before = emitted.entry(name.as_str()).or_insert(Some(0));
            *before = sum(*before, requests(policy, &rule.filter));
        }
    }
    emitted
}

/// Most requests that stand at once, if that is known. A policy that makes none stand asks for what is paused by hand.
pub(super) fn held(policy: &Policy) -> Option<u64> {
    let points: BTreeSet<PointIndex> = policy.holds.iter().map(|hold| hold.point).collect();
    let points = points.into_iter().map(|point| policy.points[point.get()].filter.turn.count);
    let rules = policy.rules.iter().filter_map(|rule| match rule.verdict.as_ref()?.wait.as_ref()? {
        Wait::Pause(_) => Some(None),
        _ => Some(requests(policy, &rule.filter)),
    });
    points.chain(rules).fold(Some(0), sum).filter(|most| *most > 0)
}

/// How many requests of an attempt a rule is for at most, if that is known.
fn requests(policy: &Policy, filter: &Filter) -> Option<u64> {
    let of_point = filter.point.and_then(|point| policy.points[point.get()].filter.turn.count);
    filter.turn.count.into_iter().chain(of_point).min()
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one?.checked_add(other?)
}

/// Whether a comparison is one with at least so many.
fn asks_for(comparison: &str, least: u64) -> bool {
    let number = comparison.trim_start().trim_start_matches(['<', '>', '=']);
    let operator = comparison.trim_start().strip_suffix(number).unwrap_or_default();
    let number: Option<u64> = number.trim().parse().ok();
    match operator {
        "" => least == 1,
        ">" => number == least.checked_sub(1),
        ">=" | "==" => number == Some(least),
        _ => false,
    }
}

pub(super) fn times(most: u64) -> String {
    if most == 1 { "only once".to_owned() } else { format!("{most} times at most") }
}
