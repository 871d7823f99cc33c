//! How requests that stand go on: what they stand for has come, their time has, or somebody says so.

use super::attempt::Witness;
use super::stands::{Group, Next, Standing};
use super::{Action, Engine, Live, Waiter};
use crate::event::{Event, Expr, RuleIndex};
use crate::journal::{Cause, Record};
use crate::policy::{Close, Wait};
use crate::report::Expired;
use crate::request::{Nanos, RequestId};

/// How many times its limit a hold may stand while a witness in the guest has yet to report.
const WITNESS_PATIENCE: u64 = 8;

/// A hold stands for this part of its limit at most after the witness has said where the guest waits.
const STILL_PART: u64 = 8;

impl Engine {
    /// Every request that stands, in order of arrival.
    pub(super) fn standing(&self) -> impl Iterator<Item = (&Live, &Standing)> {
        let standing = self.stands.all().into_iter().filter_map(|id| self.live.get(&id));
        standing.filter_map(|live| Some((&**live, live.standing.as_ref()?)))
    }

    /// Takes a request from where it stands.
    pub(super) fn unstand(&mut self, id: RequestId, cause: Cause) -> Option<Standing> {
        let standing = self.live.get_mut(&id)?.standing.take()?;
        let (point, rule) = self.names(id, standing.group);
        self.stands.remove(id, &standing);
        self.changed |= self.index.reads_gauges;
        if let Group::Holds(point, gate) = standing.group {
            for hold in self.index.holds(point, gate) {
                let known = &mut self.attempt.holds[*hold].cause;
                if !matches!(known, Some(Cause::Watchdog { .. })) {
                    *known = Some(cause.clone());
                }
            }
        }
        self.record(Record::Released { id, point, rule, gate: standing.gate, cause });
        Some(standing)
    }

    /// Ends what a request stands for and lets it go on. Does nothing if it does not stand.
    pub(super) fn release(&mut self, id: RequestId, cause: Cause) {
        if let Some(standing) = self.unstand(id, cause) {
            self.pass(id, standing.gate, standing.fail);
        }
    }

    /// Releases everything but what a client has paused, ends every pause of the policy's.
    pub(super) fn release_all(&mut self, cause: &Cause) {
        let by_client = |queue| self.pauses.iter().any(|pause| pause.rule.is_none() && pause.is_for(queue));
        let stays = |live: &Live, standing: &Standing| {
            standing.group == Group::Pause && by_client(live.request.queue)
        };
        let free = self.standing().filter(|(live, standing)| !stays(live, standing));
        let free: Vec<RequestId> = free.map(|(live, _)| live.request.id).collect();
        // First those that stand: what a pause of the policy's has stopped is not decided on any more.
        for id in free {
            self.release(id, cause.clone());
        }
        self.end_pauses(cause, |pause| pause.rule.is_some());
    }

    /// Releases everything that waits for something to happen: delays and the like go on. What a client has paused stays
    /// where it is; of what only the policy has paused, rules decide that hold nothing.
    pub(super) fn release_forced(&mut self, cause: &Cause) {
        let stays = |standing: &Standing| {
            standing.group == Group::Pause || matches!(standing.next, Next::Release | Next::Cut)
        };
        let forced = self.standing().filter(|(_, standing)| !stays(standing));
        let forced: Vec<RequestId> = forced.map(|(live, _)| live.request.id).collect();
        for id in forced {
            self.release(id, cause.clone());
        }
        self.end_pauses(cause, |pause| pause.rule.is_some());
    }

    /// Releases what has become free, until nothing has any more.
    pub(super) fn release_free(&mut self) {
        while std::mem::take(&mut self.changed) {
            self.note_true_holds();
            self.end_pauses_that_are_over();
            let free: Vec<(Group, String)> =
                self.stands.groups().filter_map(|group| self.over(group)).collect();
            let mut together = Vec::new();
            for (group, event) in free {
                let cause = Cause::Until { event };
                match group {
                    Group::Rule(rule) if self.reorders(rule) => self.close(rule, &cause),
                    _ => together.extend(self.stands.group(group).map(|id| (id, cause.clone()))),
                }
            }
            together.sort_unstable_by_key(|(id, _)| *id);
            for (id, cause) in together {
                self.release(id, cause);
            }
        }
    }

    fn note_true_holds(&mut self) {
        let moment = self.moment();
        let holds = self.policy.holds.iter().zip(&self.attempt.holds).enumerate();
        let unknown = holds.filter(|(_, (_, state))| state.true_at.is_none());
        let now_true: Vec<usize> =
            unknown.filter(|(_, (hold, _))| hold.until.holds(&moment)).map(|(index, _)| index).collect();
        for index in now_true {
            self.attempt.holds[index].true_at = Some(self.now);
        }
    }

    /// What those of a group wait for.
    fn untils(&self, group: Group) -> Vec<&Expr> {
        match group {
            Group::Holds(point, gate) => {
                self.index.holds(point, gate).iter().map(|hold| &self.policy.holds[*hold].until).collect()
            }
            Group::Rule(rule) => {
                let verdict = self.policy.rules[rule.get()].verdict.as_ref();
                match verdict.and_then(|verdict| verdict.wait.as_ref()) {
                    Some(Wait::Until(until)) => vec![until],
                    Some(Wait::Reorder(reorder)) => match &reorder.close {
                        Close::Until(until) => vec![until],
                        Close::Window { .. } => Vec::new(),
                    },
                    _ => Vec::new(),
                }
            }
            Group::Pause => Vec::new(),
        }
    }

    /// Whether what a group waits for is true, and the event that made it so.
    fn over(&self, group: Group) -> Option<(Group, String)> {
        let untils = self.untils(group);
        let moment = self.moment();
        let over = !untils.is_empty() && untils.iter().all(|until| until.holds(&moment));
        over.then(|| (group, self.attempt.true_by(&self.policy, &untils)))
    }

    fn reorders(&self, rule: RuleIndex) -> bool {
        let verdict = self.policy.rules[rule.get()].verdict.as_ref();
        verdict.is_some_and(|verdict| matches!(verdict.wait, Some(Wait::Reorder(_))))
    }

    /// A request was collected in a window.
    pub(super) fn collect(&mut self, id: RequestId, rule: RuleIndex, requests: u64, within: Option<Nanos>) {
        let there = self.stands.group_len(Group::Rule(rule)) as u64;
        if there >= requests {
            return self.close(rule, &Cause::Window { requests: there });
        }
        let standing = self.live.get_mut(&id).and_then(|live| live.standing.as_mut());
        if let (Some(standing), Some(within)) = (standing, within)
            && within < standing.limit
        {
            let wakes = standing.since.saturating_add(within);
            self.stands.postpone(id, standing, Next::CloseWindow, wakes);
        }
    }

    /// Lets what a rule has collected go on, in its order.
    fn close(&mut self, rule: RuleIndex, cause: &Cause) {
        let stream = self.stream(rule);
        let verdict = self.policy.rules[rule.get()].verdict.as_ref();
        let Some(Wait::Reorder(reorder)) = verdict.and_then(|verdict| verdict.wait.as_ref()) else { return };
        let offset = |id: RequestId| self.live.get(&id).map_or(0, |live| live.request.range.offset);
        let there: Vec<_> = self.stands.group(Group::Rule(rule)).map(|id| (id, offset(id))).collect();
        let chance = self.attempt.rules[rule.get()].turns.chance(stream);
        for id in chance.reorder(&reorder.order, there) {
            self.release(id, cause.clone());
        }
    }

    /// Time has passed: everything that is due happens, the earliest first.
    pub(super) fn tick(&mut self) {
        while let Some(id) = self.stands.due(self.now) {
            self.is_due(id);
        }
        self.expire_pauses();
    }

    fn is_due(&mut self, id: RequestId) {
        let Some(standing) = self.live.get(&id).and_then(|live| live.standing) else { return };
        let unheard = self.attempt.witness == Witness::Told;
        let patient = standing.since.saturating_add(standing.limit.saturating_mul(WITNESS_PATIENCE));
        match standing.next {
            Next::Stall => self.stalled(id),
            Next::Watchdog if unheard && standing.wakes < patient => {
                self.postpone(id, Next::Watchdog, patient);
            }
            Next::Watchdog => self.expire(id, &standing, unheard),
            Next::Cut => {
                self.release(id, Cause::Watchdog { limit_ns: standing.limit, unheard: false });
            }
            Next::Release => self.release(id, self.passed(standing.group)),
            Next::CloseWindow => {
                if let Group::Rule(rule) = standing.group {
                    let requests = self.stands.group_len(standing.group) as u64;
                    self.close(rule, &Cause::Window { requests });
                }
            }
            Next::Nothing => self.postpone(id, Next::Nothing, Nanos::MAX),
        }
    }

    /// When it ends what stands, come what may.
    pub(super) fn deadline(&self, queue: u16, standing: &Standing) -> Nanos {
        match standing.next {
            // Other pauses may have begun or ended since.
            _ if standing.group == Group::Pause => self.pause_deadline(queue),
            Next::Stall | Next::Nothing => standing.since.saturating_add(standing.limit),
            Next::Watchdog if self.attempt.witness == Witness::Told => {
                standing.since.saturating_add(standing.limit.saturating_mul(WITNESS_PATIENCE))
            }
            _ => standing.wakes,
        }
    }

    /// Why a request goes on whose time has come.
    fn passed(&self, group: Group) -> Cause {
        let Group::Rule(rule) = group else { return Cause::Delay };
        let verdict = self.policy.rules[rule.get()].verdict.as_ref();
        match verdict.and_then(|verdict| verdict.wait.as_ref()) {
            Some(Wait::Limit(_)) => Cause::Limit,
            Some(Wait::Stall(_)) => Cause::Stall,
            _ => Cause::Delay,
        }
    }

    fn postpone(&mut self, id: RequestId, next: Next, wakes: Nanos) {
        if let Some(standing) = self.live.get_mut(&id).and_then(|live| live.standing.as_mut()) {
            self.stands.postpone(id, standing, next, wakes);
        }
    }

    /// Tells of a hold that has stood for half of its watchdog. Who waits for that is a witness.
    fn stalled(&mut self, id: RequestId) {
        let Some(standing) = self.live.get(&id).and_then(|live| live.standing) else { return };
        self.postpone(id, Next::Watchdog, standing.since.saturating_add(standing.limit));
        let (point, rule) = self.names(id, standing.group);
        self.record(Record::Stalled { id, point, rule, gate: standing.gate });
        if self.attempt.witness == Witness::None && self.somebody_awaits(&Event::Stalled) {
            self.attempt.witness = Witness::Told;
        }
        self.happen(Event::Stalled);
    }

    fn somebody_awaits(&self, event: &Event) -> bool {
        let awaits = |waiter: &Waiter| match waiter {
            Waiter::Until(_, expr) => expr.events().contains(&event),
            Waiter::Attempt(..) => false,
        };
        self.waiters.iter().any(awaits)
    }

    /// The witness has reported: nothing waits for its word any more, and what it has seen waiting has only to be seen not to
    /// go on after all.
    pub(super) fn heard(&mut self) {
        self.attempt.witness = Witness::Heard;
        for id in self.stands.all() {
            let Some(live) = self.live.get_mut(&id) else { continue };
            let Some(standing) = live.standing.as_mut().filter(|standing| standing.next == Next::Watchdog)
            else {
                continue;
            };
            let stood = self.now.saturating_sub(standing.since);
            standing.limit = standing.limit.min(stood.saturating_add(standing.limit / STILL_PART));
            let wakes = standing.since.saturating_add(standing.limit);
            self.stands.postpone(id, standing, Next::Watchdog, wakes);
        }
    }

    /// Ends the hold whose watchdog has run out, and with it the forcing of this attempt: the order
    /// that was asked for can't be had any more, so nothing else is kept waiting for it.
    fn expire(&mut self, id: RequestId, standing: &Standing, unheard: bool) {
        let gate = match self.names(id, standing.group) {
            (_, Some(rule)) => rule,
            (point, None) => format!("{point}.{}", standing.gate),
        };
        let until = self.until_text(standing.group);
        self.attempt.expired = Some(Expired { gate: gate.clone(), until, unheard });
        self.release(id, Cause::Watchdog { limit_ns: standing.limit, unheard });
        self.release_forced(&Cause::WatchdogOf { gate });
    }

    /// The names of a request's point and of the rule that lets it stand.
    pub(super) fn names(&self, id: RequestId, group: Group) -> (String, Option<String>) {
        let live = self.live.get(&id);
        let point =
            live.and_then(|live| live.point).map(|point| self.policy.points[point.get()].name.clone());
        let rule = match group {
            Group::Holds(..) => None,
            Group::Rule(rule) => Some(rule),
            Group::Pause => live.and_then(|live| self.pausing_rule(live.request.queue)),
        };
        (point.unwrap_or_default(), rule.map(|rule| self.policy.rules[rule.get()].name.clone()))
    }

    /// What those of a group wait for, in words.
    pub(super) fn until_text(&self, group: Group) -> String {
        let moment = self.moment();
        let open = self.untils(group).into_iter().filter(|until| !until.holds(&moment));
        let open: Vec<String> = open.map(|until| self.policy.expr_text(until)).collect();
        match group {
            Group::Rule(_) if open.is_empty() => "its time or its window".to_owned(),
            Group::Pause => self.pause_text(),
            _ => open.join(" and "),
        }
    }

    /// When something is due next; tells whoever wakes the engine if that has changed.
    pub(super) fn set_alarm(&mut self) {
        let pauses = self.pauses.iter().map(super::pause::Pausing::deadline).min();
        let wake_at = self.stands.next_due().into_iter().chain(pauses).min();
        if wake_at != self.wake_at {
            self.wake_at = wake_at;
            self.actions.push(Action::WakeAt(wake_at));
        }
    }
}
