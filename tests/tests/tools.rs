//! `blkstay check` and `blkstay log`: every mistake in one pass, every record on a line.

use blkstay_engine::journal::Line;
use blkstay_tests::binary;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::{journal, request::Request};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// Checks a policy file with that text; what is printed, with `DIR` for where the file is.
#[track_caller]
fn check(text: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bad.toml");
    std::fs::write(&path, text).expect("the policy");
    let ended = binary::run("blkstay", &[Path::new("check"), &path]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.err);
    ended.err.replace(&directory.path().display().to_string(), "DIR")
}

#[test]
fn what_is_not_toml_is_shown() {
    assert_eq!(
        check("[place\n"),
        "error: not TOML: unclosed table, expected `]`
 --> DIR/bad.toml:1:7
  |
1 | [place
  |       ^
"
    );
}

#[test]
fn an_unknown_place_point_and_event_are_reported_in_one_pass() {
    assert_eq!(
        check(
            r#"
[place]
victim = "guest"

[point]
A = { op = "write", place = "victm" }
B = { op = "raed" }

[[hold]]
gate  = "A.complete"
until = "guest.done"

[[hold]]
gate  = "C.complete"
until = "A.arived"
"#
        ),
        r#"error: unknown place `victm`
 --> DIR/bad.toml:6:29
  |
6 | A = { op = "write", place = "victm" }
  |                             ^^^^^^^
  |
  = help: did you mean `victim`?

error: unknown operation `raed`
 --> DIR/bad.toml:7:12
  |
7 | B = { op = "raed" }
  |            ^^^^^^
  |
  = help: did you mean `read`?

error: unknown guest event `done`
  --> DIR/bad.toml:11:9
   |
11 | until = "guest.done"
   |         ^^^^^^^^^^^^
   |
   = help: declare it: `done = "guest"` in [event]

error: unknown point `C`
  --> DIR/bad.toml:14:9
   |
14 | gate  = "C.complete"
   |         ^^^^^^^^^^^^
   |
   = help: it can be `A`, `B`; or declare it: `C = { op = "write" }`, say, in [point]

error: unknown step of a point `arived`
  --> DIR/bad.toml:15:9
   |
15 | until = "A.arived"
   |         ^^^^^^^^^^
   |
   = help: did you mean `arrived`?
"#
    );
}

#[test]
fn a_circle_of_holds_is_found() {
    assert_eq!(
        check(
            r#"
[point]
A = { op = "write" }
B = { op = "read" }

[[hold]]
gate  = "A.submit"
until = "B.completed"

[[hold]]
gate  = "B.complete"
until = "A.done"
"#
        ),
        "error: holds wait in a circle: A.submit waits for B.completed; B.complete waits for A.done, which \
         cannot come before A.submit is released
 --> DIR/bad.toml:6:1
  |
6 | [[hold]]
  | ^^^^^^^^ this hold can never end but by its watchdog
  |
  = help: let one of them wait for something that comes before its own release, or for a guest event
"
    );
}

#[test]
fn good_and_bad_files_are_told_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("good.toml"), "rule = [{ gate = \"submit\", pass = true }]").expect("write");
    std::fs::write(path("bad.toml"), "pont = 1").expect("write");
    let ended =
        binary::run("blkstay", &["check", &path("good.toml"), &path("missing.toml"), &path("bad.toml")]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.out, format!("{}: good; 0 points, 0 holds, 1 rule, 0 signs\n", path("good.toml")));
    assert!(ended.err.contains("missing.toml: cannot read it: No such file"), "{}", ended.err);
    assert!(ended.err.contains("bad.toml:1:1"), "{}", ended.err);
    assert_eq!(binary::run("blkstay", &["check", &path("good.toml")]).code, Some(0));
}

/// A daemon that has served a bit, and has ended.
fn served() -> Daemon {
    served_by(Daemon::start())
}

fn served_by(mut daemon: Daemon) -> Daemon {
    let mut client = daemon.connect();
    client.write(0, &[7; 512]);
    client.ask(&Request::write(1 << 40, &[7; 512]));
    drop(client);
    daemon.control().emit("something");
    daemon.end(Signal::SIGTERM);
    daemon
}

#[test]
fn jsonl_has_the_same_records_one_a_line() {
    let daemon = served();
    let ended = binary::run("blkstay", &[Path::new("log"), Path::new("--format=jsonl"), &daemon.journal]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let parse = |line: &str| serde_json::from_str::<Line>(line).expect("a JSON object a line");
    let printed: Vec<Line> = ended.out.lines().map(parse).collect();
    assert_eq!(printed, journal::lines(&daemon.journal));
}

#[test]
fn text_has_a_line_for_every_record() {
    let daemon = served();
    let ended = binary::run("blkstay", &[Path::new("log"), &daemon.journal]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(ended.out.lines().count(), journal::lines(&daemon.journal).len());
    for part in [
        "journal    version 1",
        "arrived    #1 write 0+512 queue 0",
        "completed  #1 ok",
        "bad        queue 0",
        "event      control.something",
        "stopped",
    ] {
        assert!(ended.out.contains(part), "{part} is missing:\n{}", ended.out);
    }
}

#[test]
fn a_torn_line_is_called_out_and_the_rest_is_printed() {
    let mut daemon = served();
    let text = exported(&daemon);
    let lines: Vec<&str> = text.lines().collect();
    let torn = [&lines[..3], &[r#"{"t":12,"wh"#], &lines[3..]].concat().join("\n");
    daemon.spoil_journal(torn.as_bytes());
    for format in ["text", "jsonl"] {
        let path = daemon.journal.display().to_string();
        let ended = binary::run("blkstay", &["log", "--format", format, &path]);
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.out.lines().count(), lines.len());
        assert!(ended.err.starts_with(&format!("{path}:4: not a journal's line: ")), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1);
    }
}

#[test]
fn a_flipped_bit_is_called_out_and_the_rest_is_printed() {
    let mut daemon = served();
    let lines = exported(&daemon);
    let mut content = std::fs::read(&daemon.journal).expect("the journal");
    // The first record says what the journal is; its text begins after the chunk's header, a head and a time.
    content[64 + 16 + 1] ^= 1;
    daemon.spoil_journal(&content);
    let path = daemon.journal.display().to_string();
    let ended = binary::run("blkstay", &["log", "--format", "jsonl", &path]);
    assert_eq!(ended.code, Some(1));
    assert!(lines.ends_with(&ended.out), "{}", ended.out);
    assert_eq!(ended.out.lines().count() + 1, lines.lines().count());
    assert!(ended.err.starts_with(&format!("{path}:byte 64: damaged; ")), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1);
}

/// Its journal as JSON lines.
#[track_caller]
fn exported(daemon: &Daemon) -> String {
    let ended = binary::run("blkstay", &[Path::new("log"), Path::new("--format=jsonl"), &daemon.journal]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    ended.out
}

#[test]
fn a_journal_agrees_with_itself_until_somebody_changes_it() {
    let point = "[point.A]\nop = \"write\"\n";
    let mut daemon = served_by(Recipe::new().policy(point).start());
    let path = daemon.journal.display().to_string();
    let verify = || binary::run("blkstay", &["log", "--verify", &path]);
    let agrees = verify();
    assert_eq!((agrees.code, agrees.err.as_str()), (Some(0), ""));
    let lines = journal::lines(&daemon.journal).len();
    assert_eq!(agrees.out, format!("{path}: agrees; {lines} lines of 1 daemon\n"));

    let text = exported(&daemon);
    daemon.spoil_journal(text.as_bytes());
    assert_eq!(verify().out, agrees.out, "what was exported says the same");
    let changed = text.replacen("\"what\":\"submitted\",\"id\":1", "\"what\":\"submitted\",\"id\":2", 1);
    assert_ne!(text, changed);
    daemon.spoil_journal(changed.as_bytes());
    let differs = verify();
    assert_eq!((differs.code, differs.out.as_str()), (Some(1), ""));
    assert!(differs.err.starts_with(&format!("{path}: differs at line ")), "{}", differs.err);
    assert!(differs.err.contains(r#""id":2"#), "{}", differs.err);

    daemon.spoil_journal(format!("{text}torn").as_bytes());
    assert_eq!(verify().code, Some(1));
}

#[test]
fn a_policy_is_tried_on_what_was_served() {
    let daemon = served();
    let (journal, policy) = (daemon.journal.display().to_string(), daemon.journal.with_file_name("new.toml"));
    let text = r#"rule = [{ name = "slow", gate = "complete", op = "write", delay = "2s" },
                          { name = "odd", gate = "submit", op = "discard", fail = "io-error" }]"#;
    std::fs::write(&policy, text).expect("the policy");
    let policy = policy.display().to_string();
    let ended = binary::run("blkstay", &["check", &policy, "--against", &journal]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    for part in [
        "  write  0+512  ",
        "slow: delay, 2.000 s",
        "rule slow decided on 1 of 1 that match",
        "rule odd matched nothing",
        "#1 would still stand at the end: at complete by slow",
    ] {
        assert!(ended.out.contains(part), "{part} is missing:\n{}", ended.out);
    }

    let ended = binary::run("blkstay", &["check", &policy, "--against", &journal, "--json"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("a JSON object a line");
    let lines: Vec<Value> = ended.out.lines().map(parse).collect();
    let of = |what: &str| lines.iter().filter(|line| line["what"] == what).collect::<Vec<_>>();
    let decision = &of("request")[0]["complete"][0];
    assert_eq!(
        (&decision["rule"], &decision["wait_ns"]),
        (&Value::from("slow"), &Value::from(2_000_000_000_u64))
    );
    assert_eq!(of("rule").len(), 2);
    assert_eq!(of("standing").len(), 1);
    assert_eq!(
        (&of("summary")[0]["requests"], &of("summary")[0]["decided"]),
        (&Value::from(1), &Value::from(1))
    );
}

#[test]
fn a_journal_that_is_not_there_is_an_error() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("journal");
    let ended = binary::run("blkstay", &[Path::new("log"), &path]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    let shown = path.display();
    assert_eq!(
        ended.err,
        format!("blkstay: {shown}: cannot open it: No such file or directory (os error 2)\n")
    );
}
