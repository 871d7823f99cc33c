//! A case on a kernel: what is in a row of the table, and what can be told of it.

use super::rate::Rate;
use super::result::{KernelResult, Variant};
use super::story::Story;
use crate::run::judge;
use blkstay_engine::journal::{Arm, Outcome};
use blkstay_engine::report::AttemptReport;
use serde_json::Value;
use std::collections::BTreeMap;

/// A case on a kernel.
#[derive(Debug)]
pub struct Cell {
    /// Name of the case.
    pub case: String,
    /// What the run said of it.
    result: KernelResult,
    /// What its journal tells.
    pub story: Option<Story>,
}

impl Cell {
    /// A cell of what there is.
    pub fn new(case: String, result: Option<KernelResult>, story: Option<Story>) -> Cell {
        Cell { case, result: result.unwrap_or_default(), story }
    }

    /// Whether both are of the same case on the same kernel.
    pub fn is_same(&self, other: &Cell) -> bool {
        let change = |cell: &Cell| cell.variant().map(|variant| variant.change.clone());
        let may_be = self.result.spec.is_none()
            || other.result.spec.is_none()
            || self.result.spec == other.result.spec;
        self.case == other.case
            && self.release() == other.release()
            && may_be
            && (self.result.verdict.is_none() || change(self) == change(other))
    }

    /// Takes over what the run said, if that is not known.
    pub fn complete(&mut self, other: Cell) {
        if self.result.verdict.is_none() {
            self.result = other.result;
        }
    }

    /// What the guest's `uname -r` said.
    pub fn release(&self) -> &str {
        let said = self.story.as_ref().and_then(|story| story.setup.get("kernel"));
        match &self.result.kernel {
            kernel if !kernel.is_empty() => kernel,
            _ => said.map_or("?", String::as_str),
        }
    }

    /// What changed the kernel.
    pub fn variant(&self) -> Option<&Variant> {
        self.result.variant.as_ref()
    }

    /// What the kernel is, as exactly as it is known: package, variant, how the guest was run.
    pub fn build(&self) -> Vec<String> {
        let accel = match &self.result.accel {
            Some(Value::String(accel)) => Some(format!("guest under {}", accel.to_uppercase())),
            _ => None,
        };
        let package = self.result.package.as_ref().map(|package| format!("package {package}"));
        let variant = self.variant().map(|variant| {
            format!("variant {}: {} (change {:.12})", variant.name, variant.about.trim(), variant.change)
        });
        [package, variant, accel].into_iter().flatten().collect()
    }

    /// What a reader should know.
    pub fn notes(&self) -> &[String] {
        &self.result.notes
    }

    /// The verdict.
    pub fn verdict(&self) -> Outcome {
        self.result
            .verdict
            .unwrap_or_else(|| judge::kernel(&self.outcomes(Arm::Control), &self.outcomes(Arm::Forced)))
    }

    fn outcomes(&self, arm: Arm) -> Vec<Outcome> {
        let attempts = self.story.iter().flat_map(|story| story.arm(arm));
        attempts.map(|attempt| attempt.outcome.unwrap_or(Outcome::Lost)).collect()
    }

    /// How many attempts of an arm showed each outcome that came up, most frequent first.
    pub fn rates(&self, arm: Arm) -> Vec<(Outcome, Rate)> {
        let (told, words) = match arm {
            // Of the natural arm nothing is drawn.
            Arm::Control | Arm::Natural => {
                (&self.result.control, [Outcome::Reached, Outcome::Missed, Outcome::Lost].as_slice())
            }
            Arm::Forced => (
                &self.result.forced,
                [Outcome::Open, Outcome::Closed, Outcome::Survived, Outcome::Missed, Outcome::Lost]
                    .as_slice(),
            ),
        };
        let made = self.outcomes(arm);
        let number = |name: &str| told.get(name).and_then(Value::as_u64);
        let of = number("attempts").unwrap_or(made.len() as u64);
        let count = |outcome: Outcome| {
            number(&outcome.to_string())
                .unwrap_or_else(|| made.iter().filter(|one| **one == outcome).count() as u64)
        };
        let mut rates: Vec<(Outcome, Rate)> =
            words.iter().map(|outcome| (*outcome, Rate { some: count(*outcome), of })).collect();
        rates.retain(|(_, rate)| rate.some > 0);
        rates.sort_by_key(|(_, rate)| std::cmp::Reverse(rate.some));
        rates
    }

    /// In how many attempts of an arm there was any sign of the symptom.
    pub fn symptoms(&self, arm: Arm) -> Rate {
        let signs = self.sign_sets(arm);
        Rate {
            some: signs.iter().filter(|signs| signs.contains(&judge::Seen::Yes)).count() as u64,
            of: signs.len() as u64,
        }
    }

    /// In how many attempts of an arm each sign was seen, and in how many it could not have been, by name.
    pub fn signs(&self, arm: Arm) -> Vec<(String, u64, u64)> {
        let sets = self.sign_sets(arm);
        let count = |index: usize, wanted| {
            sets.iter().filter(|signs| signs.get(index) == Some(&wanted)).count() as u64
        };
        let policy = self.story.iter().flat_map(|story| &story.policy);
        let signs = policy.flat_map(|policy| policy.signs.iter().enumerate());
        signs
            .map(|(index, sign)| {
                (sign.name.clone(), count(index, judge::Seen::Yes), count(index, judge::Seen::Muted))
            })
            .collect()
    }

    /// What was seen of each sign, attempt by attempt: in the order in which they were made, for a kernel falls
    /// silent about what it has said often.
    fn sign_sets(&self, arm: Arm) -> Vec<Vec<judge::Seen>> {
        let Some(story) = &self.story else { return Vec::new() };
        let Some(policy) = &story.policy else { return Vec::new() };
        let mut boot = judge::Boot::default();
        let each = story
            .attempts
            .iter()
            .map(|attempt| (attempt.arm, judge::signs(policy, &heard(attempt), &mut boot)));
        each.filter(|(its, _)| *its == arm).map(|(_, signs)| signs).collect()
    }

    /// The commands that make this cell again; of a Debian kernel, the very build.
    pub fn command(&self) -> String {
        let written = self.story.as_ref().and_then(|story| story.written.as_ref());
        let case = written.map_or(self.case.as_str(), |written| &written.origin);
        let mut words = vec!["blkstay".to_owned(), "run".to_owned(), case.to_owned()];
        if let Some(kernel) = self.exact_spec() {
            words.extend(["--kernel".to_owned(), kernel]);
        }
        let times = self.rates(Arm::Forced).first().map(|(_, rate)| rate.of);
        words.extend(times.iter().flat_map(|times| ["--times".to_owned(), times.to_string()]));
        for (name, value) in written.iter().flat_map(|written| &written.set) {
            words.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        let seed = written.and_then(|written| written.seed);
        words.extend(seed.iter().flat_map(|seed| ["--seed".to_owned(), seed.to_string()]));
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// `debian:6.12/generic` with the version of the package that it was.
    fn exact_spec(&self) -> Option<String> {
        let spec = self.result.spec.clone()?;
        let version =
            self.result.package.as_ref().and_then(|package| package.rsplit_once(' ').map(|(_, it)| it));
        match (spec.strip_prefix("debian:"), version) {
            (Some(rest), Some(version)) => {
                let flavour = rest.find('/').map_or("", |at| &rest[at..]);
                Some(format!("debian:{version}{flavour}"))
            }
            _ => Some(spec),
        }
    }
}

/// What an attempt is judged by, from the journal alone.
fn heard(attempt: &super::story::Attempt) -> AttemptReport {
    use super::story::What;
    let mut report = AttemptReport {
        attempt: attempt.number,
        arm: attempt.arm,
        began_ns: attempt.began_ns,
        ended_ns: attempt.began_ns,
        unbound: Vec::new(),
        points: BTreeMap::new(),
        holds: Vec::new(),
        expired: None,
        rules: BTreeMap::new(),
        events: Vec::new(),
        reports: BTreeMap::new(),
        kernel_log: Vec::new(),
        exit: None,
    };
    for said in &attempt.said {
        match &said.what {
            What::Report { name, value } => drop(report.reports.insert(name.clone(), value.clone())),
            What::Log(line) => report.kernel_log.push(line.clone()),
            _ => {}
        }
    }
    report
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
