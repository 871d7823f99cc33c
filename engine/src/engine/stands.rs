//! The requests that stand at a gate: who stands for what, and who is next by time.

use crate::event::{Gate, PointIndex, RuleIndex};
use crate::request::{Nanos, RequestId, Status};
use std::collections::{BTreeMap, BTreeSet};

/// What a request stands for. Those of one group stand for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The holds of its point at a gate.
    Holds(PointIndex, Gate),
    /// What a rule makes it wait for.
    Rule(RuleIndex),
    /// The end of every pause that is for it.
    Pause,
}

/// A request that stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub gate: Gate,
    pub group: Group,
    pub since: Nanos,
    /// How long it may stand.
    pub limit: Nanos,
    /// What happens at `wakes`.
    pub next: Next,
    /// When something happens by itself; the last of all times for what a pause looks after.
    pub wakes: Nanos,
    /// Its place among all that ever stood: the order in which they came to their gates.
    pub order: u64,
    /// The status that it ends with instead of the drive's.
    pub fail: Option<Status>,
    /// Whether what stands in a pause goes on after it, rather than being decided on anew.
    pub decided: bool,
}

impl Standing {
    /// Standing from `since` on, for at most `limit`.
    pub fn new(gate: Gate, group: Group, since: Nanos, limit: Nanos) -> Standing {
        let (next, wakes) = (Next::Nothing, Nanos::MAX);
        Standing { gate, group, since, limit, next, wakes, order: 0, fail: None, decided: false }
    }

    /// The same with something that happens by itself, and how it ends.
    pub fn then(self, next: Next, wakes: Nanos, fail: Option<Status>) -> Standing {
        Standing { next, wakes, fail, ..self }
    }
}

/// What happens to a standing request by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has stood for half of its limit, and whoever is interested is told.
    Stall,
    /// Its watchdog ends it.
    Watchdog,
    /// Its time has come.
    Release,
    /// Its watchdog comes before its time does.
    Cut,
    /// The window that it opened is closed.
    CloseWindow,
    /// Nothing.
    Nothing,
}

/// Every group of standing requests, and the times at which something is due.
#[derive(Clone, Debug, Default)]
pub struct Stands {
    groups: BTreeMap<Group, BTreeMap<u64, RequestId>>,
    due: BTreeSet<(Nanos, RequestId)>,
    count: usize,
    next_order: u64,
}

impl Stands {
    /// Where the next one comes in the order of standing.
    pub fn next_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    pub fn insert(&mut self, id: RequestId, standing: &Standing) {
        self.groups.entry(standing.group).or_default().insert(standing.order, id);
        self.due.insert((standing.wakes, id));
        self.count += 1;
    }

    pub fn remove(&mut self, id: RequestId, standing: &Standing) {
        if let Some(group) = self.groups.get_mut(&standing.group) {
            group.remove(&standing.order);
            if group.is_empty() {
                self.groups.remove(&standing.group);
            }
        }
        self.due.remove(&(standing.wakes, id));
        self.count -= 1;
    }

    /// Something else is due for it, or at another time.
    pub fn postpone(&mut self, id: RequestId, standing: &mut Standing, next: Next, wakes: Nanos) {
        self.due.remove(&(standing.wakes, id));
        (standing.next, standing.wakes) = (next, wakes);
        self.due.insert((wakes, id));
    }

    /// The first for which something is due by then.
    pub fn due(&self, now: Nanos) -> Option<RequestId> {
        self.due.first().filter(|(at, _)| *at <= now && *at < Nanos::MAX).map(|(_, id)| *id)
    }

    /// The first for which something will be due.
    pub fn next(&self) -> Option<RequestId> {
        self.due.first().filter(|(at, _)| *at < Nanos::MAX).map(|(_, id)| *id)
    }

    /// When something is due.
    pub fn next_due(&self) -> Option<Nanos> {
        self.due.first().map(|(at, _)| *at).filter(|at| *at < Nanos::MAX)
    }

    /// Every group that has somebody.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.groups.keys().copied()
    }

    /// Who stands in a group, in the order in which they came to the gate.
    pub fn group(&self, group: Group) -> impl Iterator<Item = RequestId> {
        self.groups.get(&group).into_iter().flat_map(|members| members.values().copied())
    }

    /// How many stand in a group.
    pub fn group_len(&self, group: Group) -> usize {
        self.groups.get(&group).map_or(0, BTreeMap::len)
    }

    /// Everybody who stands, in order of arrival.
    pub fn all(&self) -> Vec<RequestId> {
        let mut all: Vec<RequestId> = self.groups.values().flat_map(BTreeMap::values).copied().collect();
        all.sort_unstable();
        all
    }

    /// How many stand.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn clear(&mut self) {
        *self = Stands { next_order: self.next_order, ..Stands::default() };
    }
}
