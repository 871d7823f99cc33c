//! What has happened in an attempt, counted from the journal alone.

use blkstay_engine::event::{Event, Facts, Gauge, Life, PointIndex, StateIndex};
use blkstay_engine::journal::{Record, Source};
use blkstay_engine::policy::Policy;
use blkstay_engine::request::RequestId;
use std::collections::{BTreeMap, BTreeSet};

/// Counts for expressions of one policy.
pub struct Tally<'p> {
    policy: &'p Policy,
    events: BTreeMap<Event, u64>,
    states: Vec<bool>,
    /// Those that arrived in this attempt and are a point.
    points: BTreeMap<RequestId, PointIndex>,
    in_flight: BTreeSet<RequestId>,
    held: BTreeSet<RequestId>,
    /// An attempt ends with its last requests let go: they, and what rules note of them, are still its own.
    pub is_over: bool,
}

impl Tally<'_> {
    pub fn new(policy: &Policy) -> Tally<'_> {
        let states = policy.states.iter().map(|state| state.on).collect();
        let (events, points) = Default::default();
        let (in_flight, held) = Default::default();
        Tally { policy, events, states, points, in_flight, held, is_over: false }
    }

    pub fn note(&mut self, record: &Record) {
        let is_note = matches!(record, Record::State { .. } | Record::Event { source: Source::Policy, .. });
        let comes_in = matches!(record, Record::Arrived { .. } | Record::Done { .. } | Record::Event { .. });
        self.is_over &= is_note || !comes_in;
        match record {
            _ if is_note && self.is_over => {}
            Record::Policy { .. }
            | Record::Armed { .. }
            | Record::AttemptBegan { .. }
            | Record::AttemptEnded { .. } => {
                let Tally { in_flight, held, .. } = std::mem::replace(self, Tally::new(self.policy));
                (self.in_flight, self.held, self.is_over) = (in_flight, held, true);
            }
            Record::Arrived { request, point, .. } => {
                self.in_flight.insert(request.id);
                let point = point.as_ref().and_then(|point| self.policy.point(point));
                self.points.extend(point.map(|point| (request.id, point)));
                self.lives(request.id, Life::Arrived);
            }
            Record::Submitted { id } => self.lives(*id, Life::Submitted),
            Record::Done { id, .. } => self.lives(*id, Life::Done),
            Record::Completed { id, .. } => {
                self.in_flight.remove(id);
                self.lives(*id, Life::Completed);
            }
            Record::Abandoned { id, .. } => {
                self.in_flight.remove(id);
                self.held.remove(id);
            }
            Record::Decided { id, wait_ns: Some(1..), .. } | Record::Held { id, .. } => {
                self.held.insert(*id);
            }
            Record::Released { id, .. } => {
                self.held.remove(id);
            }
            Record::Event { source, event, .. } => self.happens(match source {
                Source::Guest => Event::Guest(event.clone()),
                Source::Control => Event::Control(event.clone()),
                Source::Policy => Event::Policy(event.clone()),
            }),
            Record::State { state, on } => {
                let index = self.policy.states.iter().position(|one| one.name == *state);
                index.into_iter().for_each(|index| self.states[index] = *on);
            }
            _ => {}
        }
    }

    fn lives(&mut self, id: RequestId, life: Life) {
        if let Some(point) = self.points.get(&id) {
            self.happens(Event::Point(*point, life));
        }
    }

    fn happens(&mut self, event: Event) {
        *self.events.entry(event).or_default() += 1;
    }
}

impl Facts for Tally<'_> {
    fn times(&self, event: &Event) -> u64 {
        self.events.get(event).copied().unwrap_or(0)
    }

    fn state(&self, state: StateIndex) -> bool {
        self.states[state.get()]
    }

    fn gauge(&self, gauge: Gauge) -> u64 {
        let counted = match gauge {
            Gauge::InFlight => &self.in_flight,
            Gauge::Held => &self.held,
        };
        counted.len() as u64
    }
}
