//! What is under the core's lock: the engine, its lane of the journal, and every request and call that is not through.

use crate::carried::Carried;
use crate::chain::{Arrived, Asked, Finished};
use crate::classes::Classes;
use crate::journal::Lane;
use crate::ring::Ring;
use crate::stats::Stats;
use crate::timer::NEVER;
use blkstay_engine::control::{Answer, Reply};
use blkstay_engine::engine::{Action, Engine, Input, Token};
use blkstay_engine::request::{Nanos, Op, Probes, Request, RequestId, Status};
use rustc_hash::FxBuildHasher;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// A request that has not completed, as far as the core has it.
pub struct Pending {
    /// How far it has come.
    pub stage: Stage,
    /// Where its completion goes.
    pub ring: Arc<Ring>,
    /// When it arrived.
    pub since: Nanos,
}

/// How far a request has come.
pub enum Stage {
    /// Held before the drive, or about to go there.
    Arrived(Arrived),
    /// The drive has it.
    InDrive,
    /// Back from the drive.
    Finished(Finished),
}

/// Whom to answer.
pub struct Owed {
    pub id: u64,
    pub client: UnboundedSender<Reply>,
    /// What the answer has to warn of.
    pub warnings: Vec<String>,
}

/// What follows from the engine's decisions and has not been done: nobody may see any of it before it is recorded.
#[derive(Default)]
pub struct Effects {
    /// To the drive, by lane.
    pub submissions: Vec<Vec<Carried>>,
    /// Through without the drive, and why if that is a failure.
    pub answered: Vec<(RequestId, Option<&'static str>)>,
    /// To the guest.
    pub completions: Vec<(Arc<Ring>, Finished, Status)>,
    /// The same for one ring while it is told; kept for its room.
    told: Vec<(Finished, Status)>,
    /// To clients.
    pub replies: Vec<(Token, Answer)>,
}

impl Effects {
    pub fn is_empty(&self) -> bool {
        let Effects { submissions, answered, completions, replies, told: _ } = self;
        submissions.iter().all(Vec::is_empty)
            && answered.is_empty()
            && completions.is_empty()
            && replies.is_empty()
    }
}

/// What is done under the core's lock, and what is known there.
pub struct Inner {
    pub engine: Engine,
    pub classes: Classes,
    pub journal: Lane,
    pub pending: HashMap<RequestId, Pending, FxBuildHasher>,
    pub owed: HashMap<Token, Owed>,
    pub effects: Effects,
    /// What the engine wants done, while a step is carried out; kept for its room.
    pub actions: Vec<Action>,
    pub stats: Stats,
    pub next_token: u64,
    /// When the engine wants to be told that time has passed.
    pub due: Nanos,
    /// Nothing happens any more: the daemon ends.
    pub closed: bool,
}

impl Inner {
    /// Nothing has happened.
    pub fn new(journal: Lane, classes: Classes) -> Inner {
        Inner {
            engine: Engine::new(),
            classes,
            journal,
            pending: HashMap::default(),
            owed: HashMap::new(),
            effects: Effects::default(),
            actions: Vec::new(),
            stats: Stats::default(),
            next_token: 1,
            due: NEVER,
            closed: false,
        }
    }

    /// Nothing arrives before this is done, so that no request is seen with a part of the policy.
    pub fn policy_is_loaded(&mut self) {
        let report = self.engine.policy_report();
        let origin = report.origin.as_deref().unwrap_or("none");
        tracing::info!(origin, armed = report.armed, "a policy is loaded");
        self.classes.set_policy(self.engine.policy());
    }

    /// Tells the guest of what is through, each ring at once.
    pub fn tell_guest(&mut self) {
        let Effects { completions, told, .. } = &mut self.effects;
        while let Some((ring, ..)) = completions.first() {
            let ring = ring.clone();
            let here = completions.extract_if(.., |(of, ..)| Arc::ptr_eq(of, &ring));
            told.extend(here.map(|(_, request, status)| (request, status)));
            ring.complete(told);
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

    /// Looks at what the next release will need: the request, its ring, and where it will be recorded.
    pub fn look_ahead(&self) {
        if let Some(Pending { stage, ring, .. }) = self.engine.next_due().and_then(|id| self.pending.get(&id))
        {
            if let Stage::Finished(request) = stage {
                request.look_ahead();
            }
            ring.look_ahead();
            self.journal.look_ahead();
        }
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

    /// The guest is to be told that a request is through.
    pub fn complete(&mut self, now: Nanos, id: RequestId, status: Status) {
        let Some(Pending { stage, ring, since }) = self.pending.remove(&id) else { return };
        let request = match stage {
            Stage::Finished(request) => request,
            // A rule ends it before the drive sees it.
            Stage::Arrived(request) => {
                let request = request.refuse();
                self.is_through(id, &request, Status::Aborted);
                request
            }
            Stage::InDrive => {
                tracing::error!(%id, "the drive has a request that is to complete");
                self.pending.insert(id, Pending { stage: Stage::InDrive, ring, since });
                return;
            }
        };
        self.stats.ended(request.asked, status, now.saturating_sub(since));
        self.effects.completions.push((ring, request, status));
    }

    /// The requests that the drive has.
    pub fn in_drive(&self) -> impl Iterator<Item = RequestId> {
        self.pending.keys().copied().filter(|id| self.is_in_drive(*id))
    }

    /// Whether the drive has it.
    pub fn is_in_drive(&self, id: RequestId) -> bool {
        self.pending.get(&id).is_some_and(|pending| matches!(pending.stage, Stage::InDrive))
    }

    /// Lets go of a request without telling anybody.
    pub fn abandon(&mut self, id: RequestId) {
        let Some(Pending { stage, ring, .. }) = self.pending.remove(&id) else { return };
        match stage {
            Stage::Arrived(request) => {
                let request = request.refuse();
                self.is_through(id, &request, Status::Aborted);
                ring.abandon(request);
            }
            Stage::Finished(request) => ring.abandon(request),
            // The drive gives it back, and nobody is waiting then.
            Stage::InDrive => {}
        }
    }

    /// Somebody will be answered.
    pub fn owe(&mut self, owed: Owed) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.owed.insert(token, owed);
        token
    }

    /// The answer to a call is to warn of something.
    pub fn warn(&mut self, token: Token, warnings: Vec<String>) {
        if let Some(owed) = self.owed.get_mut(&token) {
            owed.warnings = warnings;
        }
    }

    /// Answers a call.
    pub fn reply(&mut self, token: Token, answer: Answer) {
        if let Some(Owed { id, client, warnings }) = self.owed.remove(&token) {
            // A client that is gone needs no answer.
            let _ = client.send(Reply { id, answer, warnings });
        }
    }

    /// Nothing that was to be done is done.
    pub fn forget_effects(&mut self) {
        self.effects.submissions.iter_mut().flat_map(|lane| lane.drain(..)).for_each(Carried::abandon);
        for (ring, request, _) in self.effects.completions.drain(..) {
            ring.abandon(request);
        }
        self.effects.answered.clear();
        self.effects.replies.clear();
    }
}
