//! Rules that never decide, because an earlier one always does.

use super::Look;
use super::meant::{Area, Meant};
use crate::diagnostic::{Diagnostic, Spot};
use crate::event::{Gate, PointIndex};
use crate::policy::tree::Node;
use crate::policy::{Filter, Rule, Turn};
use std::collections::BTreeMap;

impl Look<'_> {
    pub(super) fn shadowed(&mut self) {
        let mut earlier: BTreeMap<Key, Bucket> = BTreeMap::new();
        let meant: Vec<Meant> = self.policy.rules.iter().map(|rule| self.meant(&rule.filter)).collect();
        for (index, (rule, node)) in self.rules().enumerate() {
            let one = &meant[index];
            let covers = |other: usize| meant[other].covers(one);
            let found =
                keys(rule, one).into_iter().filter_map(|key| earlier.get(&key)?.find(one.area, &covers));
            if let Some(first) = found.min() {
                self.shadow(index, first, node);
            } else if decides_always(rule) {
                let key = (rule.gate, rule.filter.point, rule.filter.queue);
                earlier.entry(key).or_default().insert(one.area, index);
            }
        }
    }

    fn shadow(&mut self, index: usize, first: usize, node: &Node) {
        let names = |index: usize| self.policy.rules[index].name.as_str();
        let message =
            format!("rule `{}` never decides: rule `{}` does before it", names(index), names(first));
        let warning = Diagnostic::warning(name_at(node), message)
            .label("never reached")
            .also(name_at(self.parts.rules[first].0), "decides about all of these requests");
        self.list
            .push(warning.help("put the narrower rule first, or let the earlier one mean fewer requests"));
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
fn decides_always(rule: &Rule) -> bool {
    let Filter { turn, when, probe, flush_follows, .. } = &rule.filter;
    rule.verdict.is_some() && *turn == Turn::EACH && when.is_none() && probe.is_none() && !flush_follows
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
