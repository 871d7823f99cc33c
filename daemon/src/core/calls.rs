//! What clients ask for: of the engine, and of what the engine does not know, the disk's size and its counts.

use super::Core;
use crate::inner::{Inner, Owed};
use crate::stats::Stats;
use blkstay_engine::control::{Answer, Call, Command, Reply};
use blkstay_engine::engine::{Input, Token};
use blkstay_engine::journal::{Record, Source};
use blkstay_engine::report::StatsReport;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// How long what the drive has may take before another policy is loaded or the disk is made smaller: a watchdog.
const QUIET_LIMIT: Duration = Duration::from_secs(10);

/// Whether a command may have to wait for the drive.
pub fn waits_for_drive(command: &Command) -> bool {
    matches!(command, Command::Load { .. } | Command::Resize { .. })
}

/// How long it is looked for without sleeping, and then slept between two looks.
const MOMENT: Duration = Duration::from_millis(1);

/// The drive took too long; `what` stays as it is.
fn unfinished(what: &str) -> Answer {
    let seconds = QUIET_LIMIT.as_secs();
    Answer::Error { message: format!("the drive has not finished what it has within {seconds} s; {what}") }
}

/// Waits until the drive is through with something; says whether it was within the limit. Nobody tells: the way of a
/// request that goes past the policy has nothing for that. What a drive does at once is through in a moment.
fn wait_until(mut is_through: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    while !is_through() {
        match since.elapsed() {
            elapsed if elapsed > QUIET_LIMIT => return false,
            elapsed if elapsed > MOMENT => std::thread::sleep(MOMENT),
            _ => std::thread::yield_now(),
        }
    }
    true
}

impl Core {
    /// Carries out a command; the answer goes to `client` once it has taken effect. May take [`QUIET_LIMIT`] if
    /// [`waits_for_drive`] says so.
    pub fn call(&self, source: Source, call: Call, client: &UnboundedSender<Reply>) {
        let Call { id, during, command } = call;
        let owed = Owed { id, client: client.clone(), warnings: Vec::new() };
        match command {
            Command::Load { .. } if source != Source::Guest => {
                let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
                self.call_load(owed, source, during, command);
            }
            Command::Stats if source != Source::Guest => {
                let mut inner = self.lock();
                let answer = self.stats(&inner);
                self.answer(&mut inner, owed, answer);
            }
            Command::Resize { bytes } if source != Source::Guest => {
                let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = self.resize(bytes);
                self.answer(&mut self.lock(), owed, answer);
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
        let is_quiet = wait_until(|| self.passed.all_in_flight() == 0);
        let mut inner = self.lock();
        if !is_quiet {
            self.shut.store(false, Ordering::Release);
            return self.answer(&mut inner, owed, unfinished("the policy is the one before"));
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

    /// What is taken out of a ring once the device has another size is seen with that. Waits until the drive has nothing
    /// any more that was taken before; says whether that was within the limit.
    fn wait_for_earlier(&self) -> bool {
        self.shut.store(true, Ordering::Release);
        self.settle(&mut self.lock());
        self.connections.wait_for_takers();
        let is_quiet = wait_until(|| self.passed.all_in_flight() == 0);
        let mut inner = self.lock();
        self.shut.store(false, Ordering::Release);
        self.settle(&mut inner);
        let mut earlier: Vec<_> = inner.in_drive().collect();
        drop(inner);
        is_quiet
            && wait_until(|| {
                let inner = self.lock();
                earlier.retain(|id| inner.is_in_drive(*id));
                earlier.is_empty() || inner.closed
            })
    }

    fn resize(&self, bytes: u64) -> Answer {
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
        // A smaller disk ends for the guest before it ends for the drive, and what the drive has would make the file longer
        // again.
        let before = self.drive.bytes();
        self.device.set_bytes(bytes.min(before));
        if bytes < before && !self.wait_for_earlier() {
            self.device.set_bytes(before);
            return unfinished("the disk has the size that it had");
        }
        let mut inner = self.lock();
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
