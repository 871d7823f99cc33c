//! Tells of what can never be.

use super::bounds::{Bounds, Conflict, Fact, Why};
use super::circle::{Possible, Waiter};
use super::{Look, find};
use crate::diagnostic::Spot;
use crate::event::Expr;
use crate::policy::tree::Node;

impl<'l> Look<'l> {
    pub(super) fn warn_stuck(&mut self, waiter: Waiter, conflict: &Conflict, possible: Option<&Possible>) {
        let is_chain = conflict.bounds.least.1 == Why::Never || conflict.bounds.most.1 == Why::Never;
        let why = match possible.filter(|_| is_chain) {
            Some(possible) => self.why_stuck(waiter, possible),
            None => self.clash(conflict) + self.how_it_comes_in(waiter, conflict),
        };
        let (policy, waits) = (self.policy, matches!(waiter, Waiter::Hold(_) | Waiter::Rule(_)));
        let what = match waiter {
            Waiter::Hold(hold) => {
                let gate = policy.gate_name(&policy.holds[hold]);
                format!("the hold of `{gate}` ends only by its watchdog")
            }
            Waiter::Rule(rule) => {
                format!("what rule `{}` holds goes on only by its watchdog", policy.rules[rule].name)
            }
            Waiter::Point(point) => format!("point `{}` never is", policy.points[point].name),
            Waiter::When(rule) => format!("rule `{}` never matches", policy.rules[rule].name),
        };
        let help = if is_chain { chain_help(waiter) } else { self.clash_help(conflict, waits) };
        let label = if waits { "this can never be" } else { "this never matches" };
        let at = self.fact_at(waiter, &conflict.fact);
        self.warn(at, format!("{what}: {why}"), label, help);
    }

    /// What clashes, in words.
    pub(super) fn clash(&self, conflict: &Conflict) -> String {
        let (name, Bounds { least, most }) = (self.fact_name(&conflict.fact), conflict.bounds);
        let times = |times: u64| match times {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        match (least.1, most.1, &conflict.fact) {
            (Why::Known, _, Fact::Times(_)) if least.0 == 1 => format!("`{name}` has happened by then"),
            (Why::Known, _, Fact::Times(_)) => format!("`{name}` has happened {} by then", times(least.0)),
            (Why::Known, _, _) => format!("`{name}` is {} or more then", least.0),
            (_, Why::Known, Fact::Times(_)) if most.0 == 0 => format!("`{name}` has not happened by then"),
            (_, Why::Known, Fact::Times(_)) => {
                format!("`{name}` has happened {} at most by then", times(most.0))
            }
            (_, Why::Known, _) => format!("`{name}` is {} at most", most.0),
            (_, _, Fact::Times(_)) if (least.0, most.0) == (1, 0) => {
                format!("`{name}` would have to have happened and not to have happened at once")
            }
            (_, _, Fact::Times(_)) => {
                format!(
                    "`{name}` would have to have happened {} or more and {} at most",
                    times(least.0),
                    times(most.0)
                )
            }
            (_, _, Fact::State(_)) => format!("`{name}` would have to be on and off at once"),
            _ => format!("`{name}` would have to be {} or more and at most {} at once", least.0, most.0),
        }
    }

    /// Words for a clash over what is not asked for, but comes before that.
    fn how_it_comes_in(&self, waiter: Waiter, conflict: &Conflict) -> &'static str {
        let leaves = self.awaited(waiter).map(Expr::leaves).unwrap_or_default();
        let is_named = leaves.into_iter().any(|leaf| match (leaf, &conflict.fact) {
            (Expr::Event(event, _), Fact::Times(other)) => event == other,
            (_, Fact::Times(_)) => false,
            _ => true,
        });
        if is_named { "" } else { ", and what it asks for comes only after that" }
    }

    fn clash_help(&self, conflict: &Conflict, waits: bool) -> String {
        let (name, Bounds { least, most }) = (self.fact_name(&conflict.fact), conflict.bounds);
        match (least.1, most.1, &conflict.fact) {
            (Why::Known, _, Fact::Gauge(_)) => {
                format!("write `{name} < {}`: no other one is; or ask for an event", least.0 + 1)
            }
            (Why::Known, ..) if waits => "events do not un-happen: wait for what still comes".to_owned(),
            (Why::Known, ..) => "events do not un-happen: ask for what has not happened".to_owned(),
            (_, Why::Known, Fact::Gauge(_)) => self.most_help(&conflict.fact),
            (_, Why::Known, _) if waits => {
                "wait for what comes anyway, or for an event of the guest".to_owned()
            }
            (_, Why::Known, _) => "ask for what can have happened by then".to_owned(),
            _ => "leave one of them out, or write { any = […] } if one is enough".to_owned(),
        }
    }

    pub(super) fn fact_name(&self, fact: &Fact) -> String {
        match fact {
            Fact::Times(event) => self.policy.event_name(event),
            Fact::State(state) => self.policy.state_name(*state),
            Fact::Gauge(gauge) => gauge.name().to_owned(),
        }
    }

    /// The table of a waiter, and the keys under which it asks.
    fn asks(&self, waiter: Waiter) -> (&'l Node, &'static [&'static str]) {
        match waiter {
            Waiter::Hold(hold) => (self.parts.holds[hold].0, &["until"]),
            Waiter::Rule(rule) => (self.parts.rules[rule].0, &["until"]),
            Waiter::Point(point) => (&self.parts.points[point].node, &["before", "when", "after"]),
            Waiter::When(rule) => (self.parts.rules[rule].0, &["before", "when", "after"]),
        }
    }

    /// Whether something is told of what a waiter asks for.
    pub(super) fn is_doubted(&self, waiter: Waiter) -> bool {
        let (node, keys) = self.asks(waiter);
        keys.iter().filter_map(|key| node.get(key)).any(|node| self.is_told(&node.at))
    }

    /// Where a waiter asks for a fact: the whole of what it waits for, or the key that names it.
    fn fact_at(&self, waiter: Waiter, fact: &Fact) -> Spot {
        let (node, keys) = self.asks(waiter);
        let name = self.fact_name(fact);
        let nodes = || keys.iter().filter_map(|key| node.get(key));
        let named = nodes().find(|node| find(node, &name).is_some());
        named.or(nodes().next()).unwrap_or(node).at.clone()
    }
}

fn chain_help(waiter: Waiter) -> String {
    let help = match waiter {
        Waiter::Hold(_) | Waiter::Rule(_) => {
            "let one of them wait for what comes anyway, or for an event of the guest"
        }
        Waiter::Point(_) | Waiter::When(_) => "let it come after something that happens",
    };
    help.to_owned()
}
