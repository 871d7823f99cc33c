//! The JSON document of `blkstay check --json`; `docs/check.md` describes it. Fields are only ever added.

use super::severity_word;
use crate::policy::Unusable;
use blkstay_engine::diagnostic::{Diagnostic, Diagnostics, Spot};
use blkstay_engine::policy::Checked;
use serde::Serialize;
use std::path::Path;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Document {
    /// Whether every policy is good.
    pub good: bool,
    /// One for each policy, in the order in which they were given.
    pub files: Vec<FileResult>,
}

/// What was found in a policy and the files that it includes.
#[derive(Debug, Serialize)]
pub struct FileResult {
    /// Its path as it was given.
    pub policy: String,
    /// Whether it is good.
    pub good: bool,
    /// How many there are of what counts; none if it has mistakes.
    pub counts: Option<Counts>,
    /// Mistakes and warnings, in order of file and place.
    pub diagnostics: Vec<Told>,
    /// What it does, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

/// How many there are.
#[derive(Debug, Serialize)]
pub struct Counts {
    points: usize,
    holds: usize,
    rules: usize,
    signs: usize,
}

/// A mistake or warning.
#[derive(Debug, Serialize)]
pub struct Told {
    severity: &'static str,
    message: String,
    #[serde(flatten)]
    place: Place,
    label: Option<String>,
    help: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<Also>,
}

/// Another place that a mistake is about.
#[derive(Debug, Serialize)]
pub struct Also {
    #[serde(flatten)]
    place: Place,
    label: Option<String>,
}

/// Where something stands; lines and columns are counted from 1, columns in characters.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Place {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    end_line: Option<usize>,
    end_column: Option<usize>,
}

impl FileResult {
    /// What reading a policy brought.
    pub fn new(path: &Path, good: bool, loaded: &Result<Checked, Unusable>, explain: bool) -> FileResult {
        let policy = path.display().to_string();
        let mut result =
            FileResult { policy, good, counts: None, diagnostics: Vec::new(), explanation: None };
        match loaded {
            Ok(Checked { policy, warnings, .. }) => {
                result.counts = Some(Counts {
                    points: policy.points.len(),
                    holds: policy.holds.len(),
                    rules: policy.rules.len(),
                    signs: policy.signs.len(),
                });
                result.diagnostics = all(warnings);
                result.explanation = explain.then(|| policy.explain());
            }
            Err(Unusable::Mistakes(mistakes)) => result.diagnostics = all(mistakes),
            Err(Unusable::Unread(why)) => result.diagnostics.push(Told {
                severity: "error",
                message: why.clone(),
                place: Place { file: path.display().to_string(), ..Place::default() },
                label: None,
                help: None,
                also: Vec::new(),
            }),
        }
        result
    }
}

fn all(diagnostics: &Diagnostics) -> Vec<Told> {
    diagnostics.list.iter().map(|one| Told::new(diagnostics, one)).collect()
}

impl Told {
    fn new(all: &Diagnostics, one: &Diagnostic) -> Told {
        let also = one.also.iter().map(|(at, label)| Also { place: place(all, at), label: some(label) });
        Told {
            severity: severity_word(one.severity),
            message: one.message.clone(),
            place: place(all, &one.at),
            label: some(&one.label),
            help: one.help.clone(),
            also: also.collect(),
        }
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn place(all: &Diagnostics, at: &Spot) -> Place {
    let Some(file) = all.files.get(at.file) else { return Place::default() };
    let (line, column) = line_and_column(&file.text, at.span.start);
    let (end_line, end_column) = line_and_column(&file.text, at.span.end.max(at.span.start));
    Place {
        file: file.origin.clone(),
        line: Some(line),
        column: Some(column),
        end_line: Some(end_line),
        end_column: Some(end_column),
    }
}

/// Of the character that has this byte; of what is beyond the end, those of the end.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= byte).map(|(_, c)| c);
    before.fold((1, 1), |(line, column), c| if c == '\n' { (line + 1, 1) } else { (line, column + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_characters() {
        assert_eq!(line_and_column("µs\nab", 0), (1, 1));
        assert_eq!(line_and_column("µs\nab", 1), (1, 1));
        assert_eq!(line_and_column("µs\nab", 2), (1, 2));
        assert_eq!(line_and_column("µs\nab", 5), (2, 2));
        assert_eq!(line_and_column("µs\nab", 99), (2, 3));
    }
}
