//! What clients ask for: of the engine, and of what the engine does not know, the disk's size and its counts.

use super::Core;
use crate::inner::{Inner, Owed};
use crate::stats::Stats;
use blkstay_engine::control::{Answer, Call, Command, Reply};
use blkstay_engine::engine::{Input, Token};
use blkstay_engine::journal::{Record, Source};
use blkstay_engine::report::StatsReport;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// How long requests that went past the policy may take before another one is loaded: a watchdog.
const QUIET_LIMIT: Duration = Duration::from_secs(10);

impl Core {
    /// Carries out a command; the answer goes to `client` once it has taken effect.
    pub fn call(&self, source: Source, call: Call, client: &UnboundedSender<Reply>) {
        let Call { id, during, command } = call;
        let owed = Owed { id, client: client.clone(), warnings: Vec::new() };
        match command {
            Command::Load { .. } if source != Source::Guest => self.call_load(owed, source, during, command),
            Command::Stats if source != Source::Guest => {
                let mut inner = self.lock();
                let answer = self.stats(&inner);
                self.answer(&mut inner, owed, answer);
            }
            Command::Resize { bytes } if source != Source::Guest => {
                let mut inner = self.lock();
                let answer = self.resize(&mut inner, bytes);
                self.answer(&mut inner, owed, answer);
            }
            Command::Pause { queue: Some(queue), .. }
                if source != Source::Guest && queue >= self.queues() =>
            {
                let answer = Answer::Error { message: self.no_queue(queue) };
                self.answer(&mut self.lock(), owed, answer);
            }
            command => {
                let mut inner = self.lock();
                self.call_engine(&mut inner, owed, source, during, command);
                self.settle(&mut inner);
            }
        }
    }

    fn queues(&self) -> u16 {
        self.device.model().queues
    }

    fn no_queue(&self, queue: u16) -> String {
        match self.queues() {
            1 => {
                format!("there is no queue {queue}, only queue 0; leave `queue` out to pause the whole disk")
            }
            queues => format!(
                "there is no queue {queue}: they are 0 to {}; leave `queue` out to pause the whole disk",
                queues - 1
            ),
        }
    }

    /// Another policy begins when nothing is under way that has gone past the one before.
    fn call_load(&self, owed: Owed, source: Source, during: Option<u64>, command: Command) {
        self.shut.store(true, Ordering::Release);
        self.settle(&mut self.lock());
        let is_quiet = self.passed.wait_until_none(QUIET_LIMIT);
        let mut inner = self.lock();
        if !is_quiet {
            self.shut.store(false, Ordering::Release);
            let message = format!(
                "the drive has not finished what it has within {} s; the policy is the one before",
                QUIET_LIMIT.as_secs()
            );
            return self.answer(&mut inner, owed, Answer::Error { message });
        }
        self.call_engine(&mut inner, owed, source, during, command);
        // Not before: a guest that is told something by this must not get anything past by the policy before.
        self.shut.store(false, Ordering::Release);
        match inner.effects.replies.last() {
            Some((_, Answer::Error { .. })) => tracing::info!("a policy was refused"),
            _ => inner.policy_is_loaded(),
        }
        self.settle(&mut inner);
    }

    fn call_engine(
        &self,
        inner: &mut Inner,
        owed: Owed,
        source: Source,
        during: Option<u64>,
        command: Command,
    ) {
        let token = inner.owe(owed);
        self.step(inner, Input::Call { token, source, during, command });
    }

    fn answer(&self, inner: &mut Inner, owed: Owed, answer: Answer) {
        let token = inner.owe(owed);
        inner.effects.replies.push((token, answer));
        self.settle(inner);
    }

    /// A client is gone: what it waits for is forgotten.
    pub fn forget(&self, client: &UnboundedSender<Reply>) {
        let mut inner = self.lock();
        let owed = inner.owed.iter().filter(|(_, owed)| owed.client.same_channel(client));
        let tokens: Vec<Token> = owed.map(|(token, _)| *token).collect();
        for token in tokens {
            inner.owed.remove(&token);
            self.step(&mut inner, Input::Forget(token));
        }
        self.settle(&mut inner);
    }

    fn stats(&self, inner: &Inner) -> Answer {
        let mut all = Stats::default();
        all.add(&inner.stats);
        self.passed.add_to(&mut all);
        let (in_flight, held) = inner.engine.counts();
        Answer::Stats(Box::new(StatsReport {
            uptime_ns: self.now(),
            bytes: self.drive.bytes(),
            connected: self.connections.is_connected(),
            writes_through: self.device.writes_through(),
            in_flight,
            held,
            passing: self.passed.all_in_flight(),
            policy: inner.engine.policy_report(),
            ops: all.report(),
        }))
    }

    fn resize(&self, inner: &mut Inner, bytes: u64) -> Answer {
        let block = u64::from(self.device.model().block_bytes);
        if bytes == 0 || !bytes.is_multiple_of(block) {
            let message = format!("a disk has a positive multiple of {block} bytes, {bytes} is none");
            return Answer::Error { message };
        }
        if self.device.model().read_only {
            return Answer::Error {
                message: "the disk is read-only; serve it without --read-only".to_owned(),
            };
        }
        // A smaller disk ends for the guest before it ends for the drive.
        let before = self.drive.bytes();
        self.device.set_bytes(bytes.min(before));
        match self.drive.resize(bytes) {
            Ok(()) => {
                tracing::info!(bytes, before, "the disk has another size");
                inner.journal.add(self.now(), &Record::Resized { bytes });
                inner.classes.resized(bytes);
                self.device.set_bytes(bytes);
                self.connections.config_changed();
                Answer::Done
            }
            Err(error) => {
                self.device.set_bytes(before);
                Answer::Error { message: format!("the disk cannot have {bytes} bytes: {error}") }
            }
        }
    }
}
