//! What becomes of a request at a gate: pauses first, then the holds of its point, then the rules.

use super::Engine;
use super::pause::Pausing;
use super::stands::{Group, Next, Standing};
use crate::event::{Gate, PointIndex, RuleIndex};
use crate::journal::{Arm, Does, Record};
use crate::policy::{Close, Delay, Limit, Reorder, Scope, Shape, Share, Stall, Wait};
use crate::request::{Nanos, RequestId, Status};

/// When a request goes on by itself, and what lets it wait until then.
struct Timed {
    does: Does,
    wait: Nanos,
}

impl Engine {
    /// A request comes to a gate.
    pub(super) fn come_to(&mut self, id: RequestId, gate: Gate) {
        let Some(live) = self.live.get(&id) else { return };
        let (queue, point) = (live.request.queue, live.point);
        let stopped = self.stopped_queues.contains(&queue);
        if !stopped && self.is_paused(queue) {
            return self.stand_in_pause(id, gate, None);
        }
        let reached = point.is_some_and(|point| self.reach_holds(point, gate));
        let rule = if reached { None } else { self.rule_of(id, gate) };
        let acts = !stopped && self.attempt.arm == Arm::Forced;
        match (point, rule) {
            (Some(point), _) if reached && acts && self.is_held(point, gate) => self.hold(id, point, gate),
            (_, Some(rule)) if acts => self.decide(id, gate, rule),
            _ => self.pass(id, gate, None),
        }
    }

    /// Notes that a point came to a gate where it has holds; says whether it has.
    fn reach_holds(&mut self, point: PointIndex, gate: Gate) -> bool {
        let holds = self.index.holds(point, gate);
        for hold in holds {
            self.attempt.holds[*hold].reached.get_or_insert(self.now);
        }
        !holds.is_empty()
    }

    /// Whether the holds of a point at a gate want it to stand.
    fn is_held(&self, point: PointIndex, gate: Gate) -> bool {
        let moment = self.moment();
        let mut holds = self.index.holds(point, gate).iter();
        self.attempt.expired.is_none() && holds.any(|hold| !self.policy.holds[*hold].until.holds(&moment))
    }

    fn hold(&mut self, id: RequestId, point: PointIndex, gate: Gate) {
        let holds = self.index.holds(point, gate).to_vec();
        for hold in &holds {
            self.attempt.holds[*hold].held = true;
        }
        let own = holds.iter().map(|hold| self.policy.holds[*hold].watchdog_ns).min().unwrap_or_default();
        self.stand_until(id, gate, Group::Holds(point, gate), own, None);
    }

    /// Does what a rule says.
    fn decide(&mut self, id: RequestId, gate: Gate, rule: RuleIndex) {
        let Some(verdict) = self.policy.rules[rule.get()].verdict.clone() else { return };
        let fail = verdict.fail;
        let Some(wait) = verdict.wait else {
            let does = if fail.is_some() { Does::Fail } else { Does::Pass };
            self.decided(id, gate, rule, does, None, fail);
            return self.pass(id, gate, fail);
        };
        if let Some(timed) = self.timed(id, rule, &wait) {
            return self.wait_for(id, gate, rule, timed, fail);
        }
        let (does, stands) = match &wait {
            Wait::Until(until) => (Does::Hold, !until.holds(&self.moment())),
            Wait::Reorder(Reorder { close: Close::Until(until), .. }) => {
                (Does::Reorder, !until.holds(&self.moment()))
            }
            Wait::Reorder(_) => (Does::Reorder, true),
            _ => (Does::Pause, true),
        };
        self.decided(id, gate, rule, does, None, fail);
        if self.attempt.expired.is_some() || !stands {
            return self.pass(id, gate, fail);
        }
        let own = self.policy.rules[rule.get()].watchdog_ns;
        match wait {
            Wait::Pause(pause) => {
                let queue = match pause.scope {
                    Scope::Disk => None,
                    Scope::Ring => self.live.get(&id).map(|live| live.request.queue),
                };
                let (since, limit) = (self.now, self.limit(own));
                self.begin_pause(Pausing { rule: Some(rule), queue, since, limit });
                self.stand_in_pause(id, gate, Some(fail));
            }
            Wait::Reorder(Reorder { close: Close::Window { requests, within_ns }, .. }) => {
                self.stand_until(id, gate, Group::Rule(rule), own, fail);
                self.collect(id, rule, requests, within_ns);
            }
            _ => self.stand_until(id, gate, Group::Rule(rule), own, fail),
        }
    }

    /// The time that a wait takes, if it is one of time.
    fn timed(&mut self, id: RequestId, rule: RuleIndex, wait: &Wait) -> Option<Timed> {
        match wait {
            Wait::Delay(delay) => Some(Timed { does: Does::Delay, wait: self.draw(rule, delay) }),
            Wait::Limit(limit) => Some(Timed { does: Does::Limit, wait: self.share(id, rule, limit) }),
            Wait::Stall(stall) => Some(Timed { does: Does::Stall, wait: self.stalled_for(stall) }),
            Wait::Until(_) | Wait::Reorder(_) | Wait::Pause(_) => None,
        }
    }

    fn draw(&mut self, rule: RuleIndex, delay: &Delay) -> Nanos {
        if let Shape::Fixed(time) = delay.shape {
            return time;
        }
        let stream = self.stream(rule);
        self.attempt.rules[rule.get()].turns.chance(stream).delay(delay)
    }

    /// How long a request waits for its share, when others came before it: as if the disk did one after the other
    /// at that rate, and had saved up a burst while it idled.
    fn share(&mut self, id: RequestId, rule: RuleIndex, limit: &Limit) -> Nanos {
        let length = self.live.get(&id).map_or(0, |live| live.request.range.length);
        let amount = match limit.of {
            Share::Requests => 1,
            Share::Bytes => length,
        };
        let time = |amount: u64| {
            let nanos = u128::from(amount) * 1_000_000_000 / u128::from(limit.per_second.max(1));
            Nanos::try_from(nanos).unwrap_or(Nanos::MAX)
        };
        let state = &mut self.attempt.rules[rule.get()];
        state.busy_until = state.busy_until.max(self.now).saturating_add(time(amount));
        state.busy_until.saturating_sub(time(limit.burst)).saturating_sub(self.now)
    }

    fn stalled_for(&self, stall: &Stall) -> Nanos {
        let running = self.now.saturating_sub(self.attempt.began);
        let every = stall.every_ns.max(1);
        let into = running % every;
        if running < every { 0 } else { stall.for_ns.saturating_sub(into) }
    }

    /// Lets a request wait for a time, but no longer than its watchdog.
    fn wait_for(&mut self, id: RequestId, gate: Gate, rule: RuleIndex, timed: Timed, fail: Option<Status>) {
        self.decided(id, gate, rule, timed.does, Some(timed.wait), fail);
        if timed.wait == 0 {
            return self.pass(id, gate, fail);
        }
        let limit = self.policy.rules[rule.get()].watchdog_ns;
        let next = if timed.wait > limit { Next::Cut } else { Next::Release };
        let wakes = self.now.saturating_add(timed.wait.min(limit));
        self.stand(id, Standing::new(gate, Group::Rule(rule), self.now, limit).then(next, wakes, fail));
    }

    fn decided(
        &mut self,
        id: RequestId,
        gate: Gate,
        rule: RuleIndex,
        does: Does,
        wait_ns: Option<Nanos>,
        status: Option<Status>,
    ) {
        let rule = self.policy.rules[rule.get()].name.clone();
        self.record(Record::Decided { id, gate, rule, does, wait_ns, status });
    }

    /// Lets a request stand until something happens, under a watchdog; `own` is the one of what holds it.
    pub(super) fn stand_until(
        &mut self,
        id: RequestId,
        gate: Gate,
        group: Group,
        own: Nanos,
        fail: Option<Status>,
    ) {
        let limit = self.limit(own);
        let stalls_at = self.now.saturating_add(limit / 2);
        self.stand(id, Standing::new(gate, group, self.now, limit).then(Next::Stall, stalls_at, fail));
        self.held(id, gate, group, self.now.saturating_add(limit));
    }

    /// How long something may stand until something happens; `own` is its own watchdog.
    pub(super) fn limit(&self, own: Nanos) -> Nanos {
        self.attempt.watchdog.unwrap_or(own)
    }

    pub(super) fn held(&mut self, id: RequestId, gate: Gate, group: Group, deadline_ns: Nanos) {
        let (point, rule) = self.names(id, group);
        let until = self.until_text(group);
        self.record(Record::Held { id, point, rule, gate, until, deadline_ns });
    }

    pub(super) fn stand(&mut self, id: RequestId, mut standing: Standing) {
        standing.order = self.stands.next_order();
        if let Some(live) = self.live.get_mut(&id) {
            live.standing = Some(standing);
            self.stands.insert(id, &standing);
            self.changed |= self.index.reads_gauges;
        }
    }
}
