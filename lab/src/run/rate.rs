//! How often something happens, as far as some attempts can tell.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

/// How sure the bounds of a [`Rate`] are: of all runs, this share has the true rate between them.
pub const CONFIDENCE: f64 = 0.95;

/// A share of attempts, with the bounds of Clopper and Pearson at [`CONFIDENCE`]. All are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The share seen; 0 if there were no attempts.
    pub rate: f64,
    /// Lower bound of the true rate.
    pub low: f64,
    /// Upper bound of the true rate.
    pub high: f64,
}

impl Rate {
    /// The rate of what was seen in `count` of `attempts`. No attempts tell nothing: it is anything from 0 to 1.
    pub fn of(count: u64, attempts: u64) -> Rate {
        let count = count.min(attempts);
        #[expect(clippy::cast_precision_loss, reason = "far fewer attempts than a double can count")]
        let (seen, rest) = (count as f64, (attempts - count) as f64);
        let tail = (1.0 - CONFIDENCE) / 2.0;
        let quantile = |a, b, p| Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(p));
        Rate {
            rate: if attempts == 0 { 0.0 } else { round(seen / (seen + rest)) },
            low: if seen == 0.0 { 0.0 } else { round(quantile(seen, rest + 1.0, tail)) },
            high: if rest == 0.0 { 1.0 } else { round(quantile(seen + 1.0, rest, 1.0 - tail)) },
        }
    }

    /// The bounds in per cent, as people read them: `83–100 %`.
    pub fn bounds(&self) -> String {
        format!("{}–{} %", percent(self.low), percent(self.high))
    }
}

/// More digits than these are not known, and would make documents hard to compare.
fn round(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}

/// Whole per cents, or a tenth below one and above 99.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let fine = (percent > 0.0 && percent < 1.0) || (percent > 99.0 && percent < 100.0);
    if fine { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen, attempts, and the bounds that tables of the exact binomial interval give.
    const TABLE: [(u64, u64, f64, f64); 6] = [
        (0, 10, 0.0, 0.308_497),
        (10, 10, 0.691_503, 1.0),
        (5, 10, 0.187_086, 0.812_914),
        (1, 20, 0.001_265, 0.248_733),
        (20, 20, 0.831_566, 1.0),
        (0, 1000, 0.0, 0.003_682),
    ];

    #[test]
    fn the_bounds_are_those_of_clopper_and_pearson() {
        for (count, attempts, low, high) in TABLE {
            let rate = Rate::of(count, attempts);
            assert!((rate.low - low).abs() < 2e-6, "{count} of {attempts}: {rate:?}");
            assert!((rate.high - high).abs() < 2e-6, "{count} of {attempts}: {rate:?}");
        }
    }

    #[test]
    fn no_attempts_tell_nothing() {
        assert_eq!(Rate::of(0, 0), Rate { rate: 0.0, low: 0.0, high: 1.0 });
    }

    #[test]
    fn a_million_attempts_still_have_bounds_around_what_was_seen() {
        let rate = Rate::of(1, 1_000_000);
        assert!(rate.low <= rate.rate && rate.rate < rate.high && rate.high < 1e-5, "{rate:?}");
    }

    #[test]
    fn people_read_per_cents() {
        assert_eq!(Rate::of(20, 20).bounds(), "83–100 %");
        assert_eq!(Rate::of(0, 1000).bounds(), "0–0.4 %");
    }
}
