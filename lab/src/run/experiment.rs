//! All attempts of a case in one guest: the control arm, the natural one if it is wanted, then the forced arm.

use super::case::Case;
use super::guest::Guest;
use super::judge::{self, Boot, Seen};
use super::progress::Progress;
use super::schedule::{CONTROL_ENOUGH, Times};
use super::traffic::Traffic;
use anyhow::{Context, Result, bail};
use blkstay_engine::control::Command;
use blkstay_engine::journal::{Arm, Outcome};
use blkstay_engine::report::AttemptReport;
use blkstay_engine::request::Nanos;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a guest may take to boot before it counts as lost.
const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// Least and most that the watchdog of the forced arm may be.
const WATCHDOG_NS: std::ops::RangeInclusive<Nanos> = 400_000_000..=30_000_000_000;

/// How many times longer than the slowest control attempt a forced one may take to go on: a guest
/// that is merely slow must not look like one that waits in a circle.
const PATIENCE: u64 = 8;

/// What an attempt showed.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its arm.
    pub arm: Arm,
    /// What it showed.
    pub outcome: Outcome,
    /// Why, in words.
    pub why: String,
    /// What was seen of each sign.
    pub signs: Vec<Seen>,
    /// What the daemon reports of it; none if the guest was lost.
    pub report: Option<AttemptReport>,
}

/// Everything that one guest showed.
#[derive(Clone, Debug, Default)]
pub struct Experiment {
    /// What the guest reported before the first attempt.
    pub setup: BTreeMap<String, String>,
    /// Attempts in the order in which they were made.
    pub attempts: Vec<Judged>,
    /// Watchdog of the forced arm.
    pub watchdog_ns: Option<Nanos>,
    /// What the disk did in each phase of the case.
    pub traffic: Traffic,
}

impl Experiment {
    /// What the guest's `uname -r` says, if it came that far.
    pub fn release(&self) -> Option<&str> {
        self.setup.get("kernel").map(String::as_str)
    }

    /// Attempts of one arm.
    pub fn arm(&self, arm: Arm) -> impl Iterator<Item = &Judged> {
        self.attempts.iter().filter(move |attempt| attempt.arm == arm)
    }
}

/// Runs all attempts and ends the guest.
///
/// # Errors
/// The guest cannot run the case (a kernel without ext4, say), or the daemon is gone.
pub async fn run(mut guest: Guest, case: &Case, times: Times, progress: &Progress) -> Result<Experiment> {
    let mut experiment = Experiment::default();
    let ready = boot(&mut guest, &mut experiment).await;
    if let Err(error) = ready {
        guest.end(&[]).await?;
        return Err(error);
    }
    if experiment.attempts.is_empty()
        && let Err(error) = attempts(&mut guest, case, times, &mut experiment, progress).await
    {
        return Err(error.context(format!("the run was cut short; last words: {}", guest.last_words())));
    }
    experiment.traffic = guest.end(&case.recipe.phases).await?;
    Ok(experiment)
}

/// Waits until the guest is ready for attempts, and hears what kernel it runs.
async fn boot(guest: &mut Guest, experiment: &mut Experiment) -> Result<()> {
    let mut ready = guest.reach("guest.ready", BOOT_LIMIT).await?;
    while ready.is_none() && guest.boot_again()? {
        ready = guest.reach("guest.ready", BOOT_LIMIT).await?;
    }
    let report = guest.client.status().await.context("the daemon is gone")?;
    experiment.setup = report.reports.clone();
    if let Some(problem) = report.reports.get("problem") {
        bail!("the guest cannot run the case: {problem}");
    }
    if let Some(exit) = report.reports.get("setup-exit").filter(|exit| *exit != "0") {
        bail!("the case's `setup` failed with status {exit}; the guest's last words: {}", guest.last_words());
    }
    if ready.is_none() {
        let why = format!("the guest did not come up; its last words: {}", guest.last_words());
        experiment.attempts.push(lost(Arm::Control, why));
    }
    Ok(())
}

fn lost(arm: Arm, why: String) -> Judged {
    Judged { arm, outcome: Outcome::Lost, why, signs: Vec::new(), report: None }
}

async fn attempts(
    guest: &mut Guest,
    case: &Case,
    times: Times,
    experiment: &mut Experiment,
    progress: &Progress,
) -> Result<()> {
    let mut boot = Boot::default();
    let mut number = 0;
    while let Some(arm) = times.next(&experiment.attempts) {
        number += 1;
        if arm == Arm::Forced && experiment.watchdog_ns.is_none() {
            experiment.watchdog_ns = Some(watchdog(experiment));
        }
        progress.say(&format!("{arm} arm of {} on {}", case.name, experiment.release().unwrap_or("?")));
        let judged = attempt(guest, case, number, arm, experiment.watchdog_ns, &mut boot).await?;
        progress.step();
        let gone = judged.report.is_none();
        experiment.attempts.push(judged);
        if gone {
            break;
        }
    }
    progress.skip(times.total().saturating_sub(number));
    Ok(())
}

async fn attempt(
    guest: &mut Guest,
    case: &Case,
    number: u64,
    arm: Arm,
    watchdog_ns: Option<Nanos>,
    boot: &mut Boot,
) -> Result<Judged> {
    let limit = Duration::from_nanos(case.recipe.limit_ns.saturating_add(watchdog_ns.unwrap_or(0)));
    guest.client.begin(number, arm, watchdog_ns).await?;
    let finished = guest.reach("attempt.finished", limit).await?;
    let report = guest.client.end().await?;
    let judged = match finished {
        Some(()) => {
            let signs = judge::signs(&case.policy, &report, boot);
            let (outcome, why) = match arm {
                Arm::Natural => natural(&report, &signs),
                Arm::Control | Arm::Forced => judge::attempt(&case.recipe, &report, &signs),
            };
            Judged { arm, outcome, why, signs, report: Some(report) }
        }
        None => lost(arm, format!("the guest died or fell silent; its last words: {}", guest.last_words())),
    };
    let (outcome, why) = (judged.outcome, judged.why.clone());
    guest.client.call(Command::Verdict { attempt: number, outcome, why }).await?;
    Ok(judged)
}

/// What an attempt showed in which there was no policy: the symptom or none.
fn natural(report: &AttemptReport, signs: &[Seen]) -> (Outcome, String) {
    let (outcome, why) = match (report.exit, report.reports.get("problem")) {
        (None, _) => (Outcome::Lost, "the guest's script did not come to its end".to_owned()),
        (Some(0), Some(problem)) => (Outcome::Lost, format!("the guest has a problem: {problem}")),
        (Some(0), None) if signs.contains(&Seen::Yes) => {
            (Outcome::Open, "the symptom appeared by chance".to_owned())
        }
        (Some(0), None) if signs.contains(&Seen::Unreported) => {
            (Outcome::Lost, "the guest never reported what a sign is judged by".to_owned())
        }
        (Some(0), None) => (Outcome::Survived, "chance did not bring the symptom about".to_owned()),
        (Some(exit), _) => (Outcome::Lost, format!("the guest's script failed with status {exit}")),
    };
    (outcome, why)
}

/// From how long each hold would have stood in the control arm.
fn watchdog(experiment: &Experiment) -> Nanos {
    let reports: Vec<&AttemptReport> =
        experiment.arm(Arm::Control).filter_map(|judged| judged.report.as_ref()).collect();
    let waited = reports.iter().flat_map(|report| &report.holds).filter_map(|hold| {
        let (reached, came) = (hold.reached_ns?, hold.true_ns?);
        Some(came.saturating_sub(reached))
    });
    let longest = waited.max().unwrap_or(0);
    let caution = if (reports.len() as u64) < CONTROL_ENOUGH { 3 } else { 1 };
    let (least, most) = (WATCHDOG_NS.start() * caution, *WATCHDOG_NS.end());
    longest.saturating_mul(PATIENCE * caution).clamp(least, most)
}
