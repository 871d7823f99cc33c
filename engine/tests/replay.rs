//! Stories about journals that are fed back.

use blkstay_engine::class::ClassSet;
use blkstay_engine::control::{Command, ExprText};
use blkstay_engine::engine::{Action, Engine, Input, Token};
use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Abandon, Arm, Cause, Line, Record, Source, Stage};
use blkstay_engine::policy::Policy;
use blkstay_engine::replay::{Difference, Refed, Says, refeed};
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};

/// Holds the first write, and delays reads.
const POLICY: &str = r#"
    seed = 3
    watchdog = "1us"
    event = { go = "control" }
    point = { W = { op = "write" } }
    hold = [{ gate = "W.complete", until = "control.go" }]
    rule = [{ gate = "submit", op = "read", delay = { uniform = ["100ns", "900ns"] }, watchdog = "10us" }]
"#;

/// A daemon, as far as its journal goes.
struct Daemon {
    engine: Engine,
    journal: Vec<Line>,
}

impl Daemon {
    fn start() -> Daemon {
        let image = "disk".to_owned();
        let record = Record::Journal { version: 1, image, image_bytes: 1 << 20, monotonic_ns: 0 };
        let mut daemon = Daemon { engine: Engine::new(), journal: vec![Line { t: 0, record }] };
        let policy = Policy::parse("test", POLICY).expect("a good policy");
        let actions = daemon.engine.load(0, policy, true);
        daemon.write(0, actions);
        daemon
    }

    fn step(&mut self, t: u64, input: Input) -> &mut Daemon {
        let actions = self.engine.step(t, input);
        self.write(t, actions);
        self
    }

    fn write(&mut self, t: u64, actions: Vec<Action>) {
        self.journal.extend(actions.into_iter().filter_map(|action| match action {
            Action::Record(record) => Some(Line { t, record }),
            _ => None,
        }));
    }

    fn arrive(&mut self, t: u64, id: u64, op: Op) -> &mut Daemon {
        let (id, range) = (RequestId(id), ByteRange { offset: 0, length: 4096 });
        let (class, probes) = (ClassSet::NONE, Probes::default());
        self.step(t, Input::Arrived(Request { id, queue: 0, op, range, class, probes }))
    }

    fn done(&mut self, t: u64, id: u64) -> &mut Daemon {
        self.step(t, Input::Done { id: RequestId(id), status: Status::Ok, probes: Probes::default() })
    }

    fn call(&mut self, t: u64, command: Command) -> &mut Daemon {
        self.step(t, Input::Call { token: Token(9), source: Source::Control, during: None, command })
    }

    fn tick(&mut self, t: u64) -> &mut Daemon {
        self.step(t, Input::Tick)
    }

    /// The number of the first line whose record is this one, counted from 1.
    fn find(&self, is: impl Fn(&Record) -> bool) -> usize {
        1 + self.journal.iter().position(|line| is(&line.record)).expect("such a record")
    }
}

/// A write that was held until a user said so, and a read that was delayed.
fn served() -> Daemon {
    let mut daemon = Daemon::start();
    daemon.step(5, Input::Connected).arrive(10, 1, Op::Write).done(20, 1).arrive(30, 2, Op::Read);
    daemon.call(40, Command::Emit { event: "go".to_owned(), detail: None }).tick(1_500).done(1_600, 2);
    daemon
}

#[test]
fn what_the_engine_did_not_see_does_not_count() {
    let mut daemon = served();
    let id = RequestId(7);
    let (range, class, probes) = (ByteRange { offset: 0, length: 512 }, ClassSet::NONE, Probes::default());
    let request = Request { id, queue: 0, op: Op::Read, range, class, probes };
    // Between a decision and what follows from it, even.
    let place = daemon.find(|record| matches!(record, Record::Released { .. }));
    for record in [
        Record::Arrived { request, point: None, passed: true, resubmitted: false },
        Record::Resized { bytes: 1 << 21 },
        Record::Completed { id, status: Status::Ok, passed: true, error: None },
        Record::Abandoned { id, stage: Stage::Submitted, why: Abandon::Disconnect, passed: true },
    ] {
        daemon.journal.insert(place, Line { t: 40, record });
    }
    let lines = daemon.journal.len() as u64;
    assert_eq!(refeed(daemon.journal), Ok(Refed { lines, daemons: 1, missing: 0 }));
}

#[test]
fn what_the_host_said_and_what_was_taken_up_again_is_fed_back() {
    let mut daemon = Daemon::start();
    let (id, range) = (RequestId(1), ByteRange { offset: 0, length: 512 });
    let (class, probes) = (ClassSet::NONE, Probes::default());
    let request = Request { id, queue: 0, op: Op::Discard, range, class, probes };
    daemon.step(5, Input::Resubmitted(request));
    daemon.step(9, Input::Failed { id, status: Status::IoError, error: "it is full".to_owned() });
    daemon.find(|record| matches!(record, Record::Arrived { resubmitted: true, .. }));
    daemon.find(|record| matches!(record, Record::Done { error: Some(said), .. } if said == "it is full"));
    daemon.find(|record| matches!(record, Record::Completed { status: Status::IoError, .. }));
    assert!(refeed(daemon.journal).is_ok());
}

fn differs(journal: &[Line]) -> Difference {
    refeed(journal.to_vec()).expect_err("it should differ")
}

#[test]
fn a_journal_agrees_with_the_engine_that_wrote_it() {
    let daemon = served();
    let lines = daemon.journal.len() as u64;
    assert_eq!(refeed(daemon.journal), Ok(Refed { lines, daemons: 1, missing: 0 }));
}

#[test]
fn another_decision_is_found() {
    let mut daemon = served();
    let number = daemon.find(|record| matches!(record, Record::Released { .. }));
    let Record::Released { cause, .. } = &mut daemon.journal[number - 1].record else { panic!("not it") };
    *cause = Cause::Hand;
    let difference = differs(&daemon.journal);
    assert_eq!(difference.line, number as u64);
    let released = r#"{"t":40,"what":"released","id":1,"point":"W","gate":"complete","cause""#;
    assert_eq!(
        difference.to_string(),
        format!(
            r#"line {number}: the journal has {released}:"hand"}}, the engine has {released}:"until","event":"control.go"}}"#
        )
    );
}

#[test]
fn another_time_another_point_and_another_draw_are_found() {
    let changes: [fn(&mut Line); 3] = [
        |line| line.t += u64::from(matches!(line.record, Record::Decided { .. })),
        |line| {
            if let Record::Arrived { point, .. } = &mut line.record {
                point.take();
            }
        },
        |line| {
            if let Record::Policy { written, .. } = &mut line.record {
                written.seed = Some(4);
            }
        },
    ];
    for change in changes {
        let mut daemon = served();
        daemon.journal.iter_mut().for_each(change);
        assert!(matches!(differs(&daemon.journal).engine, Says::Line(_)));
    }
}

#[test]
fn a_decision_that_is_missing_is_found() {
    let mut daemon = served();
    let number = daemon.find(|record| matches!(record, Record::Held { .. }));
    daemon.journal.remove(number - 1);
    assert_eq!(differs(&daemon.journal).line, number as u64);
}

#[test]
fn a_decision_that_nothing_leads_to_is_found() {
    let mut daemon = served();
    let record = Record::Released {
        id: RequestId(1),
        point: String::new(),
        rule: None,
        gate: Gate::Complete,
        cause: Cause::Delay,
    };
    daemon.journal.push(Line { t: 2_000, record });
    let difference = differs(&daemon.journal);
    assert_eq!((difference.line, difference.engine), (daemon.journal.len() as u64, Says::Nothing));
}

#[test]
fn a_delay_that_was_too_short_is_found() {
    let mut daemon = served();
    let is = |record: &Record| matches!(record, Record::Released { cause: Cause::Delay, .. });
    let number = daemon.find(is);
    for line in &mut daemon.journal[number - 1..] {
        line.t = 100;
    }
    assert_eq!(differs(&daemon.journal).engine, Says::Nothing);
}

#[test]
fn a_command_that_the_engine_refuses_is_found() {
    let mut daemon = served();
    daemon.journal.push(Line { t: 2_000, record: Record::AttemptEnded { attempt: 1 } });
    let why = "no attempt has begun; send `begin` first".to_owned();
    assert_eq!(differs(&daemon.journal).engine, Says::Refused(why));
}

#[test]
fn each_daemon_begins_anew_and_a_killed_one_may_not_have_said_all() {
    let mut first = served();
    let number = first.find(|record| matches!(record, Record::Decided { .. }));
    first.journal.truncate(number - 1);
    let journal = [first.journal, served().journal].concat();
    let lines = journal.len() as u64;
    assert_eq!(refeed(journal), Ok(Refed { lines, daemons: 2, missing: 1 }));
}

#[test]
fn what_clients_ask_for_is_fed_back_and_what_they_were_refused_is_not_there() {
    let mut daemon = served();
    let begin = Command::Begin { attempt: 1, arm: Arm::Forced, watchdog_ns: Some(700) };
    daemon.call(2_000, Command::Disarm).call(2_010, begin.clone()).call(2_020, begin).arrive(
        2_030,
        3,
        Op::Write,
    );
    daemon.done(2_040, 3).call(2_050, Command::Held).call(2_060, Command::Status);
    daemon.call(2_070, Command::Pause { queue: None, watchdog_ns: Some(250) }).arrive(2_080, 4, Op::Flush);
    daemon.call(2_090, Command::Log { lines: vec!["one".to_owned(), "two".to_owned()] });
    daemon.tick(2_320).tick(2_740).call(2_800, Command::Release { request: None, point: None });
    daemon.call(2_810, Command::End).call(2_820, Command::NextAttempt { after: 1 });
    daemon.step(2_830, Input::Forget(Token(9))).step(2_840, Input::RingStopped { queue: 0 });
    daemon.step(2_850, Input::Abandon(Abandon::Disconnect)).step(2_860, Input::Abandon(Abandon::Shutdown));
    let lines = daemon.journal.len() as u64;
    assert_eq!(refeed(daemon.journal), Ok(Refed { lines, daemons: 1, missing: 0 }));
}

/// A hold whose witness never reports is over at 8 µs; a delay is over before it. A tick that comes late finds both.
#[test]
fn what_a_late_tick_ends_is_ended_in_the_order_in_which_it_was_due() {
    let mut daemon = Daemon::start();
    daemon.arrive(0, 1, Op::Write).done(0, 1);
    daemon.call(100, Command::Await { until: ExprText::Event("attempt.stalled".to_owned()) });
    daemon.tick(500).tick(1_000).arrive(7_000, 2, Op::Read).tick(9_000);
    let order: Vec<u64> = daemon
        .journal
        .iter()
        .filter_map(|line| match &line.record {
            Record::Released { id, .. } => Some(id.0),
            _ => None,
        })
        .collect();
    assert_eq!(order, [2, 1]);
    let refed = refeed(daemon.journal);
    assert!(refed.is_ok(), "{refed:?}");
}
