//! What was measured, beside its bounds.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// This at most.
    AtMost(f64),
    /// This at least.
    AtLeast(f64),
}

/// A figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<Bound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

impl Figure {
    /// A figure without a bound.
    pub fn new(name: &'static str, value: f64, unit: &'static str) -> Figure {
        Figure { name, value, unit, bound: None, met: None }
    }

    /// The same with a bound.
    pub fn bound(self, bound: Bound) -> Figure {
        let met = match bound {
            Bound::AtMost(most) => self.value <= most,
            Bound::AtLeast(least) => self.value >= least,
        };
        Figure { bound: Some(bound), met: Some(met), ..self }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.value.fract() == 0.0 || self.value >= 1000.0 { 0 } else { 2 };
        let space = if self.unit.is_empty() { "" } else { " " };
        write!(f, "{:.digits$}{space}{}", self.value, self.unit)?;
        match self.bound {
            Some(Bound::AtMost(most)) => write!(f, " (≤ {most})")?,
            Some(Bound::AtLeast(least)) => write!(f, " (≥ {least})")?,
            None => {}
        }
        if self.met == Some(false) { f.write_str(" ✗") } else { Ok(()) }
    }
}

/// What was measured, and its figures: the same ones in each row of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The figures; fewer than other rows have if something could not be measured.
    pub figures: Vec<Figure>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Row {
    /// A row without a note.
    pub fn new(what: String, figures: Vec<Figure>) -> Row {
        Row { what, figures, note: None }
    }

    /// The same with a note.
    pub fn note(self, note: String) -> Row {
        Row { note: Some(note), ..self }
    }
}

/// A table of figures.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// What it is about.
    pub title: String,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fullest = self.rows.iter().rev().max_by_key(|row| row.figures.len());
        let names = fullest.map_or(Vec::new(), |row| row.figures.iter().map(|one| one.name).collect());
        let head = std::iter::once(String::new()).chain(names.into_iter().map(str::to_owned)).collect();
        let cells = |row: &Row| {
            let figures = row.figures.iter().map(Figure::to_string);
            std::iter::once(row.what.clone()).chain(figures).collect::<Vec<String>>()
        };
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(self.rows.iter().map(cells)).collect();
        let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| lines.iter().filter_map(|line| Some(line.get(column)?.chars().count())).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        writeln!(f, "{}", self.title)?;
        let notes = std::iter::once(None).chain(self.rows.iter().map(|row| row.note.as_deref()));
        for (line, note) in lines.iter().zip(notes) {
            for (cell, width) in line.iter().zip(&widths) {
                write!(f, "  {cell:<width$}")?;
            }
            writeln!(f, "  {}", note.unwrap_or_default())?;
        }
        Ok(())
    }
}

/// Times in nanoseconds.
pub struct Times(Histogram<u64>);

impl Times {
    /// None yet; up to a minute each, three digits of each are kept.
    pub fn new() -> anyhow::Result<Times> {
        Ok(Times(Histogram::new_with_bounds(1, 60_000_000_000, 3)?))
    }

    /// One more.
    pub fn add(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// A quantile, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The longest, in microseconds.
    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

/// The middle one of some numbers.
pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}
