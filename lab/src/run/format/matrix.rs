//! Verdicts of several cases on several kernels at a glance: a row for each kernel, a column for each case.

use super::super::document::{Cell, Document};
use super::verdict;

/// A table of verdicts.
pub struct Matrix {
    /// `kernel`, then the cases.
    pub header: Vec<String>,
    /// A kernel each, then its verdicts.
    pub rows: Vec<Vec<String>>,
}

impl Matrix {
    /// The verdicts of a document; none if it has but one case or one kernel.
    pub fn of(document: &Document) -> Option<Matrix> {
        let mut kernels: Vec<(&str, String)> = Vec::new();
        let ran = document.cells.iter().map(|cell| (cell.spec.as_str(), cell.title()));
        let absent = document.left_out.iter().map(|absent| (absent.spec.as_str(), absent.spec.clone()));
        for (spec, title) in ran.chain(absent) {
            if !kernels.iter().any(|(known, _)| *known == spec) {
                kernels.push((spec, title));
            }
        }
        if kernels.len() < 2 || document.cases.len() < 2 {
            return None;
        }
        let names = || document.cases.iter().map(|case| case.name.as_str());
        let row = |(spec, title): &(&str, String)| {
            let cells = names().map(|case| shown(document, case, spec));
            std::iter::once(title.clone()).chain(cells).collect()
        };
        let header = std::iter::once("kernel").chain(names()).map(str::to_owned).collect();
        Some(Matrix { header, rows: kernels.iter().map(row).collect() })
    }
}

fn shown(document: &Document, case: &str, spec: &str) -> String {
    let mut cells = document.cells.iter();
    let absent = || document.left_out.iter().any(|absent| absent.case == case && absent.spec == spec);
    match cells.find(|cell| cell.case == case && cell.spec == spec) {
        Some(cell) => words(cell),
        None if absent() => "left out".to_owned(),
        None => String::new(),
    }
}

/// The verdict; and how many attempts showed it, where others did not.
fn words(cell: &Cell) -> String {
    let share = cell.forced.rates.get(&cell.verdict.to_string());
    match share.filter(|share| share.rate < 1.0) {
        Some(share) => format!("{} {:.0} %", verdict(cell), share.rate * 100.0),
        None => verdict(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::*;

    #[test]
    fn a_kernel_is_a_row_and_what_was_not_run_is_told_from_what_was_left_out() {
        let matrix = Matrix::of(&document()).expect("two cases on three kernels");
        assert_eq!(matrix.header, ["kernel", "a", "b"]);
        let rows: Vec<&[String]> = matrix.rows.iter().map(Vec::as_slice).collect();
        assert_eq!(rows[0], ["6.12-amd64", "open", "missed"]);
        assert_eq!(rows[1], ["7.3-amd64", "closed, not open", "lost"]);
        assert_eq!(rows[2], ["variant:fix", "", "left out"]);
    }

    #[test]
    fn one_case_needs_no_matrix() {
        let mut document = document();
        document.cases.pop();
        assert!(Matrix::of(&document).is_none());
    }
}
