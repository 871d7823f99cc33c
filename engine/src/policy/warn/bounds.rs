//! Whether an expression can be true: the least and the most of everything that it asks about, narrowed part by part.

use crate::event::{Event, Expr, Gauge, Life, PointIndex, StateIndex};
use std::collections::BTreeMap;

/// How much of an expression is looked at; of a larger one nothing is said.
const STEPS_MAX: usize = 4096;

/// How many facts are drawn from one.
const DRAWN_MAX: usize = 16;

/// Something that an expression asks about, as a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    /// How often it has happened.
    Times(Event),
    /// 1 if it is on.
    State(StateIndex),
    /// What it shows.
    Gauge(Gauge),
}

impl Fact {
    /// What a leaf of an expression asks about, and how much of it at least.
    pub(super) fn of(leaf: &Expr) -> Option<(Fact, u64)> {
        match leaf {
            Expr::Event(event, times) => Some((Fact::Times(event.clone()), *times)),
            Expr::State(state) => Some((Fact::State(*state), 1)),
            Expr::Gauge(gauge, least) => Some((Fact::Gauge(*gauge), *least)),
            Expr::Any(_) | Expr::All(_) | Expr::Not(_) => None,
        }
    }
}

/// What says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing does.
    Open,
    /// The expression asks for it.
    Asked,
    /// It is so whenever the expression is asked for.
    Known,
    /// Nothing can make it otherwise.
    Never,
}

/// The least and the most of something, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub least: (u64, Why),
    pub most: (u64, Why),
}

impl Bounds {
    pub(super) const OPEN: Bounds = Bounds { least: (0, Why::Open), most: (u64::MAX, Why::Open) };

    pub(super) fn at_most(most: u64, why: Why) -> Bounds {
        Bounds { most: (most, why), ..Bounds::OPEN }
    }
}

/// Why an expression cannot be true: this would have to be more than it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub fact: Fact,
    pub bounds: Bounds,
}

/// What is known of the moment at which an expression is asked for.
#[derive(Clone)]
pub(super) struct Known<'k> {
    /// What is always so.
    base: &'k dyn Fn(&Fact) -> Bounds,
    /// What has happened before a point arrived, as an event and how often.
    before: &'k dyn Fn(PointIndex) -> Vec<(Event, u64)>,
    narrowed: BTreeMap<Fact, Bounds>,
}

impl<'k> Known<'k> {
    pub(super) fn new(
        base: &'k dyn Fn(&Fact) -> Bounds,
        before: &'k dyn Fn(PointIndex) -> Vec<(Event, u64)>,
    ) -> Known<'k> {
        Known { base, before, narrowed: BTreeMap::new() }
    }

    /// Adds what is known; what contradicts that itself is left out.
    pub(super) fn least(&mut self, fact: Fact, least: u64) {
        let _ = self.narrow(fact, Some(least), None, Why::Known);
    }

    /// The same of the most.
    pub(super) fn most(&mut self, fact: Fact, most: u64) {
        let _ = self.narrow(fact, None, Some(most), Why::Known);
    }

    /// Why all of these cannot be so at once (true, or not), if that is certain.
    pub(super) fn refute(&self, all: &[(&Expr, bool)]) -> Option<Conflict> {
        search(all.to_vec(), self.clone(), &mut 0)
    }

    fn get(&self, fact: &Fact) -> Bounds {
        self.narrowed.get(fact).copied().unwrap_or_else(|| (self.base)(fact))
    }

    /// Takes a leaf to be true, or not to be.
    fn assume(&mut self, leaf: &Expr, is: bool) -> Result<(), Conflict> {
        let Some((fact, least)) = Fact::of(leaf) else { return Ok(()) };
        match is {
            true => self.narrow(fact, Some(least), None, Why::Asked),
            false => self.narrow(fact, None, Some(least.saturating_sub(1)), Why::Asked),
        }
    }

    /// Narrows a fact, and what follows from it.
    fn narrow(
        &mut self,
        fact: Fact,
        least: Option<u64>,
        most: Option<u64>,
        why: Why,
    ) -> Result<(), Conflict> {
        let mut pending = vec![(fact, least, most)];
        let mut steps = 0;
        while let Some((fact, least, most)) = pending.pop().filter(|_| steps < DRAWN_MAX) {
            steps += 1;
            let before = self.get(&fact);
            let mut bounds = before;
            if let Some(least) = least.filter(|least| *least > before.least.0) {
                bounds.least = (least, why);
            }
            if let Some(most) = most.filter(|most| *most < before.most.0) {
                bounds.most = (most, why);
            }
            if bounds.least.0 > bounds.most.0 {
                return Err(Conflict { fact, bounds });
            }
            if bounds == before {
                continue;
            }
            let follow = |least: Option<u64>, most| move |fact| (fact, least, most);
            if bounds.least != before.least {
                pending.extend(come_before(&fact).into_iter().map(follow(least, None)));
                if let (Fact::Times(Event::Point(point, Life::Arrived)), 0) = (&fact, before.least.0) {
                    let earlier = (self.before)(*point).into_iter();
                    pending.extend(earlier.map(|(event, times)| (Fact::Times(event), Some(times), None)));
                }
            }
            if bounds.most != before.most {
                pending.extend(come_after(&fact).into_iter().map(follow(None, most)));
            }
            self.narrowed.insert(fact, bounds);
        }
        Ok(())
    }
}

/// What is never less than this. A request that a rule fails completes without having been submitted.
fn come_before(fact: &Fact) -> Vec<Fact> {
    match fact {
        Fact::Times(Event::Point(point, life)) => {
            let before = match life {
                Life::Arrived => return Vec::new(),
                Life::Done => Life::Submitted,
                Life::Submitted | Life::Completed => Life::Arrived,
            };
            vec![Fact::Times(Event::Point(*point, before))]
        }
        Fact::Gauge(Gauge::Held) => vec![Fact::Gauge(Gauge::InFlight)],
        _ => Vec::new(),
    }
}

/// What is never more than this.
fn come_after(fact: &Fact) -> Vec<Fact> {
    match fact {
        Fact::Times(Event::Point(point, life)) => {
            let after: &[Life] = match life {
                Life::Arrived => &[Life::Submitted, Life::Completed],
                Life::Submitted => &[Life::Done],
                Life::Done | Life::Completed => &[],
            };
            after.iter().map(|after| Fact::Times(Event::Point(*point, *after))).collect()
        }
        Fact::Gauge(Gauge::InFlight) => vec![Fact::Gauge(Gauge::Held)],
        _ => Vec::new(),
    }
}

/// Looks for a way in which everything is as it is wanted; the first thing in the way, if there is none.
fn search<'e>(
    mut wanted: Vec<(&'e Expr, bool)>,
    mut known: Known<'_>,
    steps: &mut usize,
) -> Option<Conflict> {
    let mut choices: Vec<(&'e Expr, bool)> = Vec::new();
    wanted.reverse();
    while let Some((expr, is)) = wanted.pop() {
        *steps += 1;
        if *steps > STEPS_MAX {
            return None;
        }
        match (expr, is) {
            (Expr::Not(part), _) => wanted.push((part, !is)),
            (Expr::All(parts), true) | (Expr::Any(parts), false) => {
                wanted.extend(parts.iter().rev().map(|part| (part, is)));
            }
            (Expr::Any(parts), true) | (Expr::All(parts), false) if parts.len() != 1 => {
                choices.push((expr, is));
            }
            (Expr::Any(parts), true) | (Expr::All(parts), false) => wanted.push((&parts[0], is)),
            (leaf, _) => {
                if let Err(conflict) = known.assume(leaf, is) {
                    return Some(conflict);
                }
            }
        }
    }
    let (choice, is) = choices.pop()?;
    let (Expr::Any(parts) | Expr::All(parts)) = choice else { return None };
    let mut first = None;
    for part in parts {
        *steps += choices.len();
        let mut wanted = choices.clone();
        wanted.push((part, is));
        let found = search(wanted, known.clone(), steps)?;
        first.get_or_insert(found);
    }
    first
}
