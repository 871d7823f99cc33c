//! The result of a run for spreadsheets.

use super::super::document::{Cell, Document};
use anyhow::{Context, Result};

/// Columns; more are only ever added behind them.
const HEADER: [&str; 26] = [
    "case",
    "kernel",
    "spec",
    "package",
    "variant",
    "change",
    "accel",
    "verdict",
    "as_expected",
    "forced",
    "open",
    "closed",
    "survived",
    "missed",
    "lost",
    "open_low",
    "open_high",
    "control",
    "control_reached",
    "control_symptoms",
    "natural",
    "natural_symptoms",
    "seconds",
    "control_bypassed",
    "forced_bypassed",
    "set",
];

/// Writes a header and a line for each cell (RFC 4180, but for its line ends).
///
/// # Errors
/// None that is known.
pub fn write(document: &Document) -> Result<String> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(HEADER)?;
    for cell in &document.cells {
        out.write_record(row(cell))?;
    }
    let bytes = out.into_inner().context("the lines could not be put together")?;
    Ok(String::from_utf8(bytes)?)
}

fn row(cell: &Cell) -> [String; 26] {
    let (variant, forced, control) = (cell.variant.as_ref(), &cell.forced, &cell.control);
    let open = forced.rates.get("open");
    let number = |number: Option<f64>| number.map_or(String::new(), |number| number.to_string());
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let count = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
    [
        cell.case.clone(),
        cell.kernel.clone(),
        cell.spec.clone(),
        text(cell.package.as_ref()),
        text(variant.map(|variant| &variant.name)),
        text(variant.map(|variant| &variant.change)),
        cell.accel.map_or(String::new(), |accel| accel.to_string()),
        cell.verdict.to_string(),
        cell.as_expected.map_or(String::new(), |as_expected| as_expected.to_string()),
        forced.attempts.to_string(),
        forced.open.to_string(),
        forced.closed.to_string(),
        forced.survived.to_string(),
        forced.missed.to_string(),
        forced.lost.to_string(),
        number(open.map(|rate| rate.low)),
        number(open.map(|rate| rate.high)),
        control.attempts.to_string(),
        control.reached.to_string(),
        control.symptoms.to_string(),
        count(cell.natural.as_ref().map(|natural| natural.attempts)),
        count(cell.natural.as_ref().map(|natural| natural.symptoms)),
        number(Some(cell.seconds)),
        control.bypassed.to_string(),
        forced.bypassed.to_string(),
        cell.settings().join(" "),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::write;

    #[test]
    fn every_cell_is_a_line_with_a_value_for_every_column() {
        let text = write(&document()).expect("lines");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().expect("a header").clone();
        let column = |name: &str| header.iter().position(|known| known == name).expect("a column");
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("lines alike");
        assert_eq!(rows.len(), 4);
        let value = |row: usize, name| &rows[row][column(name)];
        assert_eq!((value(0, "verdict"), value(0, "open"), value(0, "open_low")), ("open", "10", "0.691503"));
        assert_eq!((value(1, "verdict"), value(1, "as_expected")), ("closed", "false"));
        assert_eq!((value(3, "kernel"), value(3, "lost")), ("7.3-amd64", "10"));
    }
}
