//! What clients of the control socket and guests ask for.

use super::attempt::{Attempt, KEPT_MAX, TEXT_BYTES_MAX, Witness};
use super::{Engine, Token, Waiter};
use crate::control::{Answer, Command, ExprText};
use crate::diagnostic::{list, suggest};
use crate::event::Event;
use crate::journal::{Arm, Cause, Record, Source};
use crate::policy::{Policy, is_name};
use crate::report::HeldRequest;
use crate::request::{ByteRange, Nanos, RequestId};

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
            Command::Load { policy, origin, armed } => {
                let policy = Policy::parse(&origin, &policy).map_err(|mistakes| mistakes.to_string())?;
                self.replace_policy(policy, armed);
            }
            Command::Begin { attempt, arm, watchdog_ns } => self.begin(attempt, arm, watchdog_ns)?,
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
                if self.attempt.witness == Witness::Told {
                    self.attempt.witness = Witness::Heard;
                }
                self.record(Record::Report { name, value });
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
            Command::Finish { exit } => {
                self.attempt.exit = Some(exit);
                self.record(Record::Finished { exit });
                self.attempt.happen(&self.policy, Event::Finished, self.now);
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
        self.release_all(&Cause::PolicyReplaced);
        self.forget_points();
        self.record(Record::Policy { origin: policy.origin.clone(), text: policy.text.clone(), armed });
        self.policy = policy;
        self.armed = armed;
        self.between_attempts();
        self.refuse_waiters("the policy was replaced");
    }

    fn begin(&mut self, number: u64, arm: Arm, watchdog_ns: Option<Nanos>) -> Result<(), String> {
        if self.attempt.begun {
            return Err(format!("attempt {} has not ended; send `end` first", self.attempt.number));
        }
        if number <= self.attempt.number {
            return Err(format!("attempt {number} does not follow attempt {}", self.attempt.number));
        }
        self.release_all(&Cause::AttemptEnd);
        self.forget_points();
        self.attempt = Attempt::idle(&self.policy, number, self.now);
        self.attempt.armed = true;
        self.attempt.begun = true;
        self.attempt.arm = arm;
        self.attempt.watchdog = watchdog_ns;
        self.record(Record::AttemptBegan { attempt: number, arm, watchdog_ns });
        self.refuse_waiters("another attempt began");
        Ok(())
    }

    fn end(&mut self) -> Result<Answer, String> {
        if !self.attempt.begun {
            return Err("no attempt has begun; send `begin` first".to_owned());
        }
        let number = self.attempt.number;
        self.release_all(&Cause::AttemptEnd);
        let report = self.attempt.report(&self.policy, self.now);
        self.forget_points();
        self.record(Record::AttemptEnded { attempt: number });
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
        self.attempt.happen(&self.policy, event, self.now);
        Ok(())
    }

    fn wait_until(&mut self, token: Token, until: &ExprText) -> Result<(), String> {
        let expr = self.policy.resolve(until)?;
        self.wait(Waiter::Until(token, expr))
    }

    fn wait(&mut self, waiter: Waiter) -> Result<(), String> {
        if self.waiters.len() >= KEPT_MAX {
            return Err(format!("more than {KEPT_MAX} calls are waiting"));
        }
        self.waiters.push(waiter);
        Ok(())
    }

    fn release_by_hand(&mut self, request: Option<RequestId>, point: Option<&str>) -> Result<usize, String> {
        let held: Vec<RequestId> = self.held.iter().copied().collect();
        let wanted: Vec<RequestId> = match (request, point) {
            (None, None) => held,
            (Some(id), None) if held.contains(&id) => vec![id],
            (Some(id), None) => {
                let held: Vec<String> = held.iter().map(RequestId::to_string).collect();
                return Err(format!("request {id} is not held; held: {}", list(&held)));
            }
            (None, Some(name)) => {
                let index = self.policy.point(name).ok_or_else(|| {
                    let known = self.policy.points.iter().map(|point| point.name.as_str());
                    format!("the policy has no point `{name}`: {}", suggest(name, known))
                })?;
                held.into_iter().filter(|id| self.live[id].point == Some(index)).collect()
            }
            (Some(_), Some(_)) => return Err("name a request or a point, not both".to_owned()),
        };
        for id in &wanted {
            self.release(*id, Cause::Hand);
        }
        Ok(wanted.len())
    }

    fn held_requests(&self) -> Vec<HeldRequest> {
        let held = self.standing().filter_map(|(live, standing)| Some((live, standing, live.point?)));
        held.map(|(live, standing, point)| {
            let open = standing.holds.iter().filter(|hold| self.attempt.holds[**hold].true_by.is_none());
            let until: Vec<String> =
                open.map(|hold| self.policy.expr_text(&self.policy.holds[*hold].until)).collect();
            HeldRequest {
                id: live.request.id,
                op: live.request.op,
                offset: live.request.range.offset,
                length: live.request.range.length,
                point: self.policy.points[point.0].name.clone(),
                gate: standing.gate,
                until: until.join(" and "),
                since_ns: standing.since,
                deadline_ns: standing.deadline(self.attempt.witness),
            }
        })
        .collect()
    }
}
