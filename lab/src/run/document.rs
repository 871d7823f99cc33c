//! The result of a run as programs read it; docs/run.md describes each field. Fields are only added.

use super::accel::Accel;
use super::case::Case;
use super::experiment::{Experiment, Judged};
use super::judge::{self, Seen};
use super::traffic::Traffic;
use crate::kernel::Kernel;
use crate::variant::Record;
use anyhow::{Context, Result};
use blkstay_engine::journal::{Arm, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// Name of the case.
    pub case: String,
    /// One for each `--kernel`, in that order.
    pub kernels: Vec<KernelResult>,
}

/// A case on a kernel.
#[derive(Clone, Debug, Serialize)]
pub struct KernelResult {
    /// What the guest's `uname -r` said; if it never came to that, what the image's header says.
    pub kernel: String,
    /// As it was written after `--kernel`.
    pub spec: String,
    /// Package and version, for Debian's kernels.
    pub package: Option<String>,
    /// What the package's kernel was changed by, for a variant.
    pub variant: Option<Record>,
    /// How the guest was run.
    pub accel: Accel,
    /// What the guest reported before the first attempt, by name.
    pub setup: BTreeMap<String, String>,
    /// The verdict.
    pub verdict: Outcome,
    /// The arm in which nothing is held.
    pub control: Control,
    /// The arm in which holds hold.
    pub forced: Forced,
    /// Wall-clock time of it all, in seconds.
    pub seconds: f64,
    /// What the disk did in each phase of the case, by arm.
    #[serde(skip_serializing_if = "Traffic::is_empty")]
    pub traffic: Traffic,
    /// What a reader should know: why attempts were lost or missed, each once; a newer build elsewhere.
    pub notes: Vec<String>,
}

/// The control arm.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Control {
    /// Attempts asked for.
    pub attempts: u64,
    /// Those in which every point was reached.
    pub reached: u64,
    /// Those with a sign of the symptom.
    pub symptoms: u64,
    /// Those that missed a point.
    pub missed: u64,
    /// Those in which a direct write went through the page cache.
    pub bypassed: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Attempts in which each sign was seen.
    pub signs: BTreeMap<String, u64>,
}

/// The forced arm.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Forced {
    /// Attempts asked for.
    pub attempts: u64,
    /// Those that showed the symptom.
    pub open: u64,
    /// Those whose guest would not go on.
    pub closed: u64,
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
    pub reasons: Vec<Reason>,
    /// Watchdog of every hold, in milliseconds, as derived from the control arm.
    pub watchdog_ms: Option<u64>,
    /// Each order of the points' events that came up, with the number of attempts that had it.
    pub orders: Vec<Order>,
}

/// Why attempts were closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// In words.
    pub why: String,
    /// Attempts of which it is true, but for figures.
    pub attempts: u64,
}

/// Where a guest's tasks stood while a hold did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stuck {
    /// State and kernel functions, innermost first.
    #[serde(rename = "where")]
    pub place: String,
    /// Attempts that had it.
    pub attempts: u64,
}

/// An order of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Names of events, in order.
    pub events: Vec<String>,
    /// Attempts that had it.
    pub attempts: u64,
}

impl Document {
    /// A document without kernels.
    pub fn new(case: &str) -> Document {
        Document { case: case.to_owned(), kernels: Vec::new() }
    }
}

impl KernelResult {
    /// Counts what an experiment showed. Attempts that were asked for and not made are lost.
    pub fn new(
        case: &Case,
        kernel: &Kernel,
        accel: Accel,
        times: u64,
        run: &Experiment,
        took: Duration,
    ) -> KernelResult {
        let (control, forced) = (Control::new(case, times, run), Forced::new(case, times, run));
        let outcomes = |arm, lost| {
            let made = run.arm(arm).map(|judged| judged.outcome);
            let not_made = std::iter::repeat_n(Outcome::Lost, usize::from(lost > 0));
            made.chain(not_made).collect::<Vec<_>>()
        };
        let verdict =
            judge::kernel(&outcomes(Arm::Control, control.lost), &outcomes(Arm::Forced, forced.lost));
        KernelResult {
            kernel: run.release().or(kernel.release.as_deref()).unwrap_or(&kernel.spec).to_owned(),
            spec: kernel.spec.clone(),
            package: kernel.package.clone(),
            variant: kernel.variant.clone(),
            accel,
            setup: run.setup.clone(),
            verdict,
            control,
            forced,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            traffic: run.traffic.clone(),
            notes: notes(kernel, run),
        }
    }
}

impl Control {
    fn new(case: &Case, times: u64, run: &Experiment) -> Control {
        let count = |outcome| run.arm(Arm::Control).filter(|judged| judged.outcome == outcome).count() as u64;
        let [reached, missed, bypassed] = [Outcome::Reached, Outcome::Missed, Outcome::Closed].map(count);
        let open = count(Outcome::Open);
        let symptoms =
            run.arm(Arm::Control).filter(|judged| judged.signs.contains(&Seen::Yes)).count() as u64;
        Control {
            attempts: times,
            reached,
            symptoms,
            missed,
            bypassed,
            lost: times - reached - missed - bypassed - open,
            signs: count_signs(case, run, Arm::Control, Seen::Yes),
        }
    }
}

impl Forced {
    fn new(case: &Case, times: u64, run: &Experiment) -> Forced {
        let count = |outcome| run.arm(Arm::Forced).filter(|judged| judged.outcome == outcome).count() as u64;
        let [open, closed, survived, missed] =
            [Outcome::Open, Outcome::Closed, Outcome::Survived, Outcome::Missed].map(count);
        let mut muted = count_signs(case, run, Arm::Forced, Seen::Muted);
        muted.retain(|_, count| *count > 0);
        Forced {
            attempts: times,
            open,
            closed,
            survived,
            missed,
            lost: times - open - closed - survived - missed,
            signs: count_signs(case, run, Arm::Forced, Seen::Yes),
            muted,
            watchdog_ms: run.watchdog_ns.map(|watchdog| watchdog / 1_000_000),
            stuck: stuck(run),
            reasons: reasons(run),
            orders: orders(case, run),
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
    let stood = closed.filter_map(|judged| judged.report.as_ref()?.reports.get("stuck").cloned());
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

fn notes(kernel: &Kernel, run: &Experiment) -> Vec<String> {
    let odd = |judged: &&Judged| matches!(judged.outcome, Outcome::Lost | Outcome::Missed);
    let mut notes: Vec<String> = Vec::new();
    if let Some(newer) = &kernel.newer_in_security {
        notes.push(format!("Debian's security archive has a newer build: --kernel debian:{newer}"));
    }
    for judged in run.attempts.iter().filter(odd) {
        let note = format!("{} attempt {}: {}", judged.arm, judged.outcome, judged.why);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// Writes every attempt's report to `attempts.jsonl` in a kept directory.
///
/// # Errors
/// It cannot be written.
pub fn write_attempts(keep: &Path, run: &Experiment) -> Result<()> {
    let mut lines = String::new();
    for judged in &run.attempts {
        let line = serde_json::json!({
            "arm": judged.arm,
            "outcome": judged.outcome,
            "why": judged.why,
            "report": judged.report,
        });
        lines += &format!("{line}\n");
    }
    let path = keep.join("attempts.jsonl");
    std::fs::write(&path, lines).with_context(|| format!("{}: cannot write it", path.display()))
}

/// Writes what a case showed on a kernel to `result.json` in a kept directory: a [`Document`] of one kernel.
///
/// # Errors
/// It cannot be written.
pub fn write_result(keep: &Path, case: &Case, result: &KernelResult) -> Result<()> {
    let document = Document { case: case.name.clone(), kernels: vec![result.clone()] };
    let path = keep.join("result.json");
    let text = serde_json::to_string_pretty(&document)?;
    std::fs::write(&path, text).with_context(|| format!("{}: cannot write it", path.display()))
}
