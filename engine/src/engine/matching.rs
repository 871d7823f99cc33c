//! Which point a request is, and which rule decides on it.

use super::attempt::Moment;
use super::chance::{Chance, stream_of};
use super::{Engine, Live};
use crate::event::{Event, Gate, Life, PointIndex, RuleIndex};
use crate::journal::{Record, Source, Stage};
use crate::policy::{Filter, Where};
use crate::request::{Op, Request, RequestId};

/// What a request is matched by.
#[derive(Clone, Copy)]
struct Subject<'r> {
    request: &'r Request,
    point: Option<PointIndex>,
    flush_follows: bool,
}

impl Engine {
    /// The point that a request is as it arrives, if it is one. It counts for every point that it matches, and is
    /// the first in file order whose turn has come.
    pub(super) fn point_of(&mut self, request: &Request) -> Option<PointIndex> {
        if !self.attempt.armed {
            return None;
        }
        if !self.index.points_by_flush.is_empty() {
            self.seek_by_flush(request);
        }
        let mut candidates = std::mem::take(&mut self.scratch);
        self.index.points(request, &self.attempt.places, &mut candidates);
        let mut found = None;
        for number in &candidates {
            let filter = &self.policy.points[*number as usize].filter;
            let subject = Subject { request, point: None, flush_follows: false };
            if filter.flush_follows || !self.matches(filter, subject) {
                continue;
            }
            let point = PointIndex(*number);
            if found.is_some() {
                self.attempt.points[point.get()].turns.matched += 1;
            } else if self.take_point(point, request.id) {
                found = Some(point);
            }
        }
        self.scratch = candidates;
        found
    }

    /// Counts a request that matches a point; says whether it is the point.
    fn take_point(&mut self, point: PointIndex, id: RequestId) -> bool {
        let (seed, attempt) = (self.policy.seed, self.attempt.number);
        let state = &mut self.attempt.points[point.get()];
        let turn = &self.policy.points[point.get()].filter.turn;
        let name = &self.policy.points[point.get()].name;
        let chance = || Chance::new(seed, attempt, stream_of(b'p', name));
        let mine = state.turns.take(turn, chance);
        if mine {
            state.request.get_or_insert(id);
        }
        mine
    }

    /// Points that are known only when a flush follows: a write is a candidate until another one arrives on its
    /// queue, and the point if a flush does.
    fn seek_by_flush(&mut self, request: &Request) {
        match request.op {
            Op::Flush => {
                let waiting = std::mem::take(&mut self.by_flush);
                let (ready, rest) = waiting.into_iter().partition(|(_, seen)| seen.queue == request.queue);
                self.by_flush = rest;
                for (point, seen) in ready {
                    self.became_known(point, seen.id);
                }
            }
            Op::Write => {
                self.by_flush.retain(|(_, seen)| seen.queue != request.queue);
                let subject = Subject { request, point: None, flush_follows: true };
                let candidates = self.index.points_by_flush.iter();
                let matching =
                    candidates.filter(|point| self.matches(&self.policy.points[point.get()].filter, subject));
                let matching: Vec<_> = matching.map(|point| (*point, *request)).collect();
                self.by_flush.extend(matching);
            }
            _ => {}
        }
    }

    /// A request turns out to have been a point: what has happened to it has happened to the point.
    fn became_known(&mut self, point: PointIndex, id: RequestId) {
        let live = self.live.get_mut(&id);
        if live.as_ref().is_some_and(|live| live.point.is_some()) || !self.take_point(point, id) {
            return;
        }
        let so_far = match self.live.get_mut(&id) {
            Some(live) => {
                live.point = Some(point);
                live.lives()
            }
            None => &Life::ALL,
        };
        for life in so_far {
            self.happen(Event::Point(point, *life));
        }
    }

    /// The rule that decides on a request at a gate, after the notes of all that match up to it are made. A policy has
    /// no say about what another one let to the drive, of which it would see the half.
    pub(super) fn rule_of(&mut self, id: RequestId, gate: Gate) -> Option<RuleIndex> {
        if !self.attempt.armed || self.policy.rules.is_empty() {
            return None;
        }
        let live = self.live.get(&id).filter(|live| !live.is_former)?;
        let (request, point) = (live.request, live.point);
        let flush_follows = self.last_flush.is_some_and(|flush| flush > id);
        let mut candidates = std::mem::take(&mut self.scratch);
        self.index.rules(gate, &request, &self.attempt.places, &mut candidates);
        let found = candidates.iter().map(|number| RuleIndex(*number)).find(|rule| {
            let subject = Subject { request: &request, point, flush_follows };
            self.matches(&self.policy.rules[rule.get()].filter, subject)
                && self.take_rule(*rule)
                && self.policy.rules[rule.get()].verdict.is_some()
        });
        self.scratch = candidates;
        found
    }

    /// Counts a request that matches a rule, and notes what the rule says if it is its turn.
    fn take_rule(&mut self, rule: RuleIndex) -> bool {
        let chance = self.stream(rule);
        let filter = &self.policy.rules[rule.get()].filter;
        let mine = self.attempt.rules[rule.get()].turns.take(&filter.turn, chance);
        if mine {
            self.note(rule);
        }
        mine
    }

    /// Makes the stream that a rule draws from.
    pub(super) fn stream(&self, rule: RuleIndex) -> impl FnOnce() -> Chance + use<> {
        let (seed, attempt, stream) = (self.policy.seed, self.attempt.number, self.index.stream(rule));
        move || Chance::new(seed, attempt, stream)
    }

    fn note(&mut self, rule: RuleIndex) {
        let notes = &self.policy.rules[rule.get()].notes;
        if notes.set.is_empty() && notes.clear.is_empty() && notes.emit.is_empty() {
            return;
        }
        let notes = notes.clone();
        let set = notes.set.iter().map(|state| (state, true));
        for (state, on) in set.chain(notes.clear.iter().map(|state| (state, false))) {
            if std::mem::replace(&mut self.attempt.states[state.get()], on) != on {
                let state = self.policy.states[state.get()].name.clone();
                self.record(Record::State { state, on });
                self.changed = true;
            }
        }
        for event in notes.emit {
            self.record(Record::Event { source: Source::Policy, event: event.clone(), detail: None });
            self.happen(Event::Policy(event));
        }
    }

    /// Whether everything of a filter but the turn is true of a request.
    fn matches(&self, filter: &Filter, subject: Subject<'_>) -> bool {
        let Subject { request, point, flush_follows } = subject;
        filter.is_of_kind(request)
            && filter.class.is_none_or(|class| class.meets(request.class))
            && filter.probe.is_none_or(|probe| request.probes.has(probe))
            && filter.point.is_none_or(|wanted| point == Some(wanted))
            && (flush_follows || !filter.flush_follows)
            && filter.range.is_none_or(|range| self.is_in(range, request))
            && filter.when.as_ref().is_none_or(|when| when.holds(&self.moment_of(request)))
    }

    /// What expressions are evaluated against of a request, which counts as in flight also while it arrives.
    fn moment_of(&self, request: &Request) -> Moment<'_> {
        let mut moment = self.moment();
        moment.in_flight += u64::from(!self.live.contains_key(&request.id));
        moment
    }

    fn is_in(&self, range: Where, request: &Request) -> bool {
        let range = match range {
            Where::Range(range) => Some(range),
            Where::Place(place) => self.attempt.places[place],
        };
        range.is_some_and(|range| range.overlaps(request.range))
    }
}

impl Live {
    /// The steps of its life that it has taken.
    fn lives(&self) -> &'static [Life] {
        match self.stage {
            Stage::HeldAtSubmit => &Life::ALL[..1],
            Stage::Submitted => &Life::ALL[..2],
            Stage::HeldAtComplete => &Life::ALL[..3],
        }
    }
}
