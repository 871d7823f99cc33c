//! The control socket: who may ask for what, and what becomes of nonsense.

use blkstay_engine::control::{Answer, Command, ExprText, GUEST_LINE_BYTES_MAX, LINE_BYTES_MAX};
use blkstay_engine::journal::{Arm, Outcome, Record, Source};
use blkstay_tests::control::Control;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::wait_for;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process;
use std::time::Duration;

/// Sends bytes and expects an error for `id` with `part` in it, from a connection that goes on.
#[track_caller]
fn assert_error(control: &mut Control, sent: &[u8], id: u64, part: &str) {
    control.send(sent);
    let reply = control.next_reply();
    let Answer::Error { message } = reply.answer else { panic!("not an error: {reply:?}") };
    assert!(reply.id == id && message.contains(part), "{}: {message}", reply.id);
    control.tell(Command::Ping);
}

#[test]
fn a_guest_may_not_steer() {
    let daemon = Daemon::start();
    let mut guest = daemon.guest();
    for command in [
        Command::load("", "", true),
        Command::Begin { attempt: 1, arm: Arm::Forced, watchdog_ns: None },
        Command::End,
        Command::Status,
        Command::Held,
        Command::Release { request: None, point: None },
        Command::Verdict { attempt: 1, outcome: Outcome::Open, why: String::new() },
    ] {
        let verb = command.verb();
        let message = guest.refused(command);
        assert_eq!(message, format!("a guest may not `{verb}`; use the daemon's control socket"));
    }
    let steered = |record: &Record| !matches!(record, Record::Journal { .. });
    assert!(!daemon.records().iter().any(steered), "a refused command had an effect");
}

#[test]
fn a_guest_may_tell_and_wait() {
    let daemon = Recipe::new().policy("[place]\nhere = \"guest\"\n[event]\ngo = \"guest\"").start();
    let mut guest = daemon.guest();
    let waiting = guest.start(Command::Await { until: ExprText::Event("guest.go".into()) });
    guest.tell(Command::Ping);
    guest.tell(Command::Bind { place: "here".into(), offset: 0, length: 512 });
    guest.tell(Command::Report { name: "a".into(), value: "b".into() });
    guest.tell(Command::Log { lines: vec!["line".into()] });
    guest.tell(Command::Emit { event: "go".into(), detail: Some("now".into()) });
    assert_eq!(guest.answer(waiting), Answer::Done);
    guest.tell(Command::Finish { exit: 0 });
}

#[test]
fn nonsense_gets_an_error_and_the_connection_lives() {
    let daemon = Daemon::start();
    for mut control in [daemon.control(), daemon.guest()] {
        assert_error(&mut control, b"\n \nhello\n", 0, "not a command");
        assert_error(&mut control, b"{\"id\":7,\"do\":\"dance\"}\n", 7, "dance");
        assert_error(&mut control, b"{\"id\":8,\"do\":\"bind\"}\n", 8, "missing field");
        assert_error(&mut control, b"{\"id\":9,\"do\":\"bind\",\"place\":1}\n", 9, "not a command");
        assert_error(&mut control, b"{\"do\":\"ping\"}\n", 0, "missing field `id`");
        assert_error(&mut control, b"{\"id\":-1,\"do\":\"ping\"}\n", 0, "not a command");
        assert_error(&mut control, b"\xff\xfe\x00\n", 0, "not a command");
        assert_error(&mut control, b"[]\n", 0, "not a command");
        let deep = [b"{\"id\":1,\"do\":\"await\",\"until\":".to_vec(), b"{\"any\":[".repeat(5000)].concat();
        assert_error(&mut control, &[deep, b"\n".to_vec()].concat(), 0, "not a command");
    }
}

#[test]
fn a_line_that_is_too_long_gets_an_error_and_the_connection_lives() {
    let daemon = Daemon::start();
    for (mut control, limit) in [(daemon.control(), LINE_BYTES_MAX), (daemon.guest(), GUEST_LINE_BYTES_MAX)] {
        let mut line = vec![b'x'; 3 * limit];
        line.push(b'\n');
        assert_error(&mut control, &line, 0, &format!("more than {limit} bytes"));
    }
}

#[test]
fn a_line_as_long_as_allowed_is_read() {
    let daemon = Daemon::start();
    let mut guest = daemon.guest();
    let frame = r#"{"id":1,"do":"ping"}"#;
    let blanks = " ".repeat(GUEST_LINE_BYTES_MAX - frame.len());
    guest.send(format!("{{\"id\":1,{blanks}\"do\":\"ping\"}}\n").as_bytes());
    assert_eq!(guest.next_reply().answer, Answer::Done);
}

#[test]
fn what_is_told_is_in_the_journal() {
    let daemon = Daemon::start();
    let (mut control, mut guest) = (daemon.control(), daemon.guest());
    let verdict = (1, Outcome::Open, "two signs".to_owned());
    control.tell(Command::Verdict { attempt: verdict.0, outcome: verdict.1, why: verdict.2.clone() });
    guest.tell(Command::Emit { event: "go".into(), detail: Some("now".into()) });
    guest.tell(Command::Report { name: "fsync".into(), value: "ok".into() });
    guest.tell(Command::Log { lines: vec!["one".into(), "two".into()] });
    guest.tell(Command::Finish { exit: 2 });
    let expected = [
        Record::Verdict { attempt: verdict.0, outcome: verdict.1, why: verdict.2 },
        Record::Event { source: Source::Guest, event: "go".into(), detail: Some("now".into()) },
        Record::Report { name: "fsync".into(), value: "ok".into() },
        Record::Log { line: "one".into() },
        Record::Log { line: "two".into() },
        Record::Finished { exit: 2 },
    ];
    assert_eq!(daemon.records()[1..], expected);
}

#[test]
fn what_is_refused_says_what_to_do() {
    let daemon = Recipe::new().policy("[event]\nstarted = \"guest\"").start();
    let mut control = daemon.control();
    let until = |event: &str| Command::Await { until: ExprText::Event(event.into()) };
    let message = control.refused(until("guest.startd"));
    assert_eq!(message, "unknown guest event `startd`: did you mean `started`?");
    assert_eq!(control.refused(Command::End), "no attempt has begun; send `begin` first");
    control.begin(5, Arm::Control);
    let begin = |attempt| Command::Begin { attempt, arm: Arm::Control, watchdog_ns: None };
    assert_eq!(control.refused(begin(6)), "attempt 5 has not ended; send `end` first");
    control.end();
    assert_eq!(control.refused(begin(5)), "attempt 5 does not follow attempt 5");
    let bind = Command::Bind { place: "x".into(), offset: 0, length: 1 };
    assert!(control.refused(bind).starts_with("the policy has no place `x`"));
}

#[test]
fn the_end_of_an_attempt_answers_who_waits() {
    let daemon = Daemon::start();
    let (mut control, mut guest) = (daemon.control(), daemon.guest());
    control.begin(1, Arm::Forced);
    let waiting = guest.start(Command::Await { until: ExprText::Event("guest.never".into()) });
    guest.tell(Command::Ping);
    control.end();
    let Answer::Error { message } = guest.answer(waiting) else { panic!("it cannot be true") };
    assert_eq!(message, "the attempt ended before what was awaited came true");
}

#[test]
fn a_client_that_goes_while_it_waits_is_forgotten() {
    let daemon = Daemon::start();
    for _ in 0..100 {
        let mut guest = daemon.guest();
        guest.start(Command::Await { until: ExprText::Event("guest.never".into()) });
    }
    let mut half = daemon.guest();
    half.send(b"{\"id\":1,\"do\":\"pi");
    half.stream().shutdown(Shutdown::Both).expect("hang up");
    wait_for("the connections to be closed", || (daemon.open_files() < 50).then_some(()));
    daemon.assert_serves();
}

#[test]
fn who_sends_and_never_reads_cannot_fill_memory() {
    let daemon = Daemon::start();
    let mut guest = UnixStream::connect(&daemon.guest).expect("connect");
    guest.set_write_timeout(Some(Duration::from_millis(500))).expect("timeout");
    let before = daemon.status("VmRSS");
    let calls = b"{\"id\":1,\"do\":\"dance\"}\n".repeat(10_000);
    let taken = (0..200).take_while(|_| guest.write_all(&calls).is_ok()).count();
    assert!(taken < 200, "the daemon took everything without anybody reading its answers");
    let grown = daemon.status("VmRSS") - before;
    assert!(grown < 32 << 10, "it took {grown} KiB");
    daemon.assert_serves();
}

#[test]
fn more_clients_than_there_are_descriptors_wait_and_cost_nothing() {
    let daemon = Daemon::start();
    let limits = format!("--nofile={}", daemon.open_files() + 10);
    let limited =
        process::Command::new("prlimit").args(["--pid", &daemon.pid().to_string(), &limits]).status();
    assert!(limited.expect("prlimit").success());
    let mut clients: Vec<_> = (0..30).map(|_| daemon.control()).collect();
    wait_for("it to be said", || daemon.errors().contains("cannot be accepted").then_some(()));
    let before = daemon.cpu_ns(None);
    std::thread::sleep(Duration::from_secs(2));
    let used = Duration::from_nanos(daemon.cpu_ns(None) - before);
    assert!(used < Duration::from_millis(500), "it used {used:?} of the CPU in 2 s");
    let said = daemon.errors().lines().count();
    assert!(said < 10, "it said {said} lines");
    clients.drain(..25);
    clients.iter_mut().for_each(|client| client.tell(Command::Ping));
}
