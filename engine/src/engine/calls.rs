//! What clients of the control socket and guests ask for.

use super::attempt::{Attempt, KEPT_MAX, TEXT_BYTES_MAX, Witness};
use super::index::Index;
use super::pause::Pausing;
use super::sieve::Meshes;
use super::{Action, Engine, Token, Waiter};
use crate::control::{Answer, Command, ExprText};
use crate::diagnostic::{list, suggest};
use crate::event::Event;
use crate::journal::{Arm, Cause, Record, Source, Stage};
use crate::policy::{Policy, Written, is_name};
use crate::report::{HeldRequest, STUCK};
use crate::request::{ByteRange, Nanos, Probes, RequestId};
use std::sync::Arc;

impl Engine {
    pub(super) fn call(&mut self, token: Token, source: Source, command: Command) {
        if source == Source::Guest && !command.is_for_guests() {
            let message = format!("a guest may not `{}`; use the daemon's control socket", command.verb());
            return self.reply(token, Answer::Error { message });
        }
        match self.carry_out(token, source, command) {
            Ok(Some(answer)) => {
                // Effects of the call, releases above all, come before its answer.
                self.release_free();
                self.reply(token, answer);
            }
            Ok(None) => {}
            Err(message) => self.reply(token, Answer::Error { message }),
        }
    }

    /// Why a call comes too late: the attempt it belongs to is over. Who asks for the next one is welcome.
    pub(super) fn out_of_turn(&self, during: Option<u64>, command: &Command) -> Option<String> {
        let attempt = during.filter(|_| !matches!(command, Command::Ping | Command::NextAttempt { .. }))?;
        let current = self.attempt.begun && attempt == self.attempt.number;
        (!current).then(|| format!("attempt {attempt} is over"))
    }

    /// A text that is kept must not be long: a guest could fill memory with it.
    fn check_length<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<(), String> {
        match texts.into_iter().find(|text| text.len() > TEXT_BYTES_MAX) {
            Some(long) => Err(format!("a text of {} bytes; at most {TEXT_BYTES_MAX} are taken", long.len())),
            None => Ok(()),
        }
    }

    /// `Ok(None)`: answered later.
    fn carry_out(
        &mut self,
        token: Token,
        source: Source,
        command: Command,
    ) -> Result<Option<Answer>, String> {
        match command {
            Command::Ping => {}
            Command::Load { policy, origin, included, set, seed, armed } => {
                let written = Written { origin, text: policy, included, set, seed };
                let checked = Policy::recheck(&written).map_err(|mistakes| mistakes.to_string())?;
                self.replace_policy(checked.policy, armed);
                if !checked.warnings.list.is_empty() {
                    self.actions.push(Action::Warn(token, checked.warnings.render_each(false)));
                }
            }
            Command::Arm => self.arm(true)?,
            Command::Disarm => self.arm(false)?,
            Command::Pause { queue, watchdog_ns } => {
                let limit = some_time(watchdog_ns)?.unwrap_or(self.policy.watchdog_ns);
                self.begin_pause(Pausing { rule: None, queue, since: self.now, limit });
            }
            Command::Resume => {
                self.record(Record::Resume);
                self.end_pauses(&Cause::Hand, |_| true);
            }
            Command::Begin { attempt, arm, watchdog_ns } => {
                self.begin(attempt, arm, some_time(watchdog_ns)?)?
            }
            Command::End => return self.end().map(Some),
            Command::Status => {
                let report = self.attempt.report(&self.policy, self.now);
                return Ok(Some(Answer::Report(Box::new(report))));
            }
            Command::Bind { place, offset, length } => self.bind(&place, ByteRange { offset, length })?,
            Command::Emit { event, detail } => self.emit(source, event, detail)?,
            Command::Await { until } => return self.wait_until(token, &until).map(|()| None),
            Command::NextAttempt { after } => {
                return self.wait(Waiter::Attempt(token, after)).map(|()| None);
            }
            Command::Report { name, value } => {
                Self::check_length([name.as_str(), value.as_str()])?;
                if !self.attempt.note_report(name.clone(), value.clone()) {
                    return Err(format!("more than {KEPT_MAX} reports in one attempt"));
                }
                let is_word = self.attempt.witness == Witness::Told && name == STUCK;
                self.record(Record::Report { name, value });
                if is_word {
                    self.heard();
                }
            }
            Command::Log { lines } => {
                Self::check_length(lines.iter().map(String::as_str))?;
                for line in lines {
                    if !self.attempt.note_log(line.clone()) {
                        return Err(format!("more than {KEPT_MAX} lines of kernel log in one attempt"));
                    }
                    self.record(Record::Log { line });
                }
            }
            // The engine knows neither the disk nor what went past it.
            Command::Stats | Command::Resize { .. } => return Err("only a daemon answers that".to_owned()),
            Command::Finish { exit } => {
                self.attempt.exit = Some(exit);
                self.record(Record::Finished { exit });
                self.happen(Event::Finished);
            }
            Command::Held => return Ok(Some(Answer::Held { requests: self.held_requests() })),
            Command::Release { request, point } => {
                let count = self.release_by_hand(request, point.as_deref())?;
                return Ok(Some(Answer::Released { count }));
            }
            Command::Verdict { attempt, outcome, why } => {
                self.record(Record::Verdict { attempt, outcome, why });
            }
        }
        Ok(Some(Answer::Done))
    }

    pub(super) fn replace_policy(&mut self, policy: Policy, armed: bool) {
        self.record(Record::Policy { written: policy.written.clone(), armed });
        self.release_all(&Cause::PolicyReplaced);
        self.forget_points();
        for live in self.live.values_mut() {
            // What they passed were tests of the old policy.
            live.request.probes = Probes::default();
            live.is_former |= live.stage != Stage::HeldAtSubmit;
        }
        self.index = Index::new(&policy);
        self.meshes = Arc::new(Meshes::new(&policy, self.index.reads_gauges));
        self.policy = policy;
        self.armed = armed;
        self.between_attempts();
        self.refuse_waiters("the policy was replaced");
    }

    fn arm(&mut self, armed: bool) -> Result<(), String> {
        if self.attempt.begun {
            return Err(format!("attempt {} has not ended; send `end` first", self.attempt.number));
        }
        self.record(Record::Armed { armed });
        self.release_all(&Cause::Disarmed);
        self.forget_points();
        self.armed = armed;
        self.between_attempts();
        self.refuse_waiters(if armed { "the policy was armed anew" } else { "the policy was disarmed" });
        Ok(())
    }

    fn begin(&mut self, number: u64, arm: Arm, watchdog_ns: Option<Nanos>) -> Result<(), String> {
        if self.attempt.begun {
            return Err(format!("attempt {} has not ended; send `end` first", self.attempt.number));
        }
        if number <= self.attempt.number {
            return Err(format!("attempt {number} does not follow attempt {}", self.attempt.number));
        }
        self.record(Record::AttemptBegan { attempt: number, arm, watchdog_ns });
        self.release_all(&Cause::AttemptEnd);
        self.forget_points();
        self.attempt = Attempt::idle(&self.policy, number, self.now);
        self.attempt.armed = arm != Arm::Natural;
        self.attempt.begun = true;
        self.attempt.arm = arm;
        self.attempt.watchdog = watchdog_ns;
        self.refuse_waiters("another attempt began");
        Ok(())
    }

    fn end(&mut self) -> Result<Answer, String> {
        if !self.attempt.begun {
            return Err("no attempt has begun; send `begin` first".to_owned());
        }
        self.record(Record::AttemptEnded { attempt: self.attempt.number });
        self.release_all(&Cause::AttemptEnd);
        let report = self.attempt.report(&self.policy, self.now);
        self.forget_points();
        self.between_attempts();
        self.refuse_waiters("the attempt ended");
        Ok(Answer::Report(Box::new(report)))
    }

    pub(super) fn between_attempts(&mut self) {
        self.attempt = Attempt::idle(&self.policy, self.attempt.number, self.now);
        self.attempt.armed = self.armed;
        self.attempt.arm = if self.armed { Arm::Forced } else { Arm::Control };
    }

    /// Requests still with the drive belong to no point of the next attempt.
    fn forget_points(&mut self) {
        for live in self.live.values_mut() {
            live.point = None;
        }
        self.by_flush.clear();
        self.changed = true;
    }

    /// Answers who waits for an event of an attempt that is over.
    fn refuse_waiters(&mut self, why: &str) {
        let (attempt, until): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiters).into_iter().partition(|w| matches!(w, Waiter::Attempt(..)));
        self.waiters = attempt;
        for waiter in until {
            let message = format!("{why} before what was awaited came true");
            self.reply(waiter.token(), Answer::Error { message });
        }
    }

    fn bind(&mut self, name: &str, range: ByteRange) -> Result<(), String> {
        let place = self.policy.place(name).ok_or_else(|| {
            let known = self.policy.places.iter().map(|place| place.name.as_str());
            format!("the policy has no place `{name}`: {}", suggest(name, known))
        })?;
        if self.policy.places[place].range.is_some() {
            return Err(format!(
                "the policy itself says where `{name}` is; write `{name} = \"guest\"` to bind it"
            ));
        }
        if range.length == 0 || range.offset.checked_add(range.length).is_none() {
            return Err(format!("`{name}` would have no bytes on any disk"));
        }
        self.attempt.places[place] = Some(range);
        self.record(Record::Bound { place: name.to_owned(), range });
        Ok(())
    }

    fn emit(&mut self, source: Source, name: String, detail: Option<String>) -> Result<(), String> {
        let event = match source {
            Source::Guest => Event::Guest(name.clone()),
            Source::Control => Event::Control(name.clone()),
            Source::Policy => Event::Policy(name.clone()),
        };
        Self::check_length([name.as_str()].into_iter().chain(detail.as_deref()))?;
        if !is_name(&name) {
            return Err(format!(
                "`{name}` is no name: it starts with a letter and has letters, digits, `-` and `_`"
            ));
        }
        if self.attempt.is_full_for(&event) {
            return Err(format!("more than {KEPT_MAX} different events in one attempt"));
        }
        self.record(Record::Event { source, event: name, detail });
        self.happen(event);
        Ok(())
    }

    fn wait_until(&mut self, token: Token, until: &ExprText) -> Result<(), String> {
        let expr = self.policy.resolve(until)?;
        self.wait(Waiter::Until(token, expr))?;
        self.record(Record::Awaiting { token: token.0, until: until.clone() });
        Ok(())
    }

    fn wait(&mut self, waiter: Waiter) -> Result<(), String> {
        if self.waiters.len() >= KEPT_MAX {
            return Err(format!("more than {KEPT_MAX} calls are waiting"));
        }
        self.waiters.push(waiter);
        Ok(())
    }

    fn release_by_hand(&mut self, request: Option<RequestId>, point: Option<&str>) -> Result<usize, String> {
        let standing = self.stands.all();
        let wanted: Vec<RequestId> = match (request, point) {
            (None, None) => standing,
            (Some(id), None) if standing.contains(&id) => vec![id],
            (Some(id), None) => {
                let held: Vec<String> = standing.iter().map(RequestId::to_string).collect();
                return Err(format!("request {id} is not held; held: {}", list(&held)));
            }
            (None, Some(name)) => {
                let index = self.policy.point(name).ok_or_else(|| {
                    let known = self.policy.points.iter().map(|point| point.name.as_str());
                    format!("the policy has no point `{name}`: {}", suggest(name, known))
                })?;
                standing.into_iter().filter(|id| self.live[id].point == Some(index)).collect()
            }
            (Some(_), Some(_)) => return Err("name a request or a point, not both".to_owned()),
        };
        self.record(Record::Release { request, point: point.map(str::to_owned) });
        for id in &wanted {
            self.release(*id, Cause::Hand);
        }
        Ok(wanted.len())
    }

    fn held_requests(&self) -> Vec<HeldRequest> {
        let held = self.standing().map(|(live, standing)| {
            let (point, rule) = self.names(live.request.id, standing.group);
            HeldRequest {
                id: live.request.id,
                op: live.request.op,
                offset: live.request.range.offset,
                length: live.request.range.length,
                point,
                rule,
                gate: standing.gate,
                until: self.until_text(standing.group),
                since_ns: standing.since,
                deadline_ns: self.deadline(live.request.queue, standing),
            }
        });
        held.collect()
    }
}

/// A watchdog of no time would end everything at once.
fn some_time(watchdog_ns: Option<Nanos>) -> Result<Option<Nanos>, String> {
    match watchdog_ns {
        Some(0) => Err("a watchdog of nothing ends everything at once; give it more".to_owned()),
        given => Ok(given),
    }
}
