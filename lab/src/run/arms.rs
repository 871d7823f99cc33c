//! What each arm of a case on a kernel showed, counted. Fields are only added.

use super::case::Case;
use super::experiment::{Experiment, Judged};
use super::judge::Seen;
use super::rate::Rate;
use super::schedule::Times;
use super::word::Word;
use blkstay_engine::journal::{Arm, Outcome};
use blkstay_engine::report::STUCK;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The control arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Attempts asked for; no more than were made if they were enough.
    pub attempts: u64,
    /// Those in which every point was reached.
    pub reached: u64,
    /// Those with a sign of the symptom.
    pub symptoms: u64,
    /// Those that missed a point.
    pub missed: u64,
    /// Those in which a direct write went through the page cache.
    #[serde(default)]
    pub bypassed: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Attempts in which each sign was seen.
    pub signs: BTreeMap<String, u64>,
    /// Shares of the attempts that were not lost: `reached`, `symptoms`.
    pub rates: BTreeMap<String, Rate>,
}

/// The natural arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Natural {
    /// Attempts asked for.
    pub attempts: u64,
    /// Those with a sign of the symptom.
    pub symptoms: u64,
    /// Those that were lost, or not made because the guest was lost before.
    pub lost: u64,
    /// Attempts in which each sign was seen.
    pub signs: BTreeMap<String, u64>,
    /// Shares of the attempts that were not lost: `symptoms`.
    pub rates: BTreeMap<String, Rate>,
}

/// The forced arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forced {
    /// Attempts asked for.
    pub attempts: u64,
    /// Those that showed the symptom.
    pub open: u64,
    /// Those whose guest would not go on, or had nothing to race with.
    pub closed: u64,
    /// Those of the closed ones in which a direct write went through the page cache.
    #[serde(default)]
    pub bypassed: u64,
    /// Those whose order was forced without a symptom.
    pub survived: u64,
    /// Those that missed a point.
    pub missed: u64,
    /// Those that were lost, or not made because the guest was lost before.
    pub lost: u64,
    /// Attempts in which each sign was seen.
    pub signs: BTreeMap<String, u64>,
    /// Attempts in which a sign could not be seen because the kernel had fallen silent.
    pub muted: BTreeMap<String, u64>,
    /// Where the guest's tasks stood in closed attempts, as its script reported (`stuck`), most
    /// frequent first.
    pub stuck: Vec<Stuck>,
    /// Why attempts were closed, most frequent first; of those that differ in figures only, the first.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Watchdog of every hold, in milliseconds, as derived from the control arm.
    pub watchdog_ms: Option<u64>,
    /// Each order of the points' events that came up, with the number of attempts that had it.
    pub orders: Vec<Order>,
    /// Shares of the attempts that were not lost: `open`, `closed`, `survived`, `missed`.
    pub rates: BTreeMap<String, Rate>,
}

/// Why attempts were closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// In words.
    pub why: String,
    /// Attempts of which it is true, but for figures.
    pub attempts: u64,
}

/// Where a guest's tasks stood while a hold did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// State and kernel functions, innermost first.
    #[serde(rename = "where")]
    pub place: String,
    /// Attempts that had it.
    pub attempts: u64,
}

/// An order of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Names of events, in order.
    pub events: Vec<String>,
    /// Attempts that had it.
    pub attempts: u64,
}

/// How many attempts of an arm showed this.
fn count(run: &Experiment, arm: Arm, shows: impl Fn(&Judged) -> bool) -> u64 {
    run.arm(arm).filter(|judged| shows(judged)).count() as u64
}

fn has_symptom(judged: &Judged) -> bool {
    judged.outcome != Outcome::Lost && judged.signs.contains(&Seen::Yes)
}

fn rates<const N: usize>(counts: [(&str, u64); N], told: u64) -> BTreeMap<String, Rate> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), Rate::of(count, told))).collect()
}

impl Control {
    /// Counts the control arm. Attempts that were asked for and not made are lost.
    pub fn new(case: &Case, times: Times, run: &Experiment) -> Control {
        let outcomes = |wanted| count(run, Arm::Control, |judged| judged.outcome == wanted);
        let [reached, missed, bypassed, open] =
            [Outcome::Reached, Outcome::Missed, Outcome::Closed, Outcome::Open].map(outcomes);
        let told = reached + missed + bypassed + open;
        let symptoms = count(run, Arm::Control, has_symptom);
        let attempts = times.control_asked(&run.attempts);
        Control {
            attempts,
            reached,
            symptoms,
            missed,
            bypassed,
            lost: attempts.saturating_sub(told),
            signs: count_signs(case, run, Arm::Control, Seen::Yes),
            rates: rates([("reached", reached), ("symptoms", symptoms)], told),
        }
    }
}

impl Natural {
    /// Counts the natural arm, if there is to be one. Attempts that were asked for and not made are lost.
    pub fn new(case: &Case, times: Times, run: &Experiment) -> Option<Natural> {
        let told = count(run, Arm::Natural, |judged| judged.outcome != Outcome::Lost);
        let symptoms = count(run, Arm::Natural, has_symptom);
        times.natural.then(|| Natural {
            attempts: times.each,
            symptoms,
            lost: times.each - told,
            signs: count_signs(case, run, Arm::Natural, Seen::Yes),
            rates: rates([("symptoms", symptoms)], told),
        })
    }
}

impl Forced {
    /// Counts the forced arm. Attempts that were asked for and not made are lost.
    pub fn new(case: &Case, times: Times, run: &Experiment) -> Forced {
        let outcomes = |wanted| count(run, Arm::Forced, |judged| judged.outcome == wanted);
        let [open, closed, survived, missed] =
            [Outcome::Open, Outcome::Closed, Outcome::Survived, Outcome::Missed].map(outcomes);
        let told = open + closed + survived + missed;
        let mut muted = count_signs(case, run, Arm::Forced, Seen::Muted);
        muted.retain(|_, count| *count > 0);
        let each = [("open", open), ("closed", closed), ("survived", survived), ("missed", missed)];
        Forced {
            attempts: times.each,
            open,
            closed,
            bypassed: count(run, Arm::Forced, |judged| Word::of(judged.outcome, &judged.why).bypassed),
            survived,
            missed,
            lost: times.each - told,
            signs: count_signs(case, run, Arm::Forced, Seen::Yes),
            muted,
            watchdog_ms: run.watchdog_ns.map(|watchdog| watchdog / 1_000_000),
            stuck: stuck(run),
            reasons: reasons(run),
            orders: orders(case, run),
            rates: rates(each, told),
        }
    }
}

fn count_signs(case: &Case, run: &Experiment, arm: Arm, wanted: Seen) -> BTreeMap<String, u64> {
    let count =
        |index: usize| run.arm(arm).filter(|judged| judged.signs.get(index) == Some(&wanted)).count() as u64;
    case.policy.signs.iter().enumerate().map(|(index, sign)| (sign.name.clone(), count(index))).collect()
}

/// Orders of the points' events in the forced arm, the most frequent first.
fn orders(case: &Case, run: &Experiment) -> Vec<Order> {
    let is_point =
        |event: &str| event.split_once('.').is_some_and(|(owner, _)| case.policy.point(owner).is_some());
    let reports = run.arm(Arm::Forced).filter_map(|judged| judged.report.as_ref());
    let orders = reports.map(|report| {
        let events = report.events.iter().map(|event| event.event.clone());
        events.filter(|name| is_point(name)).collect()
    });
    tally(orders).into_iter().map(|(events, attempts)| Order { events, attempts }).collect()
}

/// Where the guest stood in closed attempts, the most frequent first.
fn stuck(run: &Experiment) -> Vec<Stuck> {
    let closed = run.arm(Arm::Forced).filter(|judged| judged.outcome == Outcome::Closed);
    let stood = closed.filter_map(|judged| judged.report.as_ref()?.reports.get(STUCK).cloned());
    tally(stood).into_iter().map(|(place, attempts)| Stuck { place, attempts }).collect()
}

/// Why attempts were closed, the most frequent first.
fn reasons(run: &Experiment) -> Vec<Reason> {
    let closed = || run.arm(Arm::Forced).filter(|judged| judged.outcome == Outcome::Closed);
    let kind = |why: &str| why.replace(|c: char| c.is_ascii_digit(), "");
    let counts = tally(closed().map(|judged| kind(&judged.why)));
    let reason = |(wanted, attempts): (String, u64)| {
        let first = closed().find(|judged| kind(&judged.why) == wanted)?;
        Some(Reason { why: first.why.clone(), attempts })
    };
    counts.into_iter().filter_map(reason).collect()
}

/// How often each came up, the most frequent first.
fn tally<T: Ord>(seen: impl Iterator<Item = T>) -> Vec<(T, u64)> {
    let mut counts: BTreeMap<T, u64> = BTreeMap::new();
    for one in seen {
        *counts.entry(one).or_default() += 1;
    }
    let mut counts: Vec<(T, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}
