//! What is known at the moment at which something is asked for, or stands.

use super::bounds::{Bounds, Conflict, Fact, Known, Why};
use super::circle::{Possible, Waiter};
use super::{Look, conjuncts};
use crate::event::{Event, Expr, Gate, Gauge, Life, PointIndex, StateIndex};
use crate::policy::read::Read;
use crate::policy::{Hold, Rule};

impl Look<'_> {
    /// Why what a waiter asks for can never be, if so; `possible`: what can happen.
    pub(super) fn refuted(&self, waiter: Waiter, possible: Option<&Possible>) -> Option<Conflict> {
        let expr = self.awaited(waiter)?;
        self.with_known(waiter, possible, |known| known.refute(&[(expr, true)]))
    }

    /// Does something with what is known while a waiter asks.
    pub(super) fn with_known<T>(
        &self,
        waiter: Waiter,
        possible: Option<&Possible>,
        ask: impl FnOnce(&Known<'_>) -> T,
    ) -> T {
        let base = |fact: &Fact| self.base(fact, possible);
        let before = |point: PointIndex| {
            let when = self.policy.points[point.get()].filter.when.as_ref();
            lasting(when.filter(|_| !self.told.contains(&Waiter::Point(point.get()))))
        };
        let mut known = Known::new(&base, &before);
        self.add_known(waiter, &mut known);
        ask(&known)
    }

    fn add_known(&self, waiter: Waiter, known: &mut Known<'_>) {
        match waiter {
            Waiter::Hold(hold) => {
                let hold = &self.policy.holds[hold];
                self.add_point(hold.point, hold.gate, known);
                let [in_flight, held] = standing(hold);
                known.least(Fact::Gauge(Gauge::InFlight), in_flight);
                known.least(Fact::Gauge(Gauge::Held), held);
            }
            Waiter::Rule(rule) => {
                self.add_rule(&self.policy.rules[rule], known);
                known.least(Fact::Gauge(Gauge::Held), 1);
                let when = lasting(self.policy.rules[rule].filter.when.as_ref());
                when.into_iter().for_each(|(event, times)| known.least(Fact::Times(event), times));
            }
            Waiter::When(rule) => self.add_rule(&self.policy.rules[rule], known),
            Waiter::Point(point) => {
                known.least(Fact::Gauge(Gauge::InFlight), 1);
                let index = PointIndex(point as u32);
                if let Some(count) = self.count(index) {
                    known.most(Fact::Times(Event::Point(index, Life::Arrived)), count.saturating_sub(1));
                }
            }
        }
    }

    fn add_rule(&self, rule: &Rule, known: &mut Known<'_>) {
        known.least(Fact::Gauge(Gauge::InFlight), 1);
        // One that arrived in another attempt is no point of this one.
        let only = || self.only_point(&rule.filter).filter(|_| rule.gate == Gate::Submit);
        if let Some(point) = rule.filter.point.or_else(only) {
            self.add_point(point, rule.gate, known);
        }
    }

    /// A request of the point is at the gate and not past it.
    fn add_point(&self, point: PointIndex, gate: Gate, known: &mut Known<'_>) {
        let fact = |life| Fact::Times(Event::Point(point, life));
        let (behind, ahead) = match gate {
            Gate::Submit => (Life::Arrived, [Life::Submitted, Life::Completed]),
            Gate::Complete => (Life::Done, [Life::Completed; 2]),
        };
        known.least(fact(behind), 1);
        if let Some(count) = self.count(point) {
            ahead.into_iter().for_each(|life| known.most(fact(life), count.saturating_sub(1)));
        }
    }

    fn base(&self, fact: &Fact, possible: Option<&Possible>) -> Bounds {
        match (fact, possible) {
            (Fact::Times(Event::Point(point, life)), Some(possible)) if !possible.has(*point, *life) => {
                Bounds::at_most(0, Why::Never)
            }
            (Fact::Times(Event::Policy(name)), Some(possible)) => {
                let mut rules = self.rules_that(|rule| rule.notes.emit.contains(name)).peekable();
                let never = rules.peek().is_some() && !rules.any(|rule| possible.acts(rule));
                if never { Bounds::at_most(0, Why::Never) } else { self.at_most(fact) }
            }
            (Fact::State(state), Some(possible)) if self.sound.states[state.get()] == Read::Well => Bounds {
                least: (u64::from(!self.can_turn(*state, false, possible)), Why::Never),
                most: (u64::from(self.can_turn(*state, true, possible)), Why::Never),
            },
            _ => self.at_most(fact),
        }
    }

    fn at_most(&self, fact: &Fact) -> Bounds {
        self.most(fact).map_or(Bounds::OPEN, |most| Bounds::at_most(most, Why::Known))
    }

    fn rules_that(&self, is: impl Fn(&Rule) -> bool) -> impl Iterator<Item = usize> {
        let rules = self.policy.rules.iter().enumerate();
        rules.filter(move |(_, rule)| is(rule)).map(|(index, _)| index)
    }

    /// Whether a state can be so. That no rule turns it on is told where it is asked for.
    fn can_turn(&self, state: StateIndex, on: bool, possible: &Possible) -> bool {
        let turns = |rule: &Rule| {
            let notes = if on { &rule.notes.set } else { &rule.notes.clear };
            notes.contains(&state)
        };
        let told = on && self.rules_that(turns).next().is_none();
        self.policy.states[state.get()].on == on
            || told
            || self.rules_that(turns).any(|rule| possible.acts(rule))
    }
}

/// What has happened, and how often, wherever a condition was true at some time.
pub(super) fn lasting(when: Option<&Expr>) -> Vec<(Event, u64)> {
    let events = conjuncts(when).into_iter().filter_map(|part| match part {
        Expr::Event(event, times) => Some((event.clone(), *times)),
        _ => None,
    });
    events.collect()
}

/// How many are in flight and how many held at least while a hold stands: all that come to its gate stand until it is
/// over, so that one that waits for several of its own point has that many.
fn standing(hold: &Hold) -> [u64; 2] {
    let before = |life: &Life| match hold.gate {
        Gate::Submit => *life == Life::Arrived,
        Gate::Complete => matches!(life, Life::Submitted | Life::Done),
    };
    let own = conjuncts(Some(&hold.until)).into_iter().filter_map(|part| match part {
        Expr::Event(Event::Point(point, life), times) if *point == hold.point && before(life) => {
            Some((*times, *life))
        }
        _ => None,
    });
    own.fold([1, 1], |[in_flight, held], (times, life)| {
        // The last of them has happened before it stands, and one that is with the drive does not stand yet.
        let stand = if life == Life::Submitted { 1 } else { times.saturating_sub(1) };
        [in_flight.max(times), held.max(stand)]
    })
}
