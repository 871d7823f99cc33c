//! What runs have left: kept directories, and files of results.

use super::cell::Cell;
use super::result::{self, KernelResult};
use super::story::Story;
use crate::{journal, out};
use anyhow::{Context, Result, bail};
use blkstay_engine::journal::{Arm, Outcome};
use blkstay_engine::report::AttemptReport;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How deep a kept directory may lie in one that is given.
const DEPTH_MAX: usize = 6;

/// Finds every cell, in the order of the paths; below a directory by name.
///
/// # Errors
/// A path cannot be read, or has nothing of a run.
pub fn cells(paths: &[PathBuf]) -> Result<Vec<Cell>> {
    let (mut cells, mut listed) = (Vec::new(), Vec::new());
    for path in paths {
        let before = (cells.len(), listed.len());
        if path.is_dir() {
            for kept in kept(path)? {
                cells.extend(cell(&kept)?);
            }
        } else {
            listed.extend(results(path)?);
        }
        if before == (cells.len(), listed.len()) {
            let shown = path.display();
            bail!(
                "{shown}: nothing in it to report on; give it what `blkstay run --keep` was given, or a file of results"
            );
        }
    }
    for (case, result) in listed {
        let listed = Cell::new(case, Some(result), None);
        match cells.iter_mut().find(|cell| cell.is_same(&listed)) {
            Some(cell) => cell.complete(listed),
            None => cells.push(listed),
        }
    }
    Ok(cells)
}

/// Directories with a journal, below a directory or itself.
fn kept(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![(directory.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        if directory.join("journal").is_file() {
            found.push(directory);
            continue;
        }
        if depth == DEPTH_MAX {
            continue;
        }
        let entries =
            std::fs::read_dir(&directory).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
        let entries = entries.with_context(|| format!("{}: cannot list it", directory.display()))?;
        // A link might lead back up.
        let below = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(below.map(|entry| (entry.path(), depth + 1)));
    }
    found.sort();
    Ok(found)
}

/// What one kept directory has; nothing, which is told, if its journal was not begun.
fn cell(kept: &Path) -> Result<Option<Cell>> {
    let journal = kept.join("journal");
    let read = journal::read(&journal)?;
    let mut story = Story { damage: read.odd.bad, ..Story::of(read.lines) };
    for (attempt, report) in story.attempts.iter_mut().zip(reports(&kept.join("attempts.jsonl"))?) {
        if attempt.outcome.is_none() {
            attempt.outcome = Some(report.outcome);
            attempt.why = report.why;
        }
        attempt.report = report.report.filter(|report| report.attempt == attempt.number);
    }
    let path = kept.join("result.json");
    let result = if path.is_file() { results(&path)?.into_iter().next() } else { None };
    let (case, result) = result.unzip();
    let named = || story.written.as_ref().map(|written| result::case_name(&written.origin));
    let case = case.or_else(named).unwrap_or_else(|| "?".to_owned());
    if result.is_none() && story.written.is_none() && story.attempts.is_empty() {
        out::tell(format_args!("{}: it tells of no case; left out", journal.display()));
        return Ok(None);
    }
    Ok(Some(Cell::new(case, result, Some(story))))
}

/// A line of `attempts.jsonl`.
#[derive(Deserialize)]
struct Judged {
    #[serde(rename = "arm")]
    _arm: Arm,
    outcome: Outcome,
    why: String,
    report: Option<AttemptReport>,
}

/// Attempts as the lab judged them; none if they were not kept.
fn reports(path: &Path) -> Result<Vec<Judged>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = read(path)?;
    let line = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{number}: no attempt", path.display()))
    };
    (1..).zip(text.lines()).map(line).collect()
}

/// What is in a file of results: what `blkstay run --json` prints, or a cell a line.
fn results(path: &Path) -> Result<Vec<(String, KernelResult)>> {
    let text = read(path)?;
    let mut found = Vec::new();
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<result::Document>();
    for (number, document) in (1..).zip(documents) {
        let document = document.with_context(|| {
            format!("{}: document {number} in it is no result of `blkstay run`", path.display())
        })?;
        found.extend(document.cells());
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}: cannot read it", path.display()))
}

/// Cells by case, cases in the order in which they come up.
pub fn by_case(cells: &[Cell]) -> Vec<(&str, Vec<&Cell>)> {
    let mut order: Vec<&str> = Vec::new();
    let mut cases: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        if !cases.contains_key(cell.case.as_str()) {
            order.push(&cell.case);
        }
        cases.entry(&cell.case).or_default().push(cell);
    }
    order.into_iter().filter_map(|case| cases.remove(case).map(|cells| (case, cells))).collect()
}
