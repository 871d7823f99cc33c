//! What is remembered of one attempt; a new one starts fresh.

use super::chance::Chance;
use crate::event::{Event, Expr, Facts, Gauge, StateIndex};
use crate::journal::{Arm, Cause};
use crate::policy::{Policy, Turn};
use crate::report::{AttemptReport, EventReport, Expired, HoldReport, PointReport, RuleReport};
use crate::request::{ByteRange, Nanos, RequestId};
use std::collections::BTreeMap;

/// Most distinct events, reports and log lines that are kept of one attempt, each: a guest must not
/// fill the daemon's memory. What is too much is refused, never dropped in silence.
pub const KEPT_MAX: usize = 4096;

/// Most bytes in each of them.
pub const TEXT_BYTES_MAX: usize = 8192;

/// How far a point's or a rule's counting has come.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    /// Requests of which all but the turn was true.
    pub matched: u64,
    /// Those that it was for.
    pub taken: u64,
    /// What chance is drawn from, once that is needed.
    chance: Option<Box<Chance>>,
}

impl Turns {
    /// Counts a request; says whether it is this one's turn. `chance` makes the stream to draw from.
    pub fn take(&mut self, turn: &Turn, chance: impl FnOnce() -> Chance) -> bool {
        let mine = self.is_next(turn, chance);
        self.matched += 1;
        self.taken += u64::from(mine);
        mine
    }

    fn is_next(&mut self, turn: &Turn, chance: impl FnOnce() -> Chance) -> bool {
        turn.has(self.matched + 1)
            && turn.probability.is_none_or(|probability| self.chance(chance).comes(probability))
            && turn.count.is_none_or(|count| self.taken < count)
    }

    /// What chance is drawn from.
    pub fn chance(&mut self, make: impl FnOnce() -> Chance) -> &mut Chance {
        self.chance.get_or_insert_with(|| Box::new(make()))
    }
}

#[derive(Clone, Debug, Default)]
pub struct PointState {
    pub turns: Turns,
    /// The first request that is the point.
    pub request: Option<RequestId>,
}

#[derive(Clone, Debug, Default)]
pub struct HoldState {
    pub reached: Option<Nanos>,
    pub held: bool,
    pub cause: Option<Cause>,
    /// When its expression was first true.
    pub true_at: Option<Nanos>,
}

#[derive(Clone, Debug, Default)]
pub struct RuleState {
    pub turns: Turns,
    /// For a limit: when all that it has let go on would be through, one after the other.
    pub busy_until: Nanos,
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

/// What is known of an event that has happened.
#[derive(Clone, Copy, Debug)]
struct Happened {
    times: u64,
    /// Place of the last time among all events of the attempt.
    last: u64,
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub number: u64,
    pub arm: Arm,
    /// Whether points and rules are looked for.
    pub armed: bool,
    /// Whether it was begun by command.
    pub begun: bool,
    /// The watchdog that has ended the forcing.
    pub expired: Option<Expired>,
    pub witness: Witness,
    /// Replaces every watchdog.
    pub watchdog: Option<Nanos>,
    pub began: Nanos,
    pub places: Vec<Option<ByteRange>>,
    pub points: Vec<PointState>,
    pub holds: Vec<HoldState>,
    pub rules: Vec<RuleState>,
    pub states: Vec<bool>,
    happened: BTreeMap<Event, Happened>,
    /// How many events have happened, repeated ones too.
    events: u64,
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
            expired: None,
            witness: Witness::None,
            watchdog: None,
            began: now,
            places: policy.places.iter().map(|place| place.range).collect(),
            points: vec![PointState::default(); policy.points.len()],
            holds: vec![HoldState::default(); policy.holds.len()],
            rules: vec![RuleState::default(); policy.rules.len()],
            states: policy.states.iter().map(|state| state.on).collect(),
            happened: BTreeMap::new(),
            events: 0,
            order: Vec::new(),
            reports: BTreeMap::new(),
            kernel_log: Vec::new(),
            exit: None,
        }
    }

    /// Whether an event of the guest's or a client's making would be one too many to keep.
    pub fn is_full_for(&self, event: &Event) -> bool {
        self.order.len() >= KEPT_MAX && !self.happened.contains_key(event)
    }

    /// Counts an event; the first time it is noted in order.
    pub fn happen(&mut self, policy: &Policy, event: Event, now: Nanos) {
        self.events += 1;
        if let Some(known) = self.happened.get_mut(&event) {
            known.times += 1;
            known.last = self.events;
            return;
        }
        self.order.push(EventReport { event: policy.event_name(&event), t: now });
        self.happened.insert(event, Happened { times: 1, last: self.events });
    }

    /// The last event that an expression names, in words; the expression itself if none has happened.
    pub fn true_by(&self, policy: &Policy, exprs: &[&Expr]) -> String {
        let named = exprs.iter().flat_map(|expr| expr.events());
        let happened = named.filter_map(|event| Some((self.happened.get(event)?.last, event)));
        match happened.max_by_key(|(last, _)| *last) {
            Some((_, event)) => policy.event_name(event),
            None => exprs.iter().map(|expr| policy.expr_text(expr)).collect::<Vec<_>>().join(" and "),
        }
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
        let rules = policy.rules.iter().zip(&self.rules).filter(|(_, state)| state.turns.matched > 0);
        let point = |state: &PointState| PointReport { request: state.request, requests: state.turns.taken };
        let rule = |state: &RuleState| RuleReport { matched: state.turns.matched, taken: state.turns.taken };
        AttemptReport {
            attempt: self.number,
            arm: self.arm,
            began_ns: self.began,
            ended_ns: now,
            unbound: unbound.map(|(place, _)| place.name.clone()).collect(),
            points: points.map(|(one, state)| (one.name.clone(), point(state))).collect(),
            holds: self.hold_reports(policy),
            expired: self.expired.clone(),
            rules: rules.map(|(one, state)| (one.name.clone(), rule(state))).collect(),
            events: self.order.clone(),
            reports: self.reports.clone(),
            kernel_log: self.kernel_log.clone(),
            exit: self.exit,
        }
    }

    fn hold_reports(&self, policy: &Policy) -> Vec<HoldReport> {
        let holds = policy.holds.iter().zip(&self.holds);
        holds
            .map(|(hold, state)| HoldReport {
                gate: policy.gate_name(hold),
                until: policy.expr_text(&hold.until),
                reached_ns: state.reached,
                true_ns: state.true_at,
                held: state.held,
                cause: state.cause.clone(),
            })
            .collect()
    }
}

/// What expressions are evaluated against: the attempt, and what gauges show.
#[derive(Clone, Copy)]
pub struct Moment<'e> {
    pub attempt: &'e Attempt,
    pub in_flight: u64,
    pub held: u64,
}

impl Facts for Moment<'_> {
    fn times(&self, event: &Event) -> u64 {
        // Nobody looks for points then: who waits for one goes on at once.
        if self.attempt.arm == Arm::Natural && matches!(event, Event::Point(..)) {
            return u64::MAX;
        }
        self.attempt.happened.get(event).map_or(0, |happened| happened.times)
    }

    fn state(&self, state: StateIndex) -> bool {
        self.attempt.states.get(state.get()).copied().unwrap_or(false)
    }

    fn gauge(&self, gauge: Gauge) -> u64 {
        match gauge {
            Gauge::InFlight => self.in_flight,
            Gauge::Held => self.held,
        }
    }
}
