//! Stories about the engine: events and time in, actions out.

use blkstay_engine::class::ClassSet;
use blkstay_engine::control::{Answer, Command, ExprText};
use blkstay_engine::engine::{Action, Engine, Input, Token};
use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Abandon, Arm, Cause, Record, Source, Stage};
use blkstay_engine::policy::{Included, Policy, Written};
use blkstay_engine::report::AttemptReport;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};

const RACE: &str = include_str!("../../policies/ext4-dio-fallback.toml");
const PART: &str = include_str!("../../policies/parts/ext4-dio.toml");
const WATCHDOG: Cause = Cause::Watchdog { limit_ns: 1_000_000, unheard: false };
const VICTIM: u64 = 40960;
const INDIRECT: u64 = 81920;

/// An engine and a clock that moves on by 1 µs a step.
struct Bench {
    engine: Engine,
    now: u64,
    token: u64,
    records: Vec<Record>,
}

impl Bench {
    fn new(policy: &str) -> Bench {
        let mut bench = Bench { engine: Engine::new(), now: 0, token: 0, records: Vec::new() };
        let part = Included { path: "parts/ext4-dio.toml".to_owned(), text: PART.to_owned() };
        let included = if policy.contains(&part.path) { vec![part] } else { Vec::new() };
        let (origin, text) = ("test".to_owned(), policy.to_owned());
        let load = Command::load_written(Written { origin, text, included, ..Written::default() }, false);
        assert_eq!(bench.control(load), Some(Answer::Done));
        bench
    }

    /// In attempt 1 of the race, with its places bound.
    fn racing(arm: Arm) -> Bench {
        let mut bench = Bench::new(RACE);
        bench.control(Command::Begin { attempt: 1, arm, watchdog_ns: Some(1_000_000) });
        for (place, offset) in [("victim", VICTIM), ("indirect", INDIRECT)] {
            let bind = Command::Bind { place: place.to_owned(), offset, length: 4096 };
            assert_eq!(bench.guest(bind), Some(Answer::Done));
        }
        bench.emit("a-begins");
        bench
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        self.now += 1_000;
        let actions = self.engine.step(self.now, input);
        let (records, effects): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| matches!(action, Action::Record(_)));
        self.records.extend(records.into_iter().filter_map(|action| match action {
            Action::Record(record) => Some(record),
            _ => None,
        }));
        effects
    }

    fn call(&mut self, source: Source, command: Command) -> Vec<Action> {
        self.token += 1;
        self.step(Input::Call { token: Token(self.token), source, during: None, command })
    }

    /// The answer to a command, if it came at once.
    fn control(&mut self, command: Command) -> Option<Answer> {
        answer(self.call(Source::Control, command))
    }

    fn guest(&mut self, command: Command) -> Option<Answer> {
        answer(self.call(Source::Guest, command))
    }

    fn emit(&mut self, event: &str) -> Vec<Action> {
        self.call(Source::Guest, Command::Emit { event: event.to_owned(), detail: None })
    }

    fn arrive(&mut self, id: u64, op: Op, offset: u64) -> Vec<Action> {
        let range = ByteRange { offset, length: 4096 };
        self.step(Input::Arrived(Request {
            id: RequestId(id),
            queue: 0,
            op,
            range,
            class: ClassSet::NONE,
            probes: Probes::default(),
        }))
    }

    fn done(&mut self, id: u64) -> Vec<Action> {
        self.step(Input::Done { id: RequestId(id), status: Status::Ok, probes: Probes::default() })
    }

    fn end(&mut self) -> AttemptReport {
        match self.control(Command::End) {
            Some(Answer::Report(report)) => *report,
            other => panic!("no report: {other:?}"),
        }
    }

    fn releases(&self) -> Vec<(&str, Gate, &Cause)> {
        let released = self.records.iter().filter_map(|record| match record {
            Record::Released { point, gate, cause, .. } => Some((point.as_str(), *gate, cause)),
            _ => None,
        });
        released.collect()
    }
}

fn answer(actions: Vec<Action>) -> Option<Answer> {
    actions.into_iter().find_map(|action| match action {
        Action::Reply(_, answer) => Some(answer),
        _ => None,
    })
}

fn completed(actions: &[Action]) -> Vec<u64> {
    let ids = actions.iter().filter_map(|action| match action {
        Action::Complete(id, Status::Ok) => Some(id.0),
        _ => None,
    });
    ids.collect()
}

#[test]
fn without_a_policy_everything_goes_straight_through() {
    let mut bench = Bench { engine: Engine::new(), now: 0, token: 0, records: Vec::new() };
    assert_eq!(bench.arrive(1, Op::Write, 0), [Action::Submit(RequestId(1))]);
    assert_eq!(bench.done(1), [Action::Complete(RequestId(1), Status::Ok)]);
}

#[test]
fn the_race_is_forced_in_the_order_that_the_policy_writes() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    assert_eq!(completed(&bench.done(1)), [0; 0], "A is held");
    assert_eq!(completed(&bench.arrive(2, Op::Read, INDIRECT)), [1], "R's arrival completes A");
    assert_eq!(completed(&bench.done(2)), [0; 0], "R is held");
    assert_eq!(completed(&bench.emit("a-reaped")), [2]);
    let report = bench.end();
    let names: Vec<&str> = report.events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(
        names,
        [
            "guest.a-begins",
            "A.arrived",
            "A.submitted",
            "A.done",
            "R.arrived",
            "R.submitted",
            "A.completed",
            "R.done",
            "guest.a-reaped",
            "R.completed"
        ]
    );
    let until = |event: &str| Cause::Until { event: event.to_owned() };
    assert_eq!(
        bench.releases(),
        [("A", Gate::Complete, &until("R.arrived")), ("R", Gate::Complete, &until("guest.a-reaped"))]
    );
}

#[test]
fn the_control_arm_watches_and_holds_nothing() {
    let mut bench = Bench::racing(Arm::Control);
    bench.arrive(1, Op::Write, VICTIM);
    assert_eq!(completed(&bench.done(1)), [1]);
    bench.arrive(2, Op::Read, INDIRECT);
    assert_eq!(completed(&bench.done(2)), [2]);
    let report = bench.end();
    assert!(report.points.values().all(|point| point.request.is_some()));
    assert!(report.holds.iter().all(|hold| !hold.held && hold.reached_ns.is_some()));
    assert!(report.holds[0].true_ns > report.holds[0].reached_ns, "what a hold would have taken is measured");
}

#[test]
fn in_the_natural_arm_nobody_watches_and_nobody_waits_for_a_point() {
    let mut bench = Bench::racing(Arm::Natural);
    let until = |events: &[&str]| {
        let all = events.iter().map(|event| ExprText::Event((*event).to_owned())).collect();
        Command::Await { until: ExprText::All { all } }
    };
    assert_eq!(bench.guest(until(&["A.done"])), Some(Answer::Done));
    assert_eq!(bench.guest(until(&["A.done", "guest.a-reaped"])), None, "the guest's own order is kept");
    bench.arrive(1, Op::Write, VICTIM);
    assert_eq!(completed(&bench.done(1)), [1]);
    assert_eq!(answer(bench.emit("a-reaped")), Some(Answer::Done), "both, to who waits and to who says it");
    let report = bench.end();
    assert!(report.points.values().all(|point| point.request.is_none()), "{:?}", report.points);
    let events: Vec<&str> = report.events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(events, ["guest.a-begins", "guest.a-reaped"]);
}

#[test]
fn a_watchdog_ends_the_forcing_of_the_attempt_and_says_so() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    let actions = bench.done(1);
    let deadline = bench.now + 1_000_000;
    let wake = actions.iter().find_map(|action| match action {
        Action::WakeAt(at) => *at,
        _ => None,
    });
    assert_eq!(wake, Some(deadline - 500_000), "halfway it is told that somebody waits");
    assert_eq!(completed(&bench.step(Input::Tick)), [0; 0], "not before its time");
    bench.now += 500_000;
    assert_eq!(bench.step(Input::Tick), [Action::WakeAt(Some(deadline))]);
    bench.now += 500_000;
    assert_eq!(completed(&bench.step(Input::Tick)), [1]);
    assert_eq!(bench.releases(), [("A", Gate::Complete, &WATCHDOG)]);
    bench.arrive(2, Op::Read, INDIRECT);
    assert_eq!(completed(&bench.done(2)), [2], "nothing is held any more");
    assert_eq!(bench.end().holds[0].cause, Some(WATCHDOG));
}

/// In a forced attempt with A held, and a witness who has just been told that it stalls.
fn stalled() -> Bench {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    bench.done(1);
    bench.guest(Command::Await { until: ExprText::Event("attempt.stalled".to_owned()) });
    bench.now += 500_000;
    assert_eq!(answer(bench.step(Input::Tick)), Some(Answer::Done));
    bench.now += 1_000_000;
    bench
}

#[test]
fn a_watchdog_waits_for_a_witness_who_was_told() {
    let mut bench = stalled();
    assert_eq!(completed(&bench.step(Input::Tick)), [0; 0], "the guest may be merely slow");
    let actions =
        bench.call(Source::Guest, Command::Report { name: "stuck".to_owned(), value: "D".to_owned() });
    assert!(matches!(actions[..], [Action::Reply(..), Action::WakeAt(Some(at))] if at < bench.now));
    assert_eq!(completed(&bench.step(Input::Tick)), [1]);
    assert_eq!(bench.releases(), [("A", Gate::Complete, &WATCHDOG)]);
}

#[test]
fn what_a_witness_has_seen_waiting_stands_for_an_eighth_of_its_watchdog_more() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    bench.done(1);
    let held = bench.now;
    bench.guest(Command::Await { until: ExprText::Event("attempt.stalled".to_owned()) });
    bench.now = held + 500_000;
    bench.step(Input::Tick);
    let report = |name: &str| Command::Report { name: name.to_owned(), value: "D".to_owned() };
    let wakes = |actions: Vec<Action>| {
        actions.into_iter().find_map(|action| match action {
            Action::WakeAt(at) => at,
            _ => None,
        })
    };
    assert_eq!(wakes(bench.call(Source::Guest, report("another"))), None, "the witness says it as `stuck`");
    let word = wakes(bench.call(Source::Guest, report("stuck")));
    let deadline = bench.now + 125_000;
    assert_eq!(word, Some(deadline));
    bench.now = deadline - 2_000;
    assert_eq!(completed(&bench.step(Input::Tick)), [0; 0]);
    assert_eq!(completed(&bench.step(Input::Tick)), [1]);
    let cause = Cause::Watchdog { limit_ns: deadline - held, unheard: false };
    assert_eq!(bench.releases(), [("A", Gate::Complete, &cause)]);
}

#[test]
fn a_witness_who_says_nothing_is_not_waited_for_for_ever() {
    let mut bench = stalled();
    bench.now += 8_000_000;
    assert_eq!(completed(&bench.step(Input::Tick)), [1]);
    let unheard = Cause::Watchdog { limit_ns: 1_000_000, unheard: true };
    assert_eq!(bench.releases(), [("A", Gate::Complete, &unheard)]);
}

#[test]
fn a_slow_guest_that_goes_on_after_all_has_its_order_forced() {
    let mut bench = stalled();
    bench.step(Input::Tick);
    assert_eq!(completed(&bench.arrive(2, Op::Read, INDIRECT)), [1]);
    assert_eq!(bench.releases(), [("A", Gate::Complete, &Cause::Until { event: "R.arrived".to_owned() })]);
}

#[test]
fn each_attempt_starts_fresh() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    bench.end();
    bench.control(Command::Begin { attempt: 2, arm: Arm::Forced, watchdog_ns: None });
    bench.arrive(2, Op::Write, VICTIM);
    assert_eq!(completed(&bench.done(2)), [2], "places are not bound any more");
    assert_eq!(completed(&bench.done(1)), [1], "what an earlier attempt left in the drive is no point");
    assert!(bench.end().points.values().all(|point| point.request.is_none()));
}

#[test]
fn ending_an_attempt_releases_what_it_holds_before_it_is_answered() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    bench.done(1);
    let actions = bench.call(Source::Control, Command::End);
    assert!(matches!(actions[0], Action::Complete(RequestId(1), Status::Ok)));
    assert!(matches!(actions[1], Action::Reply(_, Answer::Report(_))));
    assert_eq!(bench.releases(), [("A", Gate::Complete, &Cause::AttemptEnd)]);
}

#[test]
fn a_hold_at_submit_keeps_the_request_from_the_drive() {
    let policy = "[event]\ngo = \"control\"\n[point]\nF = { op = \"flush\", nth = 2 }\n[[hold]]\ngate = \"F.submit\"\nuntil = \"control.go\"\n";
    let mut bench = Bench::new(policy);
    bench.control(Command::Begin { attempt: 1, arm: Arm::Forced, watchdog_ns: None });
    let submits = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Submit(_)));
    assert!(submits(&bench.arrive(1, Op::Flush, 0)), "the first flush is not the point");
    assert!(!submits(&bench.arrive(2, Op::Flush, 0)));
    let actions = bench.call(Source::Control, Command::Emit { event: "go".to_owned(), detail: None });
    assert_eq!(actions[0], Action::Submit(RequestId(2)));
    assert!(matches!(actions[1], Action::Reply(_, Answer::Done)), "the answer comes after the effect");
}

#[test]
fn any_and_all_wait_for_what_they_say() {
    let policy = r#"
        [event]
        one = "control"
        two = "control"
        [point]
        W = { op = "write" }
        R = { op = "read" }
        [[hold]]
        gate = "W.complete"
        until = { all = ["control.one", "control.two"] }
        [[hold]]
        gate = "R.complete"
        until = { any = ["control.two", "W.completed"] }
    "#;
    let mut bench = Bench::new(policy);
    bench.control(Command::Begin { attempt: 1, arm: Arm::Forced, watchdog_ns: None });
    for (id, op) in [(1, Op::Write), (2, Op::Read)] {
        bench.arrive(id, op, 0);
        bench.done(id);
    }
    let emit = |event: &str| Command::Emit { event: event.to_owned(), detail: None };
    assert_eq!(completed(&bench.call(Source::Control, emit("one"))), [0; 0]);
    assert_eq!(completed(&bench.call(Source::Guest, emit("two"))), [0; 0], "guest.two is another event");
    assert_eq!(completed(&bench.call(Source::Control, emit("two"))), [1, 2], "oldest first");
}

#[test]
fn awaits_are_answered_when_true_and_refused_when_their_attempt_ends() {
    let mut bench = Bench::racing(Arm::Control);
    let until = |event: &str| Command::Await { until: ExprText::Event(event.to_owned()) };
    assert_eq!(bench.guest(until("A.done")), None, "not yet");
    bench.arrive(1, Op::Write, VICTIM);
    assert_eq!(answer(bench.done(1)), Some(Answer::Done));
    assert_eq!(bench.guest(until("A.done")), Some(Answer::Done), "what has happened has happened");
    assert_eq!(bench.guest(until("R.done")), None);
    let actions = bench.call(Source::Control, Command::End);
    assert!(actions.iter().any(|action| matches!(action, Action::Reply(_, Answer::Error { .. }))));
    assert!(
        matches!(bench.guest(until("B.done")), Some(Answer::Error { message }) if message.contains("unknown point `B`"))
    );
}

#[test]
fn a_guest_learns_of_the_next_attempt_and_cannot_steer() {
    let mut bench = Bench::new(RACE);
    assert_eq!(bench.guest(Command::NextAttempt { after: 0 }), None);
    let actions =
        bench.call(Source::Control, Command::Begin { attempt: 1, arm: Arm::Forced, watchdog_ns: None });
    let told = Answer::Attempt { attempt: 1, arm: Arm::Forced };
    assert!(actions.iter().any(|action| matches!(action, Action::Reply(_, answer) if *answer == told)));
    for steering in [Command::End, Command::Held, Command::Release { request: None, point: None }] {
        assert!(matches!(bench.guest(steering), Some(Answer::Error { .. })));
    }
}

#[test]
fn held_requests_are_listed_and_released_by_hand() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    bench.done(1);
    let Some(Answer::Held { requests }) = bench.control(Command::Held) else { panic!("no list") };
    assert_eq!((requests[0].point.as_str(), requests[0].until.as_str()), ("A", "R.arrived"));
    let release = Command::Release { request: Some(RequestId(1)), point: None };
    let actions = bench.call(Source::Control, release.clone());
    assert_eq!(completed(&actions), [1]);
    assert!(
        matches!(bench.control(release), Some(Answer::Error { message }) if message.contains("#1 is not held"))
    );
}

#[test]
fn a_stopped_ring_lets_its_requests_go_on_at_both_gates() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    bench.step(Input::RingStopped { queue: 0 });
    assert_eq!(completed(&bench.done(1)), [1], "not held: the guest waits for its ring to stop");
    assert_eq!(bench.engine.in_flight(0), 0);
}

#[test]
fn what_is_given_up_is_accounted_for_and_never_completes() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    bench.done(1);
    bench.arrive(2, Op::Write, 0);
    let actions = bench.step(Input::Abandon(Abandon::Disconnect));
    assert!(
        actions.contains(&Action::Abandon(RequestId(1))) && actions.contains(&Action::Abandon(RequestId(2)))
    );
    let stages: Vec<Stage> = bench
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Abandoned { stage, .. } => Some(*stage),
            _ => None,
        })
        .collect();
    assert_eq!(stages, [Stage::HeldAtComplete, Stage::Submitted]);
    assert_eq!(completed(&bench.done(2)), [0; 0]);
}

#[test]
fn a_loaded_policy_is_armed_at_once_and_replacing_it_releases() {
    let policy = "[event]\ngo = \"control\"\n[point]\nW = { op = \"write\" }\n[[hold]]\ngate = \"W.complete\"\nuntil = \"control.go\"\n";
    let mut bench = Bench { engine: Engine::new(), now: 0, token: 0, records: Vec::new() };
    bench.engine.load(0, Policy::parse("p", policy).expect("a good policy"), true);
    bench.arrive(1, Op::Write, 0);
    assert_eq!(completed(&bench.done(1)), [0; 0]);
    let bad = Command::load("x", "nonsense", true);
    assert!(matches!(bench.control(bad), Some(Answer::Error { .. })));
    assert_eq!(bench.releases(), [], "a bad policy replaces nothing");
    let load = Command::load("p", policy, true);
    assert_eq!(completed(&bench.call(Source::Control, load)), [1]);
    assert_eq!(bench.releases(), [("W", Gate::Complete, &Cause::PolicyReplaced)]);
}

#[test]
fn attempts_begin_and_end_in_turn() {
    let mut bench = Bench::new(RACE);
    let begin = |attempt| Command::Begin { attempt, arm: Arm::Control, watchdog_ns: None };
    assert!(matches!(bench.control(Command::End), Some(Answer::Error { .. })));
    assert_eq!(bench.control(begin(5)), Some(Answer::Done));
    assert!(
        matches!(bench.control(begin(6)), Some(Answer::Error { message }) if message.contains("has not ended"))
    );
    bench.end();
    assert!(
        matches!(bench.control(begin(5)), Some(Answer::Error { message }) if message.contains("does not follow"))
    );
}

#[test]
fn a_request_counts_for_every_point_that_it_matches() {
    let policy = "[point]\nFirst = { op = \"write\" }\nSecond = { op = \"write\", nth = 2 }\n";
    let mut bench = Bench::new(policy);
    bench.control(Command::Begin { attempt: 1, arm: Arm::Control, watchdog_ns: None });
    for id in 1..=3 {
        bench.arrive(id, Op::Write, 0);
    }
    let points = bench.end().points;
    assert_eq!(points["First"].request, Some(RequestId(1)));
    assert_eq!(points["Second"].request, Some(RequestId(2)));
}

#[test]
fn a_guest_that_floods_is_refused_and_loses_no_event_that_decides() {
    let mut bench = Bench::racing(Arm::Forced);
    bench.arrive(1, Op::Write, VICTIM);
    bench.done(1);
    let refused =
        (0..5000).filter(|n| matches!(answer(bench.emit(&format!("e{n}"))), Some(Answer::Error { .. })));
    assert!(refused.count() > 900);
    assert_eq!(completed(&bench.arrive(2, Op::Read, INDIRECT)), [1], "events of requests always count");
}

#[test]
fn what_is_left_of_an_attempt_says_nothing_in_the_next() {
    let mut bench = Bench::racing(Arm::Control);
    let mut late = |attempt, command| {
        bench.now += 1_000;
        let input = Input::Call { token: Token(0), source: Source::Guest, during: Some(attempt), command };
        answer(bench.engine.step(bench.now, input))
    };
    let report = || Command::Report { name: "stuck".to_owned(), value: "D".to_owned() };
    assert_eq!(late(1, report()), Some(Answer::Done));
    assert!(matches!(late(2, report()), Some(Answer::Error { message }) if message == "attempt 2 is over"));
    assert_eq!(
        late(9, Command::NextAttempt { after: 0 }),
        Some(Answer::Attempt { attempt: 1, arm: Arm::Control })
    );
}

#[test]
fn an_armed_policy_is_armed_again_after_an_attempt() {
    let policy = "[event]\ngo = \"control\"\n[point]\nW = { op = \"write\" }\n[[hold]]\ngate = \"W.complete\"\nuntil = \"control.go\"\n";
    let mut bench = Bench { engine: Engine::new(), now: 0, token: 0, records: Vec::new() };
    bench.engine.load(0, Policy::parse("p", policy).expect("a good policy"), true);
    bench.control(Command::Begin { attempt: 1, arm: Arm::Control, watchdog_ns: None });
    bench.end();
    bench.arrive(1, Op::Write, 0);
    assert_eq!(completed(&bench.done(1)), [0; 0]);
}

#[test]
fn an_armed_policy_holds_for_the_next_guest_too() {
    let policy = "[event]\ngo = \"control\"\n[point]\nW = { op = \"write\" }\n[[hold]]\ngate = \"W.complete\"\nuntil = \"control.go\"\n";
    let mut bench = Bench { engine: Engine::new(), now: 0, token: 0, records: Vec::new() };
    bench.engine.load(0, Policy::parse("p", policy).expect("a good policy"), true);
    for id in 1..=2 {
        bench.arrive(id, Op::Write, 0);
        assert_eq!(completed(&bench.done(id)), [0; 0]);
        bench.step(Input::Abandon(Abandon::Disconnect));
    }
}

#[test]
fn a_text_too_long_to_keep_is_refused() {
    let mut bench = Bench::racing(Arm::Control);
    let long = Command::Log { lines: vec!["x".repeat(8193)] };
    assert!(matches!(bench.guest(long), Some(Answer::Error { message }) if message.contains("at most 8192")));
}
