//! Waits that can never end, because of what rules emit, switch, hold or fail.
//!
//! What can happen is the least fixed point over the steps of points and the rules that can act; what the guest and
//! clients say always can. The reader has refused circles of points and holds alone before.

use super::{Look, at, can_be as can_be_with, is_each, until};
use crate::diagnostic::Spot;
use crate::event::{Event, Expr, Gate, Life, PointIndex, StateIndex};
use crate::policy::{Filter, Rule, Wait};
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
    pub(super) fn circles(&mut self) {
        let parts = self.policy.points.len() + self.policy.holds.len() + self.policy.rules.len();
        if parts > PARTS_MAX || self.policy.rules.is_empty() || !self.sound.are_rules() {
            return;
        }
        let mut told = BTreeSet::new();
        while told.len() < TOLD_MAX {
            let possible = self.possible(&told);
            let Some(stuck) = self.first_stuck(&possible, &told) else { return };
            self.warn_stuck(stuck, &possible);
            told.insert(stuck);
        }
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
        let filter = &self.policy.points[point.get()].filter;
        match life {
            Life::Arrived => {
                told.contains(&Waiter::Point(point.get()))
                    || filter.when.as_ref().is_none_or(|when| self.can(when, possible))
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
                let mut own = holds.filter(|(_, hold)| hold.point == point && hold.gate == gate);
                let stuck = own.find(|(index, hold)| {
                    !told.contains(&Waiter::Hold(*index)) && !self.can(&hold.until, possible)
                });
                stuck.map(|(index, _)| Waiter::Hold(index))
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
        let until = stands_until(&self.policy.rules[rule])?;
        let stuck = !told.contains(&Waiter::Rule(rule)) && !self.can(until, possible);
        stuck.then_some(Waiter::Rule(rule))
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
        let own = self.meant(filter);
        let is_held =
            |point: PointIndex| self.policy.holds.iter().any(|hold| (hold.point, hold.gate) == (point, gate));
        match point {
            Some(point) if is_held(point) => return Decides::Holds(point),
            Some(_) => {}
            None => {
                let meets =
                    |point: PointIndex| self.meant(&self.policy.points[point.get()].filter).meets(&own);
                if self.policy.point_indexes().any(|point| is_held(point) && meets(point)) {
                    return Decides::Open;
                }
            }
        }
        let rules = self.policy.rules.iter().enumerate().take(before.unwrap_or(usize::MAX));
        let mut rules = rules.filter(|(_, rule)| rule.gate == gate && rule.verdict.is_some());
        let mut near = rules.by_ref().filter(|(_, rule)| {
            let is_other = point.is_some() && rule.filter.point.is_some_and(|of| Some(of) != point);
            !is_other && self.meant(&rule.filter).meets(&own)
        });
        let Some((index, rule)) = near.next() else { return Decides::Open };
        let meant = self.meant(&rule.filter);
        let own_point = rule.filter.point.is_some() && rule.filter.point == point;
        let covers = meant.covers(&own) || own_point && covers_point(rule);
        let always = is_each(rule.filter.turn) && rule.filter.when.is_none();
        if always && covers { Decides::Rule(index) } else { Decides::Open }
    }

    /// Whether an expression can become true.
    pub(super) fn can(&self, expr: &Expr, possible: &Possible) -> bool {
        let turned = |state: StateIndex, on: bool| {
            let rules = || self.policy.rules.iter().enumerate();
            let turns = |rule: &Rule| {
                if on { rule.notes.set.contains(&state) } else { rule.notes.clear.contains(&state) }
            };
            let told = on && !rules().any(|(_, rule)| turns(rule));
            self.policy.states[state.get()].on == on
                || told
                || rules().any(|(index, rule)| turns(rule) && possible.acts.contains(&index))
        };
        match expr {
            Expr::Not(part) => match part.as_ref() {
                Expr::State(state) => turned(*state, false),
                _ => true,
            },
            Expr::State(state) => turned(*state, true),
            Expr::Event(Event::Point(point, life), _) => possible.steps.contains(&(*point, *life)),
            Expr::Event(Event::Policy(name), _) => {
                let rules = || {
                    self.policy.rules.iter().enumerate().filter(|(_, rule)| rule.notes.emit.contains(name))
                };
                rules().next().is_none() || rules().any(|(index, _)| possible.acts.contains(&index))
            }
            Expr::Any(parts) => parts.iter().any(|part| self.can(part, possible)),
            Expr::All(parts) => parts.iter().all(|part| self.can(part, possible)),
            leaf => can_be_with(leaf, &|_| true),
        }
    }

    /// The first hold, rule or point that waits for what cannot be.
    fn first_stuck(&self, possible: &Possible, told: &BTreeSet<Waiter>) -> Option<Waiter> {
        let holds = self.policy.holds.iter().map(|hold| Some(&hold.until)).enumerate();
        let holds = holds
            .filter(|(index, _)| self.holds_well[*index])
            .map(|(index, until)| (Waiter::Hold(index), until));
        let rules = self.policy.rules.iter().map(stands_until).enumerate();
        let rules = rules
            .filter(|(index, _)| self.is_well(*index))
            .map(|(index, until)| (Waiter::Rule(index), until));
        let points = self.policy.points.iter().map(|point| point.filter.when.as_ref()).enumerate();
        let points = points.map(|(index, when)| (Waiter::Point(index), when));
        let mut waiters = holds.chain(rules).chain(points).filter(|(waiter, _)| !told.contains(waiter));
        waiters.find(|(_, expr)| expr.is_some_and(|expr| !self.can(expr, possible))).map(|(waiter, _)| waiter)
    }

    /// What a waiter waits for.
    pub(super) fn awaited(&self, waiter: Waiter) -> Option<&Expr> {
        match waiter {
            Waiter::Hold(hold) => Some(&self.policy.holds[hold].until),
            Waiter::Rule(rule) => stands_until(&self.policy.rules[rule]),
            Waiter::Point(point) => self.policy.points[point].filter.when.as_ref(),
        }
    }

    fn warn_stuck(&mut self, stuck: Waiter, possible: &Possible) {
        let words = self.why_stuck(stuck, possible);
        let (spot, what, help): (Spot, String, &str) = match stuck {
            Waiter::Hold(hold) => {
                let gate = self.policy.gate_name(&self.policy.holds[hold]);
                let help = "let one of them wait for what comes anyway, or for an event of the guest";
                (
                    at(self.parts.holds[hold].0, "until"),
                    format!("the hold of `{gate}` ends only by its watchdog"),
                    help,
                )
            }
            Waiter::Rule(rule) => {
                let name = &self.policy.rules[rule].name;
                let help = "let one of them wait for what comes anyway, or for an event of the guest";
                (
                    at(self.parts.rules[rule].0, "until"),
                    format!("what rule `{name}` holds goes on only by its watchdog"),
                    help,
                )
            }
            Waiter::Point(point) => {
                let entry = self.parts.points[point];
                (
                    entry.at.clone(),
                    format!("point `{}` never is", entry.name),
                    "let it come after something that happens",
                )
            }
        };
        self.warn(spot, format!("{what}: {words}"), "this can never be", help);
    }
}

/// Whether a rule for a point is for all of its requests.
fn covers_point(rule: &Rule) -> bool {
    let filter = &rule.filter;
    Filter { point: None, turn: Filter::ANY.turn, ..filter.clone() } == Filter::ANY
}

/// What a request stands for because of a rule, if that is an expression of which it is known that it stands.
fn stands_until(rule: &Rule) -> Option<&Expr> {
    let wait = rule.verdict.as_ref().and_then(|verdict| verdict.wait.as_ref());
    until(rule).filter(|_| !matches!(wait, Some(Wait::Pause(_))))
}
