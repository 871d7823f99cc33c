//! A policy's filters, arranged so that a request meets only those that it can match.

use super::chance::stream_of;
use super::ranges::Ranges;
use crate::event::{Expr, Gate, PointIndex, RuleIndex};
use crate::policy::{Close, Filter, Policy, Wait, Where};
use crate::request::{ByteRange, OpSet, Request};
use std::collections::BTreeMap;

/// The index of one policy.
#[derive(Clone, Debug, Default)]
pub struct Index {
    points: Filters,
    submit: Filters,
    complete: Filters,
    /// The holds of a point at a gate, in file order.
    holds: BTreeMap<(PointIndex, Gate), Vec<usize>>,
    /// What rules draw from, by their index.
    streams: Vec<u64>,
    /// Whether something stands until a gauge shows something.
    pub reads_gauges: bool,
    /// Points that are known only when a flush follows.
    pub points_by_flush: Vec<PointIndex>,
}

/// Filters of one kind, by number.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// Without a range, in file order.
    anywhere: Vec<(u32, OpSet)>,
    /// With a range that the policy knows.
    known: Ranges,
    /// With a place that the guest binds: the place, and the filter's number.
    bound: Vec<(usize, u32)>,
}

impl Filters {
    /// Those of a policy, with their numbers.
    pub fn new<'p>(policy: &'p Policy, filters: impl Iterator<Item = (u32, &'p Filter)>) -> Filters {
        let mut known = Vec::new();
        let mut these = Filters::default();
        for (number, filter) in filters {
            match filter.range {
                None => these.anywhere.push((number, filter.ops)),
                Some(Where::Range(range)) => known.push((range, number)),
                Some(Where::Place(place)) => match policy.places[place].range {
                    Some(range) => known.push((range, number)),
                    None => these.bound.push((place, number)),
                },
            }
        }
        these.known = Ranges::new(known);
        these
    }

    /// Numbers of the filters that a request may match, in file order.
    pub fn candidates(&self, request: &Request, places: &[Option<ByteRange>], found: &mut Vec<u32>) {
        found.clear();
        self.known.overlapping(request.range, found);
        let here = |place: &usize| places[*place].is_some_and(|range| range.overlaps(request.range));
        found.extend(self.bound.iter().filter(|(place, _)| here(place)).map(|(_, number)| *number));
        let sorted = self.anywhere.iter().filter(|(_, ops)| ops.has(request.op)).map(|(number, _)| *number);
        found.extend(sorted);
        found.sort_unstable();
    }
}

impl Index {
    /// The index of a policy.
    pub fn new(policy: &Policy) -> Index {
        let points = policy.points.iter().map(|point| &point.filter);
        let by_flush = |point: &PointIndex| policy.points[point.get()].filter.flush_follows;
        let rules = |gate| {
            let numbered = (0..).zip(&policy.rules);
            let of_gate = numbered.filter(move |(_, rule)| rule.gate == gate);
            Filters::new(policy, of_gate.map(|(number, rule)| (number, &rule.filter)))
        };
        let mut holds: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (number, hold) in policy.holds.iter().enumerate() {
            holds.entry((hold.point, hold.gate)).or_default().push(number);
        }
        Index {
            points: Filters::new(policy, (0..).zip(points)),
            submit: rules(Gate::Submit),
            complete: rules(Gate::Complete),
            holds,
            streams: policy.rules.iter().map(|rule| stream_of(b'r', &rule.name)).collect(),
            reads_gauges: untils(policy).any(Expr::reads_gauge),
            points_by_flush: policy.point_indexes().filter(by_flush).collect(),
        }
    }

    /// Numbers of the points that a request may be.
    pub fn points(&self, request: &Request, places: &[Option<ByteRange>], found: &mut Vec<u32>) {
        self.points.candidates(request, places, found);
    }

    /// Numbers of the rules that may decide on it at a gate.
    pub fn rules(&self, gate: Gate, request: &Request, places: &[Option<ByteRange>], found: &mut Vec<u32>) {
        match gate {
            Gate::Submit => self.submit.candidates(request, places, found),
            Gate::Complete => self.complete.candidates(request, places, found),
        }
    }

    /// The stream that a rule draws from.
    pub fn stream(&self, rule: RuleIndex) -> u64 {
        self.streams.get(rule.get()).copied().unwrap_or_default()
    }

    /// Indexes of the holds of a point at a gate.
    pub fn holds(&self, point: PointIndex, gate: Gate) -> &[usize] {
        self.holds.get(&(point, gate)).map_or(&[], Vec::as_slice)
    }
}

/// Every expression that somebody stands for.
fn untils(policy: &Policy) -> impl Iterator<Item = &Expr> {
    let of_rules = policy.rules.iter().filter_map(|rule| match rule.verdict.as_ref()?.wait.as_ref()? {
        Wait::Until(until) => Some(until),
        Wait::Reorder(reorder) => match &reorder.close {
            Close::Until(until) => Some(until),
            Close::Window { .. } => None,
        },
        Wait::Pause(pause) => pause.until.as_ref(),
        Wait::Delay(_) | Wait::Limit(_) | Wait::Stall(_) => None,
    });
    policy.holds.iter().map(|hold| &hold.until).chain(of_rules)
}
