//! The result of `blkstay fstests` in the forms that people and programs read.

use super::document::{Counts, Document, EXPECTED, KernelOf, TestResult, either};
use crate::run::Format;
use crate::run::format::{self, escape};
use anyhow::{Context, Result};
use blkstay_engine::journal::Outcome;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::fmt::Write;
use std::time::Duration;

/// The document in a form, with a line's end at its end.
///
/// # Errors
/// It holds something that cannot be written so.
pub fn write(form: Format, document: &Document) -> Result<String> {
    match form {
        Format::Table => Ok(table(document)),
        Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(document)?)),
        Format::Junit => junit(document),
        Format::Markdown => Ok(markdown(document)),
        Format::Csv => csv(document),
    }
}

/// A row for each test, a column for each kernel; below it every reason of what did not survive.
fn table(document: &Document) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    let kernel = |(index, kernel): (usize, &KernelOf)| match &kernel.variant {
        Some(variant) => format!("{}: {}\n{}", index + 1, kernel.kernel, variant.name),
        None => format!("{}: {}", index + 1, kernel.kernel),
    };
    let header = document.kernels.iter().enumerate().map(kernel);
    table.set_header(std::iter::once("test".to_owned()).chain(header));
    for (test, results) in by_test(document) {
        table.add_row(std::iter::once(Cell::new(test)).chain(results.into_iter().map(cell)));
    }
    format!("{table}\n{}", remarks(document))
}

/// Each test with its results, in the order of the kernels; none where it was not run.
fn by_test(document: &Document) -> Vec<(&str, Vec<Option<&TestResult>>)> {
    let mut rows: Vec<(&str, Vec<Option<&TestResult>>)> = Vec::new();
    for result in &document.results {
        let fits = rows.last().is_some_and(|(test, _)| *test == result.test);
        if !fits {
            rows.push((&result.test, vec![None; document.kernels.len()]));
        }
        let index = document.kernels.iter().enumerate().position(|(index, kernel)| {
            kernel.spec == result.spec && rows.last().is_some_and(|(_, row)| row[index].is_none())
        });
        if let (Some(index), Some((_, row))) = (index, rows.last_mut()) {
            row[index] = Some(result);
        }
    }
    rows
}

fn cell(result: Option<&TestResult>) -> Cell {
    let Some(result) = result else { return Cell::new("") };
    let colour = match (result.as_expected, result.verdict) {
        (_, Outcome::Missed) => Color::Yellow,
        (Some(true), _) => Color::Green,
        _ => Color::Red,
    };
    Cell::new(shown(result)).fg(colour).add_attribute(Attribute::Bold)
}

/// The verdict with how often, where that says more: `open: 1 open (3–45 %), 9 survived of 10`.
fn shown(result: &TestResult) -> String {
    let odd = match result.as_expected {
        Some(false) if result.verdict != Outcome::Lost && result.expected != EXPECTED => {
            format!(", not {}", either(&result.expected))
        }
        _ => String::new(),
    };
    let natural =
        result.natural.as_ref().map_or(String::new(), |natural| format!("\nno policy: {}", often(natural)));
    match result.counts.attempts {
        1 if natural.is_empty() => format!("{}{odd}", result.verdict),
        _ => format!("{}{odd}: {}{natural}", result.verdict, often(&result.counts)),
    }
}

/// What was seen how often.
fn often(counts: &Counts) -> String {
    let each = [
        (counts.open, "open"),
        (counts.survived, "survived"),
        (counts.missed, "missed"),
        (counts.lost, "lost"),
    ];
    format::shares(&each, counts.attempts, &counts.rates)
}

/// Why kernels ran nothing, and why tests did not survive.
fn remarks(document: &Document) -> String {
    let mut out = String::new();
    for (index, kernel) in document.kernels.iter().enumerate() {
        if let Some(error) = &kernel.error {
            let _ = writeln!(out, "{}: {}: {error}", index + 1, kernel.spec);
        }
    }
    for (test, results) in by_test(document) {
        let mut said: Vec<(String, Vec<String>)> = Vec::new();
        for (index, result) in results.iter().enumerate() {
            for reason in result.iter().flat_map(|result| reasons(result)) {
                match said.iter_mut().find(|(known, _)| *known == reason) {
                    Some((_, whom)) => whom.push((index + 1).to_string()),
                    None => said.push((reason, vec![(index + 1).to_string()])),
                }
            }
        }
        for (reason, whom) in said {
            let _ = writeln!(out, "{test} on {}: {reason}", whom.join(", "));
        }
    }
    out
}

/// Reasons of a result, but for plain passing.
fn reasons(result: &TestResult) -> Vec<String> {
    let of = |counts: &Counts, arm: &str| -> Vec<String> {
        let told = counts.reasons.iter().filter(|reason| reason.why != "passed");
        let told = told.map(|reason| {
            let times =
                if counts.attempts > 1 { format!(" ({} times)", reason.attempts) } else { String::new() };
            format!("{arm}{}{times}: {}", reason.verdict, reason.why)
        });
        told.collect()
    };
    let natural = result.natural.iter().flat_map(|natural| of(natural, "no policy, "));
    of(&result.counts, "").into_iter().chain(natural).collect()
}

fn markdown(document: &Document) -> String {
    let mut out = String::from("| test | kernel | verdict | seen | why |\n|---|---|---|---|---|\n");
    for result in &document.results {
        let row = [
            result.test.clone(),
            result.kernel.clone(),
            result.verdict.to_string(),
            often(&result.counts),
            reasons(result).join("; "),
        ];
        let _ = writeln!(out, "| {} |", row.map(|text| escape(&text)).join(" | "));
    }
    out
}

/// Columns; more are only ever added behind them.
const HEADER: [&str; 12] = [
    "test",
    "kernel",
    "spec",
    "arm",
    "verdict",
    "as_expected",
    "attempts",
    "open",
    "survived",
    "missed",
    "lost",
    "why",
];

fn csv(document: &Document) -> Result<String> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(HEADER)?;
    for result in &document.results {
        let counts = &result.counts;
        let numbers = [counts.attempts, counts.open, counts.survived, counts.missed, counts.lost];
        let words = [
            result.test.clone(),
            result.kernel.clone(),
            result.spec.clone(),
            result.arm.to_string(),
            result.verdict.to_string(),
            result.as_expected.map_or(String::new(), |as_expected| as_expected.to_string()),
        ];
        let numbers = numbers.iter().map(ToString::to_string);
        out.write_record(words.into_iter().chain(numbers).chain([reasons(result).join("; ")]))?;
    }
    let bytes = out.into_inner().context("the lines could not be put together")?;
    Ok(String::from_utf8(bytes)?)
}

/// A suite for each kernel, a test case for each test. What is not as expected is a failure, what was lost an error,
/// what fstests did not run is skipped.
fn junit(document: &Document) -> Result<String> {
    let mut report = Report::new("blkstay fstests");
    for kernel in &document.kernels {
        let mut suite = TestSuite::new(kernel.spec.as_str());
        suite.add_property(("kernel", kernel.kernel.as_str()));
        let results = document.results.iter().filter(|result| result.spec == kernel.spec);
        suite.add_test_cases(results.map(test_case));
        if let Some(error) = &kernel.error {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(error.as_str());
            suite.add_test_case(TestCase::new("boot", status));
        }
        report.add_test_suite(suite);
    }
    report.to_string().context("the report could not be written")
}

fn test_case(result: &TestResult) -> TestCase {
    let failed = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(format!("{}: {}", shown(result), reasons(result).join("; ")));
        status.set_type(result.verdict.to_string());
        status
    };
    let status = match (result.as_expected, result.verdict) {
        (Some(false), Outcome::Lost) => failed(NonSuccessKind::Error),
        (Some(false), _) => failed(NonSuccessKind::Failure),
        (_, Outcome::Missed) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reasons(result).join("; "));
            status
        }
        _ => TestCaseStatus::success(),
    };
    let mut test = TestCase::new(result.test.as_str(), status);
    test.set_classname(result.kernel.as_str());
    test.set_time(Duration::try_from_secs_f64(result.counts.seconds).unwrap_or_default());
    test.add_property(("verdict", result.verdict.to_string().as_str()));
    test.set_system_out(format!("{}\n{}", often(&result.counts), reasons(result).join("\n")));
    test
}
