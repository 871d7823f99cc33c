//! A cell for the tests of what is made of cells.

use super::*;
use crate::run::rate::Rate;

/// A cell of ten attempts in each arm, all of which showed the verdict.
pub fn cell(case: &str, spec: &str, verdict: Outcome) -> Cell {
    let of = |outcome| if outcome == verdict { 10 } else { 0 };
    let counts = [Outcome::Open, Outcome::Closed, Outcome::Survived, Outcome::Missed, Outcome::Lost].map(of);
    let [open, closed, survived, missed, lost] = counts;
    let words = ["open", "closed", "survived", "missed"];
    let rates =
        words.iter().zip(counts).map(|(word, count)| ((*word).to_owned(), Rate::of(count, 10 - lost)));
    let signs = BTreeMap::from([("fsync".to_owned(), open)]);
    let forced = Forced { attempts: 10, open, closed, survived, missed, lost, signs, ..Forced::default() };
    Cell {
        case: case.to_owned(),
        kernel: format!("{}-amd64", spec.trim_start_matches("debian:")),
        spec: spec.to_owned(),
        package: None,
        variant: None,
        set: BTreeMap::new(),
        seed: None,
        accel: Some(Accel::Tcg),
        cpus: None,
        shared_boot: false,
        setup: BTreeMap::new(),
        verdict,
        expected: None,
        as_expected: None,
        control: Control { attempts: 10, reached: 10, ..Control::default() },
        natural: None,
        forced: Forced { rates: rates.collect(), ..forced },
        seconds: 4.2,
        traffic: Traffic::default(),
        error: None,
        notes: Vec::new(),
        resumed: false,
    }
}
