//! Waits for a number that is larger while somebody waits for it.

use super::{Look, at, conjuncts, until};
use crate::event::{Event, Expr, Gate, Gauge, Life};
use crate::policy::Hold;
use crate::policy::tree::Node;

impl Look<'_> {
    /// What stands is in flight and held itself, and so are the others that stand with it.
    pub(super) fn gauges(&mut self) {
        for (hold, node) in self.holds().collect::<Vec<_>>() {
            let what = format!("the hold of `{}`", self.policy.gate_name(hold));
            self.gauge(&what, &hold.until, standing(hold), at(node, "until"));
        }
        for (rule, node) in self.rules().collect::<Vec<_>>() {
            let what = format!("rule `{}`", rule.name);
            if let Some(until) = until(rule) {
                self.gauge(&what, until, [1, 1], at(node, "until"));
            }
            if let Some(when) = &rule.filter.when {
                self.gauge_when(&what, when, node);
            }
        }
    }

    fn gauge(&mut self, what: &str, until: &Expr, least: [u64; 2], at: crate::diagnostic::Spot) {
        let Some((gauge, number)) = too_small(until, least) else { return };
        let there = if gauge == Gauge::Held { "held" } else { "in flight" };
        let message = format!("{what} waits for itself: what it holds is {there}");
        let least = least[gauge as usize];
        let help = format!(
            "`{gauge}` is {least} or more while it stands, and so never below {number}: write `{gauge} < {}`, or wait for \
             an event",
            least + 1,
            gauge = gauge.name()
        );
        self.warn(at, message, "cannot be while it is held", help);
    }

    /// A request that comes to a gate is in flight.
    fn gauge_when(&mut self, what: &str, when: &Expr, node: &Node) {
        if too_small(when, [1, 0]).is_none() {
            return;
        }
        let key = ["after", "before", "when"].into_iter().find(|key| {
            let words = |node: &Node| super::find(node, Gauge::InFlight.name()).is_some();
            node.get(key).is_some_and(words)
        });
        let message = format!("{what} is for requests while none is in flight, but each is so itself");
        self.warn(
            at(node, key.unwrap_or("when")),
            message,
            "this never matches",
            "write `in-flight < 2`: no other one is",
        );
    }
}

/// The gauge that an expression needs to be below what it is, and that number, if it cannot be true without.
fn too_small(expr: &Expr, least: [u64; 2]) -> Option<(Gauge, u64)> {
    match expr {
        Expr::Not(not) => match not.as_ref() {
            Expr::Gauge(gauge, number) if *number <= least[*gauge as usize] => Some((*gauge, *number)),
            _ => None,
        },
        Expr::Any(parts) => {
            let all: Option<Vec<_>> = parts.iter().map(|part| too_small(part, least)).collect();
            all?.into_iter().next()
        }
        Expr::All(parts) => parts.iter().find_map(|part| too_small(part, least)),
        _ => None,
    }
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
