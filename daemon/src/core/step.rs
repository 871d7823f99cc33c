//! A step: something happens, the engine decides, and what follows is carried out once it is recorded.

use super::Core;
use crate::carried::Carried;
use crate::inner::{Inner, Pending, Stage};
use crate::timer::NEVER;
use blkstay_drives::Ended;
use blkstay_engine::engine::{Action, Input};
use blkstay_engine::request::{Nanos, Op, Probes, RequestId, Status};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most requests that are through before the guest is told, though more are about to be: the first of many that go on
/// together should not wait for the last.
const TOLD_AT_ONCE: usize = 8;

/// Room for so many actions is kept.
const ACTIONS_KEPT: usize = 1024;

/// What becomes of a request that was held until the disk was too small for it.
const PAST_THE_END: &str =
    "it reaches past the end of the disk, which has been made smaller since it arrived";

/// The drive is through with a request, or would be.
fn through(id: RequestId, status: Status, probes: Probes, error: Option<String>) -> Input {
    match error {
        None => Input::Done { id, status, probes },
        Some(error) => Input::Failed { id, status, error },
    }
}

impl Core {
    /// What is due comes first: whoever is here does it, rather than the timer that waits for the lock.
    pub(super) fn step(&self, inner: &mut Inner, input: Input) {
        let now = self.tick_if_due(inner);
        if inner.closed {
            return inner.give_up(input);
        }
        self.decide(inner, now, input);
    }

    /// Lets the engine decide, and carries that out.
    fn decide(&self, inner: &mut Inner, now: Nanos, input: Input) {
        let mut actions = std::mem::take(&mut inner.actions);
        inner.engine.step_into(now, input, &mut actions);
        self.carry_out(inner, now, actions.drain(..));
        // The room is kept from step to step, but not that of a step for very many.
        if actions.capacity() <= ACTIONS_KEPT {
            inner.actions = actions;
        }
    }

    /// Returns what time it is then.
    pub(super) fn tick_if_due(&self, inner: &mut Inner) -> Nanos {
        let now = self.now();
        if inner.due > now || inner.closed {
            return now;
        }
        inner.due = NEVER;
        self.decide(inner, now, Input::Tick);
        self.tell_guest(inner);
        self.now()
    }

    /// Tells guests of what is through before whatever else is going on has come to its end: for that, requests have
    /// been late enough. If it cannot be recorded, [`Core::settle`] finds that out.
    fn tell_guest(&self, inner: &mut Inner) {
        if !inner.effects.completions.is_empty() && inner.journal.check().is_ok() {
            self.publish_sieve(inner);
            inner.tell_guest();
        }
    }

    /// `now` is the time at which the engine decided: the journal fed back gives the same decisions.
    pub(super) fn carry_out(&self, inner: &mut Inner, now: Nanos, actions: impl IntoIterator<Item = Action>) {
        for action in actions {
            match action {
                Action::Record(record) => inner.journal.add(now, &record),
                Action::Submit(id) => self.submit(inner, id),
                Action::Complete(id, status) => {
                    inner.complete(now, id, status);
                    if inner.effects.completions.len() >= TOLD_AT_ONCE {
                        self.tell_guest(inner);
                    }
                }
                Action::Abandon(id) => inner.abandon(id),
                Action::WakeAt(at) => {
                    inner.due = at.unwrap_or(NEVER);
                    self.timer.set(inner.due);
                }
                Action::Warn(token, warnings) => inner.warn(token, warnings),
                Action::Reply(token, answer) => inner.effects.replies.push((token, answer)),
            }
        }
    }

    fn submit(&self, inner: &mut Inner, id: RequestId) {
        let Some(pending) = inner.pending.get_mut(&id) else { return };
        let request = match std::mem::replace(&mut pending.stage, Stage::InDrive) {
            Stage::Arrived(request) => request,
            other => return pending.stage = other,
        };
        if request.asked.op == Op::GetId {
            let request = request.submit();
            let written = request.answer(&self.device.serial());
            pending.stage = Stage::Finished(request.finish(written));
            return inner.effects.answered.push((id, None));
        }
        // It was found to lie on the disk when it arrived, and the disk may have been made smaller since.
        if request.asked.range.end() > self.device.limits().bytes {
            let request = request.refuse();
            inner.is_through(id, &request, Status::IoError);
            if let Some(pending) = inner.pending.get_mut(&id) {
                pending.stage = Stage::Finished(request);
            }
            return inner.effects.answered.push((id, Some(PAST_THE_END)));
        }
        let (ring, since, durable) = (pending.ring.clone(), pending.since, self.device.writes_through());
        let lane = usize::from(ring.index) % self.lanes;
        let carried = Carried { id, ring, request: request.submit(), passed: false, durable, since };
        inner.effects.submissions[lane].push(carried);
    }

    /// Does what follows from what was decided, now that it is recorded, until nothing follows any more.
    pub(super) fn settle(&self, inner: &mut Inner) {
        self.publish_sieve(inner);
        let mut ended = Vec::new();
        while !inner.effects.is_empty() {
            if let Err(error) = inner.journal.check() {
                if !inner.closed {
                    inner.closed = true;
                    self.fail(&error);
                }
                inner.forget_effects();
                break;
            }
            for lane in 0..self.lanes {
                let mut requests = std::mem::take(&mut inner.effects.submissions[lane]);
                if !requests.is_empty() {
                    self.drive.submit(lane, &mut requests, &mut ended);
                }
                inner.effects.submissions[lane] = requests;
            }
            inner.tell_guest();
            for (token, answer) in std::mem::take(&mut inner.effects.replies) {
                inner.reply(token, answer);
            }
            for (id, error) in std::mem::take(&mut inner.effects.answered) {
                let status = if error.is_some() { Status::IoError } else { Status::Ok };
                self.step(inner, through(id, status, Probes::default(), error.map(str::to_owned)));
            }
            self.take_back(inner, &mut ended);
            self.publish_sieve(inner);
        }
    }

    /// Before anybody gets an answer, so that what it does next is seen by the new one.
    fn publish_sieve(&self, inner: &Inner) {
        let everything = inner.classes.is_followed() || self.shut.load(Ordering::Acquire);
        if let Some(sieve) = inner.engine.other_sieve(&self.sieve.load(), everything) {
            self.sieve.store(Arc::new(sieve));
        }
    }

    pub(super) fn take_back(&self, inner: &mut Inner, ended: &mut Vec<Ended<Carried>>) {
        for Ended { request: carried, result } in ended.drain(..) {
            let Carried { id, passed, since, .. } = carried;
            let ring = carried.ring.clone();
            let (request, status, error) = carried.finish(&result);
            if let Some(error) = &error {
                self.drive_failed(id, status, error);
            }
            if passed {
                inner.journal.completed(self.now(), id, status, error.as_deref());
                inner.stats.ended(request.asked, status, self.now().saturating_sub(since));
                self.passed.left(usize::from(ring.index) % self.lanes, 1);
                inner.effects.completions.push((ring, request, status));
                continue;
            }
            inner.is_through(id, &request, status);
            let probes = inner.probes_of_read(&request, status);
            match inner.pending.get_mut(&id) {
                Some(Pending { stage: stage @ Stage::InDrive, .. }) => {
                    *stage = Stage::Finished(request);
                    self.step(inner, through(id, status, probes, error));
                }
                _ => ring.abandon(request),
            }
        }
    }
}
