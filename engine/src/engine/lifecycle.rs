//! A request's way: it arrives, passes the submit gate to the drive, comes back, passes the complete gate.

use super::{Action, Engine, Live};
use crate::event::{Event, Gate, Life, PointIndex};
use crate::journal::{Abandon, Cause, Record, Stage};
use crate::request::{Op, Probes, Request, RequestId, Status};

impl Engine {
    /// `resubmitted`: it was in flight when an earlier daemon died.
    pub(super) fn arrived(&mut self, request: Request, resubmitted: bool) {
        let id = request.id;
        if self.live.contains_key(&id) {
            return;
        }
        self.stopped_queues.remove(&request.queue);
        let point = self.point_of(&request);
        let name = point.map(|point| self.policy.points[point.get()].name.clone());
        self.record(Record::Arrived { request, point: name, passed: false, resubmitted });
        if request.op == Op::Flush {
            self.last_flush = Some(id);
        }
        self.live.insert(id, Box::new(Live::new(request, point)));
        self.changed |= self.index.reads_gauges;
        self.happen_to(point, Life::Arrived);
        self.come_to(id, Gate::Submit);
    }

    pub(super) fn submit(&mut self, id: RequestId) {
        let Some(live) = self.live.get_mut(&id) else { return };
        live.stage = Stage::Submitted;
        let point = live.point;
        self.record(Record::Submitted { id });
        self.actions.push(Action::Submit(id));
        self.happen_to(point, Life::Submitted);
    }

    pub(super) fn done(&mut self, id: RequestId, status: Status, probes: Probes, error: Option<String>) {
        let Some(live) = self.live.get_mut(&id).filter(|live| live.stage == Stage::Submitted) else {
            return;
        };
        live.stage = Stage::HeldAtComplete;
        live.status = status;
        if live.request.op == Op::Read {
            live.request.probes = probes;
        }
        let point = live.point;
        self.record(Record::Done { id, status, probes, error });
        self.happen_to(point, Life::Done);
        self.come_to(id, Gate::Complete);
    }

    pub(super) fn complete(&mut self, id: RequestId) {
        let Some(live) = self.live.remove(&id) else { return };
        self.changed |= self.index.reads_gauges;
        self.record(Record::Completed { id, status: live.status, passed: false, error: None });
        self.actions.push(Action::Complete(id, live.status));
        self.happen_to(live.point, Life::Completed);
    }

    fn happen_to(&mut self, point: Option<PointIndex>, life: Life) {
        if let Some(point) = point {
            self.happen(Event::Point(point, life));
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        self.attempt.happen(&self.policy, event, self.now);
        self.changed = true;
    }

    /// Past a gate; `fail`: the status that it ends with instead of the drive's.
    pub(super) fn pass(&mut self, id: RequestId, gate: Gate, fail: Option<Status>) {
        if let (Some(status), Some(live)) = (fail, self.live.get_mut(&id)) {
            live.status = status;
        }
        match gate {
            Gate::Submit if fail.is_none() => self.submit(id),
            Gate::Submit | Gate::Complete => self.complete(id),
        }
    }

    pub(super) fn ring_stopped(&mut self, queue: u16) {
        self.record(Record::RingStopped { queue });
        self.stopped_queues.insert(queue);
        self.by_flush.retain(|(_, seen)| seen.queue != queue);
        self.end_pauses(&Cause::RingStop, |pause| pause.queue == Some(queue));
        let standing: Vec<RequestId> = self.standing().map(|(live, _)| live.request.id).collect();
        for id in standing {
            if self.live.get(&id).is_some_and(|live| live.request.queue == queue) {
                self.release(id, Cause::RingStop);
            }
        }
    }

    pub(super) fn abandon(&mut self, why: Abandon) {
        self.record(match why {
            Abandon::Disconnect => Record::Disconnected,
            Abandon::Shutdown => Record::Stopped,
        });
        for (id, live) in std::mem::take(&mut self.live) {
            self.record(Record::Abandoned { id, stage: live.stage, why, passed: false });
            self.actions.push(Action::Abandon(id));
        }
        self.stands.clear();
        self.stopped_queues.clear();
        self.by_flush.clear();
        self.changed = true;
        if why == Abandon::Disconnect {
            // The rings are gone, and a policy that is armed from the start acts for the next guest as it did for
            // this one.
            let begun = self.attempt.begun;
            self.end_pauses(&Cause::RingStop, |pause| {
                pause.queue.is_some() || (!begun && pause.rule.is_some())
            });
            if !begun {
                self.between_attempts();
            }
        }
    }
}
