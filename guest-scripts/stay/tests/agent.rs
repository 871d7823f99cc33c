//! The agent and its clients, against a daemon that the test plays.

mod guest;

use blkstay_engine::control::{Answer, Command, ExprText, GUEST_LINE_BYTES_MAX};
use blkstay_engine::journal::Arm;
use guest::{Guest, end, said};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

fn silent(status: i32) -> (String, String, i32) {
    (String::new(), String::new(), status)
}

#[test]
fn two_clients_that_wait_at_once_get_their_own_answers() {
    let mut guest = Guest::start();
    let first = guest.spawn(&["await", "A.done"]);
    let first_call = guest.next_call();
    let second = guest.spawn(&["next-attempt", "--after", "6"]);
    let second_call = guest.next_call();
    assert_eq!(first_call.command, Command::Await { until: ExprText::Event("A.done".to_owned()) });
    assert_eq!(second_call.command, Command::NextAttempt { after: 6 });
    assert_ne!(first_call.id, second_call.id, "both clients call their call 1");

    guest.answer(second_call.id, Answer::Attempt { attempt: 7, arm: Arm::Forced });
    assert_eq!(end(second), ("7 forced\n".to_owned(), String::new(), 0));
    guest.answer(first_call.id, Answer::Done);
    assert_eq!(end(first), silent(0));
}

#[test]
fn a_refusal_is_one_line_and_an_exit_status() {
    let mut guest = Guest::start();
    let emit = guest.spawn(&["emit", "go", "--detail", "now"]);
    let call = guest.next_call();
    assert_eq!(call.command, Command::Emit { event: "go".to_owned(), detail: Some("now".to_owned()) });
    guest.answer(call.id, Answer::Error { message: "no event named `go`".to_owned() });
    assert_eq!(end(emit), (String::new(), "stay: no event named `go`\n".to_owned(), 1));
}

#[test]
fn reports_travel_together_and_all_are_waited_for() {
    let mut guest = Guest::start();
    let report = guest.spawn(&["report", "a", "1", "b", "2"]);
    let calls = [guest.next_call(), guest.next_call()];
    for call in calls.iter().rev() {
        assert!(matches!(call.command, Command::Report { .. }));
        guest.answer(call.id, Answer::Done);
    }
    assert_eq!(end(report), silent(0));
}

#[test]
fn answers_that_nobody_waits_for_and_nonsense_are_dropped() {
    let mut guest = Guest::start();
    let ping = guest.spawn(&["ping"]);
    let call = guest.next_call();
    guest.answer(1, Answer::Error { message: "meant for an earlier agent".to_owned() });
    guest.say("no JSON");
    guest.say("");
    guest.answer(call.id, Answer::Done);
    assert_eq!(end(ping), silent(0));
}

#[test]
fn a_client_that_left_gets_nothing_and_disturbs_nobody() {
    let mut guest = Guest::start();
    let mut left = guest.spawn(&["ping"]);
    let left_call = guest.next_call();
    left.kill().expect("a living client");
    left.wait().expect("its end");
    guest.answer(left_call.id, Answer::Done);
    let ping = guest.spawn(&["ping"]);
    let call = guest.next_call();
    guest.answer(call.id, Answer::Done);
    assert_eq!(end(ping), silent(0));
}

#[test]
fn a_call_longer_than_a_guest_may_send_does_not_reach_the_daemon() {
    let mut guest = Guest::start();
    let value = "x".repeat(GUEST_LINE_BYTES_MAX);
    let (_, why, status) = said(&guest.run(&["report", "big", &value]));
    assert!(why.contains("a guest may send at most 65536"), "{why}");
    assert_eq!(status, 1);
    let ping = guest.spawn(&["ping"]);
    let call = guest.next_call();
    assert_eq!(call.command, Command::Ping);
    guest.answer(call.id, Answer::Done);
    assert_eq!(end(ping), silent(0));
}

#[test]
fn what_is_no_call_is_refused() {
    let guest = Guest::start();
    let mut client = UnixStream::connect(guest.socket()).expect("the agent");
    client.write_all(b"hello\n").expect("the agent");
    let mut answer = String::new();
    BufReader::new(client).read_line(&mut answer).expect("an answer");
    assert!(answer.contains(r#""is":"error""#) && answer.contains("that is no call"), "{answer}");
}

#[test]
fn clients_are_told_when_the_agent_dies() {
    let mut guest = Guest::start();
    let waiting = guest.spawn(&["await", "A.done"]);
    guest.next_call();
    guest.kill_agent();
    let (_, why, status) = end(waiting);
    assert!(why.starts_with("stay: the agent went away before it answered"), "{why}");
    assert_eq!(status, 3);

    let (_, why, status) = said(&guest.run(&["ping"]));
    assert!(why.starts_with("stay: no agent at ") && why.ends_with("start one with `stay agent`\n"), "{why}");
    assert_eq!(status, 3);
}

#[test]
fn a_second_agent_is_refused() {
    let guest = Guest::start();
    let port = guest.path("port");
    let (_, why, status) =
        said(&guest.run(&["agent", "--foreground", "--port", &port.display().to_string()]));
    assert!(why.ends_with("an agent is running already\n"), "{why}");
    assert_eq!(status, 1);
}
