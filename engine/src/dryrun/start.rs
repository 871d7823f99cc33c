//! One start of the daemon, done again under another policy.

use super::{Decision, Ending, Released, Row, Standing};
use crate::control::{Answer, Command};
use crate::engine::{Action, Engine, Input, Token};
use crate::journal::{Abandon, Arm, Line, Record, Source};
use crate::policy::{Filter, Policy, Probe, Where};
use crate::report::AttemptReport;
use crate::request::{ByteRange, Nanos, Op, Probes, Request, RequestId, Status};
use std::collections::{BTreeMap, BTreeSet};

/// How the drive did a request.
#[derive(Clone, Copy, Debug, Default)]
struct Service {
    submitted: Option<Nanos>,
    time: Option<Nanos>,
    status: Option<Status>,
    probes: Probes,
}

/// One start of the daemon, done again.
pub struct Start<'p> {
    policy: &'p Policy,
    number: u64,
    engine: Engine,
    now: Nanos,
    wake: Option<Nanos>,
    services: BTreeMap<RequestId, Service>,
    /// Median of the drive's times, by operation.
    usual: BTreeMap<Op, Nanos>,
    /// What the drive has, by when it will be done.
    drive: BTreeSet<(Nanos, RequestId)>,
    /// For each payload test of the policy, the one of the journal's policy that is the same.
    same_probe: Vec<Option<u8>>,
    attempt: Option<u64>,
    pub rows: BTreeMap<RequestId, Row>,
    pub reports: Vec<AttemptReport>,
    pub standing: Vec<Standing>,
    /// Payload tests that the journal's policy did not have.
    pub missed: BTreeSet<usize>,
    pub guessed: u64,
}

impl<'p> Start<'p> {
    pub fn new(policy: &'p Policy, lines: &[Line], number: u64) -> Start<'p> {
        let (services, usual) = services(lines);
        let armed = !lines.iter().any(|line| matches!(line.record, Record::AttemptBegan { .. }));
        let mut engine = Engine::new();
        let early = lines.iter().take_while(|line| !matches!(line.record, Record::Arrived { .. }));
        // Where a stall's time begins: when the daemon had its own policy, if that was before the first request.
        let loaded = early.filter(|line| matches!(line.record, Record::Policy { .. })).last();
        let now = loaded.or(lines.first()).map_or(0, |line| line.t);
        engine.load(now, policy.clone(), armed);
        Start {
            policy,
            number,
            engine,
            now,
            wake: None,
            services,
            usual,
            drive: BTreeSet::new(),
            same_probe: vec![None; policy.probes.len()],
            attempt: None,
            rows: BTreeMap::new(),
            reports: Vec::new(),
            standing: Vec::new(),
            missed: BTreeSet::new(),
            guessed: 0,
        }
    }

    pub fn run(&mut self, lines: &[Line]) {
        for line in lines {
            self.advance(line.t);
            self.feed(line);
        }
        self.ask(Command::Held);
        self.ask(Command::Status);
    }

    /// Lets time pass: the drive finishes requests, and what is due happens.
    fn advance(&mut self, until: Nanos) {
        loop {
            let done = self.drive.first().copied().filter(|(at, _)| *at <= until);
            let wake = self.wake.filter(|at| *at <= until);
            match (done, wake) {
                (Some((at, id)), wake) if wake.is_none_or(|wake| at <= wake) => self.finish(at, id),
                (_, Some(wake)) => {
                    self.wake = None;
                    self.step(wake, Input::Tick);
                }
                _ => break,
            }
        }
        self.now = self.now.max(until);
    }

    fn finish(&mut self, at: Nanos, id: RequestId) {
        self.drive.remove(&(at, id));
        let service = self.services.get(&id).copied().unwrap_or_default();
        let (status, probes) = (service.status.unwrap_or(Status::Ok), self.translate(service.probes));
        self.step(at, Input::Done { id, status, probes });
    }

    /// What came in then comes in now; what followed from it then does not count.
    fn feed(&mut self, line: &Line) {
        let input = match &line.record {
            Record::Policy { written, .. } => {
                let probes = Policy::reread(written).map(|policy| policy.probes).unwrap_or_default();
                return self.compare_probes(&probes);
            }
            Record::Arrived { request, passed, .. } => {
                // Data of a request that no policy concerned was not tested.
                let tests = self.same_probe.iter().enumerate();
                let untested = tests.filter(|(_, same)| *passed || same.is_none()).map(|(index, _)| index);
                self.missed.extend(untested.filter(|index| asks(self.policy, *index, request)));
                Input::Arrived(Request { probes: self.translate(request.probes), ..*request })
            }
            Record::Connected => Input::Connected,
            Record::RingStopped { queue } => Input::RingStopped { queue: *queue },
            Record::Disconnected => return self.abandon(Abandon::Disconnect),
            Record::Stopped => return self.abandon(Abandon::Shutdown),
            record => match said(record) {
                None => return,
                Some((source, command)) => {
                    match command {
                        Command::Begin { attempt, .. } => self.attempt = Some(attempt),
                        Command::End => self.attempt = None,
                        _ => {}
                    }
                    call(source, command)
                }
            },
        };
        self.step(line.t, input);
    }

    fn abandon(&mut self, why: Abandon) {
        self.ask(Command::Held);
        if why == Abandon::Disconnect && self.attempt.is_none() {
            self.ask(Command::Status);
        }
        self.drive.clear();
        self.step(self.now, Input::Abandon(why));
    }

    fn ask(&mut self, command: Command) {
        self.step(self.now, call(Source::Control, command));
    }

    fn compare_probes(&mut self, theirs: &[Probe]) {
        let same = |ours: &Probe| theirs.iter().position(|probe| probe == ours);
        let ours = self.policy.probes.iter();
        self.same_probe = ours.map(|probe| same(probe).and_then(|index| u8::try_from(index).ok())).collect();
    }

    /// Outcomes of the journal's tests as those of the policy's.
    fn translate(&self, theirs: Probes) -> Probes {
        let mut ours = Probes::default();
        for (index, same) in (0..).zip(&self.same_probe) {
            if same.is_some_and(|same| theirs.has(same)) {
                ours.insert(index);
            }
        }
        ours
    }

    fn step(&mut self, at: Nanos, input: Input) {
        self.now = self.now.max(at);
        for action in self.engine.step(self.now, input) {
            match action {
                Action::Submit(id) => self.submit(id),
                Action::Complete(id, status) => {
                    let ending = Ending { t: self.now, status };
                    self.rows.entry(id).and_modify(|row| row.completed = Some(ending));
                }
                Action::Abandon(_) | Action::Warn(..) => {}
                Action::WakeAt(wake) => self.wake = wake,
                Action::Reply(_, answer) => self.hear(answer),
                Action::Record(record) => self.note(record),
            }
        }
    }

    fn submit(&mut self, id: RequestId) {
        let time = self.services.get(&id).and_then(|service| service.time);
        let time = time.unwrap_or_else(|| {
            self.guessed += 1;
            let op = self.rows.get(&id).map(|row| row.request.op);
            op.and_then(|op| self.usual.get(&op)).copied().unwrap_or(0)
        });
        self.drive.insert((self.now.saturating_add(time), id));
    }

    fn hear(&mut self, answer: Answer) {
        match answer {
            Answer::Report(report) => self.reports.push(*report),
            Answer::Held { requests } => {
                let (start, t) = (self.number, self.now);
                self.standing.extend(requests.into_iter().map(|held| Standing { start, t, held }));
            }
            _ => {}
        }
    }

    fn note(&mut self, record: Record) {
        let t = self.now;
        match record {
            Record::Arrived { request, point, .. } => {
                let (start, attempt, id) = (self.number, self.attempt, request.id);
                let (submit, complete, stands_in) = (Vec::new(), Vec::new(), Vec::new());
                let completed = None;
                let row = Row { start, attempt, t, request, point, submit, complete, stands_in, completed };
                self.rows.insert(id, row);
            }
            Record::Decided { id, gate, rule, does, wait_ns, status } => {
                let rule = Some(rule);
                if let Some(row) = self.rows.get_mut(&id) {
                    let (until, released) = (None, None);
                    row.at(gate).push(Decision { t, rule, does, until, wait_ns, status, released });
                }
            }
            Record::Held { id, point, rule, gate, until, .. } => {
                if let Some(row) = self.rows.get_mut(&id) {
                    row.held(t, gate, rule, until);
                }
                self.become_known(id, point);
            }
            Record::Released { id, point, gate, cause, .. } => {
                if let Some(row) = self.rows.get_mut(&id) {
                    row.released(gate, Released { t, cause });
                }
                self.become_known(id, point);
            }
            _ => {}
        }
    }

    /// Some points are known only later.
    fn become_known(&mut self, id: RequestId, point: String) {
        if let Some(row) = self.rows.get_mut(&id).filter(|row| row.point.is_none() && !point.is_empty()) {
            row.point = Some(point);
        }
    }
}

/// Whether it hangs on a payload test what the policy makes of a request.
fn asks(policy: &Policy, probe: usize, request: &Request) -> bool {
    let filters = policy.points.iter().map(|point| &point.filter);
    let mut filters = filters.chain(policy.rules.iter().map(|rule| &rule.filter));
    filters.any(|filter| {
        filter.probe.is_some_and(|of| usize::from(of) == probe)
            && filter.is_of_kind(request)
            && place(policy, filter).is_none_or(|place| place.overlaps(request.range))
    })
}

/// Where a filter's requests are, as far as the policy says.
fn place(policy: &Policy, filter: &Filter) -> Option<ByteRange> {
    match filter.range? {
        Where::Range(range) => Some(range),
        Where::Place(place) => policy.places[place].range,
    }
}

fn call(source: Source, command: Command) -> Input {
    Input::Call { token: Token(0), source, during: None, command }
}

/// What somebody asked for, if a record tells that. What was released or paused by hand is left out: that was about
/// what stood then.
fn said(record: &Record) -> Option<(Source, Command)> {
    Some(match record.clone() {
        Record::AttemptBegan { attempt, watchdog_ns, .. } => {
            (Source::Control, Command::Begin { attempt, arm: Arm::Forced, watchdog_ns })
        }
        Record::AttemptEnded { .. } => (Source::Control, Command::End),
        Record::Event { source: Source::Policy, .. } => return None,
        Record::Event { source, event, detail } => (source, Command::Emit { event, detail }),
        Record::Awaiting { until, .. } => (Source::Guest, Command::Await { until }),
        Record::Report { name, value } => (Source::Guest, Command::Report { name, value }),
        Record::Finished { exit } => (Source::Guest, Command::Finish { exit }),
        Record::Bound { place, range } => {
            (Source::Guest, Command::Bind { place, offset: range.offset, length: range.length })
        }
        _ => return None,
    })
}

/// How long the drive took for each request, and what is usual.
fn services(lines: &[Line]) -> (BTreeMap<RequestId, Service>, BTreeMap<Op, Nanos>) {
    let mut services: BTreeMap<RequestId, Service> = BTreeMap::new();
    let mut ops = BTreeMap::new();
    let mut times: BTreeMap<Op, Vec<Nanos>> = BTreeMap::new();
    for line in lines {
        let (id, status, probes) = match &line.record {
            Record::Arrived { request, passed, .. } => {
                ops.insert(request.id, request.op);
                if *passed {
                    services.entry(request.id).or_default().submitted = Some(line.t);
                }
                continue;
            }
            Record::Submitted { id } => {
                services.entry(*id).or_default().submitted = Some(line.t);
                continue;
            }
            Record::Done { id, status, probes, .. } => (id, status, *probes),
            // Nothing stood between the drive and the guest.
            Record::Completed { id, status, passed: true, .. } => (id, status, Probes::default()),
            _ => continue,
        };
        let service = services.entry(*id).or_default();
        service.time = service.submitted.map(|submitted| line.t.saturating_sub(submitted));
        (service.status, service.probes) = (Some(*status), probes);
        if let (Some(op), Some(time)) = (ops.get(id), service.time) {
            times.entry(*op).or_default().push(time);
        }
    }
    let median = |(op, mut times): (Op, Vec<Nanos>)| {
        times.sort_unstable();
        (op, times[times.len() / 2])
    };
    (services, times.into_iter().map(median).collect())
}
