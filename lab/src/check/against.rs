//! `blkstay check P --against JOURNAL`: what the policy would have decided on each request that a journal has.

use super::{count, is_good};
use crate::cli::Check;
use crate::log::cause_words;
use crate::policy::{self, warn};
use crate::{journal, out};
use anyhow::Result;
use blkstay_engine::dryrun::{self, Decision, DryRun, Ending, Row, Standing};
use blkstay_engine::event::Gate;
use blkstay_engine::policy::Policy;
use blkstay_engine::request::Nanos;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

/// Heads of the table's columns.
const HEADS: [&str; 8] = ["time", "id", "op", "place", "class", "point", "at submit", "at complete"];

/// Tries one policy on one journal.
///
/// # Errors
/// The journal cannot be read, or standard output cannot be written.
pub fn against(args: &Check, path: &Path, journal: &Path) -> Result<ExitCode> {
    let checked = match policy::load(path, &args.with.settings()) {
        Ok(checked) => checked,
        Err(unusable) => {
            crate::out::tell(format_args!("{}", unusable.render(out::colour())));
            return Ok(ExitCode::FAILURE);
        }
    };
    warn(&checked.warnings);
    let read = journal::read(journal)?;
    let dry = dryrun::run(&checked.policy, &read.lines);
    match args.json {
        true => out::print(&json_lines(&checked.policy, &dry)?)?,
        false => {
            let title = format!("{} against {}", path.display(), journal.display());
            out::print(&format!("{title}\n\n{}\n{}", table(&dry.requests), summary(&checked.policy, &dry)))?;
        }
    }
    let good = read.odd.bad == 0 && is_good(args, &checked);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line of `--json`; `docs/check.md` describes them.
#[derive(Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum Told<'d> {
    Request(&'d Row),
    Point(&'d dryrun::PointTally),
    Rule(&'d dryrun::RuleTally),
    Standing(&'d Standing),
    Unknown(&'d dryrun::Unknown),
    Summary { policy: &'d str, requests: usize, decided: usize, guessed: u64 },
}

fn json_lines(policy: &Policy, dry: &DryRun) -> Result<String> {
    let decided = dry.requests.iter().filter(|row| is_decided(row)).count();
    let (requests, guessed, policy) = (dry.requests.len(), dry.guessed, policy.written.origin.as_str());
    let told = dry.requests.iter().map(Told::Request);
    let told = told.chain(dry.points.iter().map(Told::Point)).chain(dry.rules.iter().map(Told::Rule));
    let told =
        told.chain(dry.standing.iter().map(Told::Standing)).chain(dry.unknown.iter().map(Told::Unknown));
    let mut text = String::new();
    for one in told.chain([Told::Summary { policy, requests, decided, guessed }]) {
        let _ = writeln!(text, "{}", serde_json::to_string(&one)?);
    }
    Ok(text)
}

fn is_decided(row: &Row) -> bool {
    !row.submit.is_empty() || !row.complete.is_empty()
}

/// A line a request, in columns as wide as what is in them.
fn table(rows: &[Row]) -> String {
    let lines: Vec<[String; 8]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut text = String::new();
    let mut before = None;
    for (index, line) in lines.iter().enumerate() {
        let of = index.checked_sub(1).and_then(|row| rows.get(row)).map(|row| (row.start, row.attempt));
        if let Some((start, attempt)) = of.filter(|of| before.is_some_and(|before| before != *of)) {
            let attempt =
                attempt.map_or("between attempts".to_owned(), |attempt| format!("attempt {attempt}"));
            let _ = writeln!(
                text,
                "-- {attempt}{} --",
                if start > 1 { format!(", start {start} of the daemon") } else { String::new() }
            );
        }
        before = of.or(before);
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 | 1 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn cells(row: &Row) -> [String; 8] {
    let request = &row.request;
    let place = match request.op.has_range() {
        true => format!("{}+{}", request.range.offset, request.range.length),
        false => String::new(),
    };
    [
        format!("{:.6}", row.t as f64 / 1e9),
        request.id.to_string(),
        request.op.to_string(),
        place,
        request.class.to_string(),
        row.point.clone().unwrap_or_default(),
        at_gate(row, Gate::Submit, &row.submit),
        at_gate(row, Gate::Complete, &row.complete),
    ]
}

/// What happens at a gate, in order; `-` if nothing does.
fn at_gate(row: &Row, gate: Gate, decisions: &[Decision]) -> String {
    let pauses = row.stands_in.iter().filter(|pause| pause.gate == gate).map(|pause| {
        let stood = match &pause.released {
            Some(released) => {
                let stood = time(released.t.saturating_sub(pause.t));
                format!("{stood} ({})", cause_words(&released.cause))
            }
            None => "to the end".to_owned(),
        };
        (pause.t, format!("stands in the pause of {} until {}, {stood}", pause.rule, pause.until))
    });
    let decided = decisions.iter().map(|one| (one.t, decision(one, row.completed)));
    let mut all: Vec<(Nanos, String)> = decided.chain(pauses).collect();
    all.sort_by_key(|(t, _)| *t);
    match all.is_empty() {
        true => "-".to_owned(),
        false => all.into_iter().map(|(_, words)| words).collect::<Vec<_>>().join("; "),
    }
}

/// Who decides what.
fn decision(one: &Decision, completed: Option<Ending>) -> String {
    let mut words = format!("{}: {}", one.rule.as_deref().unwrap_or("its holds"), one.does);
    if let Some(until) = &one.until {
        let _ = write!(words, " until {until}");
    }
    match (&one.released, one.wait_ns) {
        (Some(released), _) => {
            let stood = time(released.t.saturating_sub(one.t));
            let _ = write!(words, ", {stood} ({})", cause_words(&released.cause));
        }
        (None, Some(0)) => words.push_str(", 0 s"),
        (None, Some(wait)) => {
            let _ = write!(words, ", {}", time(wait));
        }
        (None, None) if one.until.is_some() && completed.is_none() => words.push_str(", to the end"),
        (None, None) => {}
    }
    if let Some(status) = one.status {
        let _ = write!(words, ", ends with {status}");
    }
    words
}

/// `12.5 ms`.
fn time(time: Nanos) -> String {
    match time {
        0..1_000 => format!("{time} ns"),
        1_000..1_000_000 => format!("{:.1} µs", time as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", time as f64 / 1e6),
        _ => format!("{:.3} s", time as f64 / 1e9),
    }
}

fn summary(policy: &Policy, dry: &DryRun) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = writeln!(text, "{words}");
    };
    for point in &dry.points {
        line(match point.requests {
            0 => format!("point {} never came", point.point),
            requests => format!("point {} came {}", point.point, times(requests)),
        });
    }
    for (tally, rule) in dry.rules.iter().zip(&policy.rules) {
        let does = if rule.verdict.is_some() { "decided on" } else { "noted" };
        line(match tally.matched {
            0 => format!("rule {} matched nothing", tally.rule),
            matched => format!("rule {} {does} {} of {matched} that match", tally.rule, tally.taken),
        });
    }
    let all = dry.requests.len();
    let free = dry.requests.iter().filter(|row| !is_decided(row)).count();
    line(format!("nobody decided on {free} of {}", count(all, "request")));
    for Standing { held, .. } in &dry.standing {
        let by = held.rule.as_deref().map_or_else(|| held.point.clone(), str::to_owned);
        line(format!(
            "{} would still stand at the end: at {} by {by} until {}",
            held.id, held.gate, held.until
        ));
    }
    for unknown in &dry.unknown {
        line(format!("cannot tell about {}: {}", unknown.about, unknown.why));
    }
    if dry.guessed > 0 {
        let guessed = count(dry.guessed as usize, "request");
        line(format!(
            "the drive never finished {guessed} in the journal: taken to last as long as others, by the median"
        ));
    }
    line("Requests arrive as they did then, however long others stand now; a guest that waits would send them later.".to_owned());
    text
}

fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        number => format!("{number} times"),
    }
}
