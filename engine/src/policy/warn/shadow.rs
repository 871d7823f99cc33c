//! Rules that never decide, because an earlier one always does.

use super::meant::{Area, Meant};
use super::taken::{implied, lasting};
use super::{Look, conjuncts, is_each};
use crate::diagnostic::{Diagnostic, Spot};
use crate::event::{Event, Expr, Gate, PointIndex};
use crate::policy::Rule;
use crate::policy::tree::Node;
use std::collections::BTreeMap;

impl<'l> Look<'l> {
    pub(super) fn shadowed(&mut self) {
        let mut found_all: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut earlier: BTreeMap<Key, Bucket> = BTreeMap::new();
        let meant: Vec<Meant> = self.policy.rules.iter().map(|rule| self.meant(&rule.filter)).collect();
        let mut always: BTreeMap<Gate, Vec<usize>> = BTreeMap::new();
        for (index, rule) in self.policy.rules.iter().enumerate().filter(|(index, _)| self.is_well(*index)) {
            let one = &meant[index];
            let given = self.given(rule);
            let implies = |other: usize| self.is_implied(&self.policy.rules[other], &given);
            let covers = |other: usize| meant[other].covers(one) && implies(other);
            let found =
                keys(rule, one).into_iter().filter_map(|key| earlier.get(&key)?.find(one.area, &covers));
            let before = always.entry(rule.gate).or_default();
            if let Some(first) = found.min() {
                found_all.push((index, vec![first]));
            } else if let Some(all) = self.union(&meant, before, one, &implies) {
                found_all.push((index, all));
            } else if decides_always(rule) {
                let key = (rule.gate, rule.filter.point, rule.filter.queue);
                earlier.entry(key).or_default().insert(one.area, index);
                before.push(index);
            }
        }
        found_all.into_iter().for_each(|(index, before)| self.shadow(index, &before));
    }

    /// What is known to be true when a rule is asked.
    fn given(&self, rule: &'l Rule) -> Vec<&'l Expr> {
        let policy = self.policy;
        let of_point =
            rule.filter.point.map(|point| lasting(policy.points[point.get()].filter.when.as_ref()));
        conjuncts(rule.filter.when.as_ref()).into_iter().chain(of_point.unwrap_or_default()).collect()
    }

    /// Whether what an earlier rule asks for is true then. What rules note in between may make the difference.
    fn is_implied(&self, earlier: &Rule, given: &[&Expr]) -> bool {
        let is_noted = |leaf: &&Expr| matches!(leaf, Expr::State(_) | Expr::Event(Event::Policy(_), _));
        let when = earlier.filter.when.as_ref();
        let changes = !self.emitted.is_empty() || !self.turned_on.is_empty() || self.turns_off();
        implied(when, given) && !(changes && when.is_some_and(|when| when.leaves().iter().any(is_noted)))
    }

    fn turns_off(&self) -> bool {
        self.policy.rules.iter().any(|rule| !rule.notes.clear.is_empty())
    }

    fn shadow(&mut self, index: usize, before: &[usize]) {
        let name = |index: &usize| self.policy.rules[*index].name.as_str();
        let (word, label) = match before {
            [_] => ("rule", "decides about all of these requests"),
            _ => ("rules", "decides about some of these requests"),
        };
        let do_it = if before.len() == 1 { "does" } else { "do" };
        let names: Vec<String> = before.iter().map(|rule| format!("`{}`", name(rule))).collect();
        let message =
            format!("rule `{}` never decides: {word} {} {do_it} before it", name(&index), and(&names));
        let at = |rule: &usize| name_at(self.parts.rules[*rule].0);
        let warning = Diagnostic::warning(at(&index), message).label("never reached");
        let warning = before.iter().fold(warning, |warning, rule| warning.also(at(rule), label));
        let help = match before {
            [_] => "put the narrower rule first, or let the earlier one mean fewer requests",
            _ => "together they leave nothing to it: put it first, or let one of them mean fewer requests",
        };
        self.list.push(warning.help(help));
    }
}

/// `a, b and c`.
fn and(names: &[String]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        names => names.concat(),
    }
}

/// Gate, point and queue of a rule.
type Key = (Gate, Option<PointIndex>, Option<u16>);

/// The keys of rules that can cover one.
fn keys(rule: &Rule, meant: &Meant) -> Vec<Key> {
    let mut points = vec![None, rule.filter.point];
    let mut queues = vec![None, meant.queue];
    points.dedup();
    queues.dedup();
    points.into_iter().flat_map(|point| queues.iter().map(move |queue| (rule.gate, point, *queue))).collect()
}

/// Whether a rule has a verdict about every request that its filter means.
pub(super) fn decides_always(rule: &Rule) -> bool {
    rule.verdict.is_some() && is_each(rule.filter.turn)
}

/// Where a rule's name stands, or else the rule.
fn name_at(node: &Node) -> Spot {
    super::at(node, "name")
}

/// Rules by where on the disk they are for.
#[derive(Default)]
struct Bucket {
    /// Anywhere.
    disk: Vec<usize>,
    /// At a place that the guest binds.
    bound: BTreeMap<usize, Vec<usize>>,
    /// In a range: by the power of 2 that its length is of, then by its first byte.
    ranges: BTreeMap<u32, BTreeMap<u64, Vec<usize>>>,
}

impl Bucket {
    fn insert(&mut self, area: Area, rule: usize) {
        match area {
            Area::Disk => self.disk.push(rule),
            Area::Bound(place) => self.bound.entry(place).or_default().push(rule),
            Area::Range(range) => {
                let size = range.length.max(1).ilog2();
                self.ranges.entry(size).or_default().entry(range.offset).or_default().push(rule);
            }
        }
    }

    /// The first that covers the area and more.
    fn find(&self, area: Area, covers: &impl Fn(usize) -> bool) -> Option<usize> {
        let first = |rules: &Vec<usize>| rules.iter().copied().find(|rule| covers(*rule));
        let in_area = match area {
            Area::Disk => None,
            Area::Bound(place) => self.bound.get(&place).and_then(first),
            Area::Range(range) => {
                let sizes = self.ranges.range(range.length.max(1).ilog2()..);
                let near = sizes.filter_map(|(size, ranges)| {
                    // A range of this size that has the first byte begins less than twice that before it.
                    let least =
                        (range.offset + 1).saturating_sub(1u64.checked_shl(size + 1).unwrap_or(u64::MAX));
                    ranges.range(least..=range.offset).filter_map(|(_, rules)| first(rules)).min()
                });
                near.min()
            }
        };
        in_area.into_iter().chain(first(&self.disk)).min()
    }
}
