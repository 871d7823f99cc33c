//! The result of a run as programs read it; docs/run.md describes each field. Fields are only added.

use super::accel::Accel;
use super::arms::{Control, Forced, Natural};
use super::case::Case;
use super::experiment::{Experiment, Judged};
use super::rate::CONFIDENCE;
use super::schedule::Times;
use super::traffic::Traffic;
use super::word::Word;
use super::{expect, judge};
use crate::kernel::Kernel;
use crate::variant::Record;
use anyhow::{Context, Result};
use blkstay_engine::journal::{Arm, Outcome};
use expect::Expectation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// Name of the case; none if there are several.
    pub case: Option<String>,
    /// Every case.
    pub cases: Vec<CaseName>,
    /// How sure the bounds of rates are.
    pub confidence: f64,
    /// One for each case on each kernel: the first case on every kernel, then the second.
    #[serde(rename = "kernels")]
    pub cells: Vec<Cell>,
    /// What a table leaves out where it is not to be had.
    pub left_out: Vec<LeftOut>,
}

/// A cell that was left out.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// Name of the case.
    pub case: String,
    /// As it was written in the table.
    pub spec: String,
    /// Why.
    pub why: String,
}

/// A case that was run.
#[derive(Clone, Debug, Serialize)]
pub struct CaseName {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub about: String,
}

/// A case on a kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the case.
    pub case: String,
    /// What the guest's `uname -r` said; if it never came to that, what the image's header says.
    pub kernel: String,
    /// As it was written after `--kernel`.
    pub spec: String,
    /// Package and version, for Debian's kernels.
    pub package: Option<String>,
    /// What the package's kernel was changed by, for a variant.
    pub variant: Option<Record>,
    /// Parameters of the case that do not have their defaults, by name.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// The seed, if it is not the policy's own.
    #[serde(default)]
    pub seed: Option<u64>,
    /// How the guest was run; none if there was none.
    pub accel: Option<Accel>,
    /// Processors of its guest; none if there was no guest.
    #[serde(default)]
    pub cpus: Option<u16>,
    /// Whether its guest went on from a copy of one that had booted for several cells.
    #[serde(default)]
    pub shared_boot: bool,
    /// What the guest reported before the first attempt, by name.
    pub setup: BTreeMap<String, String>,
    /// The verdict.
    pub verdict: Outcome,
    /// The verdicts that were expected, if any were.
    pub expected: Option<Vec<Outcome>>,
    /// Whether the verdict is one of them.
    pub as_expected: Option<bool>,
    /// The arm in which nothing is held.
    pub control: Control,
    /// The arm in which nothing but chance is at work, if it was asked for.
    pub natural: Option<Natural>,
    /// The arm in which holds hold.
    pub forced: Forced,
    /// Wall-clock time of it all, in seconds.
    pub seconds: f64,
    /// What the disk did in each phase of the case, by arm.
    #[serde(default, skip_serializing_if = "Traffic::is_empty")]
    pub traffic: Traffic,
    /// Why the case could not be run on this kernel, if it could not.
    pub error: Option<String>,
    /// What a reader should know: why attempts were lost or missed, each once; a newer build elsewhere.
    pub notes: Vec<String>,
    /// Whether this was read from a file of results.
    #[serde(default)]
    pub resumed: bool,
}

impl Document {
    /// The document of these cells.
    pub fn new(cases: &[Case], cells: Vec<Cell>) -> Document {
        let name = |case: &Case| CaseName { name: case.name.clone(), about: case.recipe.about.clone() };
        let mut each: Vec<CaseName> = Vec::new();
        for case in cases.iter().map(name) {
            if !each.iter().any(|known| known.name == case.name) {
                each.push(case);
            }
        }
        let case = if let [case] = &each[..] { Some(case.name.clone()) } else { None };
        Document { case, cases: each, confidence: CONFIDENCE, cells, left_out: Vec::new() }
    }

    /// Kernels that were left out, each with the reason and the cases, if not all of them.
    pub fn absent(&self) -> Vec<String> {
        let mut absent: Vec<(&str, &str, Vec<&str>)> = Vec::new();
        for LeftOut { case, spec, why } in &self.left_out {
            match absent.iter_mut().find(|(known, reason, _)| (*known, *reason) == (spec, why)) {
                Some((.., cases)) => cases.push(case),
                None => absent.push((spec, why, vec![case])),
            }
        }
        let words = |(spec, why, cases): &(&str, &str, Vec<&str>)| {
            format!("{spec} was left out ({}): {}", cases.join(", "), why)
        };
        absent.iter().map(words).collect()
    }
}

impl Cell {
    /// Counts what an experiment showed. Attempts that were asked for and not made are lost.
    pub fn new(
        case: &Case,
        kernel: &Kernel,
        accel: Accel,
        times: Times,
        run: &Experiment,
        took: Duration,
    ) -> Cell {
        let (control, forced) = (Control::new(case, times, run), Forced::new(case, times, run));
        let outcomes = |arm, lost| {
            let made = run.arm(arm).map(|judged| judged.outcome);
            let not_made = std::iter::repeat_n(Outcome::Lost, usize::from(lost > 0));
            made.chain(not_made).collect::<Vec<_>>()
        };
        let natural = Natural::new(case, times, run);
        let judged =
            judge::kernel(&outcomes(Arm::Control, control.lost), &outcomes(Arm::Forced, forced.lost));
        let by_chance = natural.as_ref().map_or(0, |natural| natural.symptoms);
        let verdict = judge::with_symptoms(judged, control.symptoms + by_chance);
        let mut notes = notes(kernel, run);
        if verdict != judged {
            notes.push(format!(
                "the symptom appeared where nothing was held (control {}, by chance {by_chance}), though forced it is {judged}",
                control.symptoms
            ));
        }
        Cell {
            case: case.name.clone(),
            kernel: run.release().or(kernel.release.as_deref()).unwrap_or(&kernel.spec).to_owned(),
            spec: kernel.spec.clone(),
            package: kernel.package.clone(),
            variant: kernel.variant.clone(),
            set: case.policy.written.set.clone(),
            seed: case.policy.written.seed,
            accel: Some(accel),
            cpus: None,
            shared_boot: false,
            setup: run.setup.clone(),
            verdict,
            expected: None,
            as_expected: None,
            natural,
            control,
            forced,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            traffic: run.traffic.clone(),
            error: None,
            notes,
            resumed: false,
        }
    }

    /// A case that could not be run on a kernel, which there may not even be: everything is lost.
    pub fn broken(case: &Case, spec: &str, kernel: Option<&Kernel>, times: Times, error: String) -> Cell {
        let nothing = Experiment::default();
        Cell {
            case: case.name.clone(),
            kernel: kernel.and_then(|kernel| kernel.release.clone()).unwrap_or_else(|| spec.to_owned()),
            spec: spec.to_owned(),
            package: kernel.and_then(|kernel| kernel.package.clone()),
            variant: kernel.and_then(|kernel| kernel.variant.clone()),
            set: case.policy.written.set.clone(),
            seed: case.policy.written.seed,
            accel: None,
            cpus: None,
            shared_boot: false,
            setup: BTreeMap::new(),
            verdict: Outcome::Lost,
            expected: None,
            as_expected: None,
            control: Control::new(case, times, &nothing),
            natural: Natural::new(case, times, &nothing),
            forced: Forced::new(case, times, &nothing),
            seconds: 0.0,
            traffic: Traffic::default(),
            notes: vec![error.clone()],
            error: Some(error),
            resumed: false,
        }
    }

    /// The same with what is expected of it.
    pub fn expecting(self, expectations: &[Expectation]) -> Cell {
        let expected = expect::of(expectations, &self.case, &self.spec).map(<[Outcome]>::to_vec);
        let as_expected = expected.as_ref().map(|verdicts| verdicts.contains(&self.verdict));
        Cell { expected, as_expected, ..self }
    }

    /// The verdict as people are told it.
    pub fn word(&self) -> Word {
        Word::of_kernel(self.verdict, self.control.bypassed)
    }

    /// The release; for a variant with its name, and the beginning of its change's hash; and what was set.
    pub fn title(&self) -> String {
        let variant = self.variant.as_ref();
        let variant = variant.map(|variant| format!(" with {} {:.12}", variant.name, variant.change));
        let set = self.settings().into_iter().map(|setting| format!(", {setting}"));
        std::iter::once(self.kernel.clone()).chain(variant).chain(set).collect()
    }

    /// What was set: `block=4096`, each.
    pub fn settings(&self) -> Vec<String> {
        self.set.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
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

/// Writes what a case showed on a kernel to `result.json` in a kept directory: a [`Document`] of one cell.
///
/// # Errors
/// It cannot be written.
pub fn write_result(keep: &Path, case: &Case, cell: &Cell) -> Result<()> {
    let document = Document::new(std::slice::from_ref(case), vec![cell.clone()]);
    let path = keep.join("result.json");
    let text = serde_json::to_string_pretty(&document)?;
    std::fs::write(&path, text).with_context(|| format!("{}: cannot write it", path.display()))
}

#[cfg(test)]
pub mod tests;
