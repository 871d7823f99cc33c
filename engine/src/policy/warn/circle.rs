//! Waits that can never end and conditions that can never be: by themselves, or because of what rules emit, switch, hold
//! or fail.
//!
//! What can happen is the least fixed point over the steps of points and the rules that can act; what the guest and
//! clients say always can. The reader has refused circles of points and holds alone before.

use super::meant::Meant;
use super::{Look, is_each, until};
use crate::event::{Expr, Gate, Life, PointIndex};
use crate::policy::Filter;
use crate::policy::circle::Circle;
use std::collections::BTreeSet;

/// Most points, holds and rules together of a policy that is looked at: the fixed point takes their square.
const PARTS_MAX: usize = 300;

/// Most waits that are told.
const TOLD_MAX: usize = 8;

/// What waits, or comes only after something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waiter {
    Hold(usize),
    Rule(usize),
    Point(usize),
    /// What a rule asks for to match.
    When(usize),
}

/// What can happen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Possible {
    steps: BTreeSet<(PointIndex, Life)>,
    acts: BTreeSet<usize>,
}

impl Possible {
    pub(super) fn has(&self, point: PointIndex, life: Life) -> bool {
        self.steps.contains(&(point, life))
    }

    pub(super) fn acts(&self, rule: usize) -> bool {
        self.acts.contains(&rule)
    }
}

/// What decides about requests at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decides {
    /// The holds of a point.
    Holds(PointIndex),
    /// This rule, always.
    Rule(usize),
    /// Nobody, or it depends.
    Open,
}

impl Look<'_> {
    /// Tells of what cannot be whatever else happens.
    pub(super) fn contradictions(&mut self, circles: &[Circle]) {
        self.told.extend(circles.iter().map(|circle| match circle {
            Circle::Points(point) => Waiter::Point(point.get()),
            Circle::Holds { hold, .. } => Waiter::Hold(*hold),
        }));
        for waiter in self.waiters() {
            if self.is_doubted(waiter) {
                self.told.insert(waiter);
            } else if let Some(conflict) = self.refuted(waiter, None) {
                self.warn_stuck(waiter, &conflict, None);
                self.told.insert(waiter);
            }
        }
    }

    /// Tells of what cannot be because of what else cannot.
    pub(super) fn circles(&mut self) {
        let parts = self.policy.points.len() + self.policy.holds.len() + self.policy.rules.len();
        if parts > PARTS_MAX || !self.sound.are_rules() {
            return;
        }
        for _ in 0..TOLD_MAX {
            let possible = self.possible(&self.told);
            let stuck = self.waiters().into_iter().find_map(|waiter| {
                let conflict = self.refuted(waiter, Some(&possible));
                conflict.map(|conflict| (waiter, conflict))
            });
            let Some((waiter, conflict)) = stuck else { return };
            self.warn_stuck(waiter, &conflict, Some(&possible));
            self.told.insert(waiter);
        }
    }

    /// Everything that was read well and asks for something, and is not told of.
    fn waiters(&self) -> Vec<Waiter> {
        let (policy, points) = (self.policy, self.policy.points.len());
        let holds = (0..policy.holds.len()).filter(|hold| self.holds_well[*hold]).map(Waiter::Hold);
        let rules = || (0..policy.rules.len()).filter(|rule| self.is_well(*rule));
        let is_point = |point: &usize| self.is_point(PointIndex(*point as u32));
        let points = (0..points).filter(is_point).map(Waiter::Point);
        let waiters = holds.chain(rules().map(Waiter::Rule)).chain(points).chain(rules().map(Waiter::When));
        waiters.filter(|waiter| !self.told.contains(waiter) && self.awaited(*waiter).is_some()).collect()
    }

    /// The fixed point; what is told already counts as ended by its watchdog.
    fn possible(&self, told: &BTreeSet<Waiter>) -> Possible {
        let mut possible = Possible::default();
        loop {
            let mut next = possible.clone();
            for point in self.policy.point_indexes() {
                let steps = Life::ALL.into_iter().filter(|life| self.can_step(point, *life, &possible, told));
                next.steps.extend(steps.map(|life| (point, life)));
            }
            let rules = 0..self.policy.rules.len();
            next.acts.extend(rules.filter(|rule| self.why_not(*rule, &possible, told).is_none()));
            if next == possible {
                return possible;
            }
            possible = next;
        }
    }

    fn can_step(&self, point: PointIndex, life: Life, possible: &Possible, told: &BTreeSet<Waiter>) -> bool {
        let has = |life: Life| possible.steps.contains(&(point, life));
        let passes = |gate: Gate| self.blocking(point, gate, possible, told).is_none();
        match life {
            Life::Arrived => {
                let waiter = Waiter::Point(point.get());
                told.contains(&waiter) || self.refuted(waiter, Some(possible)).is_none()
            }
            Life::Submitted => has(Life::Arrived) && passes(Gate::Submit) && !self.fails(point),
            Life::Done => has(Life::Submitted),
            Life::Completed if self.fails(point) => has(Life::Arrived) && passes(Gate::Submit),
            Life::Completed => has(Life::Done) && passes(Gate::Complete),
        }
    }

    /// The stuck hold or rule that keeps a point at a gate.
    pub(super) fn blocking(
        &self,
        point: PointIndex,
        gate: Gate,
        possible: &Possible,
        told: &BTreeSet<Waiter>,
    ) -> Option<Waiter> {
        match self.decides(&self.policy.points[point.get()].filter, Some(point), gate, None) {
            Decides::Holds(_) => {
                let holds = self.policy.holds.iter().enumerate();
                let own = holds.filter(|(_, hold)| hold.point == point && hold.gate == gate);
                own.map(|(index, _)| Waiter::Hold(index)).find(|hold| self.is_stuck(*hold, possible, told))
            }
            Decides::Rule(rule) => self.stuck_rule(rule, possible, told),
            Decides::Open => None,
        }
    }

    pub(super) fn stuck_rule(
        &self,
        rule: usize,
        possible: &Possible,
        told: &BTreeSet<Waiter>,
    ) -> Option<Waiter> {
        Some(Waiter::Rule(rule)).filter(|rule| self.is_stuck(*rule, possible, told))
    }

    fn is_stuck(&self, waiter: Waiter, possible: &Possible, told: &BTreeSet<Waiter>) -> bool {
        !told.contains(&waiter) && self.refuted(waiter, Some(possible)).is_some()
    }

    /// Whether a rule always fails a point before the drive has it.
    pub(super) fn fails(&self, point: PointIndex) -> bool {
        let filter = &self.policy.points[point.get()].filter;
        match self.decides(filter, Some(point), Gate::Submit, None) {
            Decides::Rule(rule) => self.fails_always(rule),
            _ => false,
        }
    }

    pub(super) fn fails_always(&self, rule: usize) -> bool {
        self.policy.rules[rule].verdict.as_ref().is_some_and(|verdict| verdict.fail.is_some())
    }

    /// What decides about all requests of a filter, those of `point` if they are that, at a gate: among the rules before
    /// `before`.
    pub(super) fn decides(
        &self,
        filter: &Filter,
        point: Option<PointIndex>,
        gate: Gate,
        before: Option<usize>,
    ) -> Decides {
        match point {
            Some(point) if self.is_held(point, gate) => return Decides::Holds(point),
            Some(_) => {}
            None => {
                let own = self.meant(filter);
                let meets =
                    |point: PointIndex| self.meant(&self.policy.points[point.get()].filter).meets(&own);
                if self.policy.point_indexes().any(|point| self.is_held(point, gate) && meets(point)) {
                    return Decides::Open;
                }
            }
        }
        let Some((index, covers)) = self.deciders(filter, point, gate, before).next() else {
            return Decides::Open;
        };
        let own = &self.policy.rules[index].filter;
        let always = is_each(own.turn) && own.when.is_none();
        if always && covers { Decides::Rule(index) } else { Decides::Open }
    }

    /// The rules among those before `before` that can decide about such requests if no hold does, each with whether it is
    /// for all of them, but for its turn and condition.
    pub(super) fn deciders(
        &self,
        filter: &Filter,
        point: Option<PointIndex>,
        gate: Gate,
        before: Option<usize>,
    ) -> impl Iterator<Item = (usize, bool)> {
        let own = self.meant(filter);
        let own = Meant { point: point.or(own.point), ..own };
        let rules = self.policy.rules.iter().enumerate().take(before.unwrap_or(usize::MAX));
        let rules = rules.filter(move |(_, rule)| rule.gate == gate && rule.verdict.is_some());
        rules.filter_map(move |(index, rule)| {
            let is_other = point.is_some() && rule.filter.point.is_some_and(|of| Some(of) != point);
            let meant = self.meant(&rule.filter);
            (!is_other && meant.meets(&own)).then(|| (index, meant.covers(&own)))
        })
    }

    /// Whether a point has a hold at a gate.
    pub(super) fn is_held(&self, point: PointIndex, gate: Gate) -> bool {
        self.policy.holds.iter().any(|hold| (hold.point, hold.gate) == (point, gate))
    }

    /// What a waiter waits for.
    pub(super) fn awaited(&self, waiter: Waiter) -> Option<&Expr> {
        match waiter {
            Waiter::Hold(hold) => Some(&self.policy.holds[hold].until),
            Waiter::Rule(rule) => until(&self.policy.rules[rule]),
            Waiter::Point(point) => self.policy.points[point].filter.when.as_ref(),
            Waiter::When(rule) => self.policy.rules[rule].filter.when.as_ref(),
        }
    }
}
