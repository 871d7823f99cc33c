//! The lab's end of the control socket.

use anyhow::{Context, Result, anyhow, bail};
use blkstay_engine::control::{Answer, Call, Command, ExprText, Reply};
use blkstay_engine::journal::Arm;
use blkstay_engine::policy::Written;
use blkstay_engine::report::AttemptReport;
use blkstay_engine::request::Nanos;
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// A connection on which one command after the other is sent.
pub struct Client {
    answers: Lines<BufReader<OwnedReadHalf>>,
    commands: OwnedWriteHalf,
    next_id: u64,
}

impl Client {
    /// Connects to a daemon.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(path: &Path) -> Result<Client> {
        let stream =
            UnixStream::connect(path).await.context("cannot connect to the daemon's control socket")?;
        let (read, commands) = stream.into_split();
        Ok(Client { answers: BufReader::new(read).lines(), commands, next_id: 1 })
    }

    /// Sends a command and waits for its answer, as long as that takes. An answer to an earlier
    /// command that was given up is passed over.
    ///
    /// # Errors
    /// The daemon refused, or is gone.
    pub async fn call(&mut self, command: Command) -> Result<Answer> {
        let verb = command.verb();
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Call::new(id, command))?;
        line.push(b'\n');
        self.commands.write_all(&line).await.context("the daemon is gone")?;
        loop {
            let line = self.answers.next_line().await.context("the daemon is gone")?;
            let line = line.ok_or_else(|| anyhow!("the daemon is gone"))?;
            let reply: Reply = serde_json::from_str(&line).context("the daemon's answer makes no sense")?;
            match reply.answer {
                _ if reply.id != id => continue,
                Answer::Error { message } => bail!("`{verb}` was refused: {message}"),
                answer => return Ok(answer),
            }
        }
    }

    /// Loads a policy that holds only in attempts.
    pub async fn load(&mut self, policy: &Written) -> Result<()> {
        self.call(Command::load_written(policy.clone(), false)).await.map(drop)
    }

    /// Begins an attempt.
    pub async fn begin(&mut self, attempt: u64, arm: Arm, watchdog_ns: Option<Nanos>) -> Result<()> {
        self.call(Command::Begin { attempt, arm, watchdog_ns }).await.map(drop)
    }

    /// Waits for an event.
    pub async fn until(&mut self, event: &str) -> Result<()> {
        self.call(Command::Await { until: ExprText::Event(event.to_owned()) }).await.map(drop)
    }

    /// Waits for any of these events.
    pub async fn until_any(&mut self, events: &[&str]) -> Result<()> {
        let any = events.iter().map(|event| ExprText::Event((*event).to_owned())).collect();
        self.call(Command::Await { until: ExprText::Any { any } }).await.map(drop)
    }

    /// How the attempt stands.
    pub async fn status(&mut self) -> Result<AttemptReport> {
        report(self.call(Command::Status).await?)
    }

    /// Ends the attempt.
    pub async fn end(&mut self) -> Result<AttemptReport> {
        report(self.call(Command::End).await?)
    }
}

fn report(answer: Answer) -> Result<AttemptReport> {
    match answer {
        Answer::Report(report) => Ok(*report),
        other => bail!("the daemon answered {other:?} instead of a report"),
    }
}
