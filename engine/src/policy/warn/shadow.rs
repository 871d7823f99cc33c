//! Rules that never decide, because an earlier one always does.

use super::circle::Waiter;
use super::meant::{Area, Meant};
use super::{Look, is_each};
use crate::diagnostic::{Diagnostic, Spot};
use crate::event::{Event, Expr, Gate, PointIndex};
use crate::policy::tree::Node;
use crate::policy::{Rule, Turn};
use std::collections::BTreeMap;

/// Most earlier rules whose conditions are put together.
const TOGETHER_MAX: usize = 64;

impl Look<'_> {
    pub(super) fn shadowed(&mut self) {
        let mut found_all: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut earlier: BTreeMap<Key, Bucket> = BTreeMap::new();
        let meant: Vec<Meant> = self.policy.rules.iter().map(|rule| self.meant(&rule.filter)).collect();
        let mut always: BTreeMap<Gate, Vec<usize>> = BTreeMap::new();
        for (index, rule) in self.policy.rules.iter().enumerate().filter(|(index, _)| self.is_well(*index)) {
            if self.told.contains(&Waiter::When(index)) {
                continue;
            }
            let one = &meant[index];
            let implies = |other: usize| self.is_implied(&[other], index);
            let leaves_none = |other: usize| {
                leaves(&self.policy.rules[other]).is_some_and(|left| left < rule.filter.turn.from)
            };
            let covers = |other: usize| leaves_none(other) && meant[other].covers(one) && implies(other);
            let found =
                keys(rule, one).into_iter().filter_map(|key| earlier.get(&key)?.find(one.area, &covers));
            let before = always.entry(rule.gate).or_default();
            if let Some(first) = found.min() {
                found_all.push((index, vec![first]));
            } else if let Some(all) = self.union(&meant, before, one, &implies) {
                found_all.push((index, all));
            } else if let Some(all) = self.by_conditions(&meant, before, index) {
                found_all.push((index, all));
            } else if let Some(left) = leaves(rule) {
                let key = (rule.gate, rule.filter.point, rule.filter.queue);
                earlier.entry(key).or_default().insert(one.area, index);
                before.extend((left == 0).then_some(index));
            }
        }
        found_all.into_iter().for_each(|(index, before)| self.shadow(index, &before));
    }

    /// The earlier rules for all requests of one of which, whatever happens, at least one has its condition fulfilled.
    fn by_conditions(&self, meant: &[Meant], before: &[usize], index: usize) -> Option<Vec<usize>> {
        let is_for = |other: &usize| meant[*other].covers(&meant[index]);
        let mut all: Vec<usize> = before.iter().copied().filter(is_for).collect();
        if !(2..=TOGETHER_MAX).contains(&all.len()) || !self.is_implied(&all, index) {
            return None;
        }
        for rule in all.clone() {
            let without: Vec<usize> = all.iter().copied().filter(|other| *other != rule).collect();
            if self.is_implied(&without, index) {
                all = without;
            }
        }
        Some(all)
    }

    /// Whether what one of some earlier rules asks for is true whenever a rule's own condition is.
    fn is_implied(&self, earlier: &[usize], index: usize) -> bool {
        let when = |rule: &usize| self.policy.rules[*rule].filter.when.as_ref();
        if earlier.iter().any(|rule| when(rule).is_none()) {
            return true;
        }
        let kept = earlier.iter().filter(|rule| !self.is_noted_between(**rule, index));
        let own = when(&index).map(|when| (when, true));
        let all: Vec<_> = own.into_iter().chain(kept.filter_map(when).map(|when| (when, false))).collect();
        self.with_known(Waiter::When(index), None, |known| known.refute(&all).is_some())
    }

    /// Whether rules between two note what the first asks for: it may have been otherwise when that was asked.
    fn is_noted_between(&self, first: usize, last: usize) -> bool {
        let rules = &self.policy.rules;
        let leaves = rules[first].filter.when.as_ref().map(Expr::leaves).unwrap_or_default();
        let notes = |rule: &Rule, leaf: &Expr| match leaf {
            Expr::State(state) => rule.notes.set.contains(state) || rule.notes.clear.contains(state),
            Expr::Event(Event::Policy(name), _) => rule.notes.emit.contains(name),
            _ => false,
        };
        let is_noted = |leaf: &&Expr| matches!(leaf, Expr::State(_) | Expr::Event(Event::Policy(_), _));
        let noted: Vec<&Expr> = leaves.into_iter().filter(is_noted).collect();
        let mut between = rules[first..last].iter().filter(|rule| rule.gate == rules[last].gate);
        !noted.is_empty() && between.any(|rule| noted.iter().any(|leaf| notes(rule, leaf)))
    }

    fn shadow(&mut self, index: usize, before: &[usize]) {
        self.idle.insert(index);
        let name = |index: &usize| self.policy.rules[*index].name.as_str();
        let left = before.iter().filter_map(|rule| leaves(&self.policy.rules[*rule])).max().unwrap_or(0);
        let (word, label) = match before {
            [_] if left == 1 => ("rule", "decides about all of these requests but the first".to_owned()),
            [_] if left > 1 => ("rule", format!("decides about all of these requests but the first {left}")),
            [_] => ("rule", "decides about all of these requests".to_owned()),
            _ => ("rules", "decides about some of these requests".to_owned()),
        };
        let do_it = if before.len() == 1 { "does" } else { "do" };
        let names: Vec<String> = before.iter().map(|rule| format!("`{}`", name(rule))).collect();
        let message =
            format!("rule `{}` never decides: {word} {} {do_it} before it", name(&index), and(&names));
        let at = |rule: &usize| name_at(self.parts.rules[*rule].0);
        let warning = Diagnostic::warning(at(&index), message).label("never reached");
        let warning = before.iter().fold(warning, |warning, rule| warning.also(at(rule), label.as_str()));
        let help = match before {
            [_] if left > 0 => "turns of a rule are counted over what earlier ones leave to it: put it first",
            [_] => "put the narrower rule first, or let the earlier one mean fewer requests",
            _ => "together they leave nothing to it: put it first, or let one of them mean fewer requests",
        };
        self.list.push(warning.help(help));
    }
}

/// `a, b and c`.
pub(super) fn and(names: &[String]) -> String {
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

/// How many of the requests that its filter means a rule leaves to later ones at most, if that is known.
fn leaves(rule: &Rule) -> Option<u64> {
    let turn = rule.filter.turn;
    let all_from = is_each(Turn { from: 1, ..turn }) && rule.verdict.is_some();
    all_from.then(|| turn.from - 1)
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
