//! Policies in which what looks as if it waited for itself goes on, and that `blkstay check` does not doubt.

use crate::policies::WATCHDOG_NS;
use crate::steps::Step;
use crate::world::World;
use blkstay_engine::journal::{Cause, Record};
use blkstay_engine::policy::{Policy, Settings};

/// The rule and the point of each such warning.
fn doubts(text: &str) -> Vec<(String, String)> {
    let mut none = |_: &str| Err("there is none".to_owned());
    let checked = Policy::read("test", text, &Settings::default(), &mut none).expect("a good policy");
    let doubt = |message: &str| {
        let (rule, rest) =
            message.strip_prefix("rule `")?.split_once("` may wait for itself: it can hold `")?;
        Some((rule.to_owned(), rest.split_once('`')?.0.to_owned()))
    };
    checked.warnings.list.iter().filter_map(|warning| doubt(&warning.message)).collect()
}

fn finish(pick: usize) -> Step {
    Step::Finish { pick, fails: false, probes: 0 }
}

/// A policy that is not doubted, and in which what is held goes on by itself when the point of the schedule has come.
fn assert_goes_on(rest: &str, steps: &[Step]) {
    let text = format!("watchdog = \"{WATCHDOG_NS}ns\"\n{rest}");
    assert_eq!(doubts(&text), [], "{text}");
    let journal = World::after(&text, false, steps).journal();
    let ends = |record: &Record| match record {
        Record::Released { cause, .. } | Record::Resumed { cause, .. } => Some(cause.clone()),
        _ => None,
    };
    let ends: Vec<Cause> = journal.iter().filter_map(|line| ends(&line.record)).collect();
    let by_itself = |cause: &Cause| matches!(cause, Cause::Until { .. } | Cause::Resumed);
    assert!(!ends.is_empty() && ends.iter().all(by_itself), "{ends:?}\n{text}");
}

/// Steps of requests (operation, block, queue), each of which the drive finishes at once.
fn steps(requests: &[(usize, u64, u16)]) -> Vec<Step> {
    let arrive = |(op, block, queue): (usize, u64, u16)| Step::Arrive {
        op,
        block,
        length: 2,
        queue,
        class: 0,
        probes: 0,
    };
    requests.iter().flat_map(|request| [arrive(*request), finish(0)]).collect()
}

#[test]
fn a_pause_of_another_ring_goes_on() {
    let other_ring = |begins: &str| {
        format!(
            "[point]\nA = {{ op = \"write\", queue = 0 }}\nF = {{ op = \"read\", queue = 1 }}\n[[rule]]\ngate = \"submit\"\n\
             {begins}\npause = \"ring\"\nuntil = \"F.completed\"\n"
        )
    };
    let schedule = steps(&[(1, 0, 0), (0, 0, 1)]);
    assert_goes_on(&other_ring("op = \"write\"\nqueue = 0\ncount = 1"), &schedule);
    assert_goes_on(&other_ring("point = \"A\""), &schedule);
}

#[test]
fn what_another_rule_lets_go_or_holds_of_the_point_itself_does_not_wait_for_itself() {
    let behind = |first: &str| {
        format!(
            "event = {{ x = \"guest\" }}\n[point]\nF = {{ op = \"write\", place = {{ block = 8, blocks = 1 }} }}\n{first}\n\
             [[rule]]\ngate = \"complete\"\nop = \"write\"\ncount = 8\nuntil = \"F.completed\"\n"
        )
    };
    let mut schedule = steps(&[(1, 0, 0), (1, 8, 0)]);
    let pass =
        "[[rule]]\ngate = \"complete\"\nop = \"write\"\nplace = { block = 8, blocks = 1 }\npass = true";
    assert_goes_on(&behind(pass), &schedule);
    schedule.push(Step::Emit { guest: true, event: 0 });
    assert_goes_on(&behind("[[hold]]\ngate = \"F.complete\"\nuntil = \"guest.x\""), &schedule);
}

#[test]
fn an_earlier_rule_for_all_that_both_are_for_lets_the_point_go() {
    let partly = |point: &str, first: &str, late: &str| {
        format!(
            "[point]\nF = {{ {point} }}\n[[rule]]\ngate = \"complete\"\n{first}\npass = true\n\
             [[rule]]\ngate = \"complete\"\n{late}\nuntil = \"F.completed\"\n"
        )
    };
    let (at_8, read) = ("place = { block = 8, blocks = 1 }", "op = \"read\"");
    let schedule = steps(&[(0, 8, 1), (0, 8, 0)]);
    let policies = [
        partly(at_8, &format!("{read}\nqueue = 0\npoint = \"F\""), &format!("{read}\nqueue = 0")),
        partly("queue = 0", &format!("{at_8}\nqueue = 0"), &format!("{read}\n{at_8}")),
        partly(&format!("{read}, queue = 0"), &format!("{at_8}\npoint = \"F\""), at_8),
    ];
    for policy in policies {
        assert_eq!(doubts(&policy), [], "{policy}");
        World::after(&policy, false, &schedule);
    }
}
