//! Pauses: everything, or everything of a ring, stands at whatever gate it comes to.

use super::Engine;
use super::stands::{Group, Standing};
use crate::event::{Expr, Gate, RuleIndex};
use crate::journal::{Cause, Record};
use crate::policy::{Policy, Wait};
use crate::report::Expired;
use crate::request::{Nanos, RequestId, Status};

/// A pause that is on.
#[derive(Clone, Copy, Debug)]
pub struct Pausing {
    /// The rule that began it; a client if there is none.
    pub rule: Option<RuleIndex>,
    /// The ring; all of them if there is none.
    pub queue: Option<u16>,
    pub since: Nanos,
    pub limit: Nanos,
}

impl Pausing {
    pub fn deadline(&self) -> Nanos {
        self.since.saturating_add(self.limit)
    }

    pub fn is_for(&self, queue: u16) -> bool {
        self.queue.is_none_or(|paused| paused == queue)
    }

    /// What ends it, if the policy says.
    fn until<'p>(&self, policy: &'p Policy) -> Option<&'p Expr> {
        match policy.rules[self.rule?.get()].verdict.as_ref()?.wait.as_ref()? {
            Wait::Pause(pause) => pause.until.as_ref(),
            _ => None,
        }
    }
}

impl Engine {
    pub(super) fn is_paused(&self, queue: u16) -> bool {
        self.pauses.iter().any(|pause| pause.is_for(queue))
    }

    /// The rule that began the pause in which requests of a queue stand.
    pub(super) fn pausing_rule(&self, queue: u16) -> Option<RuleIndex> {
        self.pauses.iter().find(|pause| pause.is_for(queue))?.rule
    }

    /// When the last of the pauses is over in which requests of a queue stand, come what may.
    pub(super) fn pause_deadline(&self, queue: u16) -> Nanos {
        let pauses = self.pauses.iter().filter(|pause| pause.is_for(queue));
        pauses.map(Pausing::deadline).max().unwrap_or(self.now)
    }

    pub(super) fn begin_pause(&mut self, pause: Pausing) {
        let rule = pause.rule.map(|rule| self.policy.rules[rule.get()].name.clone());
        self.record(Record::Paused { queue: pause.queue, rule, deadline_ns: pause.deadline() });
        self.pauses.push(pause);
        self.changed = true;
    }

    /// Lets a request stand until no pause is for it; `fail`: it was decided on, and how it ends then.
    pub(super) fn stand_in_pause(&mut self, id: RequestId, gate: Gate, fail: Option<Option<Status>>) {
        let queue = self.live.get(&id).map(|live| live.request.queue);
        let deadline = queue.map_or(self.now, |queue| self.pause_deadline(queue));
        let limit = deadline.saturating_sub(self.now);
        let standing = Standing::new(gate, Group::Pause, self.now, limit);
        self.stand(id, Standing { fail: fail.flatten(), decided: fail.is_some(), ..standing });
        self.held(id, gate, Group::Pause, deadline);
    }

    /// Ends the pauses that are meant; who stood in them alone goes on.
    pub(super) fn end_pauses(&mut self, cause: &Cause, meant: impl Fn(&Pausing) -> bool) {
        let (over, rest): (Vec<_>, Vec<_>) = self.pauses.drain(..).partition(|pause| meant(pause));
        self.pauses = rest;
        if over.is_empty() {
            return;
        }
        for pause in over {
            let rule = pause.rule.map(|rule| self.policy.rules[rule.get()].name.clone());
            self.record(Record::Resumed { queue: pause.queue, rule, cause: cause.clone() });
        }
        self.changed = true;
        let mut waiting: Vec<RequestId> = self.stands.group(Group::Pause).collect();
        waiting.sort_unstable();
        for id in waiting {
            let queue = self.live.get(&id).map(|live| live.request.queue);
            if queue.is_some_and(|queue| !self.is_paused(queue)) {
                self.resume(id);
            }
        }
    }

    fn resume(&mut self, id: RequestId) {
        let Some(standing) = self.unstand(id, Cause::Resumed) else { return };
        match standing.decided {
            true => self.pass(id, standing.gate, standing.fail),
            false => self.come_to(id, standing.gate),
        }
    }

    /// What the pauses that are on wait for, in words.
    pub(super) fn pause_text(&self) -> String {
        let text = |pause: &Pausing| {
            let until = pause.until(&self.policy).map(|until| self.policy.expr_text(until));
            until.unwrap_or_else(|| "resumed".to_owned())
        };
        self.pauses.iter().map(text).collect::<Vec<_>>().join(" and ")
    }

    /// Ends the pauses whose end the policy says and that has come.
    pub(super) fn end_pauses_that_are_over(&mut self) {
        while let Some((rule, event)) = self.first_pause_over() {
            let of_rule = |pause: &Pausing| pause.rule == Some(rule);
            self.end_pauses(&Cause::Until { event }, of_rule);
        }
    }

    fn first_pause_over(&self) -> Option<(RuleIndex, String)> {
        let moment = self.moment();
        self.pauses.iter().find_map(|pause| {
            let until = pause.until(&self.policy).filter(|until| until.holds(&moment))?;
            Some((pause.rule?, self.attempt.true_by(&self.policy, &[until])))
        })
    }

    /// Ends pauses whose watchdog has run out, and with them the forcing of this attempt.
    pub(super) fn expire_pauses(&mut self) {
        let now = self.now;
        let Some(first) = self.pauses.iter().find(|pause| pause.deadline() <= now).copied() else { return };
        let name = first.rule.map_or("pause", |rule| self.policy.rules[rule.get()].name.as_str()).to_owned();
        let until = first.until(&self.policy).map(|until| self.policy.expr_text(until));
        let until = until.unwrap_or_else(|| "resumed".to_owned());
        self.attempt.expired = Some(Expired { gate: name.clone(), until, unheard: false });
        let cause = Cause::Watchdog { limit_ns: first.limit, unheard: false };
        self.end_pauses(&cause, |pause| pause.deadline() <= now);
        self.release_forced(&Cause::WatchdogOf { gate: name });
    }
}
