//! What a daemon tells about itself: counters, `blkstay top`, `blkstay metrics`, its log, its manual.

use blkstay_engine::control::{Answer, Command};
use blkstay_engine::report::{OpStats, StatsReport};
use blkstay_engine::request::Op;
use blkstay_tests::binary::{self, Ended};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::exposition::{self, Sample};
use blkstay_tests::request::{IO_ERROR, OK, Request};
use blkstay_tests::wait_for;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{self, Child, Stdio};

/// Holds writes until somebody says `go`, and fails discards.
const POLICY: &str = r#"
event.go = "control"
rule = [
  { name = "held", gate = "complete", op = "write", until = "control.go" },
  { name = "bad", gate = "submit", op = "discard", fail = "io-error" },
]
"#;

#[track_caller]
fn stats(daemon: &Daemon) -> StatsReport {
    match daemon.control().call(Command::Stats) {
        Answer::Stats(stats) => *stats,
        other => panic!("expected counters, not {other:?}"),
    }
}

#[track_caller]
fn of(stats: &StatsReport, op: Op) -> &OpStats {
    stats.ops.iter().find(|stats| stats.op == op).unwrap_or_else(|| panic!("no {op} in {stats:?}"))
}

#[track_caller]
fn blkstay(daemon: &Daemon, before: &[&str], after: &[&str]) -> Ended {
    binary::run("blkstay", &[before, &[&daemon.control.display().to_string()], after].concat())
}

/// Requests of every kind, all of which complete.
fn a_little_of_everything(daemon: &Daemon) {
    let mut guest = daemon.connect();
    for sector in 0..10 {
        guest.write(sector, &[1; 512]);
    }
    for sector in 0..20 {
        guest.read(sector, 1024);
    }
    for (request, status) in [
        (Request::flush(), OK),
        (Request::id(), OK),
        (Request::discard(0, 8), IO_ERROR),
        (Request::discard(8, 16), IO_ERROR),
    ] {
        let pending = guest.start(&request);
        assert_eq!(guest.wait(&pending).status, status, "{request:?}");
    }
}

#[test]
fn counters_are_exact_with_a_policy_and_without() {
    let failing = "rule = [{ gate = \"submit\", op = \"discard\", fail = \"io-error\" }]";
    let whole = "rule = [{ gate = \"submit\", op = \"discard\", fail = \"io-error\" },
                         { gate = \"submit\", delay = \"1us\" }]";
    for policy in [failing, whole] {
        let daemon = Recipe::new().policy(policy).start();
        a_little_of_everything(&daemon);
        a_little_of_everything(&daemon);
        let stats = stats(&daemon);
        let told: Vec<_> = stats.ops.iter().map(|op| (op.op, op.requests, op.bytes, op.errors)).collect();
        for one in [
            (Op::Read, 40, 40 << 10, 0),
            (Op::Write, 20, 20 * 512, 0),
            (Op::Flush, 2, 0, 0),
            (Op::Discard, 4, 2 * 24 * 512, 4),
        ] {
            assert!(told.contains(&one), "no {one:?} in {told:?}");
        }
        assert_eq!((of(&stats, Op::GetId).requests, told.len()), (2, 5), "{told:?}");
        for op in &stats.ops {
            assert_eq!(op.buckets.total(), op.requests, "{op:?}");
            let longest = op.buckets.quantile(1.0).expect("there were some");
            assert!(longest >= op.latency.max_ns / 101 * 100, "{op:?}");
        }
    }
}

#[test]
fn what_is_under_way_is_told() {
    let daemon = Recipe::new().policy(POLICY).start();
    let mut guest = daemon.connect();
    let write = guest.start(&Request::write(0, &[1; 512]));
    daemon
        .control()
        .tell(Command::Await { until: blkstay_engine::control::ExprText::Event("held >= 1".into()) });
    let told = stats(&daemon);
    assert_eq!((told.in_flight, told.held, told.passing, told.connected), (1, 1, 0, true));
    let policy = &told.policy;
    assert!(policy.origin.as_deref().is_some_and(|origin| origin.ends_with("policy.toml")), "{policy:?}");
    assert_eq!((policy.armed, policy.attempt, policy.paused, policy.expired), (true, None, false, false));
    assert!(told.ops.is_empty(), "nothing has completed: {told:?}");
    daemon.control().tell(Command::Disarm);
    guest.wait(&write);
    daemon.control().tell(Command::Pause { queue: None, watchdog_ns: None });
    let told = stats(&daemon);
    assert_eq!((told.in_flight, told.held, told.policy.armed, told.policy.paused), (0, 0, false, true));
}

#[test]
fn a_queue_that_does_not_exist_cannot_be_paused() {
    let daemon = Recipe::new().argument("--num-queues=4").start();
    let refused = blkstay(&daemon, &["control"], &["pause", "--queue", "4"]);
    assert_eq!(refused.code, Some(1));
    let advice = "blkstay: there is no queue 4: they are 0 to 3; leave `queue` out to pause the whole disk\n";
    assert_eq!((refused.err.as_str(), stats(&daemon).policy.paused), (advice, false));
    assert_eq!(blkstay(&daemon, &["control"], &["pause", "--queue", "3"]).code, Some(0));
    assert!(stats(&daemon).policy.paused);
}

#[test]
fn a_person_sees_counters_and_changes_the_size() {
    let daemon = Daemon::start();
    daemon.connect().read(0, 4096);
    let told = blkstay(&daemon, &["control"], &["stats"]);
    assert!(told.out.starts_with("0 in flight, 0 held\nread "), "{}", told.out);
    assert_eq!(blkstay(&daemon, &["control"], &["resize", "2M"]).code, Some(0));
    assert_eq!((stats(&daemon).bytes, daemon.content().len()), (2 << 20, 2 << 20));
    let refused = blkstay(&daemon, &["control"], &["resize", "1000"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("a positive multiple of 512 bytes, 1000 is none"), "{}", refused.err);
    assert_eq!(blkstay(&daemon, &["control"], &["resize", "much"]).code, Some(2));
}

#[test]
fn a_policy_that_is_loaded_is_answered_with_its_warnings() {
    let daemon = Daemon::start();
    let doubtful = "[place]\nnowhere = { offset = 0, length = 512 }\n";
    let mut control = daemon.control();
    let id = control.start(Command::load("mine.toml", doubtful, true));
    let reply = control.next_reply();
    assert_eq!((reply.id, reply.answer), (id, Answer::Done));
    let [warning] = reply.warnings.as_slice() else { panic!("one warning, not {:?}", reply.warnings) };
    assert!(warning.starts_with("warning: ") && warning.contains("--> mine.toml:2:1"), "{warning}");
    let path = daemon.directory().join("mine.toml");
    std::fs::write(&path, doubtful).expect("the policy");
    let loaded = blkstay(&daemon, &["control"], &["load", &path.display().to_string()]);
    assert_eq!((loaded.code, loaded.err.matches("warning: ").count()), (Some(0), 1), "{}", loaded.err);
    let good = control.start(Command::load("good.toml", "", true));
    assert!(control.next_reply().warnings.is_empty(), "{good}");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let daemon =
        Recipe::new().policy("rule = [{ gate = \"submit\", op = \"discard\", fail = \"io-error\" }]").start();
    let empty = blkstay(&daemon, &["metrics"], &[]);
    assert_eq!(empty.code, Some(0), "{}", empty.err);
    exposition::check(&empty.out);
    a_little_of_everything(&daemon);
    let told = blkstay(&daemon, &["metrics"], &[]);
    let samples = exposition::check(&told.out);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let found = samples.iter().find(|sample| sample.name == name && sample.labels == labels);
        found.map(|Sample { value, .. }| *value)
    };
    assert_eq!(value("blkstay_requests_total", &[("op", "read")]), Some(20.0));
    assert_eq!(value("blkstay_request_bytes_total", &[("op", "write")]), Some(5120.0));
    assert_eq!(value("blkstay_request_errors_total", &[("op", "discard")]), Some(2.0));
    assert_eq!(value("blkstay_request_duration_seconds_count", &[("op", "read")]), Some(20.0));
    let all = [("op", "flush"), ("le", "68.719476736")];
    assert_eq!(value("blkstay_request_duration_seconds_bucket", &all), Some(1.0));
    assert_eq!(value("blkstay_disk_size_bytes", &[]), Some(1048576.0));
    let origin = daemon.directory().join("policy.toml").display().to_string();
    assert_eq!(value("blkstay_policy_info", &[("origin", &origin)]), Some(1.0));
    let sum = value("blkstay_request_duration_seconds_sum", &[("op", "read")]).expect("a sum");
    assert_eq!(sum, of(&stats(&daemon), Op::Read).latency.total_ns as f64 / 1e9);
}

#[test]
fn nobody_there_is_said() {
    let daemon = Daemon::start();
    let nobody = daemon.directory().join("nobody").display().to_string();
    for command in ["top", "metrics"] {
        let ended = binary::run("blkstay", &[command, &nobody]);
        assert!(ended.code == Some(1) && ended.err.contains("cannot connect"), "{ended:?}");
        let guest = binary::run("blkstay", &[command, &daemon.guest.display().to_string()]);
        assert!(guest.code == Some(1) && guest.err.contains("a guest may not `stats`"), "{guest:?}");
    }
    assert_eq!(binary::run("blkstay", &["top", "--interval", "1ms", &nobody]).code, Some(2));
}

#[test]
fn top_tells_everything_on_one_line() {
    let daemon = Recipe::new().policy(POLICY).start();
    let mut guest = daemon.connect();
    guest.read(0, 4096);
    let _held = guest.start(&Request::write(0, &[1; 512]));
    daemon
        .control()
        .tell(Command::Await { until: blkstay_engine::control::ExprText::Event("held >= 1".into()) });
    let line = blkstay(&daemon, &["top", "--once"], &[]).out;
    assert_eq!(line.lines().count(), 1, "{line}");
    for part in [" IOPS  ", "  p50 ", "  0 errors  1 in flight  1 held  read ", "policy.toml, armed\n"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    let line = blkstay(&daemon, &["top", "--once", "--json"], &[]).out;
    let told: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!((&told["all"]["total"]["requests"], &told["in_flight"]), (&1.into(), &1.into()), "{told}");
    assert_eq!(told["standing"][0]["until"], "control.go", "{told}");
    assert_eq!((&told["standing"][0]["rule"], &told["ops"][0]["op"]), (&"held".into(), &"read".into()));
}

/// A `blkstay top --json` that runs.
struct Top {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Top {
    fn start(daemon: &Daemon) -> Top {
        let mut child = std::process::Command::new(binary::path("blkstay"))
            .args(["top", "--json", "--interval", "20ms"])
            .arg(&daemon.control)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("blkstay runs");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Top { child, lines }
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a line of JSON: {line:?}"))
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn intervals_add_up_to_what_there_was() {
    let mut daemon = Daemon::start();
    let mut guest = daemon.connect();
    guest.read(0, 512);
    let mut top = Top::start(&daemon);
    let first = top.next();
    assert_eq!((&first["all"]["iops"], &first["all"]["p50_ns"]), (&0.0.into(), &Value::Null), "{first}");
    for _ in 0..300 {
        guest.read(0, 512);
    }
    let mut seen = 0.0;
    wait_for("all requests to be told", || {
        let interval = top.next();
        let seconds = interval["interval_ns"].as_f64().expect("a time") / 1e9;
        seen += interval["ops"][0]["iops"].as_f64().expect("a rate") * seconds;
        (interval["all"]["total"]["requests"] == 301).then_some(())
    });
    assert_eq!(seen.round(), 300.0, "{seen}");
    drop(guest);
    daemon.end(Signal::SIGTERM);
    assert_eq!(wait_for("top to end", || top.child.try_wait().expect("a child")).code(), Some(1));
}

#[test]
fn the_log_tells_what_happens_as_far_as_it_is_asked() {
    for (level, told) in [("debug", true), ("warn", false)] {
        let daemon = Recipe::new().environment("BLKSTAY_LOG", level).start();
        let guest = daemon.connect();
        guest.stop_queue(0);
        drop(guest);
        daemon.control().tell(Command::load("mine.toml", "seed = 1", true));
        daemon.control().tell(Command::Resize { bytes: 2 << 20 });
        daemon.wait_until_guest_is_gone();
        let said = || daemon.errors();
        for words in [
            "a guest connected",
            "the guest has chosen its features",
            "the guest has started a ring queue=0",
            "the guest has stopped a ring queue=0",
            "a policy is loaded origin=\"mine.toml\" armed=true",
            "the disk has another size bytes=2097152",
        ] {
            assert_eq!(said().contains(words), told, "{level}: {words}: {}", said());
        }
        if told {
            wait_for("the guest's end", || said().contains("the guest is gone").then_some(()));
        }
    }
}

#[test]
fn a_word_that_is_no_level_is_refused() {
    let mut command = process::Command::new(binary::path("blkstayd"));
    command.args(["--image", "memory:1M", "--socket", "/nowhere/s"]).env("BLKSTAY_LOG", "verbose");
    let output = command.output().expect("blkstayd");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("BLKSTAY_LOG=verbose: `verbose` is no level; write `off`"), "{said}");
}

#[test]
fn completions_and_the_manual_page_come_from_the_options() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = binary::run("blkstayd", &["--completions", shell]);
        assert!(ended.code == Some(0) && ended.out.contains("overlay-end"), "{shell}: {ended:?}");
    }
    let page = binary::run("blkstayd", &["--man"]);
    assert!(page.code == Some(0) && page.out.contains(".TH blkstayd 1"), "{page:?}");
    assert!(page.out.contains("BLKSTAY_LOG"), "{}", page.out);
    assert_eq!(binary::run("blkstayd", &["--man", "--image", "x"]).code, Some(2));
    assert_eq!(binary::run("blkstayd", &["--completions", "cmd"]).code, Some(2));
}
