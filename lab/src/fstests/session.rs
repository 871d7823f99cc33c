//! All tests on one kernel: from test to test in one guest, and in the next where one was lost.

use super::document::KernelRun;
use super::guest::{Guest, make_disks};
use super::image;
use super::plan::{Plan, keep_for};
use super::verdict::{self, Attempt, Signs};
use crate::run::Lab;
use crate::run::subject::Subject;
use anyhow::{Context, Result, bail, ensure};
use blkstay_engine::control::Command;
use blkstay_engine::journal::{Arm, Outcome};
use blkstay_engine::report::AttemptReport;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a guest may take until it has listed its tests.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// How long beyond its limit a guest may take to say where it stands.
const HUNG_LIMIT: Duration = Duration::from_secs(30);

/// What happens when the guest waits for the lab: it has listed its tests, a test is about to start, or one has taken too
/// long. No policy has to declare it.
const READY: &str = "guest.ready";

/// What happens when an attempt is over.
const FINISHED: &str = "attempt.finished";

/// What guests of a kernel are booted with.
pub struct Boot<'a> {
    /// What they are to do.
    pub plan: &'a Plan,
    /// The kernel with what they load before they look for their disks.
    pub subject: &'a Subject,
    /// Image of all its modules.
    pub modules: Option<&'a Path>,
}

/// Runs all tests on a kernel.
///
/// # Errors
/// It cannot run any: what the guest lacks is said.
pub async fn run(boot: &Boot<'_>, lab: &Lab) -> Result<KernelRun> {
    let began = Instant::now();
    let (plan, kernel) = (boot.plan, &boot.subject.kernel);
    let directory = directory(boot)?;
    make_disks(plan, &directory)?;
    let mut run = KernelRun::new(kernel);
    let (mut boots, mut total) = (0, u64::MAX);
    while (run.attempts.len() as u64) < total {
        boots += 1;
        let at = directory.join(format!("boot-{boots}"));
        let mut guest = Guest::start(boot, &directory, &at, lab).await?;
        let tests = match listed(&mut guest, &mut run).await {
            Ok(tests) => tests,
            Err(error) => {
                guest.end().await;
                return Err(error);
            }
        };
        if boots == 1 {
            total = plan.passes() * tests.len() as u64;
            lab.progress.count(total);
            run.tests = tests;
        } else {
            ensure!(run.tests == tests, "fstests lists other tests in the second guest than in the first");
        }
        run.accel = Some(guest.accel);
        let done = attempts(&mut guest, plan, &mut run, total, lab).await;
        guest.end().await;
        done?;
        image::repair(&directory.join("results.img"))?;
    }
    run.seconds = began.elapsed().as_secs_f64();
    if plan.keep.is_some() {
        image::unpack(&directory.join("results.img"), &directory.join("results"))?;
        verdict::write(&directory.join("attempts.jsonl"), &run)?;
    }
    Ok(run)
}

/// Where a kernel's files are: to be kept, or gone with the run.
fn directory(boot: &Boot<'_>) -> Result<PathBuf> {
    let kernel = &boot.subject.kernel;
    let Some(keep) = &boot.plan.keep else {
        return Ok(tempfile::tempdir_in(&boot.plan.scratch).context("no temporary directory")?.keep());
    };
    let variant = kernel.variant.as_ref().map(|variant| format!("-{}", variant.name)).unwrap_or_default();
    let directory =
        keep_for(keep, &format!("{}{variant}", kernel.release.as_deref().unwrap_or(&kernel.spec)));
    ensure!(
        !directory.exists(),
        "{}: an earlier run's files are there; choose another directory",
        directory.display()
    );
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("{}: cannot make it", directory.display()))?;
    Ok(directory)
}

/// Waits until the guest has said what it would run.
async fn listed(guest: &mut Guest, run: &mut KernelRun) -> Result<Vec<String>> {
    let ready = guest.reach(&[READY], BOOT_LIMIT).await?;
    let reports = guest.status().await?.reports;
    run.release = reports.get("kernel").cloned().or(run.release.take());
    if let Some(problem) = reports.get("problem") {
        bail!("the guest cannot run fstests: {problem}");
    }
    let tests = names(&reports);
    if ready.is_none() || tests.is_empty() {
        bail!("the guest did not come up; its last words: {}", guest.last_words());
    }
    Ok(tests)
}

/// What a guest would run, as it says in `tests-0`, `tests-1` and so on: one report has no room for all.
fn names(reports: &BTreeMap<String, String>) -> Vec<String> {
    let parts = (0..).map_while(|part: u32| reports.get(&format!("tests-{part}")));
    parts.flat_map(|names| names.split_whitespace()).map(str::to_owned).collect()
}

/// Goes on until all has been run, or the guest is lost.
async fn attempts(guest: &mut Guest, plan: &Plan, run: &mut KernelRun, total: u64, lab: &Lab) -> Result<()> {
    let mut signs = Signs::default();
    while (run.attempts.len() as u64) < total {
        let (ordinal, count) = (run.attempts.len() as u64, run.tests.len() as u64);
        let test = usize::try_from(ordinal % count).ok().and_then(|index| run.tests.get(index));
        let test = test.context("no such test")?.clone();
        let (arm, round) = plan.pass(ordinal / count);
        lab.progress.say(&format!("{test} on {}", run.release.as_deref().unwrap_or("?")));
        let began = Instant::now();
        let heard = attempt(guest, 2 * ordinal + 1, arm, plan.limit).await?;
        let gone = heard.lost.is_some();
        let (outcome, why) = match heard.lost {
            Some(why) => (Outcome::Lost, why),
            None => verdict::judge(&plan.policies, arm, &heard.reports, &mut signs),
        };
        guest.note(Command::Verdict { attempt: heard.number, outcome, why: why.clone() }).await?;
        let seconds = began.elapsed().as_secs_f64();
        run.attempts.push(Attempt { test, arm, round, outcome, why, seconds, reports: heard.reports });
        lab.progress.step();
        if gone {
            break;
        }
    }
    Ok(())
}

/// What was heard of one run of a test.
struct Heard {
    /// The attempt that it was.
    number: u64,
    /// Both disks' reports.
    reports: Vec<AttemptReport>,
    /// Why it was lost, if it was.
    lost: Option<String>,
}

/// One run of a test, in two attempts: `number` for what `check` does before it starts the test, and the next for it.
async fn attempt(guest: &mut Guest, number: u64, arm: Arm, limit: Duration) -> Result<Heard> {
    let (mut number, patience) = (number, limit.saturating_add(HUNG_LIMIT));
    guest.begin(number, Arm::Natural).await?;
    let mut heard = guest.reach(&[READY, FINISHED], patience).await?;
    let status = guest.status().await?;
    if heard.is_some() && status.exit.is_none() && !status.reports.contains_key("hung") {
        guest.finish().await?;
        number += 1;
        guest.begin(number, arm).await?;
        heard = guest.reach(&[READY, FINISHED], patience).await?;
    }
    let reports = guest.finish().await?;
    let own = reports.first().context("no disk")?;
    let stands = own.reports.get("hung").filter(|tasks| !tasks.is_empty());
    let stands =
        stands.map_or(String::new(), |tasks| format!("; these tasks wait: {}", tasks.replace('\n', " / ")));
    let lost = match heard {
        None => Some(format!("the guest died or fell silent; its last words: {}", guest.last_words())),
        Some(()) if own.exit.is_none() => Some(format!("no end after {} s{stands}", limit.as_secs())),
        Some(()) => None,
    };
    Ok(Heard { number, reports, lost })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn the_names_of_more_tests_than_one_report_can_hold_are_put_together_in_order() {
        let part = |number: u32| {
            (format!("tests-{number}"), format!("generic/{:03} generic/{:03}", 2 * number, 2 * number + 1))
        };
        let reports = (0..12).map(part).chain([("kernel".to_owned(), "6.12".to_owned())]).collect();
        let names = names(&reports);
        assert_eq!(names, (0..24).map(|number| format!("generic/{number:03}")).collect::<Vec<_>>());
    }
}
