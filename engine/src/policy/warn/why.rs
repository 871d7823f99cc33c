//! Why something can never be, in words.

use super::Look;
use super::bounds::{Conflict, Fact, Why};
use super::circle::{Decides, Possible, Waiter};
use crate::event::{Event, Expr, Gate, Life, PointIndex};
use crate::policy::Rule;
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
        let when = Waiter::When(rule);
        if !told.contains(&when) && self.refuted(when, Some(possible)).is_some() {
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
        let mut walk = Walk { seen: BTreeSet::new(), words: Vec::new() };
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
            let conflict = self.refuted(waiter, Some(possible));
            next = conflict.and_then(|conflict| self.behind_conflict(&conflict, possible, &mut walk));
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
            Waiter::When(rule) => format!("rule `{}` asks for `{text}`", self.policy.rules[rule].name),
            Waiter::Point(point) => format!("`{}` comes only with `{text}`", self.policy.points[point].name),
        }
    }

    /// What keeps something from being, and who has to go on first.
    fn behind_conflict(&self, conflict: &Conflict, possible: &Possible, walk: &mut Walk) -> Option<Waiter> {
        let rule_that = |is: &dyn Fn(&Rule) -> bool| self.policy.rules.iter().position(is);
        let (is_least, is_most) =
            (conflict.bounds.least.1 == Why::Never, conflict.bounds.most.1 == Why::Never);
        match &conflict.fact {
            Fact::Times(Event::Point(point, life)) if is_most => {
                self.behind_step(*point, *life, possible, walk)
            }
            Fact::Times(Event::Policy(name)) if is_most => {
                let rule = rule_that(&|rule| rule.notes.emit.contains(name));
                self.behind_note(rule, "emits that", possible, walk)
            }
            Fact::State(state) if is_least => {
                let rule = rule_that(&|rule| rule.notes.clear.contains(state));
                self.behind_note(rule, "turns it off", possible, walk)
            }
            Fact::State(state) if is_most => {
                let rule = rule_that(&|rule| rule.notes.set.contains(state));
                self.behind_note(rule, "turns it on", possible, walk)
            }
            _ => {
                walk.words.push(self.clash(conflict));
                None
            }
        }
    }

    fn behind_note(
        &self,
        rule: Option<usize>,
        does: &str,
        possible: &Possible,
        walk: &mut Walk,
    ) -> Option<Waiter> {
        let Some(rule) = rule else {
            walk.words.push(format!("no rule {does}"));
            return None;
        };
        walk.words.push(format!("rule `{}` {does}", self.policy.rules[rule].name));
        self.behind_rule(rule, possible, walk)
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
                if !walk.seen.insert(Waiter::When(rule)) {
                    walk.words.push("and so it waits for itself".to_owned());
                    return None;
                }
                let conflict = self.refuted(Waiter::When(rule), Some(possible))?;
                self.behind_conflict(&conflict, possible, walk)
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
    words: Vec<String>,
}
