//! The result of a run as a table for READMEs, issues and merge requests.

use super::super::document::{Cell, Document};
use super::super::rate::CONFIDENCE;
use super::super::traffic::Phase;
use super::matrix::Matrix;
use super::{control, forced, natural, remarks, signs, verdict};
use std::fmt::Write;

/// Writes a table, and below it what is remarked.
pub fn write(document: &Document) -> String {
    let mut out = Matrix::of(document).as_ref().map(at_a_glance).unwrap_or_default();
    out += "| case | kernel | verdict | forced | control | by chance | signs when forced |\n";
    out += "|---|---|---|---|---|---|---|\n";
    for cell in &document.cells {
        let _ = writeln!(out, "| {} |", row(cell).map(|text| escape(&text)).join(" | "));
    }
    let percent = CONFIDENCE * 100.0;
    let _ = writeln!(out, "\nIn brackets: bounds of the rate, {percent:.0} % sure (Clopper-Pearson).");
    let mut first = "\n";
    for cell in &document.cells {
        for remark in remarks(cell) {
            let _ = writeln!(out, "{first}- {} on {}: {}", cell.case, escape(&cell.title()), escape(&remark));
            first = "";
        }
    }
    for absent in document.absent() {
        let _ = writeln!(out, "{first}- {}", escape(&absent));
        first = "";
    }
    for cell in &document.cells {
        for (arm, phases) in &cell.traffic {
            let title = escape(&cell.title());
            let _ = writeln!(out, "\n{} on {title}, {arm} arm: medians of each phase\n", cell.case);
            let header = Phase::HEADER.map(str::to_owned).to_vec();
            out += &table(&header, &phases.iter().map(|phase| phase.row().to_vec()).collect::<Vec<_>>());
        }
    }
    out
}

/// The verdicts, and an empty line.
fn at_a_glance(Matrix { header, rows }: &Matrix) -> String {
    table(header, rows) + "\n"
}

fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|text| escape(text)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = "|---".repeat(header.len()) + "|\n";
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{rule}{rows}", line(header))
}

fn row(cell: &Cell) -> [String; 7] {
    [
        cell.case.clone(),
        cell.title(),
        format!("**{}**", verdict(cell)),
        forced(&cell.forced),
        control(&cell.control),
        cell.natural.as_ref().map_or(String::new(), natural),
        signs(cell).join(", "),
    ]
}

/// What would be taken for markup, or end the cell.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '<' | '>' | '[' | ']' | '_' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::write;

    #[test]
    fn every_cell_is_a_row_of_seven_and_nothing_breaks_out_of_it() {
        let text = write(&document());
        let from = text.find("| case |").expect("the table of cells");
        let rows: Vec<&str> = text[from..].lines().take_while(|line| line.starts_with('|')).collect();
        assert!(
            text.starts_with("| kernel | a | b |\n|---|---|---|\n| 6.12-amd64 | open | missed |\n"),
            "{text}"
        );
        assert_eq!(rows.len(), 2 + 4, "{text}");
        for row in &rows {
            assert_eq!(row.replace("\\|", "").matches('|').count(), 8, "{row}");
        }
        let first = "| a | 6.12-amd64 | **open** | 10 open of 10 (69–100 %) | 10 of 10 reached, no symptom |  | fsync 10 |";
        assert_eq!(rows[2], first);
        assert!(text.contains("\\<oops\\> &"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
