//! Completions obey the policy, and every answer comes after its effect.

use blkstay_engine::control::{Answer, Command};
use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Arm, Cause, Record};
use blkstay_engine::request::{Op, RequestId};
use blkstay_tests::client::Setup;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::journal;
use blkstay_tests::request::{OK, Request};

/// Holds the first write to sector 0 at a gate.
fn holding(gate: &str) -> Recipe {
    Recipe::new().policy(&format!(
        r#"
        [place]
        first = {{ offset = "0", length = "512" }}

        [event]
        go = "guest"
        stop = "control"

        [point]
        A = {{ op = "write", place = "first" }}

        [[hold]]
        gate  = "A.{gate}"
        until = {{ any = ["guest.go", "control.stop"] }}
        "#
    ))
}

fn cause_of_release(daemon: &Daemon) -> Cause {
    let released = |records: &[Record]| {
        records.iter().find_map(|record| match record {
            Record::Released { cause, .. } => Some(cause.clone()),
            _ => None,
        })
    };
    released(&daemon.records()).expect("a release in the journal")
}

#[test]
fn held_at_complete_it_is_on_the_image_and_the_guest_does_not_know() {
    let daemon = holding("complete").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let held = client.start(&Request::write(0, &[7; 512]));
    control.wait_for("A.done");
    client.write(1, &[8; 512]);
    assert_eq!(client.read(0, 1024), [[7; 512], [8; 512]].concat());
    assert!(!client.is_done(&held));
    control.emit("stop");
    assert!(client.is_done(&held), "the answer came before the effect");
    assert_eq!(client.wait(&held).status, OK);
    assert_eq!(cause_of_release(&daemon), Cause::Until { event: "control.stop".into() });
}

#[test]
fn held_at_submit_it_is_not_on_the_image() {
    let daemon = holding("submit").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let before = daemon.content();
    let held = client.start(&Request::write(0, &[7; 512]));
    control.wait_for("A.arrived");
    assert_eq!(client.read(0, 512), before[..512]);
    client.write(9, &before[9 * 512..][..512]);
    assert!(daemon.content() == before, "it is on the image though it is held before it");
    control.emit("stop");
    assert_eq!(client.wait(&held).status, OK);
    assert_eq!(daemon.content()[..512], [7; 512]);
}

#[test]
fn others_overtake_on_the_same_queue_and_on_others() {
    let daemon = holding("complete").start();
    let mut client = daemon.connect_with(Setup { queues: 2, ..Setup::default() });
    let held = client.start(&Request::write(0, &[7; 512]));
    daemon.control().wait_for("A.done");
    for queue in [0, 1, 0, 1] {
        let read = client.start_on(queue, &Request::read(8, 4096));
        assert_eq!(client.wait(&read).status, OK);
    }
    assert!(!client.is_done(&held));
    daemon.control().emit("stop");
    assert_eq!(client.wait(&held).status, OK);
    assert_eq!(journal::completed(&daemon.records()), 5);
}

#[test]
fn only_the_point_is_held_and_only_once() {
    let daemon = holding("complete").start();
    let mut client = daemon.connect();
    let held = client.start(&Request::write(0, &[7; 512]));
    daemon.control().wait_for("A.done");
    client.write(0, &[9; 512]);
    assert_eq!(daemon.control().held().len(), 1);
    assert!(!client.is_done(&held));
}

#[test]
fn held_tells_what_is_held_and_why() {
    let daemon = holding("complete").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    assert_eq!(control.held(), []);
    client.start(&Request::write(0, &[7; 1024]));
    control.wait_for("A.done");
    let held = control.held();
    assert_eq!(held.len(), 1);
    let held = &held[0];
    assert_eq!((held.op, held.offset, held.length), (Op::Write, 0, 1024));
    assert_eq!((held.point.as_str(), held.gate), ("A", Gate::Complete));
    assert_eq!(held.until, "any(guest.go, control.stop)");
    assert_eq!(held.deadline_ns - held.since_ns, 10_000_000_000);
}

#[test]
fn a_guest_can_release_by_its_event() {
    let daemon = holding("complete").start();
    let (mut client, mut guest) = (daemon.connect(), daemon.guest());
    let held = client.start(&Request::write(0, &[7; 512]));
    guest.wait_for("A.done");
    guest.emit("go");
    assert!(client.is_done(&held));
    assert_eq!(cause_of_release(&daemon), Cause::Until { event: "guest.go".into() });
}

#[test]
fn a_guest_cannot_pass_for_the_control_socket() {
    let daemon = holding("complete").start();
    let (mut client, mut guest) = (daemon.connect(), daemon.guest());
    let held = client.start(&Request::write(0, &[7; 512]));
    guest.wait_for("A.done");
    guest.emit("stop");
    assert_eq!(daemon.control().held().len(), 1);
    assert!(!client.is_done(&held));
}

#[test]
fn a_hand_can_release_a_request_a_point_or_everything() {
    for which in ["request", "point", "everything"] {
        let daemon = holding("complete").start();
        let (mut client, mut control) = (daemon.connect(), daemon.control());
        let held = client.start(&Request::write(0, &[7; 512]));
        control.wait_for("A.done");
        let (request, point) = match which {
            "request" => (Some(control.held()[0].id), None),
            "point" => (None, Some("A".to_owned())),
            _ => (None, None),
        };
        assert_eq!(control.call(Command::Release { request, point }), Answer::Released { count: 1 });
        assert!(client.is_done(&held), "{which}");
        assert_eq!(cause_of_release(&daemon), Cause::Hand);
    }
}

#[test]
fn releasing_what_is_not_held_is_refused() {
    let daemon = holding("complete").start();
    let mut control = daemon.control();
    let message = control.refused(Command::Release { request: Some(RequestId(77)), point: None });
    assert!(message.contains("#77 is not held"), "{message}");
    let message = control.refused(Command::Release { request: None, point: Some("B".into()) });
    assert!(message.contains("no point `B`: it can be `A`"), "{message}");
}

#[test]
fn a_watchdog_ends_a_hold_on_time_and_the_journal_says_so() {
    let daemon = Recipe::new()
        .policy(
            r#"
            watchdog = "50ms"
            event = { never = "guest" }
            point = { A = { op = "write" } }
            hold  = [{ gate = "A.complete", until = "guest.never" }]
            "#,
        )
        .start();
    let mut client = daemon.connect();
    client.write(0, &[7; 512]);
    let cause = cause_of_release(&daemon);
    assert!(matches!(cause, Cause::Watchdog { limit_ns: 50_000_000, .. }), "{cause:?}");
    let lines = journal::lines(&daemon.journal);
    let held = lines.iter().find_map(|line| match line.record {
        Record::Held { deadline_ns, .. } => Some((line.t, deadline_ns)),
        _ => None,
    });
    let (since, deadline) = held.expect("a hold in the journal");
    let released = lines.iter().find(|line| matches!(line.record, Record::Released { .. }));
    assert_eq!(deadline - since, 50_000_000, "the journal and the engine have the same time");
    assert!(released.is_some_and(|line| line.t >= deadline), "it was ended too early");
}

#[test]
fn two_holds_make_an_order_across_queues() {
    let daemon = Recipe::new()
        .policy(
            r#"
            [point]
            A = { op = "write" }
            B = { op = "read", after = "A.arrived" }

            [[hold]]
            gate  = "A.submit"
            until = "B.completed"
            "#,
        )
        .start();
    let mut client = daemon.connect_with(Setup { queues: 2, ..Setup::default() });
    let before = daemon.content();
    let write = client.start_on(0, &Request::write(0, &[7; 512]));
    daemon.control().wait_for("A.arrived");
    let read = client.start_on(1, &Request::read(0, 512));
    assert_eq!(client.wait(&read).data, before[..512], "the read must see what was there before");
    assert_eq!(client.wait(&write).status, OK);
}

#[test]
fn a_control_attempt_watches_and_a_forced_one_holds() {
    let daemon = holding("complete").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    control.begin(1, Arm::Control);
    client.write(0, &[1; 512]);
    let report = control.end();
    assert_eq!((report.attempt, report.arm), (1, Arm::Control));
    assert!(report.points["A"].request.is_some());
    assert!(report.holds[0].reached_ns.is_some() && !report.holds[0].held);
    control.begin(2, Arm::Forced);
    let held = client.start(&Request::write(0, &[2; 512]));
    control.wait_for("A.done");
    assert!(!client.is_done(&held));
    let report = control.end();
    assert!(client.is_done(&held), "the end of an attempt releases what it holds");
    assert_eq!((report.holds[0].held, &report.holds[0].cause), (true, &Some(Cause::AttemptEnd)));
    let events: Vec<&str> = report.events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(events, ["A.arrived", "A.submitted", "A.done", "A.completed"]);
}

#[test]
fn a_report_has_what_the_guest_said() {
    let daemon = holding("complete").start();
    let (mut guest, mut control) = (daemon.guest(), daemon.control());
    let waiting = guest.start(Command::NextAttempt { after: 0 });
    control.begin(1, Arm::Forced);
    assert_eq!(guest.answer(waiting), Answer::Attempt { attempt: 1, arm: Arm::Forced });
    guest.tell(Command::Report { name: "fsync".into(), value: "error EIO".into() });
    guest.tell(Command::Log { lines: vec!["oops".into(), "again".into()] });
    guest.emit("go");
    guest.tell(Command::Finish { exit: 3 });
    control.wait_for("attempt.finished");
    assert_eq!(control.report(Command::Status).exit, Some(3));
    let report = control.end();
    assert_eq!(report.reports["fsync"], "error EIO");
    assert_eq!(report.kernel_log, ["oops", "again"]);
    assert_eq!(report.exit, Some(3));
    assert_eq!(report.events[0].event, "guest.go");
}

#[test]
fn a_place_that_the_guest_binds_is_where_the_point_is() {
    let daemon = Recipe::new()
        .policy(
            r#"
            place = { victim = "guest" }
            event = { go = "control" }
            point = { A = { op = "write", place = "victim" } }
            hold  = [{ gate = "A.complete", until = "control.go" }]
            "#,
        )
        .start();
    let (mut client, mut guest, mut control) = (daemon.connect(), daemon.guest(), daemon.control());
    client.write(4, &[1; 512]);
    guest.tell(Command::Bind { place: "victim".into(), offset: 4 * 512, length: 512 });
    client.write(5, &[2; 512]);
    let held = client.start(&Request::write(3, &[3; 1024]));
    control.wait_for("A.done");
    assert!(!client.is_done(&held));
    control.emit("go");
    assert!(client.is_done(&held));
}

#[test]
fn loading_another_policy_releases_what_the_old_one_held() {
    let daemon = holding("complete").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let held = client.start(&Request::write(0, &[7; 512]));
    control.wait_for("A.done");
    control.tell(Command::load("none", "", true));
    assert!(client.is_done(&held));
    assert_eq!(cause_of_release(&daemon), Cause::PolicyReplaced);
}

#[test]
fn loading_a_policy_with_a_mistake_changes_nothing() {
    let daemon = holding("complete").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let held = client.start(&Request::write(0, &[7; 512]));
    control.wait_for("A.done");
    let bad = Command::load("bad.toml", "pint = 1", true);
    let message = control.refused(bad);
    assert!(message.contains("bad.toml:1:1") && message.contains("did you mean `point`?"), "{message}");
    assert!(!client.is_done(&held) && control.held().len() == 1);
}
