//! What a policy would have decided on what a journal has recorded.

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::dryrun::{self, DryRun, Row, Unknown};
use blkstay_engine::journal::{Arm, Cause, Does, Line, Record, Source};
use blkstay_engine::policy::{Policy, Written};
use blkstay_engine::request::{ByteRange, Nanos, Op, Probes, Request, RequestId, Status};

const MS: Nanos = 1_000_000;

/// A journal that is being written.
#[derive(Default)]
struct Journal(Vec<Line>);

impl Journal {
    fn new() -> Journal {
        let mut journal = Journal::default();
        let (image, image_bytes) = ("disk.img".to_owned(), 1 << 30);
        journal.at(0, Record::Journal { version: 1, image, image_bytes, monotonic_ns: 0 });
        journal
    }

    fn at(&mut self, ms: u64, record: Record) {
        self.0.push(Line { t: ms * MS, record });
    }

    fn policy(&mut self, text: &str) {
        let written = Written { origin: "old.toml".to_owned(), text: text.to_owned(), ..Written::default() };
        self.at(0, Record::Policy { written, armed: true });
    }

    /// A request of 4 KiB that arrives at one time and is done by the drive at another.
    fn request(&mut self, request: Request, from: u64, to: u64) {
        let id = request.id;
        self.at(from, arrived(request));
        self.at(from, Record::Submitted { id });
        self.at(to, Record::Done { id, status: Status::Ok, probes: Probes::default(), error: None });
        self.at(to, Record::Completed { id, status: Status::Ok, passed: false, error: None });
    }

    fn event(&mut self, ms: u64, source: Source, event: &str) {
        self.at(ms, Record::Event { source, event: event.to_owned(), detail: None });
    }

    fn try_on(&self, policy: &str) -> DryRun {
        let policy = Policy::parse("new.toml", policy).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        dryrun::run(&policy, &self.0)
    }
}

/// A request of 4 KiB on queue 0.
fn request(id: u64, op: Op, offset: u64) -> Request {
    let range = if op.has_range() { ByteRange { offset, length: 4096 } } else { ByteRange::default() };
    let (class, probes) = (ClassSet::NONE, Probes::default());
    Request { id: RequestId(id), queue: 0, op, range, class, probes }
}

fn arrived(request: Request) -> Record {
    Record::Arrived { request, point: None, passed: false, resubmitted: false }
}

fn ended(row: &Row) -> Nanos {
    row.completed.expect("it completed").t / MS
}

#[test]
fn the_drive_takes_as_long_as_it_did() {
    let mut journal = Journal::new();
    journal.request(request(1, Op::Write, 0), 10, 13);
    journal.request(request(2, Op::Read, 0), 20, 21);
    journal.at(100, Record::Stopped);
    let dry =
        journal.try_on("rule = [{ gate = \"submit\", name = \"slow\", op = \"write\", delay = \"5ms\" }]");
    let [write, read] = dry.requests.as_slice() else { panic!("two requests, not {dry:?}") };
    let decision = &write.submit[0];
    assert_eq!((decision.rule.as_deref(), decision.does), (Some("slow"), Does::Delay));
    assert_eq!((decision.wait_ns, ended(write)), (Some(5 * MS), 18));
    let released = decision.released.as_ref().expect("released");
    assert_eq!((released.t, &released.cause), (15 * MS, &Cause::Delay));
    assert_eq!((read.submit.len() + read.complete.len(), ended(read)), (0, 21));
    assert_eq!((dry.rules[0].matched, dry.rules[0].taken), (1, 1));
}

#[test]
fn a_hold_ends_when_the_guest_said_so_then() {
    let mut journal = Journal::new();
    journal.at(1, Record::AttemptBegan { attempt: 4, arm: Arm::Control, watchdog_ns: None });
    journal
        .at(1, Record::Bound { place: "victim".to_owned(), range: ByteRange { offset: 8192, length: 4096 } });
    journal.request(request(1, Op::Write, 0), 2, 3);
    journal.request(request(2, Op::Write, 8192), 4, 5);
    journal.event(9, Source::Guest, "go");
    journal.at(10, Record::AttemptEnded { attempt: 4 });
    journal.request(request(3, Op::Write, 8192), 11, 12);
    let dry = journal.try_on(
        "place.victim = \"guest\"
         event.go = \"guest\"
         point.A = { op = \"write\", place = \"victim\" }
         hold = [{ gate = \"A.complete\", until = \"guest.go\" }]",
    );
    let [other, victim, later] = dry.requests.as_slice() else { panic!("three requests, not {dry:?}") };
    assert_eq!((&other.point, other.attempt, ended(other)), (&None, Some(4), 3));
    assert_eq!((victim.point.as_deref(), ended(victim)), (Some("A"), 9));
    let decision = &victim.complete[0];
    assert_eq!((decision.rule.as_deref(), decision.does), (None, Does::Hold));
    assert_eq!(decision.until.as_deref(), Some("guest.go"));
    assert_eq!((&later.point, later.attempt), (&None, None));
    assert_eq!(dry.points[0].requests, 1);
}

#[test]
fn what_still_stands_at_the_end_is_told() {
    let mut journal = Journal::new();
    journal.request(request(1, Op::Flush, 0), 1, 2);
    journal.at(3, Record::Disconnected);
    journal.at(4, Record::Stopped);
    let dry = journal.try_on(
        "event.go = \"control\"
         rule = [{ gate = \"complete\", name = \"stuck\", op = \"flush\", until = \"control.go\" }]",
    );
    let [standing] = dry.standing.as_slice() else { panic!("one stands, not {dry:?}") };
    assert_eq!((standing.t, standing.held.rule.as_deref()), (3 * MS, Some("stuck")));
    assert_eq!(dry.requests[0].completed, None);
    assert_eq!((dry.rules[0].matched, dry.rules[0].taken), (1, 1));
}

#[test]
fn a_rule_that_matches_nothing_is_told() {
    let mut journal = Journal::new();
    journal.request(request(1, Op::Flush, 0), 1, 2);
    let dry = journal.try_on("rule = [{ gate = \"complete\", op = \"discard\", delay = \"1ms\" }]");
    assert_eq!((dry.rules[0].rule.as_str(), dry.rules[0].matched), ("rule-1", 0));
    assert!(dry.unknown.is_empty(), "{dry:?}");
}

const ZEROS: &str = "rule = [{ gate = \"submit\", name = \"zeros\", op = \"write\", payload = \"zero\", fail = \"io-error\" }]";

#[test]
fn data_that_nobody_tested_cannot_be_told() {
    let mut journal = Journal::new();
    journal
        .policy("rule = [{ gate = \"submit\", payload = { offset = 0, text = \"LOG\" }, delay = \"1ms\" }]");
    let mut write = request(1, Op::Write, 0);
    write.probes.insert(0);
    journal.request(write, 1, 2);
    let dry = journal.try_on(ZEROS);
    let [Unknown { about, why }] = dry.unknown.as_slice() else { panic!("one is unknown, not {dry:?}") };
    assert_eq!(about, "rule zeros");
    assert!(why.starts_with("the journal does not have the data"), "{why}");
    assert!(dry.requests[0].submit.is_empty(), "the bit of another test counted: {dry:?}");
}

#[test]
fn data_that_no_rule_asks_for_need_not_have_been_tested() {
    let reads = "rule = [{ gate = \"complete\", op = \"read\", payload = \"zero\", delay = \"1ms\" }]";
    let mut journal = Journal::new();
    journal.policy(reads);
    let passed = |passed, id| {
        let request = request(id, Op::Write, 0);
        Record::Arrived { request, point: None, passed, resubmitted: false }
    };
    journal.at(1, passed(true, 1));
    assert!(journal.try_on(reads).unknown.is_empty(), "a write is not what the rule is about");
    assert_eq!(journal.try_on(ZEROS).unknown.len(), 1, "nobody tested the write");
}

#[test]
fn the_same_test_counts_wherever_it_stands_in_the_policy() {
    let mut journal = Journal::new();
    journal.policy(
        "rule = [{ gate = \"submit\", payload = { offset = 0, text = \"LOG\" }, delay = \"1ms\" },
                 { gate = \"submit\", payload = \"zero\", delay = \"1ms\" }]",
    );
    let mut zeros = request(1, Op::Write, 0);
    zeros.probes.insert(1);
    journal.request(zeros, 1, 2);
    let mut log = request(2, Op::Write, 0);
    log.probes.insert(0);
    journal.request(log, 3, 4);
    let dry = journal.try_on(ZEROS);
    assert!(dry.unknown.is_empty(), "{dry:?}");
    let failed = dry.requests[0].completed.expect("it ended");
    assert_eq!((failed.t, failed.status), (MS, Status::IoError));
    assert_eq!(ended(&dry.requests[1]), 4);
}

#[test]
fn classes_count_if_the_journal_has_any() {
    let policy =
        "rule = [{ gate = \"submit\", name = \"commit\", class = \"journal\", fail = \"io-error\" }]";
    let mut journal = Journal::new();
    journal.request(request(1, Op::Write, 0), 1, 2);
    assert_eq!(journal.try_on(policy).unknown.len(), 1);
    let mut commit = request(2, Op::Write, 4096);
    commit.class = ClassSet::of(&[Class::JournalCommit]);
    journal.request(commit, 3, 4);
    let dry = journal.try_on(policy);
    assert!(dry.unknown.is_empty(), "{dry:?}");
    assert_eq!((dry.rules[0].matched, dry.requests[1].submit.len()), (1, 1));
}

#[test]
fn what_never_came_back_lasts_as_long_as_others() {
    let mut journal = Journal::new();
    for (id, takes) in [(1, 1), (2, 3), (3, 7)] {
        journal.request(request(id, Op::Write, 0), id * 10, id * 10 + takes);
    }
    journal.at(40, arrived(request(4, Op::Write, 0)));
    journal.at(50, Record::Connected);
    let dry = journal.try_on("");
    assert_eq!((dry.guessed, ended(&dry.requests[3])), (1, 43));
}

#[test]
fn a_request_that_no_policy_concerned_is_decided_on_like_any_other() {
    let mut journal = Journal::new();
    let (write, id) = (request(1, Op::Write, 0), RequestId(1));
    journal.at(10, Record::Arrived { request: write, point: None, passed: true, resubmitted: false });
    journal.at(13, Record::Completed { id, status: Status::IoError, passed: true, error: None });
    journal.at(100, Record::Stopped);
    let dry = journal.try_on("rule = [{ gate = \"submit\", op = \"write\", delay = \"5ms\" }]");
    let [row] = dry.requests.as_slice() else { panic!("a request, not {dry:?}") };
    assert_eq!((row.submit.len(), dry.guessed, ended(row)), (1, 0, 18));
    assert_eq!(row.completed.map(|ending| ending.status), Some(Status::IoError));
}

#[test]
fn each_start_of_the_daemon_is_one_of_its_own() {
    let mut journal = Journal::new();
    journal.request(request(1, Op::Write, 0), 100, 101);
    journal.0.append(&mut Journal::new().0);
    journal.request(request(1, Op::Write, 0), 5, 8);
    let dry = journal.try_on("point.A = { op = \"write\" }");
    let rows: Vec<_> = dry.requests.iter().map(|row| (row.start, ended(row), row.point.as_deref())).collect();
    assert_eq!(rows, [(1, 101, Some("A")), (2, 8, Some("A"))]);
    assert_eq!(dry.points[0].requests, 2);
}

#[test]
fn standing_in_the_pause_of_a_rule_is_no_decision_of_it() {
    let mut journal = Journal::new();
    journal.request(request(1, Op::Flush, 0), 1, 2);
    journal.at(3, arrived(request(2, Op::Read, 0)));
    journal.at(3, Record::Submitted { id: RequestId(2) });
    journal.event(9, Source::Control, "go");
    journal.at(100, Record::Stopped);
    let dry = journal.try_on(
        "event.go = \"control\"
         rule = [{ name = \"stop\", gate = \"submit\", op = \"flush\", count = 1, pause = \"disk\", until = \"control.go\" }]",
    );
    let [flush, read] = dry.requests.as_slice() else { panic!("two requests, not {dry:?}") };
    let [decision] = flush.submit.as_slice() else { panic!("one decision, not {flush:?}") };
    assert_eq!((decision.rule.as_deref(), decision.does), (Some("stop"), Does::Pause));
    assert_eq!(decision.until.as_deref(), Some("control.go"));
    assert!(flush.stands_in.is_empty() && read.submit.is_empty(), "{read:?}");
    let [pause] = read.stands_in.as_slice() else { panic!("one pause, not {read:?}") };
    assert_eq!((pause.rule.as_str(), pause.until.as_str(), pause.t), ("stop", "control.go", 3 * MS));
    assert_eq!(pause.released.as_ref().map(|released| released.t), Some(9 * MS));
    assert_eq!((dry.rules[0].matched, dry.rules[0].taken), (1, 1));
}
