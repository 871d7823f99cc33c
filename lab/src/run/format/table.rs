//! The result of a run as people read it.

use super::super::document::{Cell as Result, Document};
use super::super::rate::CONFIDENCE;
use super::super::traffic::Phase;
use super::super::word::Word;
use super::matrix::Matrix;
use super::{control, forced, natural, remarks, signs, verdict};
use blkstay_engine::journal::Outcome;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};
use std::fmt::Write;

/// Draws the table and says below it what the words mean.
pub fn draw(document: &Document) -> String {
    let shape = Shape::of(document);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(shape.header());
    for result in &document.cells {
        table.add_row(shape.row(result));
    }
    let mut out = String::new();
    for case in &document.cases {
        let _ = writeln!(out, "{}: {}", case.name, case.about);
    }
    let _ = writeln!(out, "{table}");
    if let Some(Matrix { header, rows }) = Matrix::of(document) {
        let mut glance = Table::new();
        glance.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        glance.set_header(header).add_rows(rows);
        let _ = writeln!(out, "{glance}");
    }
    for word in Word::ALL {
        if document.cells.iter().any(|result| result.word() == word) {
            let _ = writeln!(out, "{word}: {}", word.meaning());
        }
    }
    let _ =
        writeln!(out, "in brackets: bounds of the rate, {:.0} % sure (Clopper-Pearson)", CONFIDENCE * 100.0);
    out += &remarked(document);
    document.absent().iter().for_each(|absent| out += &format!("{absent}\n"));
    for result in &document.cells {
        for (arm, phases) in &result.traffic {
            let _ = writeln!(out, "{} on {}, {arm} arm: medians of each phase", result.case, result.title());
            let _ = writeln!(out, "{}", traffic(phases));
        }
    }
    out
}

/// Remarks, each with all that it is said of.
fn remarked(document: &Document) -> String {
    let several = document.cases.len() > 1;
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    for result in &document.cells {
        let whom = if several { format!("{} on {}", result.case, result.title()) } else { result.title() };
        for remark in remarks(result) {
            match said.iter_mut().find(|(known, _)| *known == remark) {
                Some((_, all)) => all.push(whom.clone()),
                None => said.push((remark, vec![whom.clone()])),
            }
        }
    }
    said.iter().map(|(remark, whom)| format!("{}: {remark}\n", whom.join(", "))).collect()
}

/// What each phase cost.
fn traffic(phases: &[Phase]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(Phase::HEADER);
    for phase in phases {
        let cell = |(index, text): (usize, String)| match index {
            1..=5 => Cell::new(text).set_alignment(CellAlignment::Right),
            _ => Cell::new(text),
        };
        table.add_row(phase.row().into_iter().enumerate().map(cell));
    }
    table
}

/// Which columns there are.
struct Shape {
    case: bool,
    natural: bool,
}

impl Shape {
    fn of(document: &Document) -> Shape {
        let natural = document.cells.iter().any(|result| result.natural.is_some());
        Shape { case: document.cases.len() > 1, natural }
    }

    fn header(&self) -> Vec<&'static str> {
        let case = self.case.then_some("case");
        let natural = self.natural.then_some("symptom by chance");
        let first = ["kernel", "verdict", "forced", "control"];
        let all = case.into_iter().chain(first).chain(natural);
        all.chain(["signs when forced", "time"]).collect()
    }

    fn row(&self, result: &Result) -> Vec<Cell> {
        let colour = match (result.as_expected, result.verdict) {
            (Some(true), _) => Color::Green,
            (Some(false), _) | (None, Outcome::Open) => Color::Red,
            (None, Outcome::Closed) => Color::Green,
            _ => Color::Yellow,
        };
        let bold = Cell::new(verdict(result)).fg(colour).add_attribute(Attribute::Bold);
        let case = self.case.then(|| Cell::new(&result.case));
        let by_chance = || Cell::new(result.natural.as_ref().map_or(String::new(), natural));
        let first = [Cell::new(name(result)), bold, Cell::new(forced(&result.forced))];
        let mut row: Vec<Cell> = case.into_iter().chain(first).collect();
        row.push(Cell::new(control(&result.control)));
        row.extend(self.natural.then(by_chance));
        row.push(Cell::new(signs(result).join("\n")));
        let kept = if result.resumed { "kept, " } else { "" };
        row.push(Cell::new(format!("{kept}{:.0} s", result.seconds)).set_alignment(CellAlignment::Right));
        row
    }
}

/// The release; below it the variant, with the beginning of its change's hash, and what was set.
fn name(result: &Result) -> String {
    let variant = result.variant.as_ref();
    let variant = variant.map_or(String::new(), |record| format!("\n{} {:.12}", record.name, record.change));
    let accel = result.accel.map_or(String::new(), |accel| format!(" ({accel})"));
    let set: String = result.settings().iter().map(|setting| format!("\n{setting}")).collect();
    format!("{}{accel}{variant}{set}", result.kernel)
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::*;

    #[test]
    fn every_cell_is_a_row_and_what_was_expected_is_said_where_it_was_not_shown() {
        let drawn = draw(&document());
        let row = |words: &[&str]| drawn.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(row(&["a", "6.12-amd64 (tcg)", "open", "10 open of 10 (69–100 %)"]), "{drawn}");
        assert!(row(&["a", "7.3-amd64 (tcg)", "closed, not open"]), "{drawn}");
        assert!(row(&["b", "7.3-amd64 (tcg)", "lost"]), "{drawn}");
        assert!(drawn.contains("b on 7.3-amd64: control attempt lost"), "{drawn}");
    }

    #[test]
    fn a_remark_is_made_once_of_all_that_it_is_said_of() {
        let mut document = document();
        for cell in &mut document.cells[..2] {
            cell.notes = vec!["the same".to_owned()];
        }
        assert!(draw(&document).contains("a on 6.12-amd64, a on 7.3-amd64: the same\n"));
    }
}
