//! Why something can never be, in words.

use super::Look;
use super::circle::{Decides, Possible, Waiter};
use crate::event::{Event, Expr, Gate, Life, PointIndex};
use std::collections::BTreeSet;

/// Why a rule never acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WhyNot {
    /// What it asks for can never be.
    When,
    /// Its point never comes so far.
    Point(PointIndex, Life),
    /// The holds of its point have the say.
    Holds(PointIndex),
    /// Another rule decides before it.
    Behind(usize),
    /// Another rule fails its requests before the drive has them.
    Failed(usize),
    /// Its requests stand at the gate before.
    Stuck(usize),
}

impl Look<'_> {
    /// Why a rule cannot act, if it cannot.
    pub(super) fn why_not(
        &self,
        rule: usize,
        possible: &Possible,
        told: &BTreeSet<Waiter>,
    ) -> Option<WhyNot> {
        let one = &self.policy.rules[rule];
        if one.filter.when.as_ref().is_some_and(|when| !self.can(when, possible)) {
            return Some(WhyNot::When);
        }
        let point = self.only_point(&one.filter);
        if let Some(point) = point {
            let life = if one.gate == Gate::Submit { Life::Arrived } else { Life::Done };
            if !possible.has(point, life) {
                return Some(WhyNot::Point(point, life));
            }
        }
        match self.decides(&one.filter, point, one.gate, Some(rule)) {
            Decides::Holds(point) => return Some(WhyNot::Holds(point)),
            Decides::Rule(other) => return Some(WhyNot::Behind(other)),
            Decides::Open => {}
        }
        if one.gate == Gate::Submit || point.is_some() {
            return None;
        }
        let Decides::Rule(other) = self.decides(&one.filter, None, Gate::Submit, None) else { return None };
        match self.fails_always(other) {
            true => Some(WhyNot::Failed(other)),
            false => self.stuck_rule(other, possible, told).map(|_| WhyNot::Stuck(other)),
        }
    }

    /// From one thing that cannot be to the next, until it comes to one again or to an end.
    pub(super) fn why_stuck(&self, stuck: Waiter, possible: &Possible) -> String {
        let mut walk = Walk { seen: BTreeSet::new(), rules: BTreeSet::new(), words: Vec::new() };
        let mut next = Some(stuck);
        while let Some(waiter) = next {
            if !walk.seen.insert(waiter) {
                walk.words.push(format!(
                    "and so it waits for {}",
                    if waiter == stuck { "itself" } else { "what waits for it" }
                ));
                break;
            }
            let Some(expr) = self.awaited(waiter) else { break };
            walk.words.push(self.says(waiter, expr));
            next = self.leaf_of(expr, possible).and_then(|leaf| self.behind_leaf(leaf, possible, &mut walk));
        }
        walk.words.join("; ")
    }

    fn says(&self, waiter: Waiter, expr: &Expr) -> String {
        let text = self.policy.expr_text(expr);
        match waiter {
            Waiter::Hold(hold) => {
                format!("`{}` waits for `{text}`", self.policy.gate_name(&self.policy.holds[hold]))
            }
            Waiter::Rule(rule) => format!("rule `{}` waits for `{text}`", self.policy.rules[rule].name),
            Waiter::Point(point) => format!("`{}` comes only with `{text}`", self.policy.points[point].name),
        }
    }

    /// The first part of an expression that keeps it from being true.
    fn leaf_of<'e>(&self, expr: &'e Expr, possible: &Possible) -> Option<&'e Expr> {
        match expr {
            Expr::Any(parts) | Expr::All(parts) => parts
                .iter()
                .find(|part| !self.can(part, possible))
                .and_then(|part| self.leaf_of(part, possible)),
            leaf => Some(leaf),
        }
    }

    /// What keeps a part of an expression from being, and who has to go on first.
    fn behind_leaf(&self, leaf: &Expr, possible: &Possible, walk: &mut Walk) -> Option<Waiter> {
        let rules = || self.policy.rules.iter().enumerate();
        match leaf {
            Expr::Event(Event::Point(point, life), _) => self.behind_step(*point, *life, possible, walk),
            Expr::Event(Event::Policy(name), _) => {
                let rule =
                    rules().find(|(_, rule)| rule.notes.emit.contains(name)).map(|(index, _)| index)?;
                walk.words.push(format!("rule `{}` emits that", self.policy.rules[rule].name));
                self.behind_rule(rule, possible, walk)
            }
            Expr::State(state) => {
                let rule =
                    rules().find(|(_, rule)| rule.notes.set.contains(state)).map(|(index, _)| index)?;
                walk.words.push(format!("rule `{}` turns it on", self.policy.rules[rule].name));
                self.behind_rule(rule, possible, walk)
            }
            Expr::Not(part) => {
                let Expr::State(state) = part.as_ref() else { return None };
                let Some((rule, one)) = rules().find(|(_, rule)| rule.notes.clear.contains(state)) else {
                    walk.words.push("no rule turns it off".to_owned());
                    return None;
                };
                walk.words.push(format!("rule `{}` turns it off", one.name));
                self.behind_rule(rule, possible, walk)
            }
            _ => None,
        }
    }

    fn behind_step(
        &self,
        point: PointIndex,
        life: Life,
        possible: &Possible,
        walk: &mut Walk,
    ) -> Option<Waiter> {
        let never = Life::ALL.into_iter().find(|step| *step <= life && !possible.has(point, *step))?;
        if never == Life::Arrived {
            return Some(Waiter::Point(point.get()));
        }
        let gate = if never == Life::Completed { Gate::Complete } else { Gate::Submit };
        let none = BTreeSet::new();
        let blocking = self.blocking(point, gate, possible, &none);
        if blocking.is_none() && self.fails(point) {
            walk.words.push(format!(
                "a rule fails `{}` before the drive has it",
                self.policy.points[point.get()].name
            ));
        }
        blocking
    }

    fn behind_rule(&self, rule: usize, possible: &Possible, walk: &mut Walk) -> Option<Waiter> {
        let one = &self.policy.rules[rule];
        let name = |rule: usize| &self.policy.rules[rule].name;
        let point_name = |point: PointIndex| &self.policy.points[point.get()].name;
        match self.why_not(rule, possible, &BTreeSet::new())? {
            WhyNot::When => {
                let when = one.filter.when.as_ref()?;
                walk.words.push(format!("it asks for `{}`", self.policy.expr_text(when)));
                walk.rules.insert(rule).then_some(())?;
                self.leaf_of(when, possible).and_then(|leaf| self.behind_leaf(leaf, possible, walk))
            }
            WhyNot::Point(point, life) => {
                walk.words.push(format!("it acts after `{}`", self.policy.life_name(point, life)));
                self.behind_step(point, life, possible, walk)
            }
            WhyNot::Holds(point) => {
                walk.words.push(format!(
                    "it never acts, for `{}.{}` has a hold",
                    point_name(point),
                    one.gate
                ));
                None
            }
            WhyNot::Behind(other) => {
                walk.words.push(format!("it never acts, for rule `{}` decides before it", name(other)));
                None
            }
            WhyNot::Failed(other) => {
                walk.words
                    .push(format!("it never acts, for rule `{}` fails its requests before", name(other)));
                None
            }
            WhyNot::Stuck(other) => {
                walk.words.push("its requests stand before".to_owned());
                Some(Waiter::Rule(other))
            }
        }
    }
}

/// What has been told on the way.
struct Walk {
    seen: BTreeSet<Waiter>,
    rules: BTreeSet<usize>,
    words: Vec<String>,
}
