//! The result of a run in the forms that people and programs read.

mod csv;
mod junit;
mod markdown;
mod matrix;
mod table;

pub(crate) use markdown::escape;

use super::arms::{Control, Forced, Natural};
use super::document::{Cell, Document};
use super::rate::Rate;
use anyhow::Result;
use blkstay_engine::journal::Outcome;
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::path::Path;

/// A form of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, on a terminal
    #[default]
    Table,
    /// One JSON document; docs/run.md describes the fields
    Json,
    /// JUnit's XML, for continuous integration: a test case for each case on each kernel
    Junit,
    /// A table for READMEs, issues and merge requests
    Markdown,
    /// A line for each case on each kernel, for spreadsheets
    Csv,
}

impl Format {
    /// What a file of this name is to have in it: `.json`, `.xml` (JUnit's), `.md`, `.csv`; else the table.
    pub fn of_file(path: &Path) -> Format {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Format::Json,
            Some("xml") => Format::Junit,
            Some("md") => Format::Markdown,
            Some("csv") => Format::Csv,
            _ => Format::Table,
        }
    }

    /// The document in this form, with a line's end at its end.
    ///
    /// # Errors
    /// It holds something that cannot be written so.
    pub fn write(self, document: &Document) -> Result<String> {
        match self {
            Format::Table => Ok(table::draw(document)),
            Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(document)?)),
            Format::Junit => junit::write(document),
            Format::Markdown => Ok(markdown::write(document)),
            Format::Csv => csv::write(document),
        }
    }
}

/// What the forced arm showed, each with the bounds of its rate: `20 open of 20 (83–100 %)`.
pub(crate) fn forced(forced: &Forced) -> String {
    let counts = [
        (forced.open, "open"),
        (forced.closed, "closed"),
        (forced.survived, "survived"),
        (forced.missed, "missed"),
        (forced.lost, "lost"),
    ];
    shares(&counts, forced.attempts, &forced.rates) + &bypassed(forced.bypassed)
}

fn bypassed(attempts: u64) -> String {
    if attempts > 0 { format!(", {attempts} by-passed") } else { String::new() }
}

/// What so many attempts showed, as far as it was seen, each with the bounds of its rate.
pub(crate) fn shares(counts: &[(u64, &str)], attempts: u64, rates: &BTreeMap<String, Rate>) -> String {
    let seen: Vec<_> = counts.iter().filter(|(count, _)| *count > 0).collect();
    let bounds = |word: &str| rates.get(word).map(Rate::bounds);
    match seen[..] {
        [(count, word)] => format!("{count} {word} of {attempts}{}", brackets(bounds(word))),
        _ => {
            let each = |(count, word): &&(u64, &str)| format!("{count} {word}{}", brackets(bounds(word)));
            let each: Vec<String> = seen.iter().map(each).collect();
            format!("{} of {attempts}", each.join(", "))
        }
    }
}

fn brackets(bounds: Option<String>) -> String {
    bounds.map_or(String::new(), |bounds| format!(" ({bounds})"))
}

pub(crate) fn control(control: &Control) -> String {
    let symptoms = match control.symptoms {
        0 => "no symptom".to_owned(),
        1 => "1 symptom".to_owned(),
        n => format!("{n} symptoms"),
    };
    let bypassed = bypassed(control.bypassed);
    format!("{} of {} reached{bypassed}, {symptoms}", control.reached, control.attempts)
}

/// How often chance did it: `0 of 20 (0–17 %)`.
fn natural(natural: &Natural) -> String {
    let lost = if natural.lost > 0 { format!(", {} lost", natural.lost) } else { String::new() };
    let bounds = brackets(natural.rates.get("symptoms").map(Rate::bounds));
    format!("{} of {}{bounds}{lost}", natural.symptoms, natural.attempts)
}

/// Each sign, and in how many forced attempts it was seen.
pub(crate) fn signs(cell: &Cell) -> Vec<String> {
    let each = cell.forced.signs.iter().map(|(name, count)| {
        let muted = cell.forced.muted.get(name).copied().unwrap_or(0);
        let muted = if muted > 0 { format!(" (kernel silent in {muted})") } else { String::new() };
        format!("{name} {count}{muted}")
    });
    each.collect()
}

/// The verdict, and what was expected instead.
fn verdict(cell: &Cell) -> String {
    match (&cell.expected, cell.as_expected) {
        (Some(expected), Some(false)) => format!("{}, not {}", cell.word(), either(expected)),
        _ => cell.word().to_string(),
    }
}

fn either(verdicts: &[Outcome]) -> String {
    verdicts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// What else a reader should know of a cell: where the guest stood, and its notes.
fn remarks(cell: &Cell) -> Vec<String> {
    let stood = cell.forced.stuck.iter();
    let stood = stood.map(|stuck| format!("where the guest stood while the hold did: {}", stuck.place));
    let reasons = cell.forced.reasons.iter();
    let reasons = reasons.map(|reason| format!("closed {} times: {}", reason.attempts, reason.why));
    stood.chain(reasons).chain(cell.notes.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::cell;
    use super::super::document::{CaseName, Document, LeftOut};
    use super::super::rate::CONFIDENCE;
    use super::super::traffic::{Counts, Phase};
    use super::*;

    /// Two cases on two kernels: open as expected, closed against what was expected, missed, and lost.
    pub fn document() -> Document {
        let name = |name: &str| CaseName { name: name.to_owned(), about: format!("About | {name}") };
        let expecting = |mut cell: Cell, expected: Outcome| {
            cell.as_expected = Some(cell.verdict == expected);
            cell.expected = Some(vec![expected]);
            cell
        };
        let mut lost = cell("b", "debian:7.3", Outcome::Lost);
        lost.notes = vec!["control attempt lost: its last words: <oops> & \u{1b}[31m|]]>".to_owned()];
        let cells = vec![
            expecting(cell("a", "debian:6.12", Outcome::Open), Outcome::Open),
            expecting(cell("a", "debian:7.3", Outcome::Closed), Outcome::Open),
            cell("b", "debian:6.12", Outcome::Missed),
            lost,
        ];
        Document {
            case: None,
            cases: vec![name("a"), name("b")],
            confidence: CONFIDENCE,
            cells,
            left_out: vec![LeftOut {
                case: "b".into(),
                spec: "variant:fix".into(),
                why: "no headers".into(),
            }],
        }
    }

    #[test]
    fn a_kernel_that_by_passes_and_what_was_set_are_told_in_every_form() {
        let mut document = document();
        let cell = &mut document.cells[1];
        cell.control = Control { attempts: 10, bypassed: 10, ..Control::default() };
        cell.forced.bypassed = 10;
        cell.set = [("block".to_owned(), "4096".to_owned())].into();
        let of = |format: Format| format.write(&document).expect("a document");
        let row = of(Format::Csv).lines().nth(2).expect("a row").to_owned();
        assert!(row.ends_with(",10,10,block=4096"), "{row}");
        assert!(
            of(Format::Junit)
                .contains("closed (by-passed), not open: 10 closed of 10 (69–100 %), 10 by-passed")
        );
        assert!(of(Format::Junit).contains("<property name=\"bypassed\" value=\"true\"/>"));
        assert!(of(Format::Markdown).contains("**closed (by-passed), not open**"));
        assert!(of(Format::Markdown).contains("| 7.3-amd64, block=4096 |"), "what was set is told");
        let table = of(Format::Table);
        assert!(table.contains("┆ block=4096 "), "{table}");
        assert!(table.contains("0 of 10 reached, 10 by-passed, no symptom"), "{table}");
        assert!(
            table.contains("closed (by-passed): the direct write that the case races with went"),
            "{table}"
        );
        assert!(!table.contains("\nclosed: "), "no fix is at work: {table}");
    }

    #[test]
    fn what_phases_cost_is_in_every_form_that_people_read() {
        let mut document = document();
        let counts =
            Counts { writes: 66, written_bytes: 290_816, flushes: 2, dirtied_pages: 5, ..Counts::default() };
        let phase =
            Phase { phase: "extend".to_owned(), attempts: 2, ms: 18.5, ms_range: [18.0, 19.0], counts };
        document.cells[0].traffic = [("control".to_owned(), vec![phase])].into();
        let of = |format: Format| format.write(&document).expect("a document");
        assert!(of(Format::Markdown).contains("| extend | 66 | 284 | 2 | 0 | 5 | 18.5 | 18.0 to 19.0 |"));
        assert!(of(Format::Junit).contains("extend, 66, 284, 2, 0, 5, 18.5, 18.0 to 19.0"));
        assert!(of(Format::Table).contains("│ extend ┆     66 ┆         284 ┆"), "{}", of(Format::Table));
    }

    #[test]
    fn a_file_is_written_as_its_name_says() {
        let of = |name: &str| Format::of_file(Path::new(name));
        assert_eq!(of("a.json"), Format::Json);
        assert_eq!(of("a.xml"), Format::Junit);
        assert_eq!(of("a.md"), Format::Markdown);
        assert_eq!(of("a.csv"), Format::Csv);
        assert_eq!(of("a.txt"), Format::Table);
    }

    #[test]
    fn counts_come_with_the_bounds_of_their_rates() {
        let open = cell("a", "k", Outcome::Open).forced;
        assert_eq!(forced(&open), "10 open of 10 (69–100 %)");
        let lost = cell("a", "k", Outcome::Lost).forced;
        assert_eq!(forced(&lost), "10 lost of 10");
        let rates = [("open", 1), ("survived", 9)];
        let rates = rates.map(|(word, count)| (word.to_owned(), Rate::of(count, 10))).into();
        let both = Forced { attempts: 10, open: 1, survived: 9, rates, ..Forced::default() };
        assert_eq!(forced(&both), "1 open (0.3–45 %), 9 survived (55–99.7 %) of 10");
    }

    #[test]
    fn the_json_of_one_case_names_it_and_that_of_several_lists_them() {
        let document = document();
        let json: serde_json::Value =
            serde_json::from_str(&Format::Json.write(&document).expect("a document")).expect("JSON");
        assert_eq!(json["case"], serde_json::Value::Null);
        assert_eq!(json["cases"][1]["name"], "b");
        assert_eq!(json["kernels"][1]["as_expected"], false);
        assert_eq!(json["kernels"][0]["forced"]["rates"]["open"]["low"], 0.691_503);
    }
}
