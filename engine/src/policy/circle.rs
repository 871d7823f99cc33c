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

/// Most rounds in which circles are looked for.
const ROUNDS_MAX: usize = 100;

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

/// What is told of already, and so counts as over.
#[derive(Clone, Debug, Default)]
struct Told {
    points: BTreeSet<usize>,
    holds: BTreeSet<usize>,
}

/// Every circle, of points and then of holds. Those that share something are found one after the other: as if what is told
/// of were mended.
pub fn find_all(policy: &Policy) -> Vec<Circle> {
    let (mut told, mut circles) = (Told::default(), Vec::new());
    for _ in 0..ROUNDS_MAX {
        let mut found = of_points(policy, &told);
        if found.is_empty() {
            found = of_holds(policy, &told);
        }
        if found.is_empty() {
            break;
        }
        for circle in &found {
            match circle {
                Circle::Points(point) => told.points.insert(point.get()),
                Circle::Holds { hold, .. } => told.holds.insert(*hold),
            };
        }
        circles.extend(found);
    }
    circles
}

fn of_points(policy: &Policy, told: &Told) -> Vec<Circle> {
    let unheld = Possible::of(policy, &[], told);
    let never = |point: &PointIndex| !unheld.has(*point, Life::Arrived);
    let next = |point: usize| {
        let when = policy.points[point].filter.when.as_ref().map(points).unwrap_or_default();
        when.into_iter().map(|(point, _)| point).find(never).map(PointIndex::get)
    };
    let starts = policy.point_indexes().filter(never).map(PointIndex::get);
    let circles = circles(policy.points.len(), starts, next);
    circles.into_iter().map(|circle| Circle::Points(PointIndex(first(&circle) as u32))).collect()
}

fn of_holds(policy: &Policy, told: &Told) -> Vec<Circle> {
    let held = Possible::of(policy, &policy.holds, told);
    let is_stuck = |hold: usize| !told.holds.contains(&hold) && !held.can_be(&policy.holds[hold].until);
    let walk = Walk { policy, held: &held, at: holds_at(policy, &policy.holds) };
    let starts = (0..policy.holds.len()).filter(|hold| is_stuck(*hold));
    let circles = circles(policy.holds.len(), starts, |hold| walk.blocking(hold, &is_stuck));
    circles.into_iter().map(|circle| Circle::Holds { hold: circle[0], words: walk.words(&circle) }).collect()
}

fn first(circle: &[usize]) -> usize {
    circle.iter().copied().min().unwrap_or(0)
}

/// The circles that one comes to from these by way of `next`; each once.
fn circles(
    many: usize,
    starts: impl Iterator<Item = usize>,
    next: impl Fn(usize) -> Option<usize>,
) -> Vec<Vec<usize>> {
    let mut walked_from = vec![None; many];
    let mut circles = Vec::new();
    for start in starts {
        let (mut path, mut at) = (Vec::new(), Some(start));
        while let Some(one) = at.filter(|one| walked_from[*one].is_none()) {
            walked_from[one] = Some(start);
            path.push(one);
            at = next(one);
        }
        let back = at.filter(|one| walked_from[*one] == Some(start));
        let begins = back.and_then(|one| path.iter().position(|seen| *seen == one));
        circles.extend(begins.map(|begins| path.split_off(begins)));
    }
    circles
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
    fn of(policy: &Policy, holds: &[Hold], told: &Told) -> Possible {
        let steps = policy.points.len() * Life::ALL.len();
        let mut net = Net { missing: vec![0; steps], feeds: vec![Vec::new(); steps] };
        for point in policy.point_indexes() {
            for pair in Life::ALL.windows(2) {
                net.feed(step(point, pair[0]), step(point, pair[1]));
            }
            let when = policy.points[point.get()].filter.when.as_ref();
            if let Some(when) = when.filter(|_| !told.points.contains(&point.get())) {
                net.require(step(point, Life::Arrived), when);
            }
        }
        for (after, holds_before) in holds_at(policy, holds).into_iter().enumerate() {
            for hold in holds_before.into_iter().filter(|hold| !told.holds.contains(hold)) {
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
    fn blocking(&self, hold: usize, is_stuck: &impl Fn(usize) -> bool) -> Option<usize> {
        let mut pending: Vec<(PointIndex, Life)> = points(&self.policy.holds[hold].until);
        let mut seen = BTreeSet::new();
        while let Some((point, life)) = pending.pop() {
            if self.held.has(point, life) || !seen.insert((point, life)) {
                continue;
            }
            let holds = &self.at[step(point, life)];
            if let Some(found) = holds.iter().find(|hold| is_stuck(**hold)) {
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
