//! `blkstay control`: what people ask of a daemon.

use blkstay_engine::control::LINE_BYTES_MAX;
use blkstay_engine::journal::Record;
use blkstay_tests::binary::{self, Ended};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::request::Request;
use serde_json::{Value, json};
use std::path::Path;

/// Holds writes until somebody says `go`.
const HELD: &str = r#"
[event]
go = "control"
[point]
W = { op = "write" }
[[hold]]
gate  = "W.complete"
until = "control.go"
"#;

#[track_caller]
fn ask(socket: &Path, words: &[&str]) -> Ended {
    let socket = socket.display().to_string();
    binary::run("blkstay", &[&["control", &socket], words].concat())
}

/// What is printed by a call that takes effect.
#[track_caller]
fn told(daemon: &Daemon, words: &[&str]) -> String {
    let ended = ask(&daemon.control, words);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    ended.out
}

#[test]
fn a_person_sees_what_is_held_and_lets_it_go() {
    let daemon = Recipe::new().policy(HELD).start();
    let mut guest = daemon.connect();
    assert_eq!(told(&daemon, &["held"]), "nothing is held\n");
    let write = guest.start(&Request::write(8, &[1; 512]));
    told(&daemon, &["await", "W.done"]);
    let held = told(&daemon, &["held"]);
    assert!(held.starts_with("#1 write 4096+512 at W.complete until control.go, at "), "{held}");
    let status = told(&daemon, &["status"]);
    assert!(status.contains("point   W is #1\nhold    W.complete until control.go stands\n"), "{status}");
    assert_eq!(told(&daemon, &["release", "--point", "W"]), "released 1\n");
    guest.wait(&write);
    let status = told(&daemon, &["status"]);
    assert!(status.contains("hold    W.complete until control.go is over: by hand\n"), "{status}");
}

#[test]
fn an_event_that_is_emitted_ends_a_hold_and_a_wait() {
    let daemon = Recipe::new().policy(HELD).start();
    let mut guest = daemon.connect();
    let write = guest.start(&Request::write(8, &[1; 512]));
    assert_eq!(told(&daemon, &["emit", "go", "--detail", "now"]), "");
    guest.wait(&write);
    assert_eq!(told(&daemon, &["await", r#"{"all":["W.completed",{"any":["control.go"]}]}"#]), "");
    assert_eq!(told(&daemon, &["await", "in-flight < 1"]), "");
}

#[test]
fn a_policy_is_loaded_with_its_files_and_parameters() {
    let daemon = Recipe::new()
        .file("my.toml", "include = [\"drive.toml\"]\nseed = 1")
        .file("broken.toml", "pont = 1")
        .file("drive.toml", "rule = [{ name = \"slow\", gate = \"submit\", delay = \"1ms\" }]")
        .file("given.toml", "[parameter]\nslow = \"1ms\"\n[[rule]]\ngate = \"submit\"\ndelay = \"$slow\"")
        .start();
    let path = |name: &str| daemon.directory().join(name).display().to_string();
    let loaded = || {
        let policy = |record: Record| match record {
            Record::Policy { written, armed } => Some((written, armed)),
            _ => None,
        };
        daemon.records().into_iter().filter_map(policy).next_back().expect("a policy")
    };
    told(&daemon, &["load", &path("my.toml"), "--seed", "7", "--disarmed"]);
    let (written, armed) = loaded();
    assert_eq!((written.included.len(), written.seed, armed), (1, Some(7), false));
    told(&daemon, &["load", &path("given.toml"), "--set", "slow=2ms"]);
    let (written, armed) = loaded();
    assert_eq!((written.set.get("slow").map(String::as_str), armed), (Some("2ms"), true));

    let broken = ask(&daemon.control, &["load", &path("broken.toml")]);
    assert_eq!((broken.code, broken.out.as_str()), (Some(1), ""));
    assert!(broken.err.contains("a policy has no key `pont`"), "{}", broken.err);
    assert_eq!(loaded().0, written);
}

#[test]
fn a_policy_that_is_too_long_for_the_socket_is_refused() {
    let long = "# nothing\n".repeat(LINE_BYTES_MAX / 8);
    let daemon = Recipe::new().file("long.toml", &long).start();
    let path = daemon.directory().join("long.toml").display().to_string();
    let refused = ask(&daemon.control, &["load", &path]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains(&format!("a line of more than {LINE_BYTES_MAX} bytes")), "{}", refused.err);
    told(&daemon, &["status"]);
}

#[test]
fn the_policy_is_armed_and_the_disk_paused_by_hand() {
    let daemon = Recipe::new().policy(HELD).start();
    let mut guest = daemon.connect();
    told(&daemon, &["disarm"]);
    guest.write(8, &[1; 512]);
    told(&daemon, &["pause", "--watchdog", "20s", "--queue", "0"]);
    let read = guest.start(&Request::read(8, 512));
    told(&daemon, &["await", "held >= 1"]);
    assert!(told(&daemon, &["held"]).contains(" read 4096+512 at submit by hand until resumed"));
    told(&daemon, &["resume"]);
    guest.wait(&read);
    told(&daemon, &["arm"]);
    assert!(told(&daemon, &["status"]).contains("point   W has not been seen\n"));
}

#[test]
fn the_answer_can_be_had_as_it_is() {
    let daemon = Daemon::start();
    let json = |words: &[&str]| {
        let ended = ask(&daemon.control, &[words, &["--json"]].concat());
        (ended.code, serde_json::from_str::<Value>(&ended.out).expect("a line of JSON"), ended.err)
    };
    assert_eq!(json(&["held"]), (Some(0), json!({ "id": 1, "is": "held", "requests": [] }), String::new()));
    let (code, answer, err) = json(&["release", "--request", "9"]);
    assert_eq!((code, &answer["is"], err.as_str()), (Some(1), &Value::from("error"), ""));
}

#[test]
fn what_is_refused_is_said_and_fails() {
    let daemon = Daemon::start();
    let refused = |socket: &Path, words: &[&str]| {
        let ended = ask(socket, words);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
        ended.err
    };
    let guest = refused(&daemon.guest, &["arm"]);
    assert_eq!(guest, "blkstay: a guest may not `arm`; use the daemon's control socket\n");
    let point = refused(&daemon.control, &["release", "--point", "W"]);
    assert!(point.starts_with("blkstay: the policy has no point `W`"), "{point}");
    let expression = refused(&daemon.control, &["await", "{\"some\":[]}"]);
    assert!(expression.starts_with("blkstay: not an expression"), "{expression}");
    let nobody = refused(&daemon.directory().join("nobody"), &["held"]);
    assert!(nobody.contains("cannot connect"), "{nobody}");
    assert_eq!(ask(&daemon.control, &["fly"]).code, Some(2));
}
