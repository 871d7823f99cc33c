//! Every policy that the project shows a reader is a good one: nothing about it is doubtful, and run on some requests it lets
//! every one of them end.

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::engine::{Action, Engine, Input};
use blkstay_engine::policy::{Policy, Settings};
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(directory)).expect("a directory").flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn assert_good(origin: &str, text: &str) {
    let mut include = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    let checked = Policy::read(origin, text, &Settings::default(), &mut include)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(checked.warnings.list.is_empty(), "{}", checked.warnings);
    assert!(!checked.policy.explain().is_empty());
    run(origin, checked.policy);
}

/// Writes, reads and flushes, under a policy that is armed; whoever waits for an event waits for his watchdog.
fn run(origin: &str, policy: Policy) {
    let mut engine = Engine::new();
    let mut pending = engine.load(0, policy, true);
    let (mut now, mut wake, mut ended) = (0, None, BTreeSet::new());
    let arrivals = (1..=300_u64).map(|id| {
        let op = [Op::Write, Op::Read, Op::Write, Op::Flush][id as usize % 4];
        let length = if op.has_range() { 4096 } else { 0 };
        let range = ByteRange { offset: id % 64 * 4096, length };
        let (class, probes) = (ClassSet::of(&[Class::JournalCommit]), Probes::default());
        Input::Arrived(Request { id: RequestId(id), queue: 0, op, range, class, probes })
    });
    let mut inputs: VecDeque<Input> = arrivals.collect();
    for _ in 0..100_000 {
        for action in std::mem::take(&mut pending) {
            match action {
                Action::Submit(id) => {
                    inputs.push_front(Input::Done { id, status: Status::Ok, probes: Probes::default() });
                }
                Action::Complete(id, _) => assert!(ended.insert(id), "{origin}: {id} ended twice"),
                Action::WakeAt(at) => wake = at,
                _ => {}
            }
        }
        now += 1_000;
        let input = match (inputs.pop_front(), wake.take()) {
            (Some(input), at) => {
                wake = at;
                input
            }
            (None, Some(at)) => {
                now = now.max(at);
                Input::Tick
            }
            (None, None) => break,
        };
        pending = engine.step(now, input);
    }
    assert_eq!(ended.len(), 300, "{origin}: not every request ended");
}

#[test]
fn policies_in_the_manuals_are_good() {
    let mut manuals = files("docs", "md");
    manuals.push(root().join("README.md"));
    let mut shown = 0;
    for manual in manuals {
        for block in text(&manual).split("```toml\n").skip(1) {
            let (policy, _) = block.split_once("```").expect("a block ends");
            assert_good(&manual.display().to_string(), policy);
            shown += 1;
        }
    }
    assert!(shown >= 8, "only {shown} policies are shown");
}

#[test]
fn policies_of_the_library_are_good() {
    let library = files("policies", "toml");
    assert!(library.len() >= 11, "only {} policies", library.len());
    for path in library {
        assert_good(&path.display().to_string(), &text(&path));
    }
}
