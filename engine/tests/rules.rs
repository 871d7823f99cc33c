//! Stories about rules: what becomes of every request of a match.

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::control::{Answer, Command, ExprText};
use blkstay_engine::engine::{Action, Engine, Input, Token};
use blkstay_engine::journal::{Cause, Does, Record, Source};
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;

/// An engine with an armed policy, and a clock that stands still unless it is moved.
struct Bench {
    engine: Engine,
    now: u64,
    wake_at: Option<u64>,
    records: Vec<Record>,
    /// What was submitted and what was completed, since it was last looked at.
    submitted: Vec<u64>,
    completed: Vec<(u64, Status)>,
}

impl Bench {
    fn new(policy: &str) -> Bench {
        let policy = Policy::parse("test", policy).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let mut bench = Bench {
            engine: Engine::new(),
            now: 0,
            wake_at: None,
            records: Vec::new(),
            submitted: Vec::new(),
            completed: Vec::new(),
        };
        let actions = bench.engine.load(0, policy, true);
        bench.take(actions);
        bench
    }

    fn step(&mut self, input: Input) -> Option<Answer> {
        let actions = self.engine.step(self.now, input);
        self.take(actions)
    }

    fn take(&mut self, actions: Vec<Action>) -> Option<Answer> {
        let mut answer = None;
        for action in actions {
            match action {
                Action::Submit(id) => self.submitted.push(id.0),
                Action::Complete(id, status) => self.completed.push((id.0, status)),
                Action::WakeAt(at) => self.wake_at = at,
                Action::Record(record) => self.records.push(record),
                Action::Reply(_, reply) => answer = Some(reply),
                Action::Abandon(_) | Action::Warn(..) => {}
            }
        }
        answer
    }

    fn arrive(&mut self, request: Request) {
        self.step(Input::Arrived(request));
    }

    fn done(&mut self, id: u64) {
        self.step(Input::Done { id: RequestId(id), status: Status::Ok, probes: Probes::default() });
    }

    /// It arrives and the drive does it at once.
    fn through(&mut self, request: Request) {
        self.arrive(request);
        if self.submitted.contains(&request.id.0) {
            self.done(request.id.0);
        }
    }

    /// Lets time pass; the engine is woken exactly when it asked for it.
    fn wait(&mut self, ns: u64) {
        let until = self.now + ns;
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.wake_at = None;
            self.step(Input::Tick);
        }
        self.now = until;
    }

    fn control(&mut self, command: Command) -> Option<Answer> {
        self.step(Input::Call { token: Token(1), source: Source::Control, during: None, command })
    }

    fn emit(&mut self, event: &str) {
        self.control(Command::Emit { event: event.to_owned(), detail: None });
    }

    /// What has completed since it was last asked.
    fn completed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.completed).into_iter().map(|(id, _)| id).collect()
    }

    fn statuses(&mut self) -> Vec<(u64, Status)> {
        std::mem::take(&mut self.completed)
    }

    /// Which rule decided on which request, and what it did.
    fn decisions(&self) -> Vec<(u64, &str, Does)> {
        let decided = self.records.iter().filter_map(|record| match record {
            Record::Decided { id, rule, does, .. } => Some((id.0, rule.as_str(), *does)),
            _ => None,
        });
        decided.collect()
    }

    fn causes(&self) -> Vec<&Cause> {
        let released = self.records.iter().filter_map(|record| match record {
            Record::Released { cause, .. } => Some(cause),
            _ => None,
        });
        released.collect()
    }
}

fn request(id: u64, op: Op, offset: u64) -> Request {
    let length = if op.has_range() { 4096 } else { 0 };
    Request {
        id: RequestId(id),
        queue: 0,
        op,
        range: ByteRange { offset, length },
        class: ClassSet::NONE,
        probes: Probes::default(),
    }
}

fn write(id: u64) -> Request {
    request(id, Op::Write, 4096 * id)
}

#[test]
fn the_first_rule_that_matches_decides_and_the_journal_names_it() {
    let mut bench = Bench::new(
        r#"
        [[rule]]
        name = "shield"
        place = { offset = 4096, length = 4096 }
        gate = "complete"
        pass = true
        [[rule]]
        op = "write"
        gate = "complete"
        fail = "write-fault"
        "#,
    );
    for id in 1..=2 {
        bench.through(write(id));
    }
    assert_eq!(bench.statuses(), [(1, Status::Ok), (2, Status::WriteFault)]);
    assert_eq!(bench.decisions(), [(1, "shield", Does::Pass), (2, "rule-2", Does::Fail)]);
}

#[test]
fn what_fails_at_submit_never_reaches_the_drive() {
    let mut bench = Bench::new("[[rule]]\nop = \"write\"\ngate = \"submit\"\nfail = \"io-error\"\n");
    bench.through(write(1));
    bench.through(request(2, Op::Read, 0));
    assert_eq!(bench.submitted, [2]);
    assert_eq!(bench.statuses(), [(1, Status::IoError), (2, Status::Ok)]);
}

#[test]
fn turns_are_counted_over_what_matches() {
    for (turn, chosen) in [
        ("nth = 2", vec![2]),
        ("from = 3", vec![3, 4, 5, 6, 7, 8]),
        ("every = 3", vec![1, 4, 7]),
        ("from = 2, every = 3, count = 2", vec![2, 5]),
        ("count = 1", vec![1]),
    ] {
        let turn = turn.replace(", ", "\n");
        let mut bench = Bench::new(&format!(
            "[[rule]]\nop = \"write\"\ngate = \"complete\"\nfail = \"internal\"\n{turn}\n"
        ));
        for id in 1..=8 {
            bench.through(request(100 + id, Op::Read, 0));
            bench.through(write(id));
        }
        let failed = bench.statuses().into_iter().filter(|(_, status)| *status != Status::Ok);
        assert_eq!(failed.map(|(id, _)| id).collect::<Vec<_>>(), chosen, "{turn}");
    }
}

#[test]
fn chance_comes_from_the_seed() {
    let failed = |seed: u64| {
        let rule = "[[rule]]\ngate = \"complete\"\nprobability = 0.25\nfail = \"internal\"\n";
        let mut bench = Bench::new(&format!("seed = {seed}\n{rule}"));
        (1..=1000).for_each(|id| bench.through(write(id)));
        bench.statuses().into_iter().filter(|(_, status)| *status != Status::Ok).collect::<Vec<_>>()
    };
    assert_eq!(failed(1), failed(1));
    assert_ne!(failed(1), failed(2));
    assert!((200..300).contains(&failed(1).len()), "{}", failed(1).len());
}

#[test]
fn a_delay_is_right_at_any_depth() {
    let mut bench = Bench::new("[[rule]]\ngate = \"complete\"\ndelay = \"1ms\"\n");
    for id in 1..=128 {
        bench.through(write(id));
        bench.wait(US);
    }
    bench.wait(MS - 128 * US - 1);
    assert_eq!(bench.completed(), [0; 0], "not a nanosecond early");
    bench.wait(1);
    assert_eq!(bench.completed(), [1]);
    bench.wait(127 * US);
    assert_eq!(bench.completed(), (2..=128).collect::<Vec<_>>());
    assert!(bench.causes().iter().all(|cause| **cause == Cause::Delay));
}

#[test]
fn drawn_delays_keep_their_bounds_and_shapes() {
    let waits = |delay: &str| {
        let mut bench = Bench::new(&format!("[[rule]]\ngate = \"complete\"\ndelay = {delay}\n"));
        (1..=4000).for_each(|id| bench.through(write(id)));
        let mut waits: Vec<u64> = bench
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Decided { wait_ns, .. } => *wait_ns,
                _ => None,
            })
            .collect();
        waits.sort_unstable();
        waits
    };
    let at = |waits: &[u64], percent: usize| waits[waits.len() * percent / 100];
    let uniform = waits("{ uniform = [\"1ms\", \"3ms\"] }");
    assert!(uniform[0] >= MS && uniform[3999] <= 3 * MS);
    assert!((1900 * US..2100 * US).contains(&at(&uniform, 50)));
    let lognormal = waits("{ lognormal = { median = \"100us\", p99 = \"5ms\" } }");
    assert!((90 * US..110 * US).contains(&at(&lognormal, 50)), "{}", at(&lognormal, 50));
    assert!((3500 * US..7 * MS).contains(&at(&lognormal, 99)), "{}", at(&lognormal, 99));
    let normal = waits("{ normal = { mean = \"5ms\", deviation = \"1ms\" }, max = \"6ms\" }");
    assert!((4900 * US..5100 * US).contains(&at(&normal, 50)));
    assert_eq!(normal[3999], 6 * MS);
    let pareto = waits("{ pareto = { least = \"100us\", shape = 1.5 } }");
    assert!(pareto[0] >= 100 * US && (150 * US..170 * US).contains(&at(&pareto, 50)));
    let table = waits("{ table = [[\"80us\", 80], [\"5ms\", 20]] }");
    let slow = table.iter().filter(|wait| **wait == 5 * MS).count();
    assert!((700..900).contains(&slow) && at(&table, 50) == 80 * US, "{slow}");
}

#[test]
fn a_window_lets_requests_go_on_in_another_order() {
    for (order, expected) in
        [("\"last-first\"", [4, 3, 2, 1]), ("\"by-sector\"", [3, 1, 4, 2]), ("[2, 4, 1, 3]", [2, 4, 1, 3])]
    {
        let mut bench = Bench::new(&format!(
            "[[rule]]\nop = \"write\"\ngate = \"complete\"\nreorder = {order}\nwindow = 4\n"
        ));
        for (id, offset) in [(1, 8192), (2, 40960), (3, 0), (4, 12288)] {
            assert_eq!(bench.completed(), [0; 0]);
            bench.through(request(id, Op::Write, offset));
        }
        assert_eq!(bench.completed(), expected, "{order}");
        assert_eq!(bench.causes(), [&Cause::Window { requests: 4 }; 4]);
    }
}

#[test]
fn a_window_that_does_not_fill_is_closed_in_time() {
    let mut bench =
        Bench::new("[[rule]]\ngate = \"complete\"\nreorder = \"last-first\"\nwindow = 4\nwithin = \"2ms\"\n");
    bench.through(write(1));
    bench.wait(MS);
    bench.through(write(2));
    bench.wait(MS - 1);
    assert_eq!(bench.completed(), [0; 0]);
    bench.wait(1);
    assert_eq!(bench.completed(), [2, 1]);
}

#[test]
fn between_two_events_requests_are_collected() {
    let mut bench = Bench::new(
        r#"
        [event]
        from = "control"
        to = "control"
        [[rule]]
        gate = "submit"
        after = "control.from"
        reorder = "last-first"
        until = "control.to"
        "#,
    );
    bench.arrive(write(1));
    bench.emit("from");
    bench.arrive(write(2));
    bench.arrive(write(3));
    assert_eq!(bench.submitted, [1]);
    bench.emit("to");
    bench.arrive(write(4));
    assert_eq!(bench.submitted, [1, 3, 2, 4]);
}

#[test]
fn a_limit_spaces_requests_out_and_lets_a_burst_through() {
    let completions = |limit: &str| {
        let mut bench = Bench::new(&format!("[[rule]]\ngate = \"complete\"\nlimit = {limit}\n"));
        (1..=4).for_each(|id| bench.through(write(id)));
        let mut at = Vec::new();
        for now in 0..=50_u64 {
            at.extend(bench.completed().iter().map(|_| now));
            bench.wait(MS);
        }
        at
    };
    assert_eq!(completions("{ iops = 100 }"), [0, 10, 20, 30]);
    assert_eq!(completions("{ iops = 100, burst = 3 }"), [0, 0, 0, 10]);
    assert_eq!(completions("{ bandwidth = \"400k\", burst = \"4k\" }"), [0, 10, 20, 30]);
}

#[test]
fn a_stall_keeps_what_comes_during_it() {
    let mut bench = Bench::new("[[rule]]\ngate = \"submit\"\nstall = { every = \"10ms\", for = \"3ms\" }\n");
    bench.arrive(write(1));
    assert_eq!(bench.submitted, [1], "the first stall begins when a period is over");
    bench.wait(11 * MS);
    bench.arrive(write(2));
    bench.wait(2 * MS - 1);
    bench.arrive(write(3));
    assert_eq!(bench.submitted, [1]);
    bench.wait(1);
    bench.arrive(write(4));
    assert_eq!(bench.submitted, [1, 2, 3, 4]);
}

#[test]
fn a_pause_stops_everything_until_its_event() {
    let mut bench = Bench::new(
        r#"
        [event]
        go = "control"
        [[rule]]
        op = "flush"
        gate = "submit"
        count = 1
        pause = "disk"
        until = "control.go"
        [[rule]]
        op = "read"
        gate = "complete"
        fail = "unrecovered-read"
        "#,
    );
    bench.arrive(request(1, Op::Read, 0));
    bench.arrive(request(2, Op::Flush, 0));
    bench.arrive(write(3));
    bench.done(1);
    assert_eq!((bench.submitted.clone(), bench.completed()), (vec![1], vec![]));
    bench.emit("go");
    assert_eq!(bench.submitted, [1, 2, 3]);
    assert_eq!(bench.statuses(), [(1, Status::UnrecoveredRead)], "rules decide anew after a pause");
}

#[test]
fn a_paused_ring_leaves_the_others_alone_until_its_guest_resets_it() {
    let mut bench =
        Bench::new("[[rule]]\nop = \"write\"\ngate = \"complete\"\ncount = 1\npause = \"ring\"\n");
    let on = |id: u64, queue: u16| Request { queue, ..write(id) };
    bench.through(on(1, 3));
    bench.through(on(2, 3));
    bench.through(on(3, 0));
    assert_eq!(bench.completed(), [3]);
    bench.step(Input::RingStopped { queue: 3 });
    assert_eq!(bench.submitted, [1, 3, 2]);
    bench.done(2);
    assert_eq!(bench.completed(), [1, 2]);
}

#[test]
fn people_pause_and_resume_by_hand() {
    let mut bench = Bench::new("");
    bench.control(Command::Pause { queue: None, watchdog_ns: Some(5 * MS) });
    bench.arrive(write(1));
    assert_eq!(bench.submitted, [0; 0]);
    bench.control(Command::Resume);
    assert_eq!(bench.submitted, [1]);
    bench.control(Command::Pause { queue: None, watchdog_ns: Some(5 * MS) });
    bench.arrive(write(2));
    bench.wait(5 * MS);
    assert_eq!(bench.submitted, [1, 2], "nothing is paused for ever");
}

/// A write is held, the first flush pauses the disk until `go`, reads fail.
const HELD_AND_PAUSED: &str = r#"
    [event]
    go = "control"
    [point]
    A = { op = "write" }
    [[hold]]
    gate = "A.complete"
    until = "control.go"
    watchdog = "3ms"
    [[rule]]
    op = "flush"
    gate = "submit"
    count = 1
    pause = "disk"
    until = "control.go"
    watchdog = "20ms"
    [[rule]]
    op = "read"
    gate = "submit"
    fail = "unrecovered-read"
"#;

#[test]
fn the_watchdog_of_another_does_not_end_a_clients_pause() {
    let mut bench = Bench::new(HELD_AND_PAUSED);
    bench.through(write(1));
    bench.control(Command::Pause { queue: None, watchdog_ns: Some(20 * MS) });
    bench.arrive(write(2));
    bench.wait(3 * MS);
    assert_eq!((bench.completed(), bench.submitted.clone()), (vec![1], vec![1]));
    bench.wait(17 * MS);
    assert_eq!(bench.submitted, [1, 2], "its own does");
}

#[test]
fn rules_decide_on_what_the_watchdog_of_another_takes_out_of_a_pause() {
    let mut bench = Bench::new(HELD_AND_PAUSED);
    bench.through(write(1));
    bench.arrive(request(2, Op::Flush, 0));
    bench.arrive(request(3, Op::Read, 0));
    bench.wait(3 * MS);
    assert_eq!(bench.submitted, [1, 2]);
    assert_eq!(bench.statuses(), [(1, Status::Ok), (3, Status::UnrecoveredRead)]);
}

#[test]
fn who_began_a_pause_stands_in_the_next_one_too_and_as_long() {
    let mut bench = Bench::new(
        r#"
        [event]
        one = "control"
        [[rule]]
        op = "flush"
        gate = "submit"
        pause = "disk"
        until = "control.one"
        watchdog = "3ms"
        [[rule]]
        op = "write"
        gate = "complete"
        pause = "disk"
        watchdog = "3ms"
        "#,
    );
    bench.arrive(write(1));
    bench.arrive(request(2, Op::Flush, 0));
    bench.wait(MS);
    // It cannot begin its own while the disk is paused, but a client can.
    bench.control(Command::Pause { queue: None, watchdog_ns: Some(5 * MS) });
    bench.emit("one");
    assert_eq!(bench.submitted, [1], "the client's pause goes on");
    let Some(Answer::Held { requests }) = bench.control(Command::Held) else { panic!("what is held") };
    assert_eq!(requests.iter().map(|held| held.deadline_ns).collect::<Vec<_>>(), [6 * MS]);
    bench.wait(5 * MS);
    assert_eq!(bench.submitted, [1, 2]);
}

#[test]
fn rules_note_states_and_events_and_go_on_to_the_next() {
    let mut bench = Bench::new(
        r#"
        [event]
        seen = "policy"
        [state]
        worn = false
        [[rule]]
        op = "flush"
        gate = "submit"
        set = "worn"
        emit = "seen"
        [[rule]]
        op = "write"
        gate = "complete"
        when = { all = ["state.worn", "policy.seen >= 2"] }
        fail = "write-fault"
        "#,
    );
    bench.through(write(1));
    bench.through(request(2, Op::Flush, 0));
    bench.through(write(3));
    bench.through(request(4, Op::Flush, 0));
    bench.through(write(5));
    let failed: Vec<_> = bench.statuses().into_iter().filter(|(_, status)| *status != Status::Ok).collect();
    assert_eq!(failed, [(5, Status::WriteFault)]);
}

#[test]
fn a_rule_may_wait_for_what_is_in_flight() {
    let mut bench = Bench::new(
        r#"
        [[rule]]
        op = "write"
        gate = "complete"
        when = "in-flight < 3"
        until = "in-flight >= 3"
        "#,
    );
    bench.through(write(1));
    bench.through(write(2));
    assert_eq!(bench.completed(), [0; 0]);
    bench.arrive(write(3));
    assert_eq!(bench.completed(), [1, 2]);
    assert_eq!(bench.causes()[0], &Cause::Until { event: "in-flight >= 3".to_owned() });
}

#[test]
fn what_a_request_is_and_carries_can_be_matched() {
    let mut bench = Bench::new(
        r#"
        [[rule]]
        class = "journal"
        gate = "complete"
        fail = "internal"
        [[rule]]
        op = "read"
        gate = "complete"
        payload = { offset = 0, bytes = "c03b3998" }
        fail = "guard-check"
        "#,
    );
    let class = ClassSet::of(&[Class::FileData, Class::JournalCommit]);
    bench.through(Request { class, ..write(1) });
    bench.arrive(request(2, Op::Read, 0));
    bench.step(Input::Done { id: RequestId(2), status: Status::Ok, probes: Probes(1) });
    bench.through(request(3, Op::Read, 0));
    assert_eq!(bench.statuses(), [(1, Status::Internal), (2, Status::GuardCheck), (3, Status::Ok)]);
}

#[test]
fn a_write_that_a_flush_follows_is_known_by_the_flush() {
    let policy = r#"
        [event]
        go = "control"
        [point]
        C = { op = "write", flush-follows = true, nth = 2 }
        F = { op = "flush", after = "C.completed" }
        [[hold]]
        gate = "F.submit"
        until = "control.go"
    "#;
    let mut bench = Bench::new(policy);
    for (id, op) in [(1, Op::Write), (2, Op::Flush), (3, Op::Write), (4, Op::Write), (5, Op::Flush)] {
        bench.through(request(id, op, 0));
    }
    assert_eq!(bench.completed(), [1, 2, 3, 4], "5 is F: write 4 was the second that a flush follows");
    let Some(Answer::Report(report)) = bench.control(Command::Status) else { panic!("no report") };
    assert_eq!(report.points["C"].request, Some(RequestId(4)));
}

#[test]
fn points_may_be_several_requests_and_their_events_count() {
    let mut bench = Bench::new(
        r#"
        [point]
        W = { op = "write", count = 3 }
        F = { op = "flush" }
        [[hold]]
        gate = "F.submit"
        until = "W.arrived >= 3"
        [[hold]]
        gate = "W.complete"
        until = "F.submitted"
        "#,
    );
    bench.arrive(request(1, Op::Flush, 0));
    (2..=5).for_each(|id| bench.through(write(id)));
    assert_eq!(bench.submitted, [2, 3, 4, 1, 5]);
    assert_eq!(
        bench.completed(),
        [2, 3, 4, 5],
        "the third W lets the flush go, and that lets all of them go"
    );
}

#[test]
fn a_watchdog_ends_what_waits_for_events_and_leaves_delays() {
    let mut bench = Bench::new(
        r#"
        watchdog = "10ms"
        [event]
        never = "control"
        [[rule]]
        op = "write"
        gate = "complete"
        until = "control.never"
        [[rule]]
        op = "read"
        gate = "complete"
        delay = "8ms"
        "#,
    );
    bench.through(write(1));
    bench.wait(5 * MS);
    bench.through(request(2, Op::Read, 0));
    bench.wait(5 * MS);
    bench.through(write(3));
    assert_eq!(bench.completed(), [1, 3], "nothing else is held once a watchdog has run out");
    bench.wait(3 * MS);
    assert_eq!(bench.completed(), [2]);
    assert_eq!(bench.causes()[0], &Cause::Watchdog { limit_ns: 10 * MS, unheard: false });
}

#[test]
fn disarmed_it_does_nothing_and_armed_it_starts_fresh() {
    let mut bench =
        Bench::new("[[rule]]\nop = \"write\"\ngate = \"complete\"\nnth = 2\nfail = \"internal\"\n");
    bench.through(write(1));
    assert_eq!(bench.control(Command::Disarm), Some(Answer::Done));
    bench.through(write(2));
    assert_eq!(bench.control(Command::Arm), Some(Answer::Done));
    bench.through(write(3));
    bench.through(write(4));
    let failed: Vec<_> = bench.statuses().into_iter().filter(|(_, status)| *status != Status::Ok).collect();
    assert_eq!(failed, [(4, Status::Internal)]);
}

#[test]
fn a_client_can_await_a_gauge() {
    let mut bench = Bench::new("[[rule]]\ngate = \"submit\"\ndelay = \"5ms\"\n");
    let until = ExprText::Event("held >= 2".to_owned());
    assert_eq!(bench.control(Command::Await { until }), None);
    bench.arrive(write(1));
    let answer = bench.step(Input::Arrived(write(2)));
    assert_eq!(answer, Some(Answer::Done));
}

#[test]
fn ten_thousand_rules_and_only_those_that_may_match_are_looked_at() {
    let rule = |index: u64| {
        let offset = index * 8192;
        format!(
            "[[rule]]\nplace = {{ offset = {offset}, length = 4096 }}\ngate = \"complete\"\nfail = \"internal\"\n"
        )
    };
    let mut bench = Bench::new(&(0..10_000).map(rule).collect::<String>());
    for id in [1, 2, 19_998, 19_999] {
        bench.through(write(id));
    }
    let failed = bench.statuses().into_iter().filter(|(_, status)| *status != Status::Ok);
    assert_eq!(failed.map(|(id, _)| id).collect::<Vec<_>>(), [2, 19_998]);
    assert_eq!(bench.decisions()[1], (19_998, "rule-10000", Does::Fail));
}

#[test]
fn what_a_client_has_paused_stays_paused_when_the_policy_changes() {
    let mut bench = Bench::new("");
    bench.control(Command::Pause { queue: None, watchdog_ns: None });
    bench.arrive(write(1));
    bench.control(Command::load(
        "next",
        "[[rule]]\nop = \"write\"\ngate = \"submit\"\nfail = \"internal\"\n",
        true,
    ));
    assert_eq!((bench.submitted.clone(), bench.completed()), (vec![], vec![]));
    bench.control(Command::Resume);
    assert_eq!(bench.statuses(), [(1, Status::Internal)], "the new policy decides on what stood");
}

#[test]
fn a_rule_with_a_name_draws_the_same_whatever_stands_before_it() {
    let failed = |before: &str| {
        let rule = "[[rule]]\nname = \"x\"\nop = \"write\"\ngate = \"complete\"\nprobability = 0.5\nfail = \"internal\"\n";
        let mut bench = Bench::new(&format!("seed = 3\n{before}{rule}"));
        (1..=64).for_each(|id| bench.through(write(id)));
        bench.statuses()
    };
    let other = "[[rule]]\nop = \"flush\"\ngate = \"complete\"\nprobability = 0.5\nfail = \"internal\"\n";
    assert_eq!(failed(""), failed(other));
}

#[test]
fn what_could_never_be_held_is_a_mistake_and_one_mistake_hides_no_other() {
    let mistakes = |text: &str| Policy::parse("test", text).expect_err("it has mistakes").to_string();
    let late = "[event]\ngo = \"control\"\n[point]\nC = { op = \"write\", flush-follows = true }\n\
                [[hold]]\ngate = \"C.submit\"\nuntil = \"control.go\"\n";
    assert!(mistakes(late).contains("not known before the drive has the write"));
    let missing =
        "include = [\"nowhere.toml\"]\n[[rule]]\ngate = \"x\"\npoint = \"theirs\"\ndelay = \"1ms\"\n";
    let seen = mistakes(missing);
    assert!(seen.contains("nowhere.toml") && seen.contains("`x`"), "{seen}");
    assert!(!seen.contains("unknown point `theirs`"), "it may be in the file that is missing: {seen}");
    let circle = "[point]\nA = { op = \"write\" }\nB = { op = \"read\" }\n[[hold]]\ngate = \"A.complete\"\n\
                  until = \"B.completed\"\n[[hold]]\ngate = \"B.complete\"\nuntil = \"A.completed\"\n\
                  [[rule]]\ngate = \"submit\"\ndelay = \"5xs\"\n";
    let seen = mistakes(circle);
    assert!(seen.contains("5xs") && seen.contains("circle"), "{seen}");
}
