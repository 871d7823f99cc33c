//! Going through the motions of a release while its time has not come.
//!
//! After some milliseconds of quiet everything that a release needs is cold, its code most of all: then it takes 25 to 40 µs,
//! else 2. Whoever is to be in time for a deadline is awake before it and has nothing to do; so a request that is none goes
//! through an engine that decides nothing, and what the next release will touch is looked at.

use crate::core::Core;
use crate::urgency::urgent;
use blkstay_engine::class::ClassSet;
use blkstay_engine::engine::{Action, Engine, Input};
use blkstay_engine::journal::codec;
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{ByteRange, Nanos, Op, Probes, Request, RequestId, Status};

/// After such a time without work things are cold.
const COLD_AFTER: Nanos = 500_000;

/// What a rehearsal takes at most, when everything is cold: later before a deadline none begins.
const TAKES: Nanos = 50_000;

/// How often one is gone through: the first time everything is far, later times teach the CPU its branches.
const TIMES: usize = 3;

/// What every request of a rehearsal meets.
const POLICY: &str = "[[rule]]\ngate = \"complete\"\ndelay = \"1us\"\n";

/// Rehearses for one thread.
pub struct Rehearsal {
    engine: Engine,
    next: u64,
    actions: Vec<Action>,
    frame: Vec<u64>,
    /// Whether there was work since the last look at the clock.
    has_worked: bool,
    /// When there was something to do last, or a rehearsal.
    warm_at: Nanos,
    /// Whether the thread's slices are short, which they are from its first deadline on.
    is_urgent: bool,
}

impl Rehearsal {
    /// With everything still cold.
    pub fn new() -> Rehearsal {
        let mut engine = Engine::new();
        if let Ok(policy) = Policy::parse("rehearsal", POLICY) {
            engine.load(0, policy, true);
        }
        let (actions, frame) = Default::default();
        Rehearsal { engine, next: 1, actions, frame, has_worked: false, warm_at: 0, is_urgent: false }
    }

    /// There was something to do.
    #[inline]
    pub fn worked(&mut self) {
        self.has_worked = true;
    }

    /// There is nothing to do now, but at `deadline`, if that is near: rehearses if that is of use and there is time for it.
    #[inline]
    pub fn idles(&mut self, core: &Core, now: Nanos, deadline: Option<Nanos>) {
        if std::mem::take(&mut self.has_worked) {
            self.warm_at = now;
        }
        if deadline.is_some() && !std::mem::replace(&mut self.is_urgent, true) {
            urgent();
        }
        let has_time = deadline.is_some_and(|deadline| deadline.saturating_sub(now) >= TAKES);
        if has_time && now - self.warm_at >= COLD_AFTER {
            (0..TIMES).for_each(|_| self.rehearse());
            core.look_ahead();
            self.warm_at = core.now();
        }
    }

    fn rehearse(&mut self) {
        let (id, probes, now) = (RequestId(self.next), Probes::default(), self.next * 10_000);
        self.next += 1;
        let range = ByteRange { offset: 0, length: 4096 };
        let request = Request { id, queue: 0, op: Op::Read, range, class: ClassSet::NONE, probes };
        let done = Input::Done { id, status: Status::Ok, probes };
        for (t, input) in [(now, Input::Arrived(request)), (now, done), (now + 1000, Input::Tick)] {
            self.engine.step_into(t, input, &mut self.actions);
            for action in self.actions.drain(..) {
                if let Action::Record(record) = action {
                    self.frame.clear();
                    let _ = codec::encode(t, &record, &mut self.frame);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blkstay_engine::journal::frame::{Head, kind};

    #[test]
    fn a_request_that_is_none_is_delayed_and_goes_all_the_way() {
        let mut rehearsal = Rehearsal::new();
        assert_eq!(rehearsal.engine.policy().rules.len(), 1, "the policy can be read");
        for _ in 0..3 {
            rehearsal.rehearse();
            assert_eq!(rehearsal.engine.counts(), (0, 0), "nothing is left of it");
            let head = rehearsal.frame.first().copied().and_then(Head::read);
            assert_eq!(head.map(|head| head.kind), Some(kind::COMPLETED));
        }
    }
}
