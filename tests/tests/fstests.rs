//! `blkstay fstests` with a small tree that has fstests' layout and conventions, in real guests. Most of its time is
//! spent on booting; `BLKSTAY_FSTESTS=all` also runs what hangs and what ends its guest, each of which takes a boot more.

use blkstay_tests::{binary, journal, lab};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A run of the small tree on small disks.
struct Run {
    directory: TempDir,
    output: Output,
}

impl Run {
    fn of(arguments: &[&str]) -> Run {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(binary::path("blkstay"));
        command.arg("fstests").arg("--tree").arg(tree()).args(["--size", "512M", "--memory", "1G", "--json"]);
        command.arg("--keep").arg(directory.path().join("kept")).args(arguments);
        let output = command.output().expect("blkstay runs");
        Run { directory, output }
    }

    fn document(&self) -> Value {
        let parsed = serde_json::from_slice(&self.output.stdout);
        parsed.unwrap_or_else(|_| panic!("no document: {}", lab::said(&self.output)))
    }

    /// What was kept of the only kernel.
    fn kept(&self, name: &str) -> PathBuf {
        let kernels = std::fs::read_dir(self.directory.path().join("kept")).expect("a directory");
        let kernel = kernels.map(|entry| entry.expect("an entry").path()).next().expect("a kernel");
        kernel.join(name)
    }
}

fn tree() -> PathBuf {
    lab::root().join("tests/fstests-like")
}

#[track_caller]
fn result<'d>(document: &'d Value, test: &str) -> &'d Value {
    let results = document["results"].as_array().expect("results");
    results
        .iter()
        .find(|result| result["test"] == test)
        .unwrap_or_else(|| panic!("no {test} in {document:#}"))
}

#[track_caller]
fn assert_shows(document: &Value, test: &str, verdict: &str, word: &str, why: &str) {
    let result = result(document, test);
    let reason = result["reasons"][0]["why"].as_str().expect("a reason");
    assert_eq!(
        (result["verdict"].as_str(), &result["fstests"][word]),
        (Some(verdict), &Value::from(1)),
        "{result:#}"
    );
    assert!(reason.contains(why), "{reason}");
}

/// Holds nothing, and is for every flush; the symptom is a line that a test of the tree prints.
const POLICY: &str = r#"
[sign]
told = { kernel-log = "at a test of tests" }

[[rule]]
name  = "slow"
op    = "flush"
gate  = "submit"
delay = "1ms"
"#;

#[test]
fn every_way_in_which_a_test_can_end_has_its_verdict() {
    let run = Run::of(&["--group", "auto", "--mkfs", "-O ^extents,^64bit"]);
    let document = run.document();
    assert_shows(&document, "generic/001", "survived", "passed", "passed");
    assert_shows(&document, "generic/002", "open", "failed", "output mismatch");
    assert_shows(&document, "generic/003", "missed", "notrun", "not run: this test requires what nobody has");
    assert_shows(&document, "generic/004", "survived", "passed", "passed");
    assert_shows(&document, "generic/006", "open", "failed", "something found in dmesg");
    assert_shows(&document, "generic/007", "survived", "passed", "passed");
    assert_eq!(run.output.status.code(), Some(4), "tests failed");
    assert!(run.kept("results/natural-1/generic/002.out.bad").is_file());
    assert!(run.kept("results/natural-1/generic/006.dmesg").is_file());
    assert!(run.kept("results/natural-1/check.log").is_file());
    for disk in ["test", "scratch"] {
        let journal = journal::read(&run.kept(&format!("boot-1/{disk}.journal")));
        assert!(journal.len() > 100, "{} records of the {disk} disk", journal.len());
    }
}

#[test]
fn a_policy_acts_in_tests_alone_and_its_symptom_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let policy = directory.path().join("slow.toml");
    std::fs::write(&policy, POLICY).expect("a policy");
    let of_scratch = format!("scratch={}", policy.display());
    let excluded = directory.path().join("excluded");
    std::fs::write(&excluded, "generic/002    # known to fail\n").expect("a file");
    let excluded = excluded.to_str().expect("a path");
    let of = ["--policy", &of_scratch, "--exclude-file", excluded];
    let run = Run::of(&[&of[..], &["--test", "generic/00[1236]*", "--expect", "generic/006=open"]].concat());
    let document = run.document();
    let results = document["results"].as_array().expect("results");
    let tests: Vec<&str> = results.iter().filter_map(|result| result["test"].as_str()).collect();
    let those = ["generic/001", "generic/002", "generic/003", "generic/006"];
    assert_eq!(tests, those, "their .out files, which the pattern fits too, are none");
    assert_shows(&document, "generic/002", "missed", "expunged", "excluded");
    assert_shows(&document, "generic/001", "survived", "passed", "passed; the policy acted on scratch");
    assert!(result(&document, "generic/001")["policies"]["scratch"]["rules"]["slow"].as_u64() > Some(0));
    assert_shows(&document, "generic/003", "missed", "notrun", "not run");
    assert_eq!(result(&document, "generic/006")["verdict"], "open");
    assert_eq!(run.output.status.code(), Some(0), "all is as expected: {}", lab::said(&run.output));
}

#[test]
fn a_guest_that_hangs_or_dies_is_lost_and_the_next_goes_on() {
    if std::env::var("BLKSTAY_FSTESTS").as_deref() != Ok("all") {
        eprintln!("skipped: three boots and a time limit; BLKSTAY_FSTESTS=all runs it");
        return;
    }
    let tests =
        ["--test", "generic/004", "--test", "generic/005", "--test", "generic/007", "--test", "generic/008"];
    let run = Run::of(&[&tests[..], &["--limit", "40s"]].concat());
    let document = run.document();
    assert_eq!(result(&document, "generic/004")["verdict"], "survived");
    let why =
        |test: &str| result(&document, test)["reasons"][0]["why"].as_str().expect("a reason").to_owned();
    assert_eq!(result(&document, "generic/005")["verdict"], "lost");
    assert!(why("generic/005").starts_with("no end after 40 s"), "{}", why("generic/005"));
    assert_eq!(result(&document, "generic/007")["verdict"], "survived", "in the second guest");
    assert_eq!(result(&document, "generic/008")["verdict"], "lost");
    assert!(why("generic/008").starts_with("the guest died or fell silent"), "{}", why("generic/008"));
    assert!(run.kept("boot-2/console.log").is_file());
    let tasks =
        std::fs::read_to_string(run.kept("results/natural-1/generic-005.hung")).expect("what was running");
    assert!(tasks.contains("tail -f /dev/null"), "{tasks}");
    assert_eq!(run.output.status.code(), Some(3), "guests were lost");
}

#[test]
fn what_cannot_be_run_says_what_to_do() {
    let refused = |arguments: &[&str]| {
        let words: Vec<&Path> =
            std::iter::once("fstests").chain(arguments.iter().copied()).map(Path::new).collect();
        let ended = binary::run("blkstay", &words);
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        ended.err
    };
    let nothing = tempfile::tempdir().expect("a directory");
    let path = nothing.path().to_str().expect("a path");
    assert!(refused(&["--tree", path, "--group", "quick"]).contains("no checkout of fstests"));
    let tree = tree();
    let tree = tree.to_str().expect("a path");
    let said = refused(&["--tree", tree, "--group", "quick", "--", "-g", "auto"]);
    assert_eq!(said, "blkstay: `-g` after `--`: groups are named with --group\n");
}
