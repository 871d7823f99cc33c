//! What of an attempt is shown: from the moment the policy is about to the end, sorted into lanes.

use super::story::{Attempt, Life, Said, Stand, What};
use super::task::{self, Stuck, Task};
use super::words;
use crate::out::printable;
use blkstay_engine::journal::Cause;
use blkstay_engine::policy::{Policy, SignTest};
use blkstay_engine::request::Nanos;
use std::collections::BTreeMap;

/// Most kernel log lines that are shown one by one.
pub const LINES_MAX: usize = 6;

/// What is shown of an attempt.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The attempt.
    pub attempt: &'a Attempt,
    /// First moment that is shown.
    pub from_ns: Nanos,
    /// Last moment that is shown.
    pub to_ns: Nanos,
    /// Requests that came and went before the first moment.
    pub before: usize,
    /// Lanes of requests: the points in the policy's order, then what rules made wait, then all others.
    pub lanes: Vec<Group<'a>>,
    /// How many of these come first because the policy knows who writes them.
    pub actors: usize,
    /// What the guest's processes did, in the order in which they began.
    pub tasks: Vec<Task<'a>>,
    /// What was said in that time, in order.
    pub said: Vec<Heard<'a>>,
}

/// Requests that share a lane.
#[derive(Debug)]
pub struct Group<'a> {
    /// What they have in common.
    pub kind: Kind<'a>,
    /// The requests, in order of arrival; may be none for a point.
    pub requests: Vec<&'a Life>,
}

/// What requests of a lane have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind<'a> {
    /// They are this point.
    Point(&'a str),
    /// This rule made them wait.
    Rule(&'a str),
    /// Neither.
    Other,
}

/// Something that was said, and whether it is a sign of the symptom.
#[derive(Clone, Debug)]
pub struct Heard<'a> {
    /// What.
    pub said: &'a Said,
    /// Whether it is a sign.
    pub sign: bool,
    /// Where a process stands, if it says that.
    pub stuck: Option<Stuck<'a>>,
}

/// Why something that stood went on, and where that came from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A step of this request.
    Request(&'a Life),
    /// Something that was said.
    Said(&'a Said),
}

impl<'a> Scene<'a> {
    /// Sorts an attempt.
    pub fn new(attempt: &'a Attempt, policy: Option<&'a Policy>) -> Scene<'a> {
        let from_ns = begin(attempt);
        let shown = |life: &&Life| life.end_ns(Nanos::MAX) >= from_ns;
        let requests: Vec<&Life> = attempt.requests.iter().filter(shown).collect();
        let before = attempt.requests.len() - requests.len();
        let said: Vec<Heard> = attempt
            .said
            .iter()
            .filter(|said| said.t >= from_ns)
            .map(|said| Heard {
                said,
                sign: policy.is_some_and(|policy| is_sign(policy, &said.what)),
                stuck: task::stuck(&said.what, policy),
            })
            .collect();
        let lived = requests.iter().flat_map(|life| life.times());
        let to_ns = lived.chain(said.iter().map(|heard| heard.said.t)).max().unwrap_or(from_ns);
        let tasks = task::tasks(&said, policy);
        let (lanes, actors) = lanes(requests, policy);
        Scene { attempt, from_ns, to_ns, before, lanes, actors, tasks, said }
    }

    /// Where an event that ended a stand at `t` came from.
    pub fn origin(&self, t: Nanos, cause: &Cause) -> Option<Origin<'a>> {
        let Cause::Until { event } = cause else { return None };
        let (owner, name) = event.split_once('.')?;
        let step = |life: &&&'a Life| life.point.as_deref() == Some(owner) && step(life, name) == Some(t);
        if let Some(life) = self.lanes.iter().flat_map(|lane| &lane.requests).rfind(step) {
            return Some(Origin::Request(life));
        }
        let is_it = |said: &Said| match &said.what {
            What::Event { source, name: heard, .. } => source.to_string() == owner && heard == name,
            What::Finished(_) => event == "attempt.finished",
            What::Stalled => event == "attempt.stalled",
            _ => false,
        };
        let heard = self.said.iter().rfind(|heard| heard.said.t <= t && is_it(heard.said));
        heard.map(|heard| Origin::Said(heard.said))
    }

    /// Every stand of every request that is shown, with its request.
    pub fn stands(&self) -> impl Iterator<Item = (&'a Life, &'a Stand)> {
        let lives = self.lanes.iter().flat_map(|lane| lane.requests.iter().copied());
        lives.flat_map(|life| life.stands.iter().map(move |stand| (life, stand)))
    }

    /// All moments that are drawn; `true`: it matters, being more than a step of just any request.
    pub fn moments(&self) -> BTreeMap<Nanos, bool> {
        let mut moments = BTreeMap::new();
        let mut note =
            |t: Nanos, matters: bool| *moments.entry(t.max(self.from_ns)).or_insert(false) |= matters;
        for lane in &self.lanes {
            for life in &lane.requests {
                life.times().for_each(|t| note(t, lane.kind != Kind::Other));
                for stand in &life.stands {
                    note(stand.from_ns, true);
                    stand.released.iter().for_each(|(t, _)| note(*t, true));
                }
            }
        }
        self.said.iter().for_each(|heard| note(heard.said.t, true));
        note(self.from_ns, true);
        moments
    }

    /// Where processes of the guest stood.
    pub fn stuck(&self) -> impl Iterator<Item = &Stuck<'a>> {
        self.said.iter().filter_map(|heard| heard.stuck.as_ref())
    }

    /// Signs of the symptom that were seen, in words.
    pub fn signs(&self) -> Vec<String> {
        let signs = self.said.iter().filter(|heard| heard.sign);
        signs.map(|heard| words_of(&heard.said.what)).collect()
    }
}

/// What was said, in words that are safe to print.
pub fn words_of(what: &What) -> String {
    printable(&match what {
        What::Event { source, name, detail } => {
            let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{source}.{name}{detail}")
        }
        What::Report { name, value } => format!("{name} = {value}"),
        What::Log(line) => line.clone(),
        What::Bound { place, offset } => format!("{place} is at {}", words::bytes(*offset)),
        What::Stalled => "attempt.stalled: a hold has stood for half of its watchdog".to_owned(),
        What::Finished(0) => "the script ends".to_owned(),
        What::Finished(exit) => format!("the script ends with status {exit}"),
    })
}

/// When what the policy is about begins: with the first request that is a point or has to stand, or with a task of the
/// guest that begins before; without such, with the attempt.
fn begin(attempt: &Attempt) -> Nanos {
    let matters = |life: &&Life| life.point.is_some() || !life.stands.is_empty() || life.failed.is_some();
    let request = attempt.requests.iter().find(matters).map(|life| life.arrived_ns);
    let task = attempt.said.iter().find(|said| task::is_edge(&said.what)).map(|said| said.t);
    request.into_iter().chain(task).min().unwrap_or(attempt.began_ns)
}

fn step(life: &Life, name: &str) -> Option<Nanos> {
    match name {
        "arrived" => Some(life.arrived_ns),
        "submitted" => life.submitted_ns,
        "done" => life.done.map(|(t, _)| t),
        "completed" => life.ended.map(|(t, _)| t),
        _ => None,
    }
}

fn is_sign(policy: &Policy, what: &What) -> bool {
    policy.signs.iter().any(|sign| match (&sign.test, what) {
        (SignTest::KernelLog { text, .. }, What::Log(line)) => line.contains(text),
        (SignTest::Report { name, is }, What::Report { name: reported, value }) => {
            name == reported && is == value
        }
        _ => false,
    })
}

/// The rule that did something to it.
fn rule(life: &Life) -> Option<&str> {
    let failed = life.failed.as_ref().map(|(rule, _)| rule.as_str());
    life.stands.iter().find_map(|stand| stand.rule.as_deref()).or(failed)
}

/// The lanes, and how many of them are of points that are called as a process whose waiting the case knows.
fn lanes<'a>(requests: Vec<&'a Life>, policy: Option<&'a Policy>) -> (Vec<Group<'a>>, usize) {
    let waits = policy.and_then(|policy| policy.case.as_ref()).map_or(&[][..], |case| &case.waits);
    let acts =
        |kind: Kind| matches!(kind, Kind::Point(name) if waits.iter().any(|wait| wait.process == name));
    let points = policy.iter().flat_map(|policy| &policy.points).map(|point| Kind::Point(&point.name));
    let mut lanes: Vec<Group> = points.map(|kind| Group { kind, requests: Vec::new() }).collect();
    for life in requests {
        let kind = match (&life.point, rule(life)) {
            (Some(point), _) => Kind::Point(point),
            (None, Some(rule)) => Kind::Rule(rule),
            (None, None) => Kind::Other,
        };
        match lanes.iter_mut().find(|lane| lane.kind == kind) {
            Some(lane) => lane.requests.push(life),
            None => lanes.push(Group { kind, requests: vec![life] }),
        }
    }
    let rank = |kind: Kind| match kind {
        Kind::Point(_) => u8::from(!acts(kind)),
        Kind::Rule(_) => 2,
        Kind::Other => 3,
    };
    lanes.sort_by_key(|lane| rank(lane.kind));
    let actors = lanes.iter().filter(|lane| acts(lane.kind)).count();
    (lanes, actors)
}
