//! Feeds a journal back: what came in goes through a new engine at the same times, and has to give the same decisions.
//!
//! A step begins with the record of what came in, and the engine says what follows. Where the journal goes on with a
//! decision that nothing asked for, time has passed.

use crate::control::{Answer, Command};
use crate::engine::{Action, Engine, Input, Token};
use crate::journal::{Abandon, Line, Record, Source};
use crate::request::Nanos;
use std::collections::VecDeque;
use std::fmt;

/// A journal that agrees with the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refed {
    /// How many lines it has.
    pub lines: u64,
    /// How many daemons wrote it, one after the other.
    pub daemons: u64,
    /// How many records of their last steps are missing: of daemons that were killed while they wrote.
    pub missing: u64,
}

/// Where a journal and the engine differ first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: the journal has {journal}, the engine {engine}")]
pub struct Difference {
    /// Number of the line, counted from 1.
    pub line: u64,
    /// The line, as it is written.
    pub journal: String,
    /// What the engine says at that place.
    pub engine: Says,
}

/// What the engine says where a line of the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// Another line.
    Line(String),
    /// Nothing: no input of the journal's, nor time, leads to the line.
    Nothing,
    /// That the command can't be carried out, and why.
    Refused(String),
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Says::Line(line) => write!(f, "has {line}"),
            Says::Nothing => f.write_str("has nothing to say there"),
            Says::Refused(why) => write!(f, "refuses that: {why}"),
        }
    }
}

/// Feeds the lines of a journal back, from its first on. The end of a step may be missing at the end of what a daemon
/// has written.
///
/// # Errors
/// The first line that the engine does not have as it is written.
pub fn refeed(lines: impl IntoIterator<Item = Line>) -> Result<Refed, Difference> {
    let mut feed = Feed::default();
    for line in lines {
        feed.take(line)?;
    }
    feed.end_daemon();
    Ok(feed.refed)
}

#[derive(Default)]
struct Feed {
    engine: Engine,
    /// What the engine has said of this step and the journal has not, yet.
    owed: VecDeque<Line>,
    refed: Refed,
}

impl Feed {
    fn take(&mut self, line: Line) -> Result<(), Difference> {
        self.refed.lines += 1;
        if let Record::Journal { .. } = line.record {
            self.end_daemon();
            self.refed.daemons += 1;
            self.engine = Engine::new();
            return Ok(());
        }
        // The engine was not asked about these.
        if line.record.is_passed() || matches!(line.record, Record::Resized { .. }) {
            return Ok(());
        }
        let refused = if self.owed.is_empty() { self.step(&line) } else { None };
        let engine = match (self.owed.pop_front(), refused) {
            (Some(said), _) if said == line || json(&said) == json(&line) => return Ok(()),
            (Some(said), _) => Says::Line(json(&said)),
            (None, Some(why)) => Says::Refused(why),
            (None, None) => Says::Nothing,
        };
        Err(Difference { line: self.refed.lines, journal: json(&line), engine })
    }

    /// Lets the engine do the step that begins with a line; returns why it refuses to.
    fn step(&mut self, line: &Line) -> Option<String> {
        let mut refused = None;
        for action in self.engine.step(line.t, input(line.t, line.record.clone())) {
            match action {
                Action::Record(record) => self.owed.push_back(Line { t: line.t, record }),
                Action::Reply(_, Answer::Error { message }) => refused = Some(message),
                _ => {}
            }
        }
        refused
    }

    fn end_daemon(&mut self) {
        self.refed.missing += self.owed.drain(..).count() as u64;
    }
}

fn json(line: &Line) -> String {
    serde_json::to_string(line).unwrap_or_else(|error| error.to_string())
}

/// What a step has begun with, if this is its first record.
fn input(t: Nanos, record: Record) -> Input {
    match record {
        Record::Arrived { request, resubmitted: false, .. } => Input::Arrived(request),
        Record::Arrived { request, .. } => Input::Resubmitted(request),
        Record::Done { id, status, error: Some(error), .. } => Input::Failed { id, status, error },
        Record::Done { id, status, probes, .. } => Input::Done { id, status, probes },
        Record::Connected => Input::Connected,
        Record::Disconnected => Input::Abandon(Abandon::Disconnect),
        Record::Stopped => Input::Abandon(Abandon::Shutdown),
        Record::RingStopped { queue } => Input::RingStopped { queue },
        Record::BadRequest { queue, why } => Input::BadRequest { queue, why },
        Record::Forgotten { token } => Input::Forget(Token(token)),
        Record::Awaiting { token, until } => call(token, Source::Control, Command::Await { until }),
        Record::Event { source: source @ (Source::Guest | Source::Control), event, detail } => {
            call(0, source, Command::Emit { event, detail })
        }
        other => match command(t, other) {
            Some(command) => call(0, Source::Control, command),
            None => Input::Tick,
        },
    }
}

/// The daemon's own tokens begin at 1.
fn call(token: u64, source: Source, command: Command) -> Input {
    Input::Call { token: Token(token), source, during: None, command }
}

/// The command that a record is of; none asks for a decision.
fn command(t: Nanos, record: Record) -> Option<Command> {
    Some(match record {
        Record::Policy { written, armed } => Command::load_written(written, armed),
        Record::Armed { armed: true } => Command::Arm,
        Record::Armed { armed: false } => Command::Disarm,
        Record::Paused { queue, rule: None, deadline_ns } => {
            Command::Pause { queue, watchdog_ns: Some(deadline_ns.saturating_sub(t)) }
        }
        Record::Resume => Command::Resume,
        Record::AttemptBegan { attempt, arm, watchdog_ns } => Command::Begin { attempt, arm, watchdog_ns },
        Record::AttemptEnded { .. } => Command::End,
        Record::Bound { place, range } => Command::Bind { place, offset: range.offset, length: range.length },
        Record::Report { name, value } => Command::Report { name, value },
        Record::Log { line } => Command::Log { lines: vec![line] },
        Record::Finished { exit } => Command::Finish { exit },
        Record::Release { request, point } => Command::Release { request, point },
        Record::Verdict { attempt, outcome, why } => Command::Verdict { attempt, outcome, why },
        _ => return None,
    })
}
