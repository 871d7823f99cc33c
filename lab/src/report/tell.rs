//! What the page and the mail say in the same words.

use super::cell::Cell;
use super::scene::Scene;
use super::stand::stood;
use super::story::Attempt;
use super::words;
use crate::run::word::Word;
use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Arm, Outcome};
use blkstay_engine::report::HoldReport;

/// How it came about.
pub const METHOD: &str = "Each kernel ran the case's script with nothing held (control), then with the policy's holds \
    (forced). Everything here is computed from the journals of blkstay's disk; times are its monotonic clock.";

/// What the figures of a case are that is about costs; its arm stands before it.
pub const COSTS: &str = "medians of each phase, counted from the journal:";

/// What a reader has to know of the axis.
pub const AXIS: &str = "Time goes to the right, from the first request that the policy is about. It is not to scale: \
    distances grow with the logarithm of time. Where nothing happens for long, the axis is broken, and what is left \
    out is written there. Lines of the kernel log lie where the guest passed them on; the kernel's own time is in them.";

/// What cells of a case ask: in a line, and in the policy's own header.
pub fn question(cells: &[&Cell]) -> (Option<String>, Option<String>) {
    let stories = || cells.iter().filter_map(|cell| cell.story.as_ref());
    let about = stories()
        .find_map(|story| story.policy.as_ref()?.case.as_ref().map(|case| case.about.trim().to_owned()));
    let header = stories().find_map(|story| story.written.as_ref().map(|written| header(&written.text)));
    (about, header.filter(|header| !header.is_empty()))
}

/// The comment that a policy begins with.
fn header(text: &str) -> String {
    let comment = text.lines().take_while(|line| line.starts_with('#'));
    let bare = comment.map(|line| line.trim_start_matches('#').strip_prefix(' ').unwrap_or(""));
    bare.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Every policy that cells of a case were run with, by where it came from; what it includes too.
pub fn policies<'a>(cells: &[&'a Cell]) -> Vec<(&'a str, &'a str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for written in cells.iter().filter_map(|cell| cell.story.as_ref()?.written.as_ref()) {
        let included = written.included.iter().map(|file| (file.path.as_str(), file.text.as_str()));
        for one in std::iter::once((written.origin.as_str(), written.text.as_str())).chain(included) {
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found
}

/// What comes up, in the order in which it is explained.
pub fn words(cells: &[Cell]) -> Vec<Word> {
    let comes_up = |word: &Word| {
        cells.iter().any(|cell| {
            let mut rates = [Arm::Control, Arm::Forced].into_iter().flat_map(|arm| cell.rates(arm));
            cell.word() == *word || rates.any(|(seen, _)| seen == *word)
        })
    };
    Word::ALL.into_iter().filter(comes_up).collect()
}

/// In how many forced attempts each sign was seen.
pub fn signs(cell: &Cell) -> Vec<String> {
    let muted = |count| if count > 0 { format!(" (kernel silent in {count})") } else { String::new() };
    let signs = cell.signs(Arm::Forced).into_iter();
    signs.map(|(name, seen, silent)| format!("{name} {seen}{}", muted(silent))).collect()
}

/// Which attempt it is.
pub fn heading(attempt: &Attempt, count: usize, made: usize) -> String {
    let outcome = attempt.word().map_or("not judged".to_owned(), |word| word.to_string());
    let arm = match attempt.arm {
        Arm::Control => "Control, nothing held",
        Arm::Natural => "Natural, no policy",
        Arm::Forced => "Forced",
    };
    let which = match (count, made) {
        (_, 1) => "the only one".to_owned(),
        (1, made) => format!("the only one like it among {made}"),
        (count, made) if count == made => format!("the first of {made}, all alike"),
        (count, made) => format!("the first of {count} like it among {made}"),
    };
    format!("{arm}: {outcome} (attempt {}, {which})", attempt.number)
}

/// What the eye is to see in an attempt, in words.
pub fn facts(scene: &Scene) -> Vec<String> {
    let mut facts: Vec<String> = match scene.attempt.arm {
        Arm::Control | Arm::Natural => {
            scene.attempt.report.iter().flat_map(|report| &report.holds).map(unheld).collect()
        }
        Arm::Forced => held(scene),
    };
    let told = [Outcome::Reached, Outcome::Open, Outcome::Survived].map(Some);
    if !told.contains(&scene.attempt.outcome) && !scene.attempt.why.is_empty() {
        facts.push(scene.attempt.why.clone());
    }
    for stuck in scene.stuck() {
        facts.push(format!("meanwhile {} {}", stuck.process.unwrap_or("the guest"), stuck.words()));
    }
    let signs = scene.signs();
    match (&signs[..], scene.attempt.arm) {
        ([], _) => facts.push("no sign of the symptom".to_owned()),
        (signs, _) => {
            let signs: Vec<String> =
                signs.iter().map(|sign| words::short(&words::plain(sign), 110)).collect();
            facts.push(format!("the symptom: {}", signs.join("; ")));
        }
    }
    facts
}

/// A hold in the control arm, where nothing is held: what came first.
fn unheld(hold: &HoldReport) -> String {
    let HoldReport { gate, until, reached_ns, true_ns, .. } = hold;
    let step = match gate.rsplit_once('.') {
        Some((point, "complete")) => format!("{point} completes"),
        Some((point, "submit")) => format!("{point} goes to the drive"),
        _ => format!("{gate} is reached"),
    };
    match (reached_ns, true_ns) {
        (Some(reached), Some(came)) if came > reached => {
            format!("{step} {} before {until}", words::time(came - reached))
        }
        (Some(reached), Some(came)) => format!("{step} {} after {until}", words::time(reached - came)),
        (Some(_), None) => format!("{step}, and {until} never comes"),
        (None, _) => format!("{gate} is never reached"),
    }
}

/// What was held, equal ones counted.
fn held(scene: &Scene) -> Vec<String> {
    let mut told: Vec<(String, u64, String)> = Vec::new();
    for (life, stand) in scene.stands() {
        let name = life.point.clone().unwrap_or_else(|| words::asks(&life.request));
        let why = stand.released.as_ref().map(|(_, why)| why);
        let same = format!("{name} {} {:?} {:?} {why:?}", stand.gate, stand.rule, stand.until);
        if let Some((_, count, _)) = told.iter_mut().find(|(one, ..)| *one == same) {
            *count += 1;
            continue;
        }
        let what = match stand.gate {
            Gate::Submit => "before the drive",
            Gate::Complete => "its completion",
        };
        let stood = stood(stand, scene.to_ns);
        let rest = stood.strip_prefix("held ").unwrap_or(&stood);
        let words = match stand.gate {
            Gate::Submit => format!("{name} is held {what}, {rest}"),
            Gate::Complete => format!("{name} is done, {what} held {rest}"),
        };
        told.push((same, 1, words));
    }
    let sentence = |(_, count, first): (String, u64, String)| match count {
        1 => first,
        count => format!("{first}; {} more like it", count - 1),
    };
    told.into_iter().map(sentence).collect()
}
