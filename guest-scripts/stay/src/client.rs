//! A local client of the agent: one connection, one call at a time.

use crate::failure::Failure;
use crate::wire::{KERNEL_LOG, LocalCall};
use blkstay_engine::control::{Answer, Call, Command, Reply};
use serde::Serialize;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Where the agent listens: `$STAY_SOCKET`, or `/run/stay.sock`.
pub fn agent_socket() -> PathBuf {
    std::env::var_os("STAY_SOCKET").map_or_else(|| PathBuf::from("/run/stay.sock"), PathBuf::from)
}

/// The attempt that this process belongs to, from the script's `$ATTEMPT`: what it says when that is over is refused.
fn attempt() -> Option<u64> {
    std::env::var("ATTEMPT").ok()?.parse().ok()
}

/// A connection to the agent.
pub struct Client {
    stream: BufReader<UnixStream>,
    calls: u64,
}

impl Client {
    /// Connects to the agent of this guest.
    pub fn connect() -> Result<Self, Failure> {
        let path = agent_socket();
        let stream = UnixStream::connect(&path).map_err(|error| {
            Failure::NoAgent(format!("no agent at {}: {error}; start one with `stay agent`", path.display()))
        })?;
        Ok(Client { stream: BufReader::new(stream), calls: 0 })
    }

    /// Sends a command to the daemon and waits for its answer; a refusal is a failure.
    pub fn call(&mut self, command: Command) -> Result<Answer, Failure> {
        self.calls += 1;
        self.send(&Call { id: self.calls, during: attempt(), command })?;
        self.answer()
    }

    /// Sends commands without waiting in between, then waits for every answer.
    pub fn call_all(&mut self, commands: Vec<Command>) -> Result<(), Failure> {
        let count = commands.len();
        for command in commands {
            self.calls += 1;
            self.send(&Call { id: self.calls, during: attempt(), command })?;
        }
        (0..count).try_for_each(|_| self.answer().map(drop))
    }

    /// Has the agent send what the kernel logged since the last time, and waits until it is recorded.
    pub fn kernel_log(&mut self) -> Result<Answer, Failure> {
        self.calls += 1;
        self.send(&LocalCall { id: self.calls, verb: KERNEL_LOG.to_owned() })?;
        self.answer()
    }

    fn send(&mut self, call: &impl Serialize) -> Result<(), Failure> {
        let mut line =
            serde_json::to_vec(call).map_err(|error| Failure::of("cannot write the call", error))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(gone)
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let mut answer = Vec::new();
        self.stream.read_until(b'\n', &mut answer).map_err(gone)?;
        if answer.is_empty() {
            return Err(gone("connection closed"));
        }
        let reply: Reply = serde_json::from_slice(&answer)
            .map_err(|error| Failure::of("the agent's answer makes no sense", error))?;
        match reply.answer {
            Answer::Error { message } => Err(Failure::Refused(message)),
            answer => Ok(answer),
        }
    }
}

fn gone(why: impl std::fmt::Display) -> Failure {
    Failure::NoAgent(format!("the agent went away before it answered: {why}"))
}
