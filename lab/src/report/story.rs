//! What a journal tells: attempts, each with the life of its requests and with what was said meanwhile.

use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Abandon, Arm, Cause, Does, Line, Outcome, Record, Source};
use blkstay_engine::policy::{Policy, Settings, Written};
use blkstay_engine::report::AttemptReport;
use blkstay_engine::request::{Nanos, Request, RequestId, Status};
use std::collections::{BTreeMap, HashMap};

/// Everything that one guest's journal tells.
#[derive(Debug, Default)]
pub struct Story {
    /// The policy as it was read.
    pub written: Option<Written>,
    /// The same, understood; none if this version cannot.
    pub policy: Option<Policy>,
    /// What the guest reported before the first attempt.
    pub setup: BTreeMap<String, String>,
    /// Attempts in the order in which they were made.
    pub attempts: Vec<Attempt>,
}

/// An attempt.
#[derive(Debug)]
pub struct Attempt {
    /// Its number.
    pub number: u64,
    /// Its arm.
    pub arm: Arm,
    /// When it began, in the journal's time.
    pub began_ns: Nanos,
    /// What it showed; none if the run was cut short.
    pub outcome: Option<Outcome>,
    /// Why, in words.
    pub why: String,
    /// Requests that arrived in it, in that order.
    pub requests: Vec<Life>,
    /// What was said in it, in order.
    pub said: Vec<Said>,
    /// The daemon's own report of it, if that was kept.
    pub report: Option<AttemptReport>,
}

/// A request's life.
#[derive(Debug)]
pub struct Life {
    /// What it is.
    pub request: Request,
    /// The point it is.
    pub point: Option<String>,
    /// When it arrived.
    pub arrived_ns: Nanos,
    /// When it went to the drive.
    pub submitted_ns: Option<Nanos>,
    /// When the drive finished it, and how.
    pub done: Option<(Nanos, Status)>,
    /// When and how it ended.
    pub ended: Option<(Nanos, End)>,
    /// Where it stood, in order.
    pub stands: Vec<Stand>,
    /// The rule that gave it another end than the drive's, and which.
    pub failed: Option<(String, Status)>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest was told this.
    Completed(Status),
    /// It was given up.
    Abandoned(Abandon),
}

/// A time that a request stood at a gate.
#[derive(Debug)]
pub struct Stand {
    /// The gate.
    pub gate: Gate,
    /// The rule that made it stand; the point's holds if there is none.
    pub rule: Option<String>,
    /// What the rule does, if it is one.
    pub does: Option<Does>,
    /// What it stood for, if that is an expression.
    pub until: Option<String>,
    /// Since when.
    pub from_ns: Nanos,
    /// Until when, and why it went on.
    pub released: Option<(Nanos, Cause)>,
}

/// Something that was said, or that the policy said of it.
#[derive(Debug)]
pub struct Said {
    /// When the daemon heard it.
    pub t: Nanos,
    /// What.
    pub what: What,
}

/// What can be said.
#[derive(Debug)]
pub enum What {
    /// An event happened.
    Event {
        /// Who made it happen.
        source: Source,
        /// Its name.
        name: String,
        /// What was said beside it.
        detail: Option<String>,
    },
    /// The guest reported an observation.
    Report {
        /// Of what.
        name: String,
        /// What it saw.
        value: String,
    },
    /// A line of the guest's kernel log.
    Log(String),
    /// A place was bound.
    Bound {
        /// Its name.
        place: String,
        /// Its first byte.
        offset: u64,
    },
    /// A hold has stood for half of its watchdog: `attempt.stalled`.
    Stalled,
    /// The guest's script ended.
    Finished(i32),
}

impl Story {
    /// Reads what a journal tells.
    pub fn of(lines: Vec<Line>) -> Story {
        let mut reader = Reader::default();
        for line in lines {
            reader.take(line);
        }
        let mut story = reader.story;
        story.policy = story.written.as_ref().and_then(understood);
        story
    }

    /// Attempts of one arm.
    pub fn arm(&self, arm: Arm) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.arm == arm)
    }

    /// What most attempts of an arm showed, how many did, and the first of them; of as many, what came first.
    pub fn typical(&self, arm: Arm) -> Option<(&Attempt, usize)> {
        let count = |wanted: &Attempt| self.arm(arm).filter(|one| one.outcome == wanted.outcome).count();
        let mut best: Option<(&Attempt, usize)> = None;
        for attempt in self.arm(arm) {
            let count = count(attempt);
            if best.is_none_or(|(_, most)| count > most) {
                best = Some((attempt, count));
            }
        }
        best
    }
}

fn understood(written: &Written) -> Option<Policy> {
    let settings = Settings { set: written.set.clone(), seed: written.seed };
    let mut include = |path: &str| {
        let found = written.included.iter().find(|included| included.path == path);
        found.map(|included| included.text.clone()).ok_or_else(|| "it is not in the journal".to_owned())
    };
    Policy::read(&written.origin, &written.text, &settings, &mut include).ok().map(|checked| checked.policy)
}

impl Life {
    /// When it ended, or `otherwise` if it did not.
    pub fn end_ns(&self, otherwise: Nanos) -> Nanos {
        self.ended.map_or(otherwise, |(t, _)| t)
    }

    /// The times of the steps of its life that there were.
    pub fn times(&self) -> impl Iterator<Item = Nanos> {
        let steps =
            [Some(self.arrived_ns), self.submitted_ns, self.done.map(|(t, _)| t), self.ended.map(|(t, _)| t)];
        steps.into_iter().flatten()
    }
}

#[derive(Default)]
struct Reader {
    story: Story,
    /// Which request of which attempt has this name.
    known: HashMap<RequestId, (usize, usize)>,
    within: bool,
}

impl Reader {
    fn take(&mut self, Line { t, record }: Line) {
        match record {
            // Names begin anew with each daemon.
            Record::Journal { .. } => self.known.clear(),
            Record::Policy { written, .. } => self.story.written = Some(written),
            Record::AttemptBegan { attempt, arm, .. } => self.begin(t, attempt, arm),
            Record::AttemptEnded { .. } => self.within = false,
            Record::Verdict { attempt, outcome, why } => self.judge(attempt, outcome, why),
            Record::Report { name, value } if self.story.attempts.is_empty() => {
                self.story.setup.insert(name, value);
            }
            Record::Arrived { request, point, .. } => self.arrive(t, request, point),
            record => match said(&record) {
                Some(what) => self.say(t, what),
                None => self.live(t, record),
            },
        }
    }

    fn begin(&mut self, t: Nanos, number: u64, arm: Arm) {
        self.within = true;
        let (requests, said, report, why) = (Vec::new(), Vec::new(), None, String::new());
        let attempt = Attempt { number, arm, began_ns: t, outcome: None, why, requests, said, report };
        self.story.attempts.push(attempt);
    }

    fn judge(&mut self, number: u64, outcome: Outcome, why: String) {
        if let Some(attempt) = self.story.attempts.iter_mut().rfind(|attempt| attempt.number == number) {
            attempt.outcome = Some(outcome);
            attempt.why = why;
        }
    }

    fn current(&mut self) -> Option<&mut Attempt> {
        if self.within { self.story.attempts.last_mut() } else { None }
    }

    fn say(&mut self, t: Nanos, what: What) {
        if let Some(attempt) = self.current() {
            attempt.said.push(Said { t, what });
        }
    }

    fn arrive(&mut self, t: Nanos, request: Request, point: Option<String>) {
        let Some(attempt) = self.current() else { return };
        attempt.requests.push(Life {
            request,
            point,
            arrived_ns: t,
            submitted_ns: None,
            done: None,
            ended: None,
            stands: Vec::new(),
            failed: None,
        });
        let place = attempt.requests.len() - 1;
        self.known.insert(request.id, (self.story.attempts.len() - 1, place));
    }

    fn life(&mut self, id: RequestId) -> Option<&mut Life> {
        let (attempt, place) = self.known.get(&id)?;
        self.story.attempts.get_mut(*attempt)?.requests.get_mut(*place)
    }

    /// A step in the life of a request.
    fn live(&mut self, t: Nanos, record: Record) {
        match record {
            Record::Submitted { id } => self.with(id, |life| life.submitted_ns = Some(t)),
            Record::Done { id, status, .. } => self.with(id, |life| life.done = Some((t, status))),
            Record::Completed { id, status, .. } => {
                self.with(id, |life| life.ended = Some((t, End::Completed(status))));
            }
            Record::Abandoned { id, why, .. } => {
                self.with(id, |life| life.ended = Some((t, End::Abandoned(why))));
            }
            Record::Decided { id, rule, does: Does::Fail, status: Some(status), .. } => {
                self.with(id, |life| life.failed = Some((rule, status)));
            }
            Record::Decided { id, gate, rule, does, .. } if !matches!(does, Does::Pass | Does::Fail) => {
                let stand = Stand {
                    gate,
                    rule: Some(rule),
                    does: Some(does),
                    until: None,
                    from_ns: t,
                    released: None,
                };
                self.with(id, |life| life.stand(stand));
            }
            Record::Held { id, rule, gate, until, .. } => {
                let stand = Stand { gate, rule, does: None, until: Some(until), from_ns: t, released: None };
                self.with(id, |life| life.stand(stand));
            }
            Record::Stalled { .. } => self.say(t, What::Stalled),
            Record::Released { id, cause, .. } => self.with(id, |life| life.release(t, cause)),
            _ => {}
        }
    }

    fn with(&mut self, id: RequestId, change: impl FnOnce(&mut Life)) {
        if let Some(life) = self.life(id) {
            change(life);
        }
    }
}

impl Life {
    /// A rule that holds is recorded as decided, then as held: that is one stand.
    fn stand(&mut self, new: Stand) {
        match self.stands.last_mut().filter(|stand| stand.released.is_none() && stand.gate == new.gate) {
            Some(open) => {
                open.until = new.until.or(open.until.take());
                open.rule = open.rule.take().or(new.rule);
            }
            None => self.stands.push(new),
        }
    }

    fn release(&mut self, t: Nanos, cause: Cause) {
        if let Some(open) = self.stands.iter_mut().rfind(|stand| stand.released.is_none()) {
            open.released = Some((t, cause));
        }
    }
}

/// What a record says that is not about one request.
fn said(record: &Record) -> Option<What> {
    Some(match record.clone() {
        Record::Event { source, event, detail } => What::Event { source, name: event, detail },
        Record::Report { name, value } => What::Report { name, value },
        Record::Log { line } => What::Log(line),
        Record::Bound { place, range } => What::Bound { place, offset: range.offset },
        Record::Finished { exit } => What::Finished(exit),
        _ => return None,
    })
}
