//! What `blkstay check` says that never is, never is.

use crate::tally::Tally;
use blkstay_engine::control::ExprText;
use blkstay_engine::event::Expr;
use blkstay_engine::journal::{Arm, Cause, Line, Record};
use blkstay_engine::policy::{Checked, Policy, Settings};
use std::collections::BTreeSet;

/// Something that is said never to be.
#[derive(Debug)]
enum Never {
    Arrives { point: String },
    Decides { rule: String },
    EndsHold { gate: String },
    EndsWait { rule: String },
    IsTrue { leaf: Expr },
}

/// What the warnings about a policy say.
fn said(text: &str) -> (Policy, Vec<(String, Never)>) {
    let mut none = |_: &str| Err("there is none".to_owned());
    let Checked { policy, warnings } =
        Policy::read("test", text, &Settings::default(), &mut none).expect("a good policy");
    let said = warnings.list.into_iter().filter_map(|warning| {
        let marked = text[warning.at.span.clone()].trim_matches('"');
        let name = marked.split([' ', '<', '>', '=']).next().unwrap_or(marked);
        // Of what never is, what is marked is the leaf itself; or the event or state in it is meant.
        let leaf = match warning.label.as_str() {
            "never is" => Some(marked),
            "never happens" | "never is on" => Some(name),
            _ => None,
        };
        let leaf = leaf.map(|written| Never::IsTrue { leaf: leaf_of(&policy, written) });
        let never = never(&warning.message).or(leaf);
        never.map(|never| (warning.message, never))
    });
    let said = said.collect();
    (policy, said)
}

fn leaf_of(policy: &Policy, written: &str) -> Expr {
    policy.resolve(&ExprText::Event(written.to_owned())).expect("an expression")
}

fn never(message: &str) -> Option<Never> {
    let name = |before: &str, after: &str| {
        let (name, rest) = message.strip_prefix(before)?.split_once('`')?;
        rest.starts_with(after).then(|| name.to_owned())
    };
    let rule = ["never decides", "never acts", "never matches"]
        .into_iter()
        .find_map(|never| name("rule `", &format!(" {never}")));
    let only = " ends only by its watchdog";
    let gate = name("the hold of `", only).or_else(|| name("the hold of `", " is never reached"));
    let wait = name("what rule `", " holds goes on only by its watchdog");
    let point = name("point `", " never is");
    rule.map(|rule| Never::Decides { rule })
        .or(gate.map(|gate| Never::EndsHold { gate }))
        .or(wait.map(|rule| Never::EndsWait { rule }))
        .or(point.map(|point| Never::Arrives { point }))
}

impl Never {
    /// Whether a record shows that it is.
    fn is(&self, record: &Record) -> bool {
        let by_itself = |cause: &Cause| matches!(cause, Cause::Until { .. } | Cause::Resumed);
        match (self, record) {
            (Never::Arrives { point }, Record::Arrived { point: Some(of), .. }) => of == point,
            (Never::Decides { rule }, Record::Decided { rule: of, .. }) => of == rule,
            (Never::EndsHold { gate }, Record::Released { point, rule: None, gate: of, cause, .. }) => {
                *gate == format!("{point}.{of}") && by_itself(cause)
            }
            (Never::EndsWait { rule }, Record::Released { rule: Some(of), cause, .. }) => {
                of == rule && by_itself(cause)
            }
            _ => false,
        }
    }

    /// The same of what the record and those before it amount to.
    fn is_by(&self, tally: &Tally<'_>) -> bool {
        matches!(self, Never::IsTrue { leaf } if !tally.is_over && leaf.holds(tally))
    }
}

/// Whether something makes the waits of an attempt end that would not by themselves.
fn interferes(record: &Record) -> bool {
    match record {
        Record::Released { cause, .. } => !matches!(
            cause,
            Cause::Until { .. } | Cause::Delay | Cause::Limit | Cause::Stall | Cause::Window { .. }
        ),
        // What is paused by hand is held, too.
        Record::Paused { rule: None, .. } | Record::Resumed { rule: None, .. } => true,
        _ => false,
    }
}

/// Asserts that nothing happens to the requests of an attempt that is said never to. What a watchdog or a person ends would
/// not have ended, and one that arrived in another attempt is no point: of these, nothing is said.
pub fn assert_never(text: &str, journal: &[Line]) {
    let (policy, said) = said(text);
    let mut tally = Tally::new(&policy);
    let (mut is_free, mut own, mut by_hand) = (true, BTreeSet::new(), 0);
    for Line { record, .. } in journal {
        tally.note(record);
        match record {
            Record::Paused { rule: None, .. } => by_hand += 1,
            Record::Resumed { rule: None, .. } => by_hand -= 1,
            _ => {}
        }
        match record {
            Record::Policy { .. } | Record::Armed { .. } | Record::AttemptEnded { .. } => {
                (is_free, own) = (true, BTreeSet::new());
            }
            Record::AttemptBegan { arm, .. } => (is_free, own) = (*arm == Arm::Forced, BTreeSet::new()),
            Record::RingStopped { .. } | Record::Disconnected => is_free = false,
            Record::Arrived { request, .. } if is_free => own.extend([request.id]),
            record if interferes(record) => is_free = false,
            _ => {}
        }
        let is_own = match record {
            Record::Arrived { request, .. } => own.contains(&request.id),
            Record::Decided { id, .. } | Record::Released { id, .. } => own.contains(id),
            _ => false,
        };
        let is = |never: &Never| is_own && never.is(record) || never.is_by(&tally);
        let wrong = said.iter().find(|(_, never)| is_free && by_hand == 0 && is(never));
        assert!(wrong.is_none(), "{wrong:?} is wrong: {record:?}\n{text}");
    }
}
