//! Tries a policy on what a journal has recorded: what would it have decided?
//!
//! The loop is open. Requests arrive when they arrived then, the guest and clients say what they said then, and the
//! drive takes as long for each request as it did; a guest that would have waited for what is held now does not send
//! its next request later. Attempts are those of the journal, all forced; where it has none, the policy is armed.

mod start;

use crate::event::Gate;
use crate::journal::{Cause, Does, Line, Record};
use crate::policy::{Filter, Policy};
use crate::report::{AttemptReport, HeldRequest};
use crate::request::{Nanos, Request, Status};
use serde::Serialize;
use start::Start;
use std::collections::{BTreeMap, BTreeSet};

/// What a policy would have decided.
#[derive(Clone, Debug, Default)]
pub struct DryRun {
    /// Every request, in order of arrival.
    pub requests: Vec<Row>,
    /// What became of each rule, in the order of the policy.
    pub rules: Vec<RuleTally>,
    /// How often each point came, in the order of the policy.
    pub points: Vec<PointTally>,
    /// What stood when its guest went or the journal ended.
    pub standing: Vec<Standing>,
    /// What cannot be told from this journal.
    pub unknown: Vec<Unknown>,
    /// Requests that the drive never finished in the journal: they are taken to last as long as others of their
    /// operation, by the median.
    pub guessed: u64,
}

/// A request and what is decided on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Which start of the daemon it belongs to, counted from 1: one journal may have several.
    pub start: u64,
    /// The attempt, if one had begun.
    pub attempt: Option<u64>,
    /// When it arrived.
    pub t: Nanos,
    /// The request, as it is in the journal.
    #[serde(flatten)]
    pub request: Request,
    /// The point that it is.
    pub point: Option<String>,
    /// What is decided at the submit gate, in order; nothing: it goes on at once.
    pub submit: Vec<Decision>,
    /// The same at the complete gate.
    pub complete: Vec<Decision>,
    /// The pauses of rules that it merely stands in: they were begun for another request.
    pub stands_in: Vec<Pause>,
    /// When the guest would have been told, and what.
    pub completed: Option<Ending>,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// When.
    pub t: Nanos,
    /// With which status.
    pub status: Status,
}

/// Who decides what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// When.
    pub t: Nanos,
    /// The rule; the holds of the request's point if there is none.
    pub rule: Option<String>,
    /// What it does.
    pub does: Does,
    /// What is waited for, if it is something that happens.
    pub until: Option<String>,
    /// For how long, if that is known at once, in nanoseconds.
    pub wait_ns: Option<Nanos>,
    /// The status that the request ends with, if that is not the drive's.
    pub status: Option<Status>,
    /// How the waiting ends.
    pub released: Option<Released>,
}

/// A pause that a request stands in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pause {
    /// Since when.
    pub t: Nanos,
    /// Where it stands.
    pub gate: Gate,
    /// The rule that began the pause.
    pub rule: String,
    /// What ends it.
    pub until: String,
    /// When and why it went on.
    pub released: Option<Released>,
}

impl Row {
    /// What is decided at a gate.
    fn at(&mut self, gate: Gate) -> &mut Vec<Decision> {
        match gate {
            Gate::Submit => &mut self.submit,
            Gate::Complete => &mut self.complete,
        }
    }

    /// It stands: for the rule that has just decided on it, in the pause of another, or for its holds.
    fn held(&mut self, t: Nanos, gate: Gate, rule: Option<String>, until: String) {
        let last = self.at(gate).last_mut().filter(|last| last.rule == rule && last.released.is_none());
        let (until, released) = match (last, rule) {
            (Some(last), _) => return last.until = Some(until),
            (None, Some(rule)) => {
                return self.stands_in.push(Pause { t, gate, rule, until, released: None });
            }
            (None, None) => (Some(until), None),
        };
        let (rule, does, wait_ns, status) = (None, Does::Hold, None, None);
        self.at(gate).push(Decision { t, rule, does, until, wait_ns, status, released });
    }

    /// It goes on.
    fn released(&mut self, gate: Gate, released: Released) {
        let pause = self.stands_in.iter_mut().rfind(|pause| pause.gate == gate && pause.released.is_none());
        match pause {
            Some(pause) => pause.released = Some(released),
            None => {
                self.at(gate).last_mut().into_iter().for_each(|last| last.released = Some(released.clone()))
            }
        }
    }
}

/// How waiting ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Released {
    /// When.
    pub t: Nanos,
    /// Why.
    #[serde(flatten)]
    pub cause: Cause,
}

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleTally {
    /// Its name.
    pub rule: String,
    /// Requests that came to it and match.
    pub matched: u64,
    /// Those that it decided on, or noted.
    pub taken: u64,
}

/// How often a point came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PointTally {
    /// Its name.
    pub point: String,
    /// Requests that were it.
    pub requests: u64,
}

/// A request that stands at the end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Which start of the daemon.
    pub start: u64,
    /// When its guest went or the journal ended.
    pub t: Nanos,
    /// Where it stands.
    #[serde(flatten)]
    pub held: HeldRequest,
}

/// Something that cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// What it is about, `rule slow` say.
    pub about: String,
    /// Why.
    pub why: &'static str,
}

/// Tries a policy on the lines of a journal.
pub fn run(policy: &Policy, lines: &[Line]) -> DryRun {
    let mut result = DryRun::default();
    let has_class = lines
        .iter()
        .any(|line| matches!(&line.record, Record::Arrived { request, .. } if !request.class.is_empty()));
    let mut missed = BTreeSet::new();
    let (mut rules, mut points) = (BTreeMap::new(), BTreeMap::new());
    for (index, lines) in starts(lines).into_iter().enumerate() {
        let mut start = Start::new(policy, lines, index as u64 + 1);
        start.run(lines);
        result.requests.extend(start.rows.into_values());
        result.standing.append(&mut start.standing);
        result.guessed += start.guessed;
        missed.append(&mut start.missed);
        for report in &start.reports {
            add(report, &mut rules, &mut points);
        }
    }
    result.rules = policy
        .rules
        .iter()
        .map(|rule| {
            let (matched, taken) = rules.get(&rule.name).copied().unwrap_or_default();
            RuleTally { rule: rule.name.clone(), matched, taken }
        })
        .collect();
    result.points = policy
        .points
        .iter()
        .map(|point| PointTally {
            point: point.name.clone(),
            requests: points.get(&point.name).copied().unwrap_or_default(),
        })
        .collect();
    result.unknown = unknown(policy, has_class, &missed);
    result
}

/// The lines of each start of the daemon.
fn starts(lines: &[Line]) -> Vec<&[Line]> {
    let begins = lines.iter().enumerate().filter(|(_, line)| matches!(line.record, Record::Journal { .. }));
    let mut cuts: Vec<usize> = begins.map(|(index, _)| index).filter(|index| *index > 0).collect();
    cuts.insert(0, 0);
    cuts.push(lines.len());
    cuts.windows(2).map(|pair| &lines[pair[0]..pair[1]]).filter(|lines| !lines.is_empty()).collect()
}

fn add(report: &AttemptReport, rules: &mut BTreeMap<String, (u64, u64)>, points: &mut BTreeMap<String, u64>) {
    for (name, rule) in &report.rules {
        let tally = rules.entry(name.clone()).or_default();
        tally.0 += rule.matched;
        tally.1 += rule.taken;
    }
    for (name, point) in &report.points {
        *points.entry(name.clone()).or_default() += point.requests;
    }
}

/// What asks for something that the journal does not have.
fn unknown(policy: &Policy, has_class: bool, missed: &BTreeSet<usize>) -> Vec<Unknown> {
    let why = |filter: &Filter| match (filter.class, filter.probe) {
        (_, Some(probe)) if missed.contains(&usize::from(probe)) => Some(
            "the journal does not have the data of requests, and its policy did not test them for this payload",
        ),
        (Some(_), _) if !has_class => {
            Some("the journal does not have the class of any request: its policy did not ask for classes")
        }
        _ => None,
    };
    let points = policy.points.iter().map(|point| (format!("point {}", point.name), &point.filter));
    let rules = policy.rules.iter().map(|rule| (format!("rule {}", rule.name), &rule.filter));
    points.chain(rules).filter_map(|(about, filter)| Some(Unknown { about, why: why(filter)? })).collect()
}
