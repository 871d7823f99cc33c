//! A case on a kernel: what is in a row of the table, and what can be told of it.

use super::rate::Rate;
use super::result::{KernelResult, Variant};
use super::story::Story;
use crate::run::judge;
use crate::run::traffic::Traffic;
use crate::run::word::Word;
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
        self.case == other.case
            && self.release() == other.release()
            && may_equal(self.result.spec.as_ref(), other.result.spec.as_ref())
            && may_equal(self.set(), other.set())
            && may_equal(self.result.made_of.as_ref(), other.result.made_of.as_ref())
            && (self.result.verdict.is_none() || change(self) == change(other))
    }

    /// Takes over what the run said, if that is not known; of results alone the last one that says something counts.
    pub fn complete(&mut self, other: Cell) {
        let again = self.story.is_none() && other.verdict() != Outcome::Lost;
        if self.result.verdict.is_none() || again {
            self.result = other.result;
        }
    }

    /// Parameters of the case that do not have their defaults, if they are known.
    fn set(&self) -> Option<&BTreeMap<String, String>> {
        let written = self.story.as_ref().and_then(|story| story.written.as_ref());
        written.map(|written| &written.set).or(self.result.set.as_ref())
    }

    /// The same in words: `block=4096`, each.
    pub fn settings(&self) -> Vec<String> {
        self.set().into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect()
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

    /// What the disk did in each phase of the case, by arm; nothing if it is not about that.
    pub fn traffic(&self) -> &Traffic {
        &self.result.traffic
    }

    /// What a reader should know.
    pub fn notes(&self) -> &[String] {
        &self.result.notes
    }

    /// The verdict.
    pub fn verdict(&self) -> Outcome {
        self.result.verdict.unwrap_or_else(|| {
            let judged = judge::kernel(&self.outcomes(Arm::Control), &self.outcomes(Arm::Forced));
            judge::with_symptoms(judged, self.symptoms(Arm::Control).some + self.symptoms(Arm::Natural).some)
        })
    }

    /// The verdict as people are told it.
    pub fn word(&self) -> Word {
        let made = || self.made(Arm::Control).iter().filter(|word| word.bypassed).count() as u64;
        Word::of_kernel(self.verdict(), number(&self.result.control, "bypassed").unwrap_or_else(made))
    }

    fn outcomes(&self, arm: Arm) -> Vec<Outcome> {
        self.made(arm).iter().map(|word| word.outcome).collect()
    }

    /// What each attempt of an arm showed.
    fn made(&self, arm: Arm) -> Vec<Word> {
        let attempts = self.story.iter().flat_map(|story| story.arm(arm));
        attempts.map(|attempt| attempt.word().unwrap_or(Word::plain(Outcome::Lost))).collect()
    }

    /// How many attempts of an arm showed each outcome that came up, most frequent first.
    pub fn rates(&self, arm: Arm) -> Vec<(Word, Rate)> {
        let told = match arm {
            // Of the natural arm nothing is drawn.
            Arm::Control | Arm::Natural => &self.result.control,
            Arm::Forced => &self.result.forced,
        };
        let made = self.made(arm);
        let of = number(told, "attempts").unwrap_or(made.len() as u64);
        let seen = |word: Word| made.iter().filter(|one| **one == word).count() as u64;
        // What is told as closed is both; older results of the forced arm have no count of those by-passed.
        let closed = number(told, "closed");
        let older = closed.filter(|_| self.word().bypassed);
        let bypassed = number(told, "bypassed").or(older);
        let count = |word: Word| match word {
            Word { bypassed: true, .. } => bypassed.unwrap_or_else(|| seen(word)),
            Word { outcome: Outcome::Closed, .. } => {
                closed.map_or_else(|| seen(word), |closed| closed.saturating_sub(bypassed.unwrap_or(0)))
            }
            Word { outcome, .. } => number(told, &outcome.to_string()).unwrap_or_else(|| seen(word)),
        };
        let mut rates: Vec<(Word, Rate)> =
            Word::ALL.map(|word| (word, Rate { some: count(word), of })).into();
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
        if self.story.is_none() {
            return self.signs_told(arm);
        }
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

    /// The same as a result says it.
    fn signs_told(&self, arm: Arm) -> Vec<(String, u64, u64)> {
        let told = if arm == Arm::Forced { &self.result.forced } else { &self.result.control };
        let counts = |name: &str| told.get(name).and_then(Value::as_object);
        let count = |name: &str, sign: &str| counts(name)?.get(sign)?.as_u64();
        let names = counts("signs").into_iter().flat_map(serde_json::Map::keys);
        let each = names
            .map(|sign| (sign.clone(), count("signs", sign).unwrap_or(0), count("muted", sign).unwrap_or(0)));
        each.collect()
    }

    /// How often the symptom came up by chance, if that was tried: of the attempts that were not lost.
    pub fn by_chance(&self) -> Option<Rate> {
        let told = self.result.natural.as_ref()?;
        let count = |name: &str| number(told, name).unwrap_or(0);
        Some(Rate { some: count("symptoms"), of: count("attempts").saturating_sub(count("lost")) })
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
        words.extend(self.settings().into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
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

/// Whether two things are equal as far as they are known.
fn may_equal<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_none() || other.is_none() || one == other
}

fn number(told: &BTreeMap<String, Value>, name: &str) -> Option<u64> {
    told.get(name).and_then(Value::as_u64)
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
