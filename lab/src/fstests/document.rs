//! The result of `blkstay fstests` as programs read it; docs/fstests.md describes each field. Fields are only added.

use super::plan::Disk;
use super::verdict::Attempt;
use crate::cli::Fstests;
use crate::kernel::Kernel;
use crate::run::accel::Accel;
use crate::run::rate::{CONFIDENCE, Rate};
use crate::run::{expect, judge};
use crate::variant::Record;
use anyhow::Result;
use blkstay_engine::journal::{Arm, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;

/// All that one kernel showed.
#[derive(Clone, Debug)]
pub struct KernelRun {
    /// What was written after `--kernel`.
    pub spec: String,
    /// What the guest's `uname -r` said, or what the image's header says.
    pub release: Option<String>,
    /// Package and version, for Debian's kernels.
    pub package: Option<String>,
    /// What it was changed by, for a variant.
    pub variant: Option<Record>,
    /// How guests were run.
    pub accel: Option<Accel>,
    /// The tests that fstests would run, in its order.
    pub tests: Vec<String>,
    /// Every run of a test, in order.
    pub attempts: Vec<Attempt>,
    /// Wall-clock time of it all.
    pub seconds: f64,
    /// Why nothing could be run, if that is so.
    pub error: Option<String>,
}

impl KernelRun {
    /// A kernel on which nothing has been run yet.
    pub fn new(kernel: &Kernel) -> KernelRun {
        KernelRun {
            spec: kernel.spec.clone(),
            release: kernel.release.clone(),
            package: kernel.package.clone(),
            variant: kernel.variant.clone(),
            accel: None,
            tests: Vec::new(),
            attempts: Vec::new(),
            seconds: 0.0,
            error: None,
        }
    }

    /// One on which nothing can be run.
    pub fn broken(spec: &str, error: String) -> KernelRun {
        KernelRun {
            spec: spec.to_owned(),
            release: None,
            package: None,
            variant: None,
            accel: None,
            tests: Vec::new(),
            attempts: Vec::new(),
            seconds: 0.0,
            error: Some(error),
        }
    }

    /// The release, with the variant's name; what was asked for, if there is none.
    pub fn title(&self) -> String {
        let release = self.release.as_ref().unwrap_or(&self.spec);
        self.variant
            .as_ref()
            .map_or_else(|| release.clone(), |variant| format!("{release} with {}", variant.name))
    }
}

/// A run of `blkstay fstests`.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// The checkout.
    pub tree: String,
    /// The filesystem.
    pub fs: String,
    /// How sure the bounds of rates are.
    pub confidence: f64,
    /// Every kernel, in the order of the command line.
    pub kernels: Vec<KernelOf>,
    /// Every test on every kernel: the first test on each of them, then the second.
    pub results: Vec<TestResult>,
}

/// A kernel.
#[derive(Clone, Debug, Serialize)]
pub struct KernelOf {
    /// What the guest's `uname -r` said.
    pub kernel: String,
    /// As it was written after `--kernel`.
    pub spec: String,
    /// Package and version, for Debian's kernels.
    pub package: Option<String>,
    /// What it was changed by, for a variant.
    pub variant: Option<Record>,
    /// How guests were run.
    pub accel: Option<Accel>,
    /// Wall-clock time of it all.
    pub seconds: f64,
    /// Why nothing could be run, if that is so.
    pub error: Option<String>,
}

/// A test on a kernel.
#[derive(Clone, Debug, Serialize)]
pub struct TestResult {
    /// Its name.
    pub test: String,
    /// The kernel's release, with its variant.
    pub kernel: String,
    /// As it was written after `--kernel`.
    pub spec: String,
    /// The verdict.
    pub verdict: Outcome,
    /// The verdicts that were expected.
    pub expected: Vec<Outcome>,
    /// Whether it is one of them.
    pub as_expected: Option<bool>,
    /// The arm that the verdict is about: forced if there is a policy, else natural.
    pub arm: Arm,
    /// What that arm showed.
    #[serde(flatten)]
    pub counts: Counts,
    /// The natural arm beside the forced one, if it was asked for.
    pub natural: Option<Counts>,
    /// What each disk's policy came to in the forced arm.
    pub policies: BTreeMap<String, PolicyFacts>,
}

/// What an arm showed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// How often it was run.
    pub attempts: u64,
    /// Runs that failed, or showed the policy's symptom.
    pub open: u64,
    /// Runs that passed.
    pub survived: u64,
    /// Those that say nothing.
    pub missed: u64,
    /// Those in which the guest was lost.
    pub lost: u64,
    /// Shares of the runs that were not lost: `open`, `survived`, `missed`.
    pub rates: BTreeMap<String, Rate>,
    /// How often fstests said what: `passed`, `failed`, `notrun`, `expunged`, `none`.
    pub fstests: BTreeMap<String, u64>,
    /// Why, each reason once, with how often it was given.
    pub reasons: Vec<Reason>,
    /// How long the runs took, in seconds: the median.
    pub seconds: f64,
}

/// A reason.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// What it is a reason of.
    pub verdict: Outcome,
    /// In words.
    pub why: String,
    /// How often.
    pub attempts: u64,
}

/// What a disk's policy came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PolicyFacts {
    /// Runs in which each point was reached.
    pub points: BTreeMap<String, u64>,
    /// Requests that each rule was for, in all runs.
    pub rules: BTreeMap<String, u64>,
    /// Runs in which a watchdog ended the forcing.
    pub expired: u64,
}

impl Document {
    /// The document of these runs.
    ///
    /// # Errors
    /// Something is expected of what was not run.
    pub fn new(args: &Fstests, runs: &[KernelRun]) -> Result<Document> {
        let mut tests: Vec<String> = Vec::new();
        for test in runs.iter().flat_map(|run| &run.tests) {
            if !tests.contains(test) {
                tests.push(test.clone());
            }
        }
        expect::check(&args.expect, &tests, &args.kernels)?;
        let each = tests.iter().flat_map(|test| runs.iter().filter_map(|run| result(args, run, test)));
        Ok(Document {
            tree: args.tree.display().to_string(),
            fs: args.fs.clone(),
            confidence: CONFIDENCE,
            results: each.collect(),
            kernels: runs.iter().map(kernel).collect(),
        })
    }
}

fn kernel(run: &KernelRun) -> KernelOf {
    KernelOf {
        kernel: run.release.clone().unwrap_or_else(|| run.spec.clone()),
        spec: run.spec.clone(),
        package: run.package.clone(),
        variant: run.variant.clone(),
        accel: run.accel,
        seconds: (run.seconds * 10.0).round() / 10.0,
        error: run.error.clone(),
    }
}

/// Where nothing is expected, a test is to pass, or to say why it cannot be run.
pub const EXPECTED: [Outcome; 2] = [Outcome::Survived, Outcome::Missed];

fn result(args: &Fstests, run: &KernelRun, test: &str) -> Option<TestResult> {
    let of = |arm| run.attempts.iter().filter(move |attempt| attempt.test == test && attempt.arm == arm);
    let arm = if of(Arm::Forced).next().is_some() { Arm::Forced } else { Arm::Natural };
    let attempts: Vec<&Attempt> = of(arm).collect();
    if attempts.is_empty() {
        return None;
    }
    let outcomes: Vec<Outcome> = attempts.iter().map(|attempt| attempt.outcome).collect();
    let verdict = judge::kernel(&[], &outcomes);
    let expected = expect::of(&args.expect, test, &run.spec).unwrap_or(&EXPECTED);
    let natural: Vec<&Attempt> = if arm == Arm::Forced { of(Arm::Natural).collect() } else { Vec::new() };
    Some(TestResult {
        test: test.to_owned(),
        kernel: run.title(),
        spec: run.spec.clone(),
        verdict,
        expected: expected.to_vec(),
        as_expected: Some(expected.contains(&verdict)),
        arm,
        counts: counts(&attempts),
        natural: (!natural.is_empty()).then(|| counts(&natural)),
        policies: if arm == Arm::Forced { policies(&attempts) } else { BTreeMap::new() },
    })
}

fn counts(attempts: &[&Attempt]) -> Counts {
    let of = |outcome| attempts.iter().filter(|attempt| attempt.outcome == outcome).count() as u64;
    let (all, lost) = (attempts.len() as u64, of(Outcome::Lost));
    let mut counts = Counts {
        attempts: all,
        open: of(Outcome::Open),
        survived: of(Outcome::Survived),
        missed: of(Outcome::Missed),
        lost,
        ..Counts::default()
    };
    let shares = [("open", counts.open), ("survived", counts.survived), ("missed", counts.missed)];
    counts.rates = shares.map(|(word, count)| (word.to_owned(), Rate::of(count, all - lost))).into();
    for attempt in attempts {
        *counts.fstests.entry(attempt.word().to_owned()).or_insert(0) += 1;
        let same = |reason: &&mut Reason| reason.verdict == attempt.outcome && reason.why == attempt.why;
        match counts.reasons.iter_mut().find(same) {
            Some(reason) => reason.attempts += 1,
            None => {
                counts.reasons.push(Reason {
                    verdict: attempt.outcome,
                    why: attempt.why.clone(),
                    attempts: 1,
                });
            }
        }
    }
    let mut seconds: Vec<f64> = attempts.iter().map(|attempt| attempt.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    counts.seconds = seconds.get(seconds.len() / 2).map_or(0.0, |median| (median * 10.0).round() / 10.0);
    counts
}

/// Of disks that have a policy.
fn policies(attempts: &[&Attempt]) -> BTreeMap<String, PolicyFacts> {
    let mut facts: BTreeMap<String, PolicyFacts> = BTreeMap::new();
    for (disk, report) in attempts.iter().flat_map(|attempt| Disk::BOTH.into_iter().zip(&attempt.reports)) {
        if report.points.is_empty() && report.rules.is_empty() && report.holds.is_empty() {
            continue;
        }
        let of = facts.entry(disk.to_string()).or_default();
        for (name, point) in &report.points {
            *of.points.entry(name.clone()).or_insert(0) += u64::from(point.request.is_some());
        }
        for (name, rule) in &report.rules {
            *of.rules.entry(name.clone()).or_insert(0) += rule.taken;
        }
        of.expired += u64::from(report.expired.is_some());
    }
    facts
}

/// What was expected, as people read it.
pub fn either(verdicts: &[Outcome]) -> String {
    verdicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
