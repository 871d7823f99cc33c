//! What a run is expected to show, and its exit status.

use super::document::Cell;
use crate::misuse::Misuse;
use blkstay_engine::journal::Outcome;

/// Exit status when a cell got no verdict that says something about its kernel.
pub const UNDECIDED: u8 = 3;

/// Exit status when a verdict is not the one expected.
pub const UNEXPECTED: u8 = 4;

/// Every verdict that can be expected.
const VERDICTS: [Outcome; 5] =
    [Outcome::Open, Outcome::Closed, Outcome::Survived, Outcome::Missed, Outcome::Lost];

/// Verdicts that are expected of some cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Names of cases and specs of kernels, all of which a cell must have; none means every cell.
    whom: Vec<String>,
    verdicts: Vec<Outcome>,
}

impl Expectation {
    /// Reads `VERDICT[|VERDICT]…`, or the same after `KERNEL=`, `CASE=` or `CASE,KERNEL=`.
    ///
    /// # Errors
    /// There is no such verdict.
    pub fn parse(text: &str) -> Result<Expectation, String> {
        let (whom, verdicts) = match text.rsplit_once('=') {
            Some((whom, verdicts)) => {
                (whom.split(',').map(|part| part.trim().to_owned()).collect(), verdicts)
            }
            None => (Vec::new(), text),
        };
        let verdict = |word: &str| {
            let known = VERDICTS.into_iter().find(|verdict| verdict.to_string() == word.trim());
            known.ok_or_else(|| {
                let words = VERDICTS.map(|verdict| verdict.to_string()).join(", ");
                format!("`{}` is no verdict; there are {words}", word.trim())
            })
        };
        Ok(Expectation { whom, verdicts: verdicts.split('|').map(verdict).collect::<Result<_, _>>()? })
    }

    fn is_of(&self, case: &str, spec: &str) -> bool {
        self.whom.iter().all(|part| part == case || part == spec)
    }
}

/// Which verdicts are expected of a cell, if any are: of the expectations that fit, one that says more about whom
/// it is of comes before one that says less, and a later one before an earlier one.
pub fn of<'e>(expectations: &'e [Expectation], case: &str, spec: &str) -> Option<&'e [Outcome]> {
    let fitting = expectations.iter().filter(|expectation| expectation.is_of(case, spec));
    fitting.max_by_key(|expectation| expectation.whom.len()).map(|expectation| &*expectation.verdicts)
}

/// Says which expectation is of nothing that is run: it would never be disappointed.
///
/// # Errors
/// There is one.
pub fn check(expectations: &[Expectation], cases: &[String], specs: &[String]) -> Result<(), Misuse> {
    for part in expectations.iter().flat_map(|expectation| &expectation.whom) {
        if !cases.contains(part) && !specs.contains(part) {
            let known = [cases, specs].concat().join("`, `");
            let words = format!("--expect: nothing that is run is called `{part}`; there are `{known}`");
            return Err(Misuse(words));
        }
    }
    let fits = |expectation: &Expectation| {
        cases.iter().any(|case| specs.iter().any(|spec| expectation.is_of(case, spec)))
    };
    let lonely = expectations.iter().find(|expectation| !fits(expectation));
    lonely.map_or(Ok(()), |lonely| {
        Err(Misuse(format!("--expect `{}`: write one case and one kernel", lonely.whom.join(","))))
    })
}

/// The exit status of a run: what was not expected comes before what is not known.
pub fn status(cells: &[Cell]) -> u8 {
    status_of(cells.iter().map(|cell| (cell.verdict, cell.as_expected)))
}

/// The same of verdicts, each with whether it is as expected, if anything was.
pub fn status_of(verdicts: impl IntoIterator<Item = (Outcome, Option<bool>)>) -> u8 {
    let undecided = |verdict| matches!(verdict, Outcome::Lost | Outcome::Missed);
    let status = verdicts.into_iter().map(|(verdict, as_expected)| match as_expected {
        Some(false) if !undecided(verdict) => UNEXPECTED,
        Some(true) => 0,
        _ if undecided(verdict) => UNDECIDED,
        _ => 0,
    });
    status.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::cell;
    use super::*;

    fn parse(text: &str) -> Expectation {
        Expectation::parse(text).expect("an expectation")
    }

    #[test]
    fn a_word_is_expected_of_every_cell_and_more_words_of_some() {
        let expectations =
            ["open", "debian:7.3=closed", "rmw=survived|closed", "rmw,debian:7.3=lost"].map(parse);
        let of = |case, spec| of(&expectations, case, spec).expect("something is expected");
        assert_eq!(of("a", "debian:6.12"), [Outcome::Open]);
        assert_eq!(of("a", "debian:7.3"), [Outcome::Closed]);
        assert_eq!(of("rmw", "debian:6.12"), [Outcome::Survived, Outcome::Closed]);
        assert_eq!(of("rmw", "debian:7.3"), [Outcome::Lost]);
    }

    #[test]
    fn where_two_fit_alike_the_later_counts() {
        let expectations = ["a=open", "debian:7.3=closed"].map(parse);
        assert_eq!(of(&expectations, "a", "debian:7.3"), Some(&[Outcome::Closed][..]));
        assert_eq!(of(&expectations, "b", "debian:6.12"), None);
    }

    #[test]
    fn mistakes_are_named() {
        let error = Expectation::parse("fixed").expect_err("no verdict");
        assert_eq!(error, "`fixed` is no verdict; there are open, closed, survived, missed, lost");
        let (cases, specs) = (["a".to_owned()], ["debian:6.12".to_owned()]);
        let error = check(&[parse("debian:6.1=open")], &cases, &specs).expect_err("no such kernel");
        let words = "--expect: nothing that is run is called `debian:6.1`; there are `a`, `debian:6.12`";
        assert_eq!(error.to_string(), words);
        assert!(check(&[parse("open"), parse("a,debian:6.12=open")], &cases, &specs).is_ok());
    }

    #[test]
    fn what_was_not_expected_comes_before_what_is_not_known() {
        let with = |verdict, as_expected| Cell { as_expected, ..cell("c", "k", verdict) };
        let open = with(Outcome::Open, None);
        let lost = with(Outcome::Lost, None);
        assert_eq!(status(std::slice::from_ref(&open)), 0, "without expectations any verdict will do");
        assert_eq!(status(&[open.clone(), lost.clone()]), UNDECIDED);
        assert_eq!(status(&[with(Outcome::Open, Some(false)), lost]), UNEXPECTED);
        assert_eq!(status(&[with(Outcome::Lost, Some(false))]), UNDECIDED, "nothing is known of it");
        assert_eq!(status(&[with(Outcome::Missed, Some(true)), open]), 0, "it was expected to be missed");
    }
}
