//! What `blkstay check` says may hold what it waits for, does so in some order of requests; and what does in none is not
//! doubted.

use crate::policies::WATCHDOG_NS;
use crate::steps::Step;
use crate::world::World;
use blkstay_engine::journal::{Cause, Record};
use blkstay_engine::policy::{Policy, Settings};
use proptest::prelude::*;

/// Operations, by their place in a step, and blocks.
const OPS: [(&str, usize); 2] = [("read", 0), ("write", 1)];
const BLOCKS: [u64; 2] = [0, 8];

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

/// Every request there can be, as a step.
fn requests() -> Vec<Step> {
    let arrive = |op, block, queue| Step::Arrive { op, block, length: 2, queue, class: 0, probes: 0 };
    let on_queue = |(_, op), block| (0..2).map(move |queue| arrive(op, block, queue));
    OPS.iter().flat_map(|op| BLOCKS.iter().flat_map(move |block| on_queue(*op, *block))).collect()
}

fn finish(pick: usize) -> Step {
    Step::Finish { pick, fails: false, probes: 0 }
}

/// Every schedule of up to three requests, of which the drive finishes each at once or the later ones first; in the end also
/// what waits for `guest.x`.
fn schedules() -> Vec<Vec<Step>> {
    let mut all: Vec<Vec<Step>> = vec![Vec::new()];
    let mut longest = all.clone();
    for _ in 0..3 {
        let longer = longest
            .iter()
            .flat_map(|before| requests().into_iter().map(move |next| [before.as_slice(), &[next]].concat()));
        longest = longer.collect();
        all.extend(longest.clone());
    }
    let end = [Step::Emit { guest: true, event: 0 }, finish(0), finish(0), finish(0)];
    let at_once = |step: &Step| [step.clone(), finish(0)];
    let both = all.iter().flat_map(|steps| {
        let each: Vec<Step> = steps.iter().flat_map(at_once).collect();
        [each, [steps.as_slice(), &[finish(2), finish(1), finish(0)]].concat()]
    });
    both.map(|steps| [steps.as_slice(), end.as_slice()].concat()).collect()
}

/// Whether a rule holds a request of a point in some schedule.
fn can_hold(text: &str, rule: &str, of: &str) -> bool {
    let is_held = |record: &Record| match record {
        Record::Held { point, rule: Some(by), .. } => point == of && by == rule,
        _ => false,
    };
    schedules()
        .iter()
        .any(|steps| World::after(text, false, steps).journal().iter().any(|line| is_held(&line.record)))
}

/// The keys of a rule or a point, by these numbers.
fn keys(numbers: &[usize]) -> Vec<String> {
    let one = |at: usize, words: &[&str]| words[numbers[at] % words.len()].to_owned();
    let keys = [
        one(0, &["op = \"write\"", "op = \"read\"", ""]),
        one(1, &["place = { offset = 0, length = 4096 }", "place = { block = 8, blocks = 1 }", "", ""]),
        one(2, &["queue = 0", "queue = 1", "", ""]),
    ];
    keys.into_iter().filter(|key| !key.is_empty()).collect()
}

/// A point, perhaps held, and rules of which the last waits for it.
fn write(point: &[usize], hold: usize, rules: &[Vec<usize>]) -> String {
    let mut text = format!("watchdog = \"{WATCHDOG_NS}ns\"\n");
    text += &format!("event = {{ x = \"guest\" }}\n[point]\nF = {{ {} }}\n", keys(point).join(", "));
    text += match hold % 4 {
        0 => "[[hold]]\ngate = \"F.complete\"\nuntil = \"guest.x\"\n",
        1 => "[[hold]]\ngate = \"F.submit\"\nuntil = \"guest.x\"\n",
        _ => "",
    };
    for (index, numbers) in rules.iter().enumerate() {
        let gate = ["complete", "submit"][numbers[3] % 2];
        let is_last = index + 1 == rules.len();
        let does = match numbers[4] % 6 {
            0 | 1 if is_last => "until = \"F.completed\"",
            2 | 3 if is_last => "pause = \"ring\"\nuntil = \"F.completed\"",
            _ if is_last => "pause = \"disk\"\nuntil = \"F.completed\"",
            // Nothing that takes time: the schedules let none pass.
            0..=2 => "pass = true",
            3 if gate == "submit" => "fail = \"io-error\"",
            _ => "until = \"guest.x\"",
        };
        let turn = ["", "", "count = 1", "nth = 1", "point = \"F\""][numbers[5] % 5];
        text += &format!("[[rule]]\ngate = \"{gate}\"\n{}\n{turn}\n{does}\n", keys(numbers).join("\n"));
    }
    text
}

fn policies() -> impl Strategy<Value = String> {
    let numbers = || prop::collection::vec(0..60_usize, 6);
    (numbers(), 0..60_usize, prop::collection::vec(numbers(), 1..3))
        .prop_map(|(point, hold, rules)| write(&point, hold, &rules))
        .prop_filter("has a mistake", |text| Policy::parse("test", text).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_may_wait_for_itself_can(text in policies()) {
        for (rule, point) in doubts(&text) {
            prop_assert!(can_hold(&text, &rule, &point), "rule {rule} never holds {point}:\n{text}");
        }
    }
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
