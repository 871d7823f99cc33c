//! Holds that wait on each other in a circle, whatever guest and user do.
//!
//! An event is *possible* if everything before it can happen. Guest and control events always are;
//! the possible ones are the least fixed point. A hold whose `until` is not possible ends only by
//! its watchdog (points that wait for each other are looked for first), and walking from one impossible event to the next finds the circle.

use super::Policy;
use crate::event::{Event, Expr, Gate, Life, PointIndex};
use std::collections::BTreeSet;

/// What waits for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Circle {
    /// This point comes only after itself, even with nothing held.
    Points(PointIndex),
    /// Holds wait for each other.
    Holds {
        /// One of them.
        hold: usize,
        /// All of them, in words: `A.complete waits for R.completed; …`.
        words: String,
    },
}

/// The first circle, of points or else of holds, in file order.
pub fn find(policy: &Policy) -> Option<Circle> {
    let unheld = possible(&Policy { holds: Vec::new(), ..policy.clone() });
    let indexes = (0..policy.points.len()).map(PointIndex);
    let never = indexes.into_iter().find(|point| !unheld.contains(&Event::Point(*point, Life::Arrived)));
    if let Some(point) = never {
        return Some(Circle::Points(point));
    }
    let possible = possible(policy);
    let stuck = |expr: &Expr| !expr.holds(&|event| possible.contains(event) || is_free(event));
    let start = policy.holds.iter().position(|hold| stuck(&hold.until))?;
    Some(trace(policy, &stuck, start))
}

fn is_free(event: &Event) -> bool {
    !matches!(event, Event::Point(..))
}

fn possible(policy: &Policy) -> BTreeSet<Event> {
    let mut possible = BTreeSet::new();
    loop {
        let before = possible.len();
        for index in (0..policy.points.len()).map(PointIndex) {
            for life in Life::ALL {
                let reached = |event: &Event| is_free(event) || possible.contains(event);
                if conditions(policy, index, life).all(|expr| expr.holds(&reached)) {
                    possible.insert(Event::Point(index, life));
                }
            }
        }
        if possible.len() == before {
            return possible;
        }
    }
}

/// What must be true before a point can take this step.
fn conditions(policy: &Policy, point: PointIndex, life: Life) -> impl Iterator<Item = Expr> {
    let before = match life {
        Life::Arrived => policy.points[point.0].after.clone(),
        Life::Submitted => Some(Expr::Event(Event::Point(point, Life::Arrived))),
        Life::Done => Some(Expr::Event(Event::Point(point, Life::Submitted))),
        Life::Completed => Some(Expr::Event(Event::Point(point, Life::Done))),
    };
    let gate = match life {
        Life::Submitted => Some(Gate::Submit),
        Life::Completed => Some(Gate::Complete),
        _ => None,
    };
    let holds = policy.holds.iter().filter(move |hold| hold.point == point && Some(hold.gate) == gate);
    before.into_iter().chain(holds.map(|hold| hold.until.clone()))
}

/// Walks from a stuck hold to the stuck thing it waits for, until it comes back to one seen before.
fn trace(policy: &Policy, stuck: &impl Fn(&Expr) -> bool, start: usize) -> Circle {
    let mut seen: Vec<usize> = Vec::new();
    let mut hold = start;
    while !seen.contains(&hold) {
        seen.push(hold);
        match blocking_hold(policy, stuck, &policy.holds[hold].until) {
            Some(next) => hold = next,
            None => break,
        }
    }
    let first = seen.iter().position(|index| *index == hold).unwrap_or(0);
    let circle = &seen[first..];
    let words: Vec<String> = circle
        .iter()
        .map(|index| {
            let hold = &policy.holds[*index];
            format!("{} waits for {}", policy.gate_name(hold), policy.expr_text(&hold.until))
        })
        .collect();
    let back = policy.gate_name(&policy.holds[circle[0]]);
    let words = format!("{}, which cannot come before {back} is released", words.join("; "));
    Circle::Holds { hold: circle[0], words }
}

/// The stuck hold that keeps an expression from becoming true.
fn blocking_hold(policy: &Policy, stuck: &impl Fn(&Expr) -> bool, expr: &Expr) -> Option<usize> {
    let mut pending: Vec<Event> = expr.events().into_iter().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(event) = pending.pop() {
        let Event::Point(point, life) = event.clone() else { continue };
        if !seen.insert(event) {
            continue;
        }
        let gate = if life == Life::Completed { Gate::Complete } else { Gate::Submit };
        let found = policy.holds.iter().position(|hold| {
            hold.point == point && life != Life::Arrived && hold.gate == gate && stuck(&hold.until)
        });
        if found.is_some() {
            return found;
        }
        pending.extend(
            conditions(policy, point, life)
                .filter(|e| stuck(e))
                .flat_map(|e| e.events().into_iter().cloned().collect::<Vec<_>>()),
        );
    }
    None
}
