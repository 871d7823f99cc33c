//! What is under the core's lock: the engine, the journal, and every request and call that is not through.

use crate::chain::{Arrived, Asked, Finished};
use crate::classes::Classes;
use crate::frontend::Ring;
use crate::journal::Lane;
use blkstay_engine::control::{Answer, Reply};
use blkstay_engine::engine::{Engine, Input, Token};
use blkstay_engine::request::{Nanos, Op, Probes, Request, RequestId, Status};
use std::collections::HashMap;
use tokio::sync::mpsc::UnboundedSender;

/// A request that has not completed, as far as the daemon has it.
pub enum Pending {
    /// Held before the drive, or about to go there.
    Arrived(Arrived, Ring),
    /// The drive has it.
    InDrive(Ring),
    /// Back from the drive.
    Finished(Finished, Ring),
}

/// Whom to answer.
pub struct Owed {
    pub id: u64,
    pub client: UnboundedSender<Reply>,
}

/// What is done under the core's lock, and what is known there.
pub struct Inner {
    pub engine: Engine,
    pub classes: Classes,
    pub journal: Lane,
    pub pending: HashMap<RequestId, Pending>,
    pub owed: HashMap<Token, Owed>,
    pub next_request: u64,
    pub next_token: u64,
    /// When the engine wants to be told that time has passed.
    pub due: Nanos,
    /// Requests that the drive has, given up or not.
    pub in_drive: usize,
    /// Nothing happens any more: the daemon ends.
    pub closed: bool,
}

impl Inner {
    /// Nothing arrives before this is done, so that no request is seen with a part of the policy.
    pub fn policy_is_loaded(&mut self) {
        self.classes.set_policy(self.engine.policy());
    }

    /// What the engine decides on of a request that has arrived.
    pub fn look_at(&mut self, id: RequestId, queue: u16, request: &Arrived) -> Request {
        let Asked { op, range, .. } = request.asked;
        let class = self.classes.arrived(id, request);
        let tests = &self.engine.policy().probes;
        let probes = match op {
            Op::Write if !tests.is_empty() => request.payload().probes(tests),
            _ => Probes::default(),
        };
        Request { id, queue, op, range, class, probes }
    }

    /// Which of the policy's payload tests the data passes that a read has brought.
    pub fn probes_of_read(&self, request: &Finished, status: Status) -> Probes {
        let tests = &self.engine.policy().probes;
        let brought = status == Status::Ok && request.asked.is_some_and(|asked| asked.op == Op::Read);
        if brought && !tests.is_empty() { request.payload().probes(tests) } else { Probes::default() }
    }

    /// The drive is through with a request, or will never see it.
    pub fn is_through(&mut self, id: RequestId, request: &Finished, status: Status) {
        if let Some(asked) = request.asked {
            self.classes.through(id, asked, status == Status::Ok);
        }
    }

    /// Tells the guest that a request is through.
    pub fn complete(&mut self, id: RequestId, status: Status) {
        match self.pending.remove(&id) {
            Some(Pending::Finished(request, ring)) => ring.complete(request, status),
            // A rule ends it before the drive sees it.
            Some(Pending::Arrived(request, ring)) => {
                let request = request.refuse();
                self.is_through(id, &request, Status::Aborted);
                ring.complete(request, status);
            }
            Some(Pending::InDrive(ring)) => {
                tracing::error!(%id, "the drive has a request that is to complete");
                self.pending.insert(id, Pending::InDrive(ring));
            }
            None => {}
        }
    }

    /// Lets go of a request without telling anybody.
    pub fn abandon(&mut self, id: RequestId) {
        match self.pending.remove(&id) {
            Some(Pending::Arrived(request, _)) => {
                let request = request.refuse();
                self.is_through(id, &request, Status::Aborted);
                request.abandon();
            }
            Some(Pending::Finished(request, _)) => request.abandon(),
            // The drive gives it back, and nobody is waiting then.
            Some(Pending::InDrive(_)) | None => {}
        }
    }

    /// Answers a call.
    pub fn reply(&mut self, token: Token, answer: Answer) {
        if let Some(owed) = self.owed.remove(&token) {
            // A client that is gone needs no answer.
            let _ = owed.client.send(Reply { id: owed.id, answer });
        }
    }

    /// After the end nothing is served; what comes in is let go.
    pub fn give_up(&mut self, input: Input) {
        match input {
            Input::Arrived(Request { id, .. })
            | Input::Resubmitted(Request { id, .. })
            | Input::Done { id, .. }
            | Input::Failed { id, .. } => self.abandon(id),
            _ => {}
        }
    }
}
