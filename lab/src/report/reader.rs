//! Makes a story of a journal's records.

use super::story::{Attempt, End, Life, Said, Stand, Story, What};
use blkstay_engine::journal::Cause;
use blkstay_engine::journal::{Arm, Does, Line, Outcome, Record};
use blkstay_engine::request::{Nanos, Request, RequestId};
use std::collections::HashMap;

/// Makes a story of records, one after the other.
#[derive(Default)]
pub struct Reader {
    /// What is told so far.
    pub story: Story,
    /// Which request of which attempt has this name.
    known: HashMap<RequestId, (usize, usize)>,
    within: bool,
}

impl Reader {
    /// Takes the next record.
    pub fn take(&mut self, Line { t, record }: Line) {
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
