//! A guest without a guest: a Unix socket is the port, a test plays the daemon.

#![allow(dead_code, reason = "each test program uses a part of it")]

use blkstay_engine::control::{Answer, Call, Command, Reply};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{self, Child, Output, Stdio};
use tempfile::TempDir;

/// An agent, and the daemon's end of its port.
pub struct Guest {
    directory: TempDir,
    agent: Child,
    lines: BufReader<UnixStream>,
}

impl Guest {
    /// Starts an agent and answers its ping.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = directory.path().join("port");
        let listener = UnixListener::bind(&port).expect("a port");
        let agent =
            stay(&directory).args(["agent", "--foreground", "--port"]).arg(&port).spawn().expect("an agent");
        let (stream, _) = listener.accept().expect("the agent's connection");
        let mut guest = Guest { directory, agent, lines: BufReader::new(stream) };
        assert_eq!(guest.line(), "\n", "an empty line ends what an earlier agent began");
        let ping = guest.next_call();
        assert_eq!(ping.command, Command::Ping);
        guest.answer(ping.id, Answer::Done);
        guest
    }

    /// A command that waits for its answer.
    pub fn spawn(&self, args: &[&str]) -> Child {
        stay(&self.directory).args(args).spawn().expect("a command")
    }

    /// A command that needs no answer, from beginning to end.
    pub fn run(&self, args: &[&str]) -> Output {
        stay(&self.directory).args(args).output().expect("a command")
    }

    /// The next call that reaches the daemon.
    pub fn next_call(&mut self) -> Call {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Answers as the daemon.
    pub fn answer(&mut self, id: u64, answer: Answer) {
        let line = serde_json::to_string(&Reply::new(id, answer)).expect("a line");
        self.say(&line);
    }

    /// Says anything as the daemon.
    pub fn say(&mut self, line: &str) {
        writeln!(self.lines.get_mut(), "{line}").expect("the port");
    }

    /// Ends the agent.
    pub fn kill_agent(&mut self) {
        self.agent.kill().expect("a living agent");
        self.agent.wait().expect("its end");
    }

    /// Where the agent listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// A path in the guest's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the port");
        line
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

fn stay(directory: &TempDir) -> process::Command {
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_stay"));
    command
        .env("STAY_SOCKET", directory.path().join("sock"))
        .env("STAY_DIR", directory.path().join("io"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a command printed, and its exit status.
pub fn end(child: Child) -> (String, String, i32) {
    said(&child.wait_with_output().expect("its end"))
}

/// The same of one that has ended.
pub fn said(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1))
}
