//! The report as plain text, for the body of a mail.

use super::cell::Cell;
use super::input::by_case;
use super::lines::timeline;
use super::scene::Scene;
use super::tell;
use crate::out::printable;
use crate::run::traffic::Phase;
use blkstay_engine::journal::Arm;
use std::fmt::Write;

/// Columns that prose is wrapped at.
pub const COLUMNS: usize = 76;

/// Writes the report.
pub fn write(cells: &[Cell]) -> String {
    let mut out = String::new();
    for (index, (case, cells)) in by_case(cells).into_iter().enumerate() {
        if index > 0 {
            out += "\n\n";
        }
        let (about, _) = tell::question(&cells);
        paragraph(&mut out, "", &about.map_or(case.to_owned(), |about| format!("{case}: {about}")));
        out += "\n";
        table(&mut out, &cells);
        for cell in &cells {
            out += "\n";
            describe(&mut out, cell);
        }
    }
    out += "\n";
    for word in tell::words(cells) {
        paragraph(&mut out, "", &format!("{word}: {}", word.meaning()));
    }
    paragraph(&mut out, "", "In brackets: the 95 % bounds of a rate (Clopper and Pearson).");
    paragraph(&mut out, "", tell::METHOD);
    out
}

fn table(out: &mut String, cells: &[&Cell]) {
    let rates = |cell: &Cell, arm| {
        let rates = cell.rates(arm);
        let words = rates.iter().map(|(word, rate)| format!("{word} {}", rate.words()));
        words.collect::<Vec<_>>().join(", ")
    };
    for cell in cells {
        let _ = writeln!(out, "  {:<9} {}", cell.word().to_string(), printable(&name(cell)));
        for arm in [Arm::Forced, Arm::Control] {
            let symptoms = cell.symptoms(arm);
            let symptom =
                if symptoms.of > 0 { format!("; symptom in {}", symptoms.words()) } else { String::new() };
            paragraph(out, &format!("            {arm}: "), &format!("{}{symptom}", rates(cell, arm)));
        }
        if let Some(rate) = cell.by_chance() {
            let _ = writeln!(out, "            by chance: symptom in {}", rate.words());
        }
        let signs = tell::signs(cell);
        if cell.story.is_none() && !signs.is_empty() {
            paragraph(out, "            signs when forced: ", &signs.join(", "));
        }
    }
}

fn name(cell: &Cell) -> String {
    let variant = cell.variant().map(|variant| format!(" with {}", variant.name));
    let set: String = cell.settings().iter().map(|setting| format!(", {setting}")).collect();
    format!("{}{}{set}", cell.release(), variant.unwrap_or_default())
}

fn describe(out: &mut String, cell: &Cell) {
    let title = printable(&format!("{} on {}", cell.word(), name(cell)));
    let _ = writeln!(out, "{title}\n{}", "-".repeat(title.chars().count().min(COLUMNS)));
    cell.build().iter().for_each(|build| paragraph(out, "", build));
    for (arm, phases) in cell.traffic() {
        let _ = writeln!(out, "\n{arm} arm, {}", tell::COSTS);
        costs(out, phases);
    }
    let Some(story) = cell.story.as_ref().filter(|_| cell.traffic().is_empty()) else {
        ending(out, cell);
        return;
    };
    for arm in [Arm::Control, Arm::Forced] {
        let Some((attempt, count)) = story.typical(arm) else { continue };
        let scene = Scene::new(attempt, story.policy.as_ref());
        out.push('\n');
        paragraph(out, "", &tell::heading(attempt, count, story.arm(arm).count()));
        tell::facts(&scene).iter().for_each(|fact| paragraph(out, "- ", fact));
        out.push('\n');
        *out += &timeline(&scene);
    }
    ending(out, cell);
}

/// What phases cost, column by column.
fn costs(out: &mut String, phases: &[Phase]) {
    let rows: Vec<[String; 8]> =
        std::iter::once(Phase::HEADER.map(str::to_owned)).chain(phases.iter().map(Phase::row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in &rows {
        let cells =
            row.iter().enumerate().map(|(column, text)| format!("{text:>width$}", width = width(column)));
        let _ = writeln!(out, "  {}", printable(&cells.collect::<Vec<_>>().join("  ")));
    }
}

fn ending(out: &mut String, cell: &Cell) {
    if cell.story.is_none() {
        paragraph(out, "", "Its journal is not among what this report was made from.");
    }
    cell.notes().iter().for_each(|note| paragraph(out, "\nnote: ", note));
    let command: Vec<String> = cell.command().iter().map(|word| printable(word)).collect();
    let lines = wrapped(command.iter().map(String::as_str), COLUMNS - 8);
    let _ = writeln!(out, "\nTo see it again:\n  {}", lines.join(" \\\n      "));
}

/// Wraps a text; what follows its first line is indented as far as `mark` is wide.
fn paragraph(out: &mut String, mark: &str, text: &str) {
    let indent = mark.trim_start_matches('\n').chars().count();
    let lines = wrapped(printable(text).split(' '), COLUMNS.saturating_sub(indent));
    let _ = writeln!(out, "{mark}{}", lines.join(&format!("\n{}", " ".repeat(indent))));
}

/// Words in lines of so many columns; a word that is longer has a line of its own.
pub fn wrapped<'w>(words: impl Iterator<Item = &'w str>, columns: usize) -> Vec<String> {
    let (mut lines, mut used) = (Vec::<String>::new(), 0);
    for word in words {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if used + 1 + length <= columns => {
                let _ = write!(line, " {word}");
                used += 1 + length;
            }
            _ => {
                lines.push(word.to_owned());
                used = length;
            }
        }
    }
    lines
}
