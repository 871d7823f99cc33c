//! Holds that wait on each other in a circle, whatever guest and user do.
//!
//! An event is *possible* if everything before it can happen. Events of the guest, of users and of rules
//! always are; the possible ones are the least fixed point. A hold whose `until` is not possible ends only by
//! its watchdog (points that wait for each other are looked for first), and walking from one impossible event
//! to the next finds the circle.

use super::{Hold, Policy};
use crate::event::{Event, Expr, Gate, Life, PointIndex};
use std::collections::BTreeSet;

/// Most holds of a circle that are told.
const TOLD_MAX: usize = 8;

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
    let unheld = Possible::of(policy, &[]);
    let never = policy.point_indexes().find(|point| !unheld.has(*point, Life::Arrived));
    if let Some(point) = never {
        return Some(Circle::Points(point));
    }
    let held = Possible::of(policy, &policy.holds);
    let start = policy.holds.iter().position(|hold| !held.can_be(&hold.until))?;
    Some(Walk { policy, held: &held, at: holds_at(policy, &policy.holds) }.trace(start))
}

/// Which steps of points can happen.
struct Possible(Vec<bool>);

/// The number of a step of a point.
fn step(point: PointIndex, life: Life) -> usize {
    point.get() * Life::ALL.len() + life as usize
}

/// The holds at each gate, by the number of the step after it.
fn holds_at(policy: &Policy, holds: &[Hold]) -> Vec<Vec<usize>> {
    let mut at = vec![Vec::new(); policy.points.len() * Life::ALL.len()];
    for (index, hold) in holds.iter().enumerate() {
        let after = if hold.gate == Gate::Submit { Life::Submitted } else { Life::Completed };
        at[step(hold.point, after)].push(index);
    }
    at
}

impl Possible {
    fn of(policy: &Policy, holds: &[Hold]) -> Possible {
        let steps = policy.points.len() * Life::ALL.len();
        let mut net = Net { missing: vec![0; steps], feeds: vec![Vec::new(); steps] };
        for point in policy.point_indexes() {
            for pair in Life::ALL.windows(2) {
                net.feed(step(point, pair[0]), step(point, pair[1]));
            }
            if let Some(when) = &policy.points[point.get()].filter.when {
                net.require(step(point, Life::Arrived), when);
            }
        }
        for (after, holds_before) in holds_at(policy, holds).into_iter().enumerate() {
            for hold in holds_before {
                net.require(after, &holds[hold].until);
            }
        }
        net.settle();
        net.missing.truncate(steps);
        Possible(net.missing.into_iter().map(|missing| missing == 0).collect())
    }

    fn has(&self, point: PointIndex, life: Life) -> bool {
        self.0[step(point, life)]
    }

    /// Whether an expression can become true. All that is no point's can, and nothing is known of what must
    /// not be.
    fn can_be(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Event(Event::Point(point, life), _) => self.has(*point, *life),
            Expr::Event(..) | Expr::State(_) | Expr::Gauge(..) | Expr::Not(_) => true,
            Expr::Any(parts) => parts.iter().any(|part| self.can_be(part)),
            Expr::All(parts) => parts.iter().all(|part| self.can_be(part)),
        }
    }
}

/// Steps and parts of expressions, each with how many of those before it are missing and those that it is one
/// of.
struct Net {
    missing: Vec<usize>,
    feeds: Vec<Vec<usize>>,
}

impl Net {
    fn feed(&mut self, from: usize, to: usize) {
        self.feeds[from].push(to);
        self.missing[to] += 1;
    }

    /// Makes a step wait for an expression.
    fn require(&mut self, to: usize, expr: &Expr) {
        match expr {
            Expr::Event(Event::Point(point, life), _) => self.feed(step(*point, *life), to),
            Expr::Event(..) | Expr::State(_) | Expr::Gauge(..) | Expr::Not(_) => {}
            Expr::All(parts) => parts.iter().for_each(|part| self.require(to, part)),
            Expr::Any(parts) => {
                let any = self.missing.len();
                self.missing.push(0);
                self.feeds.push(Vec::new());
                for part in parts {
                    let one = self.missing.len();
                    self.missing.push(0);
                    self.feeds.push(vec![any]);
                    self.require(one, part);
                }
                self.missing[any] = 1;
                self.feed(any, to);
            }
        }
    }

    /// Lets everything happen that can.
    fn settle(&mut self) {
        let mut ready: Vec<usize> = (0..self.missing.len()).filter(|node| self.missing[*node] == 0).collect();
        while let Some(node) = ready.pop() {
            for to in std::mem::take(&mut self.feeds[node]) {
                if self.missing[to] > 0 {
                    self.missing[to] -= 1;
                    if self.missing[to] == 0 {
                        ready.push(to);
                    }
                }
            }
        }
    }
}

/// Walks from a stuck hold to the stuck thing that it waits for.
struct Walk<'p> {
    policy: &'p Policy,
    held: &'p Possible,
    at: Vec<Vec<usize>>,
}

impl Walk<'_> {
    /// Until it comes back to one seen before.
    fn trace(&self, start: usize) -> Circle {
        let mut seen: Vec<usize> = Vec::new();
        let mut position = vec![None; self.policy.holds.len()];
        let mut hold = start;
        while position[hold].is_none() {
            position[hold] = Some(seen.len());
            seen.push(hold);
            match self.blocking(hold) {
                Some(next) => hold = next,
                None => break,
            }
        }
        let circle = &seen[position[hold].unwrap_or(0)..];
        Circle::Holds { hold: circle[0], words: self.words(circle) }
    }

    fn words(&self, circle: &[usize]) -> String {
        let mut words: Vec<String> = circle
            .iter()
            .take(TOLD_MAX)
            .map(|index| {
                let hold = &self.policy.holds[*index];
                format!("{} waits for {}", self.policy.gate_name(hold), self.policy.expr_text(&hold.until))
            })
            .collect();
        if circle.len() > TOLD_MAX {
            words.push(format!("… and {} more", circle.len() - TOLD_MAX));
        }
        let back = self.policy.gate_name(&self.policy.holds[circle[0]]);
        format!("{}, which cannot come before {back} is released", words.join("; "))
    }

    /// The stuck hold that keeps another from ending.
    fn blocking(&self, hold: usize) -> Option<usize> {
        let mut pending: Vec<(PointIndex, Life)> = points(&self.policy.holds[hold].until);
        let mut seen = BTreeSet::new();
        while let Some((point, life)) = pending.pop() {
            if self.held.has(point, life) || !seen.insert((point, life)) {
                continue;
            }
            let holds = &self.at[step(point, life)];
            let stuck = |hold: &&usize| !self.held.can_be(&self.policy.holds[**hold].until);
            if let Some(found) = holds.iter().find(stuck) {
                return Some(*found);
            }
            let before = Life::ALL.into_iter().take_while(|before| *before != life).last();
            let when = self.policy.points[point.get()].filter.when.as_ref().filter(|_| before.is_none());
            pending.extend(before.map(|before| (point, before)));
            pending.extend(when.map(points).unwrap_or_default());
        }
        None
    }
}

/// The steps of points that an expression names.
fn points(expr: &Expr) -> Vec<(PointIndex, Life)> {
    let step = |event: &Event| match event {
        Event::Point(point, life) => Some((*point, *life)),
        _ => None,
    };
    expr.events().into_iter().filter_map(step).collect()
}
