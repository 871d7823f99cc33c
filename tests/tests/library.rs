//! Each policy of `policies/` does what its header says: those about the disk with a client, those about a filesystem
//! in a real guest. The cases of the race are in `guests.rs`.

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Does, Line, Record};
use blkstay_engine::request::{Op, Request as Seen, RequestId, Status};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::journal;
use blkstay_tests::lab::{self, AFFECTED};
use blkstay_tests::request::{OK, Request};
use serde_json::Value;
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;

fn daemon(policy: &str) -> Daemon {
    Recipe::new().policy(&std::fs::read_to_string(lab::policy(policy)).expect("a policy")).start()
}

/// Which rule decided on which request, what it did, and for how long.
fn decisions(records: &[Record]) -> BTreeMap<RequestId, (Gate, String, Does, Option<u64>)> {
    let decided = records.iter().filter_map(|record| match record {
        Record::Decided { id, gate, rule, does, wait_ns, .. } => {
            Some((*id, (*gate, rule.clone(), *does, *wait_ns)))
        }
        _ => None,
    });
    decided.collect()
}

fn requests(records: &[Record]) -> Vec<Seen> {
    journal::arrived(records)
}

/// When something that is recorded of a request happened.
fn at(lines: &[Line], wanted: impl Fn(&Record) -> bool) -> u64 {
    lines.iter().find(|line| wanted(&line.record)).expect("a record").t
}

fn completed_at(lines: &[Line], id: RequestId) -> u64 {
    at(lines, |record| matches!(record, Record::Completed { id: seen, .. } if *seen == id))
}

fn done_at(lines: &[Line], id: RequestId) -> u64 {
    at(lines, |record| matches!(record, Record::Done { id: seen, .. } if *seen == id))
}

#[test]
fn slow_flush_lets_writes_be_and_flushes_wait() {
    let daemon = daemon("slow-flush");
    let mut client = daemon.connect();
    for sector in 0..20 {
        client.write(sector, &[7; 512]);
        assert_eq!(client.ask(&Request::flush()).status, OK);
    }
    let (records, lines) = (daemon.records(), daemon.lines());
    let decisions = decisions(&records);
    for request in requests(&records) {
        let decision = decisions.get(&request.id);
        assert_eq!(decision.is_some(), request.op == Op::Flush);
        if let Some((Gate::Complete, _, Does::Delay, Some(wait))) = decision {
            assert!(completed_at(&lines, request.id) >= done_at(&lines, request.id) + wait);
        }
    }
}

#[test]
fn last_in_first_out_turns_a_window_around() {
    let daemon = daemon("last-in-first-out");
    let mut client = daemon.connect();
    let pending: Vec<_> = (0..8).map(|sector| client.start(&Request::write(sector, &[7; 512]))).collect();
    for one in &pending {
        assert_eq!(client.wait(one).status, OK);
    }
    let lines = daemon.lines();
    let order = |wanted: fn(&Record) -> Option<RequestId>| -> Vec<RequestId> {
        lines.iter().filter_map(|line| wanted(&line.record)).collect()
    };
    let mut done = order(|record| match record {
        Record::Done { id, .. } => Some(*id),
        _ => None,
    });
    let completed = order(|record| match record {
        Record::Completed { id, .. } => Some(*id),
        _ => None,
    });
    done.reverse();
    assert_eq!(completed, done, "the last one that the drive did is the first that is told");
}

#[test]
fn bimodal_ssd_has_two_speeds_in_the_ratio_of_its_table() {
    let daemon = daemon("bimodal-ssd");
    let mut client = daemon.connect();
    (0..200).for_each(|_| drop(client.read(0, 512)));
    let waits: Vec<u64> = decisions(&daemon.records()).values().filter_map(|(.., wait)| *wait).collect();
    let slow = waits.iter().filter(|wait| **wait == 5 * MS).count();
    assert_eq!(waits.len(), 200);
    assert!(waits.iter().all(|wait| [80_000, 5 * MS].contains(wait)));
    assert!((20..=60).contains(&slow), "{slow} of 200 are slow; about 40 should be");
}

#[test]
fn garbage_collection_lets_what_comes_during_it_wait_for_its_end() {
    let policy = lab::policy("garbage-collection");
    let short = ["every = \"1s\"", "every = \"20ms\""];
    let text = std::fs::read_to_string(policy).expect("a policy").replace(short[0], short[1]);
    let daemon = Recipe::new().policy(&text.replace("for   = \"80ms\"", "for   = \"10ms\"")).start();
    let mut client = daemon.connect();
    let started = std::time::Instant::now();
    while started.elapsed() < std::time::Duration::from_millis(200) {
        client.write(0, &[7; 512]);
        client.read(0, 512);
    }
    let records = daemon.records();
    let decisions = decisions(&records);
    let waited = decisions.values().filter(|(.., wait)| wait.is_some_and(|wait| wait > 0)).count();
    assert!(waited >= 3, "only {waited} waited in ten stalls");
    assert!(decisions.values().all(|(.., wait)| wait.is_some_and(|wait| wait <= 10 * MS)));
    let reads = requests(&records).into_iter().filter(|request| request.op == Op::Read);
    assert!(reads.into_iter().all(|read| !decisions.contains_key(&read.id)), "reads do not stall");
}

#[test]
fn hung_drive_stands_from_one_word_to_the_other_and_loses_nothing() {
    let daemon = daemon("hung-drive");
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    client.write(0, &[1; 512]);
    control.emit("hang");
    let pending: Vec<_> = (1..=5).map(|sector| client.start(&Request::write(sector, &[7; 512]))).collect();
    blkstay_tests::wait_for("all of them to stand", || (control.held().len() == 5).then_some(()));
    assert!(pending.iter().all(|one| !client.is_done(one)));
    control.emit("back");
    for one in &pending {
        assert_eq!(client.wait(one).status, OK);
    }
    assert_eq!(client.read(1, 512), [7; 512]);
}

/// Every decision of a run's journal is of this rule and about requests of these classes, and there are some.
fn assert_only(records: &[Record], rule: &str, classes: ClassSet) {
    let decisions = decisions(records);
    assert!(!decisions.is_empty(), "{rule} decided nothing");
    for request in requests(records) {
        if let Some((_, by, ..)) = decisions.get(&request.id) {
            assert_eq!(by, rule);
            assert!(request.class.meets(classes), "{rule} decided on {} ({})", request.id, request.class);
        }
    }
}

/// The forced arm of a run's journal.
fn forced(records: Vec<Record>) -> Vec<Record> {
    let began = |record: &Record| {
        matches!(record, Record::AttemptBegan { arm: blkstay_engine::journal::Arm::Forced, .. })
    };
    let first = records.iter().position(began).expect("a forced attempt");
    records.into_iter().skip(first).collect()
}

#[test]
fn slow_journal_commit_delays_commit_blocks_and_nothing_else() {
    let (kernel, records) = lab::journalled(&lab::policy("slow-journal-commit"), AFFECTED, "2", &[]);
    assert_eq!(kernel["verdict"], "survived", "{kernel:#}");
    let records = forced(records);
    assert_only(&records, "slow-commit", ClassSet::of(&[Class::JournalCommit]));
    let decisions = decisions(&records);
    assert!(decisions.values().all(|(gate, _, does, wait)| {
        (*gate, *does, *wait) == (Gate::Submit, Does::Delay, Some(100 * MS))
    }));
    let commits = requests(&records).into_iter().filter(|request| {
        request.op == Op::Write && request.class.meets(ClassSet::of(&[Class::JournalCommit]))
    });
    assert!(commits.clone().count() >= 2, "two attempts commit at least twice");
}

#[test]
fn metadata_delay_delays_metadata_and_lets_file_data_be() {
    let (kernel, records) = lab::journalled(&lab::policy("metadata-delay"), AFFECTED, "2", &[]);
    assert_eq!(kernel["verdict"], "survived", "{kernel:#}");
    let records = forced(records);
    let metadata = ClassSet::from_name("metadata").expect("a group");
    assert_only(&records, "metadata", metadata);
    let data = ClassSet::of(&[Class::FileData]);
    let decisions = decisions(&records);
    let written: Vec<Seen> =
        requests(&records).into_iter().filter(|seen| seen.op == Op::Write && seen.class == data).collect();
    assert!(!written.is_empty(), "a file's data was written");
    assert!(written.iter().all(|seen| !decisions.contains_key(&seen.id)));
}

#[test]
fn journal_write_fails_aborts_the_journal() {
    let (kernel, records) = lab::journalled(&lab::policy("journal-write-fails"), AFFECTED, "1", &[]);
    assert_eq!(kernel["verdict"], "open", "{kernel:#}");
    assert_eq!(kernel["control"]["symptoms"], 0, "{kernel:#}");
    assert_eq!(kernel["forced"]["signs"], serde_json::json!({ "aborted": 1, "fsync": 1 }), "{kernel:#}");
    assert_only(&records, "journal-write", ClassSet::from_name("journal").expect("a group"));
    let failed = |record: &&Record| matches!(record, Record::Completed { status: Status::WriteFault, .. });
    assert_eq!(records.iter().filter(failed).count(), 1);
}

#[test]
fn parameters_of_a_policy_are_set_on_the_command_line() {
    let policy = lab::policy("journal-write-fails");
    let (kernel, _) = lab::journalled(&policy, AFFECTED, "1", &["--set", "nth=100000"]);
    assert_eq!(kernel["verdict"], "survived", "{kernel:#}");
}

/// Every policy has a test: here, or for the cases of the race in `guests.rs`.
#[test]
fn no_policy_is_without_a_test_and_a_header() {
    let stories = [include_str!("library.rs"), include_str!("guests.rs")].concat();
    let (parts, cases): (Vec<_>, Vec<_>) = lab::files(&lab::root().join("policies"))
        .into_iter()
        .partition(|path| path.parent().is_some_and(|parent| parent.ends_with("parts")));
    for part in parts {
        let include = format!("\"parts/{}\"", part.file_name().unwrap_or_default().to_string_lossy());
        let includes =
            |path: &std::path::PathBuf| std::fs::read_to_string(path).expect("a policy").contains(&include);
        assert!(cases.iter().any(includes), "no policy includes {include}");
    }
    for path in cases {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(stories.contains(&format!("(\"{name}\")")), "no test runs {name}");
        let text = std::fs::read_to_string(&path).expect("a policy");
        for word in ["# shows ", "# kernels ", "# takes "] {
            assert!(text.contains(word), "{name} has no `{word}`");
        }
    }
}

/// The tutorial's own race, as its reader would write it.
#[test]
fn the_race_of_the_tutorial_is_open() {
    let tutorial = std::fs::read_to_string(lab::root().join("docs/tutorial.md")).expect("the tutorial");
    let block = |language: &str| {
        let (_, rest) = tutorial.split_once(&format!("```{language}\n")).expect("a block");
        rest.split_once("```").expect("a block ends").0.to_owned()
    };
    let directory = tempfile::tempdir().expect("a directory");
    let policy = directory.path().join("fsync-returns.toml");
    std::fs::write(&policy, block("toml")).expect("a file");
    std::fs::write(directory.path().join("fsync-returns.sh"), block("sh")).expect("a file");
    let document: Value = lab::document(&policy, &[AFFECTED], "3");
    let kernel = &document["kernels"][0];
    assert_eq!((&kernel["verdict"], &kernel["forced"]["open"]), (&"open".into(), &3.into()), "{kernel:#}");
}
