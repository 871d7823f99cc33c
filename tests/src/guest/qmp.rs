//! QEMU's monitor (QMP): JSON, one object a line.

use super::patience;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

/// A connection to it.
pub struct Qmp {
    read: BufReader<UnixStream>,
    write: UnixStream,
    events: Vec<Value>,
}

impl Qmp {
    /// A connection on which nothing was said.
    #[track_caller]
    pub fn new(write: UnixStream) -> Qmp {
        write.set_read_timeout(Some(patience())).expect("a read timeout");
        let read = BufReader::new(write.try_clone().expect("clone"));
        Qmp { read, write, events: Vec::new() }
    }

    /// Takes QEMU's greeting, and may give commands then.
    #[track_caller]
    pub fn greet(&mut self) {
        self.next();
        self.ask("qmp_capabilities", json!({}));
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        let length = self.read.read_line(&mut line).expect("QEMU answers");
        assert!(length > 0, "QEMU has ended");
        serde_json::from_str(&line).expect("QEMU speaks JSON")
    }

    /// Gives a command; its answer, or what was wrong.
    #[track_caller]
    pub fn try_ask(&mut self, command: &str, arguments: Value) -> Result<Value, Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        self.write.write_all(format!("{line}\n").as_bytes()).expect("QEMU listens");
        loop {
            let mut answer = self.next();
            if answer.get("event").is_some() {
                self.events.push(answer);
            } else if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            } else {
                return Err(answer);
            }
        }
    }

    /// The same for commands that work.
    #[track_caller]
    pub fn ask(&mut self, command: &str, arguments: Value) -> Value {
        self.try_ask(command, arguments).unwrap_or_else(|wrong| panic!("{command}: {wrong}"))
    }

    /// Waits for an event.
    #[track_caller]
    pub fn wait_for(&mut self, event: &str) {
        loop {
            let is_it = |value: &Value| value["event"] == event;
            if let Some(at) = self.events.iter().position(is_it) {
                self.events.remove(at);
                return;
            }
            let next = self.next();
            self.events.push(next);
        }
    }
}
