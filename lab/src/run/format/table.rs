//! The result of a run as people read it.

use super::case::Case;
use super::document::{Document, KernelResult};
use blkstay_engine::journal::Outcome;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};
use std::fmt::Write;

/// Draws the table and says below it what the words mean.
pub fn draw(case: &Case, document: &Document) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["kernel", "verdict", "forced", "control", "signs when forced", "time"]);
    for result in &document.kernels {
        table.add_row(row(result));
    }
    let mut out = format!("{}: {}\n{table}\n", document.case, case.recipe.about);
    for verdict in [Outcome::Open, Outcome::Closed, Outcome::Survived, Outcome::Missed, Outcome::Lost] {
        if document.kernels.iter().any(|result| result.verdict == verdict) {
            let _ = writeln!(out, "{verdict}: {}", meaning(verdict));
        }
    }
    for result in &document.kernels {
        for stuck in &result.forced.stuck {
            let _ =
                writeln!(out, "{}: where the guest stood while the hold did: {}", result.kernel, stuck.place);
        }
        for note in &result.notes {
            let _ = writeln!(out, "{}: {note}", result.kernel);
        }
    }
    out
}

fn row(result: &KernelResult) -> Vec<Cell> {
    let colour = match result.verdict {
        Outcome::Open => Color::Red,
        Outcome::Closed => Color::Green,
        _ => Color::Yellow,
    };
    vec![
        Cell::new(name(result)),
        Cell::new(result.verdict).fg(colour).add_attribute(Attribute::Bold),
        Cell::new(forced(result)),
        Cell::new(control(result)),
        Cell::new(signs(result)),
        Cell::new(format!("{:.0} s", result.seconds)).set_alignment(CellAlignment::Right),
    ]
}

/// The release; below it the variant, with the beginning of its change's hash.
fn name(result: &KernelResult) -> String {
    let variant = result.variant.as_ref();
    let variant = variant.map_or(String::new(), |record| format!("\n{} {:.12}", record.name, record.change));
    format!("{} ({}){variant}", result.kernel, result.accel)
}

fn forced(result: &KernelResult) -> String {
    let forced = &result.forced;
    let counts = [
        (forced.open, "open"),
        (forced.closed, "closed"),
        (forced.survived, "survived"),
        (forced.missed, "missed"),
        (forced.lost, "lost"),
    ];
    let seen = counts.iter().filter(|(count, _)| *count > 0);
    let seen: Vec<String> = seen.map(|(count, word)| format!("{count} {word}")).collect();
    format!("{} of {}", seen.join(", "), forced.attempts)
}

fn control(result: &KernelResult) -> String {
    let control = &result.control;
    let symptoms = match control.symptoms {
        0 => "no symptom".to_owned(),
        1 => "1 symptom".to_owned(),
        n => format!("{n} symptoms"),
    };
    format!("{} of {} reached, {symptoms}", control.reached, control.attempts)
}

fn signs(result: &KernelResult) -> String {
    let each = result.forced.signs.iter().map(|(name, count)| {
        let muted = result.forced.muted.get(name).copied().unwrap_or(0);
        let muted = if muted > 0 { format!(" (kernel silent in {muted})") } else { String::new() };
        format!("{name} {count}{muted}")
    });
    each.collect::<Vec<_>>().join("\n")
}

fn meaning(verdict: Outcome) -> &'static str {
    match verdict {
        Outcome::Open => "the order was forced and the symptom appeared",
        Outcome::Closed => {
            "the guest would not go on while the hold stood, though it does without: a fix is at work"
        }
        Outcome::Survived => "the order was forced and there was no symptom",
        Outcome::Missed => "a point was never reached, so the case says nothing about this kernel",
        Outcome::Lost => "the guest crashed, hung, fell silent or was too slow to tell: nothing is known",
        Outcome::Reached => "every point was reached",
    }
}
