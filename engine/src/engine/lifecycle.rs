//! A request's way through the gates.

use super::attempt::Witness;
use super::{Action, Engine, Live, Standing, Waiter};
use crate::event::{Event, Gate, Life, PointIndex};
use crate::journal::{Abandon, Arm, Cause, Record, Stage};
use crate::request::{Request, RequestId, Status};

impl Engine {
    pub(super) fn arrived(&mut self, request: Request) {
        let id = request.id;
        if self.live.contains_key(&id) {
            return;
        }
        self.stopped_queues.remove(&request.queue);
        let point = self.attempt.match_point(&self.policy, &request);
        let name = point.map(|point| self.policy.points[point.0].name.clone());
        self.record(Record::Arrived { request, point: name });
        let live = Live { request, stage: Stage::HeldAtSubmit, status: Status::Ok, point, standing: None };
        self.live.insert(id, live);
        self.happen_to(point, Life::Arrived);
        if !self.hold_at(id, Gate::Submit) {
            self.submit(id);
        }
    }

    fn submit(&mut self, id: RequestId) {
        let Some(live) = self.live.get_mut(&id) else { return };
        live.stage = Stage::Submitted;
        let point = live.point;
        self.record(Record::Submitted { id });
        self.actions.push(Action::Submit(id));
        self.happen_to(point, Life::Submitted);
    }

    pub(super) fn done(&mut self, id: RequestId, status: Status) {
        let Some(live) = self.live.get_mut(&id).filter(|live| live.stage == Stage::Submitted) else {
            return;
        };
        live.stage = Stage::HeldAtComplete;
        live.status = status;
        let point = live.point;
        self.record(Record::Done { id, status });
        self.happen_to(point, Life::Done);
        if !self.hold_at(id, Gate::Complete) {
            self.complete(id);
        }
    }

    fn complete(&mut self, id: RequestId) {
        let Some(live) = self.live.remove(&id) else { return };
        self.record(Record::Completed { id, status: live.status });
        self.actions.push(Action::Complete(id, live.status));
        self.happen_to(live.point, Life::Completed);
    }

    fn happen_to(&mut self, point: Option<PointIndex>, life: Life) {
        if let Some(point) = point {
            self.attempt.happen(&self.policy, Event::Point(point, life), self.now);
        }
    }

    /// Holds a request at a gate if a hold of the policy wants that; says whether it does.
    fn hold_at(&mut self, id: RequestId, gate: Gate) -> bool {
        let Some(live) = self.live.get_mut(&id) else { return false };
        let Some(point) = live.point else { return false };
        let of_gate = |index: &usize| {
            let hold = &self.policy.holds[*index];
            hold.point == point && hold.gate == gate
        };
        let holds: Vec<usize> = (0..self.policy.holds.len()).filter(of_gate).collect();
        for hold in &holds {
            self.attempt.holds[*hold].reached = Some(self.now);
        }
        let open = holds.iter().all(|hold| self.attempt.holds[*hold].true_by.is_some());
        let stopped = self.stopped_queues.contains(&live.request.queue);
        if open || stopped || self.attempt.expired || self.attempt.arm == Arm::Control {
            return false;
        }
        let own = holds.iter().map(|hold| self.policy.holds[*hold].watchdog_ns).min().unwrap_or_default();
        let limit = self.attempt.watchdog.unwrap_or(own);
        let until: Vec<_> =
            holds.iter().map(|hold| self.policy.expr_text(&self.policy.holds[*hold].until)).collect();
        for hold in &holds {
            self.attempt.holds[*hold].held = true;
        }
        self.held.insert(id);
        live.standing = Some(Standing {
            gate,
            holds,
            since: self.now,
            stalls_at: Some(self.now.saturating_add(limit / 2)),
            limit,
        });
        let record = Record::Held {
            id,
            point: self.policy.points[point.0].name.clone(),
            gate,
            until: until.join(" and "),
            deadline_ns: self.now.saturating_add(limit),
        };
        self.record(record);
        true
    }

    /// Ends what holds a request and lets it go on. Does nothing if it is not held.
    pub(super) fn release(&mut self, id: RequestId, cause: Cause) {
        let Some(live) = self.live.get_mut(&id) else { return };
        let Some(standing) = live.standing.take() else { return };
        self.held.remove(&id);
        let point = live.point.map(|point| self.policy.points[point.0].name.clone()).unwrap_or_default();
        for hold in &standing.holds {
            self.attempt.holds[*hold].cause = Some(cause.clone());
        }
        self.record(Record::Released { id, point, gate: standing.gate, cause });
        match standing.gate {
            Gate::Submit => self.submit(id),
            Gate::Complete => self.complete(id),
        }
    }

    pub(super) fn release_all(&mut self, cause: &Cause) -> usize {
        let held = self.held.clone();
        for id in &held {
            self.release(*id, cause.clone());
        }
        held.len()
    }

    /// Tells of holds that have stood for half of their watchdog. Who waits for that is a witness.
    pub(super) fn stall(&mut self) {
        for id in self.held.clone() {
            let Some(live) = self.live.get_mut(&id) else { continue };
            let (Some(point), Some(standing)) = (live.point, &mut live.standing) else { continue };
            if standing.stalls_at.is_some_and(|at| at <= self.now) {
                standing.stalls_at = None;
                let (point, gate) = (self.policy.points[point.0].name.clone(), standing.gate);
                self.record(Record::Stalled { id, point, gate });
                if self.attempt.witness == Witness::None && self.somebody_awaits(&Event::Stalled) {
                    self.attempt.witness = Witness::Told;
                }
                self.attempt.happen(&self.policy, Event::Stalled, self.now);
            }
        }
    }

    fn somebody_awaits(&self, event: &Event) -> bool {
        let awaits = |waiter: &Waiter| match waiter {
            Waiter::Until(_, expr) => expr.events().contains(&event),
            Waiter::Attempt(..) => false,
        };
        self.waiters.iter().any(awaits)
    }

    /// Ends the hold whose watchdog has run out, and with it the forcing of this attempt: the order
    /// that was asked for can't be had any more, so nothing else is kept waiting for it.
    pub(super) fn expire(&mut self) {
        let witness = self.attempt.witness;
        let due = self.standing().filter(|(_, standing)| standing.deadline(witness) <= self.now);
        let first = due.min_by_key(|(live, standing)| (standing.deadline(witness), live.request.id));
        let Some((id, point, gate, limit_ns)) =
            first.and_then(|(live, s)| Some((live.request.id, live.point?, s.gate, s.limit)))
        else {
            return;
        };
        self.attempt.expired = true;
        let gate = format!("{}.{}", self.policy.points[point.0].name, gate);
        self.release(id, Cause::Watchdog { limit_ns, unheard: witness == Witness::Told });
        self.release_all(&Cause::WatchdogOf { gate });
    }

    pub(super) fn ring_stopped(&mut self, queue: u16) {
        self.stopped_queues.insert(queue);
        for id in self.held.clone() {
            if self.live.get(&id).is_some_and(|live| live.request.queue == queue) {
                self.release(id, Cause::RingStop);
            }
        }
    }

    pub(super) fn abandon(&mut self, why: Abandon) {
        for (id, live) in std::mem::take(&mut self.live) {
            self.record(Record::Abandoned { id, stage: live.stage, why });
            self.actions.push(Action::Abandon(id));
        }
        self.held.clear();
        self.stopped_queues.clear();
        if why == Abandon::Disconnect && !self.attempt.begun {
            // A policy that is armed from the start holds for the next guest as it did for this one.
            self.between_attempts();
        }
        self.record(match why {
            Abandon::Disconnect => Record::Disconnected,
            Abandon::Shutdown => Record::Stopped,
        });
    }
}
