//! What is remembered of one attempt; a new one starts fresh.

use crate::event::{Event, PointIndex};
use crate::journal::{Arm, Cause};
use crate::policy::{Place, Point, Policy};
use crate::report::{AttemptReport, EventReport, HoldReport, PointReport};
use crate::request::{ByteRange, Nanos, Request, RequestId};
use std::collections::{BTreeMap, BTreeSet};

/// Most distinct events, reports and log lines that are kept of one attempt, each: a guest must not
/// fill the daemon's memory. What is too much is refused, never dropped in silence.
pub const KEPT_MAX: usize = 4096;

/// Most bytes in each of them.
pub const TEXT_BYTES_MAX: usize = 8192;

#[derive(Clone, Debug, Default)]
pub struct PointState {
    /// Requests that matched so far.
    pub matched: u64,
    /// The one that is the point.
    pub request: Option<RequestId>,
}

/// What made an expression true.
#[derive(Clone, Debug)]
pub struct TrueBy {
    pub event: String,
    /// Position among the attempt's events.
    pub order: usize,
    pub at: Nanos,
}

#[derive(Clone, Debug, Default)]
pub struct HoldState {
    pub reached: Option<Nanos>,
    pub held: bool,
    pub cause: Option<Cause>,
    pub true_by: Option<TrueBy>,
}

/// Somebody in the guest who waits for `attempt.stalled` to report where the guest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// There is none, or nothing has stalled.
    None,
    /// It was told and has not reported; holds stand a while longer for it.
    Told,
    /// It has reported.
    Heard,
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub number: u64,
    pub arm: Arm,
    /// Whether points are looked for.
    pub armed: bool,
    /// Whether it was begun by command.
    pub begun: bool,
    /// Whether a watchdog has ended the forcing.
    pub expired: bool,
    pub witness: Witness,
    /// Replaces the watchdog of every hold.
    pub watchdog: Option<Nanos>,
    pub began: Nanos,
    pub places: Vec<Option<ByteRange>>,
    pub points: Vec<PointState>,
    pub holds: Vec<HoldState>,
    happened: BTreeSet<Event>,
    order: Vec<EventReport>,
    reports: BTreeMap<String, String>,
    kernel_log: Vec<String>,
    pub exit: Option<i32>,
}

impl Attempt {
    /// Between attempts, or before the first: events are noted, points are not looked for.
    pub fn idle(policy: &Policy, number: u64, now: Nanos) -> Attempt {
        Attempt {
            number,
            arm: Arm::Control,
            armed: false,
            begun: false,
            expired: false,
            witness: Witness::None,
            watchdog: None,
            began: now,
            places: policy.places.iter().map(|place: &Place| place.range).collect(),
            points: vec![PointState::default(); policy.points.len()],
            holds: vec![HoldState::default(); policy.holds.len()],
            happened: BTreeSet::new(),
            order: Vec::new(),
            reports: BTreeMap::new(),
            kernel_log: Vec::new(),
            exit: None,
        }
    }

    pub fn has(&self, event: &Event) -> bool {
        self.happened.contains(event)
    }

    /// Whether an event of the guest's or a client's making would be one too many to keep.
    pub fn is_full_for(&self, event: &Event) -> bool {
        self.order.len() >= KEPT_MAX && !self.has(event)
    }

    /// Notes an event; the first time it counts, later it changes nothing.
    pub fn happen(&mut self, policy: &Policy, event: Event, now: Nanos) {
        if !self.happened.insert(event.clone()) {
            return;
        }
        let name = policy.event_name(&event);
        let order = self.order.len();
        self.order.push(EventReport { event: name.clone(), t: now });
        for (hold, state) in policy.holds.iter().zip(&mut self.holds) {
            if state.true_by.is_none() && hold.until.holds(&|event| self.happened.contains(event)) {
                state.true_by = Some(TrueBy { event: name.clone(), order, at: now });
            }
        }
    }

    /// The point that a request is, if it is one. It counts for every point that it matches, and is
    /// the first in file order whose turn has come.
    pub fn match_point(&mut self, policy: &Policy, request: &Request) -> Option<PointIndex> {
        if !self.armed {
            return None;
        }
        let mut found = None;
        for (index, point) in policy.points.iter().enumerate() {
            if !self.matches(point, request) {
                continue;
            }
            let state = &mut self.points[index];
            state.matched += 1;
            if found.is_none() && state.request.is_none() && state.matched >= point.nth {
                state.request = Some(request.id);
                found = Some(PointIndex(index));
            }
        }
        found
    }

    fn matches(&self, point: &Point, request: &Request) -> bool {
        let place = point.place.map(|place| self.places[place]);
        point.op == request.op
            && point.queue.is_none_or(|queue| queue == request.queue)
            && place.is_none_or(|range| range.is_some_and(|range| range.overlaps(request.range)))
            && point.after.as_ref().is_none_or(|after| after.holds(&|event| self.has(event)))
    }

    /// Says whether there was room for it.
    pub fn note_report(&mut self, name: String, value: String) -> bool {
        let room = self.reports.len() < KEPT_MAX || self.reports.contains_key(&name);
        if room {
            self.reports.insert(name, value);
        }
        room
    }

    /// Says whether there was room for it.
    pub fn note_log(&mut self, line: String) -> bool {
        let room = self.kernel_log.len() < KEPT_MAX;
        if room {
            self.kernel_log.push(line);
        }
        room
    }

    pub fn report(&self, policy: &Policy, now: Nanos) -> AttemptReport {
        let points = policy.points.iter().zip(&self.points);
        let unbound = policy.places.iter().zip(&self.places).filter(|(_, range)| range.is_none());
        let holds = policy.holds.iter().zip(&self.holds);
        AttemptReport {
            attempt: self.number,
            arm: self.arm,
            began_ns: self.began,
            ended_ns: now,
            unbound: unbound.map(|(place, _)| place.name.clone()).collect(),
            points: points.map(|(p, s)| (p.name.clone(), PointReport { request: s.request })).collect(),
            holds: holds
                .map(|(hold, state)| HoldReport {
                    gate: policy.gate_name(hold),
                    until: policy.expr_text(&hold.until),
                    reached_ns: state.reached,
                    true_ns: state.true_by.as_ref().map(|true_by| true_by.at),
                    held: state.held,
                    cause: state.cause.clone(),
                })
                .collect(),
            events: self.order.clone(),
            reports: self.reports.clone(),
            kernel_log: self.kernel_log.clone(),
            exit: self.exit,
        }
    }
}
