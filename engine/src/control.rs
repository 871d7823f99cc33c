//! The control socket's language: one JSON object a line, each answered once, after its effect.
//!
//! A client sends `{"id":1,"do":"emit","event":"go"}` and gets `{"id":1,"is":"done"}`. `id` is the
//! client's own and comes back as it was. `await` and `next-attempt` are answered when what they
//! wait for is true; other commands may be sent meanwhile, answers need not come in order.

use crate::journal::{Arm, Outcome};
use crate::policy::{Included, Written};
use crate::report::{AttemptReport, HeldRequest, StatsReport};
use crate::request::{Nanos, RequestId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Longest line that is read, in bytes: a policy has to fit, a runaway guest must not fill memory.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// Longest line that is read from a guest, in bytes.
pub const GUEST_LINE_BYTES_MAX: usize = 64 << 10;

/// A line from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the client, returned with the answer.
    pub id: u64,
    /// The attempt that the call belongs to: it is refused in any other, so that what is left of an
    /// attempt that is over says nothing in the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<u64>,
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
}

impl Call {
    /// A call that belongs to no attempt.
    pub fn new(id: u64, command: Command) -> Call {
        Call { id, during: None, command }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// Why it is no call: not JSON, an unknown verb, a field that is missing or that nothing reads.
    pub fn parse(line: &[u8]) -> Result<Call, BadCall> {
        let value: Value = serde_json::from_slice(line).map_err(|error| BadCall::new(None, &error))?;
        let id = value.get("id").and_then(Value::as_u64);
        let call: Call = serde_json::from_value(value.clone()).map_err(|error| BadCall::new(id, &error))?;
        match call.unread_field(&value) {
            None => Ok(call),
            Some(field) => {
                let why = format!("`{}` has no field `{field}`", call.command.verb());
                Err(BadCall { id: call.id, why })
            }
        }
    }

    /// A field of `value` that has no effect on the call, a misspelt one say.
    fn unread_field(&self, value: &Value) -> Option<String> {
        let read = serde_json::to_value(self).ok()?;
        let fields = value.as_object()?.iter().filter(|(_, value)| !value.is_null());
        fields.map(|(name, _)| name).find(|name| read.get(name.as_str()).is_none()).cloned()
    }
}

/// A line that is no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCall {
    /// Its `id`, or 0 if it has none.
    pub id: u64,
    /// What is wrong with it.
    pub why: String,
}

impl BadCall {
    fn new(id: Option<u64>, error: &serde_json::Error) -> BadCall {
        BadCall { id: id.unwrap_or(0), why: error.to_string() }
    }
}

/// A line to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The `id` of the call.
    pub id: u64,
    /// What came of it.
    #[serde(flatten)]
    pub answer: Answer,
    /// What is doubtful about a policy that was loaded, each as a person reads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Reply {
    /// An answer with nothing to warn of.
    pub fn new(id: u64, answer: Answer) -> Reply {
        Reply { id, answer, warnings: Vec::new() }
    }
}

/// An expression as it is written: `"A.arrived"`, `"in-flight >= 8"`, `{"any": […]}`, `{"all": […]}` or `{"not": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ExprText {
    /// The name of an event.
    Event(String),
    /// True when one of them is.
    Any {
        /// The alternatives.
        any: Vec<ExprText>,
    },
    /// True when each of them is.
    All {
        /// The parts.
        all: Vec<ExprText>,
    },
    /// True when it is not.
    Not {
        /// The part.
        not: Box<ExprText>,
    },
}

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Answer, nothing else.
    Ping,
    /// Replace the policy. What the old one held is released first.
    Load {
        /// The policy file's text.
        policy: String,
        /// Where it came from, for messages and the journal.
        origin: String,
        /// The files that it includes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        included: Vec<Included>,
        /// Its parameters.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<String, String>,
        /// What chance is drawn from, instead of the policy's own seed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
        /// Whether it holds from now on; else only in attempts that are begun.
        #[serde(default = "yes")]
        armed: bool,
    },
    /// Let the policy act from now on, outside of attempts; it starts fresh.
    Arm,
    /// Let it act no more, outside of attempts. What it holds is released first.
    Disarm,
    /// Let every request stand at whatever gate it comes to, from now on.
    Pause {
        /// Only those of this queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<u16>,
        /// How long at most, in nanoseconds, instead of the policy's watchdog.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watchdog_ns: Option<Nanos>,
    },
    /// End every pause.
    Resume,
    /// Begin an attempt; per-attempt state starts fresh.
    Begin {
        /// Its number, larger than that of any attempt before it.
        attempt: u64,
        /// Whether holds hold.
        arm: Arm,
        /// Watchdog of every hold in this attempt, in nanoseconds, instead of the policy's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watchdog_ns: Option<Nanos>,
    },
    /// End the attempt: release what is held, answer with the [`AttemptReport`].
    End,
    /// Tell how the attempt stands, without changing it.
    Status,
    /// Bind a place that the policy leaves to the guest.
    Bind {
        /// Its name.
        place: String,
        /// First byte on the disk.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// Make an event happen: `guest.NAME` from a guest's connection, `control.NAME` from any other.
    Emit {
        /// Its name, without the part before the dot.
        event: String,
        /// Anything worth keeping in the journal beside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// Answer once the expression is true in the current attempt.
    Await {
        /// The expression.
        until: ExprText,
    },
    /// Answer once an attempt with a number above `after` has begun.
    NextAttempt {
        /// The last attempt the client knows of; 0 before the first.
        after: u64,
    },
    /// Record an observation of the guest, `fsync-b = EIO` say; signs of a case are judged by it.
    Report {
        /// What was observed.
        name: String,
        /// What was seen.
        value: String,
    },
    /// Record lines of the guest's kernel log, oldest first.
    Log {
        /// The lines.
        lines: Vec<String>,
    },
    /// The guest's script has come to its end: event `attempt.finished`.
    Finish {
        /// The script's exit status.
        exit: i32,
    },
    /// List what is held.
    Held,
    /// Release by hand: one request, a point's, or (with neither) everything that is held.
    Release {
        /// The request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
        /// The point.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        point: Option<String>,
    },
    /// Record the verdict of an attempt in the journal.
    Verdict {
        /// The attempt.
        attempt: u64,
        /// What it showed.
        outcome: Outcome,
        /// Why, in words.
        why: String,
    },
    /// Tell how many requests there were and how long they took.
    Stats,
    /// Change the size of the disk; a guest that is connected is told.
    Resize {
        /// The new size in bytes, a multiple of the disk's block.
        bytes: u64,
    },
}

impl Command {
    /// Loads a policy that includes nothing and has no parameters.
    pub fn load(origin: impl Into<String>, policy: impl Into<String>, armed: bool) -> Command {
        Command::load_written(
            Written { origin: origin.into(), text: policy.into(), ..Written::default() },
            armed,
        )
    }

    /// Loads what a policy was read from.
    pub fn load_written(written: Written, armed: bool) -> Command {
        let Written { origin, text, included, set, seed } = written;
        Command::Load { policy: text, origin, included, set, seed, armed }
    }

    /// The word after `"do"`.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Ping => "ping",
            Command::Load { .. } => "load",
            Command::Arm => "arm",
            Command::Disarm => "disarm",
            Command::Pause { .. } => "pause",
            Command::Resume => "resume",
            Command::Begin { .. } => "begin",
            Command::End => "end",
            Command::Status => "status",
            Command::Bind { .. } => "bind",
            Command::Emit { .. } => "emit",
            Command::Await { .. } => "await",
            Command::NextAttempt { .. } => "next-attempt",
            Command::Report { .. } => "report",
            Command::Log { .. } => "log",
            Command::Finish { .. } => "finish",
            Command::Held => "held",
            Command::Release { .. } => "release",
            Command::Verdict { .. } => "verdict",
            Command::Stats => "stats",
            Command::Resize { .. } => "resize",
        }
    }

    /// Whether a guest may ask for it: it may tell what it sees and wait, not steer the experiment.
    pub fn is_for_guests(&self) -> bool {
        matches!(
            self,
            Command::Ping
                | Command::Bind { .. }
                | Command::Emit { .. }
                | Command::Await { .. }
                | Command::NextAttempt { .. }
                | Command::Report { .. }
                | Command::Log { .. }
                | Command::Finish { .. }
        )
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// It has taken effect, or what was awaited is true.
    Done,
    /// It was refused and had no effect.
    Error {
        /// What is wrong and what to do instead.
        message: String,
    },
    /// An attempt has begun.
    Attempt {
        /// Its number.
        attempt: u64,
        /// Its arm.
        arm: Arm,
    },
    /// How an attempt went, or stands.
    Report(Box<AttemptReport>),
    /// What is held, in order of arrival.
    Held {
        /// The requests.
        requests: Vec<HeldRequest>,
    },
    /// How many requests were released.
    Released {
        /// The number.
        count: usize,
    },
    /// How many requests there were and how long they took.
    Stats(Box<StatsReport>),
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_reads_is_refused() {
        let why = |line: &str| Call::parse(line.as_bytes()).unwrap_err().why;
        assert_eq!(why(r#"{"id":1,"do":"release","requets":5}"#), "`release` has no field `requets`");
        assert!(why(r#"{"id":1,"do":"fly"}"#).contains("unknown variant `fly`"));
        assert!(Call::parse(br#"{"id":1,"do":"await","until":{"any":["A.done"],"all":[]}}"#).is_err());
        assert_eq!(Call::parse(br#"{"id":7,"do":"emit"}"#).unwrap_err().id, 7);
    }

    #[test]
    fn who_does_not_know_of_warnings_reads_the_same_answer() {
        let reply = Reply::new(1, Answer::Done);
        assert_eq!(serde_json::to_string(&reply).unwrap(), r#"{"id":1,"is":"done"}"#);
        let doubted = Reply { warnings: vec!["doubt".to_owned()], ..reply };
        let line = serde_json::to_string(&doubted).unwrap();
        assert_eq!(line, r#"{"id":1,"is":"done","warnings":["doubt"]}"#);
        assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), doubted);
        assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), Answer::Done);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let load = Call::parse(br#"{"id":1,"do":"load","policy":"","origin":"x"}"#).unwrap();
        let Command::Load { armed, set, .. } = load.command else { panic!("not a load") };
        assert!(armed && set.is_empty());
        let begin = br#"{"id":1,"during":null,"do":"begin","attempt":3,"arm":"forced"}"#;
        let command = Command::Begin { attempt: 3, arm: Arm::Forced, watchdog_ns: None };
        assert_eq!(Call::parse(begin).unwrap(), Call::new(1, command));
    }
}
