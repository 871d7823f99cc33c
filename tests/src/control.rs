//! A client of the control socket that waits for each answer.

use crate::WATCHDOG;
use blkstay_engine::control::{Answer, Call, Command, ExprText, Reply};
use blkstay_engine::journal::Arm;
use blkstay_engine::report::{AttemptReport, HeldRequest};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// One connection.
pub struct Control {
    read: BufReader<UnixStream>,
    write: UnixStream,
    next_id: u64,
    unasked: Vec<Reply>,
}

impl Control {
    /// Connects.
    #[track_caller]
    pub fn connect(socket: &Path) -> Control {
        let write = UnixStream::connect(socket).expect("connect to the control socket");
        write.set_read_timeout(Some(WATCHDOG)).expect("read timeout");
        write.set_write_timeout(Some(WATCHDOG)).expect("write timeout");
        let read = BufReader::new(write.try_clone().expect("clone"));
        Control { read, write, next_id: 1, unasked: Vec::new() }
    }

    /// The connection itself.
    pub fn stream(&self) -> &UnixStream {
        &self.write
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).expect("write to the control socket");
    }

    /// The next line, whatever it answers.
    #[track_caller]
    pub fn next_reply(&mut self) -> Reply {
        let mut line = String::new();
        let length = self.read.read_line(&mut line).expect("an answer within the watchdog's time");
        assert!(length > 0, "the control socket was closed");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("not an answer: {line}: {error}"))
    }

    /// Sends a command without waiting for its answer; returns its id.
    #[track_caller]
    pub fn start(&mut self, command: Command) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Call::new(id, command)).expect("a command is JSON");
        line.push(b'\n');
        self.send(&line);
        id
    }

    /// Waits for the answer to a command.
    #[track_caller]
    pub fn answer(&mut self, id: u64) -> Answer {
        loop {
            if let Some(index) = self.unasked.iter().position(|reply| reply.id == id) {
                return self.unasked.remove(index).answer;
            }
            let reply = self.next_reply();
            self.unasked.push(reply);
        }
    }

    /// Sends a command and waits for its answer.
    #[track_caller]
    pub fn call(&mut self, command: Command) -> Answer {
        let id = self.start(command);
        self.answer(id)
    }

    /// The same for commands that only take effect.
    #[track_caller]
    pub fn tell(&mut self, command: Command) {
        assert_eq!(self.call(command), Answer::Done);
    }

    /// The same for commands that are refused; why.
    #[track_caller]
    pub fn refused(&mut self, command: Command) -> String {
        match self.call(command) {
            Answer::Error { message } => message,
            other => panic!("it was not refused: {other:?}"),
        }
    }

    /// Makes an event happen.
    #[track_caller]
    pub fn emit(&mut self, event: &str) {
        self.tell(Command::Emit { event: event.to_owned(), detail: None });
    }

    /// Waits until an event has happened.
    #[track_caller]
    pub fn wait_for(&mut self, event: &str) {
        self.tell(Command::Await { until: ExprText::Event(event.to_owned()) });
    }

    /// Begins an attempt.
    #[track_caller]
    pub fn begin(&mut self, attempt: u64, arm: Arm) {
        self.tell(Command::Begin { attempt, arm, watchdog_ns: None });
    }

    /// Ends it.
    #[track_caller]
    pub fn end(&mut self) -> AttemptReport {
        self.report(Command::End)
    }

    /// The report that a command is answered with.
    #[track_caller]
    pub fn report(&mut self, command: Command) -> AttemptReport {
        match self.call(command) {
            Answer::Report(report) => *report,
            other => panic!("expected a report, not {other:?}"),
        }
    }

    /// What is held.
    #[track_caller]
    pub fn held(&mut self) -> Vec<HeldRequest> {
        match self.call(Command::Held) {
            Answer::Held { requests } => requests,
            other => panic!("expected what is held, not {other:?}"),
        }
    }
}
