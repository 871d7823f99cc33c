//! The result of a run for continuous integration: a test suite for each case, a test case for each kernel.

use super::super::document::{Cell, Document, LeftOut};
use super::super::traffic::Phase;
use super::{control, either, forced, natural, remarks, signs};
use anyhow::{Context, Result};
use blkstay_engine::journal::Outcome;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// Writes the report. A verdict that was not expected is a failure; where nothing was, `missed` is skipped and `lost`
/// an error.
///
/// # Errors
/// None that is known.
pub fn write(document: &Document) -> Result<String> {
    let mut report = Report::new("blkstay");
    for case in &document.cases {
        let mut suite = TestSuite::new(case.name.as_str());
        suite.add_property(("about", case.about.as_str()));
        let cells = document.cells.iter().filter(|cell| cell.case == case.name);
        suite.add_test_cases(cells.map(test_case));
        let absent = document.left_out.iter().filter(|absent| absent.case == case.name);
        suite.add_test_cases(absent.map(skipped));
        report.add_test_suite(suite);
    }
    report.to_string().context("the report could not be written")
}

fn skipped(absent: &LeftOut) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_message(format!("left out: {}", absent.why));
    let mut test = TestCase::new(absent.spec.as_str(), status);
    test.set_classname(absent.case.as_str());
    test
}

fn test_case(cell: &Cell) -> TestCase {
    let mut test = TestCase::new(cell.title(), status(cell));
    test.set_classname(cell.case.as_str());
    test.set_time(Duration::try_from_secs_f64(cell.seconds).unwrap_or_default());
    test.add_property(("verdict", cell.verdict.to_string().as_str()));
    test.add_property(("spec", cell.spec.as_str()));
    if cell.word().bypassed {
        test.add_property(("bypassed", "true"));
    }
    if let Some(package) = &cell.package {
        test.add_property(("package", package.as_str()));
    }
    if let Some(variant) = &cell.variant {
        test.add_property(("change", variant.change.as_str()));
    }
    test.set_system_out(details(cell));
    test
}

fn status(cell: &Cell) -> TestCaseStatus {
    let unhappy = |kind| TestCaseStatus::non_success(kind);
    let mut status = match (cell.as_expected, cell.verdict) {
        (Some(true), _) => return TestCaseStatus::success(),
        (_, Outcome::Lost) => unhappy(NonSuccessKind::Error),
        (Some(false), _) => unhappy(NonSuccessKind::Failure),
        (None, Outcome::Missed) => TestCaseStatus::skipped(),
        (None, _) => return TestCaseStatus::success(),
    };
    let expected =
        cell.expected.as_ref().map_or(String::new(), |expected| format!(", not {}", either(expected)));
    status.set_message(format!("{}{expected}: {}", cell.word(), forced(&cell.forced)));
    status.set_type(cell.verdict.to_string());
    status
}

fn details(cell: &Cell) -> String {
    let mut lines = vec![
        format!("verdict: {}", cell.word()),
        format!("forced: {}", forced(&cell.forced)),
        format!("control: {}", control(&cell.control)),
    ];
    lines.extend(cell.natural.as_ref().map(|arm| format!("symptom by chance: {}", natural(arm))));
    lines.extend(signs(cell).into_iter().map(|sign| format!("sign: {sign}")));
    for (arm, phases) in &cell.traffic {
        lines.push(format!("{arm}, medians of each phase: {}", Phase::HEADER.join(", ")));
        lines.extend(phases.iter().map(|phase| phase.row().join(", ")));
    }
    lines.extend(remarks(cell));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::write;
    use roxmltree::{Document as Xml, Node};

    fn children<'a, 'i>(node: Node<'a, 'i>, tag: &'a str) -> Vec<Node<'a, 'i>> {
        node.children().filter(|child| child.has_tag_name(tag)).collect()
    }

    #[test]
    fn every_cell_is_a_test_case_and_counts_add_up() {
        let text = write(&document()).expect("a report");
        let xml = Xml::parse(&text).expect("XML");
        let root = xml.root_element();
        let counts = ["tests", "failures", "errors"].map(|name| root.attribute(name).expect("a count"));
        assert_eq!((root.tag_name().name(), counts), ("testsuites", ["5", "1", "1"]));
        let suites = children(root, "testsuite");
        assert_eq!(
            suites.iter().map(|suite| suite.attribute("name")).collect::<Vec<_>>(),
            [Some("a"), Some("b")]
        );
        // What is left out is skipped.
        assert_eq!([0, 1].map(|index: usize| children(suites[index], "testcase").len()), [2, 3]);
        assert_eq!(suites[1].attribute("errors"), Some("1"));
    }

    #[test]
    fn a_verdict_that_was_not_expected_fails_and_what_says_nothing_does_not_pass() {
        let text = write(&document()).expect("a report");
        let xml = Xml::parse(&text).expect("XML");
        let cases: Vec<Node> = xml.descendants().filter(|node| node.has_tag_name("testcase")).collect();
        let inside = |index: usize, tag: &str| {
            let found = children(cases[index], tag);
            found.first().map(|node| node.attribute("message").unwrap_or_default().to_owned())
        };
        assert_eq!(inside(0, "failure"), None);
        assert_eq!(inside(1, "failure").as_deref(), Some("closed, not open: 10 closed of 10 (69–100 %)"));
        assert!(inside(2, "skipped").is_some() && inside(3, "error").is_some(), "{text}");
        let out = children(cases[3], "system-out")[0].text().expect("details");
        assert!(out.contains("<oops> &") && out.contains("]]>"), "what a guest said is text: {out}");
    }
}
