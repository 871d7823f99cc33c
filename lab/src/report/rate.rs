//! How sure a rate is.

use statrs::distribution::{Beta, ContinuousCDF};

/// What is left out on either side of a bound: the interval of 95 %.
const TAIL: f64 = 0.025;

/// Some of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// How many were so.
    pub some: u64,
    /// Of how many.
    pub of: u64,
}

impl Rate {
    /// The interval of Clopper and Pearson in which the true rate lies with 95 %, whatever it is; from 0 to 1.
    pub fn bounds(self) -> (f64, f64) {
        let (some, rest) = (self.some as f64, self.of.saturating_sub(self.some) as f64);
        let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).ok().map(|beta| beta.inverse_cdf(p));
        let low = if some > 0.0 { quantile(some, rest + 1.0, TAIL) } else { Some(0.0) };
        let high = if rest > 0.0 { quantile(some + 1.0, rest, 1.0 - TAIL) } else { Some(1.0) };
        (low.unwrap_or(0.0), high.unwrap_or(1.0))
    }

    /// `5 of 5 (48–100 %)`.
    pub fn words(self) -> String {
        if self.of == 0 {
            return "none made".to_owned();
        }
        let (low, high) = self.bounds();
        format!("{} of {} ({:.0}–{:.0} %)", self.some, self.of, (low * 100.0).floor(), (high * 100.0).ceil())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_attempts_say_little_and_many_say_much() {
        let words = |some, of| Rate { some, of }.words();
        assert_eq!(words(5, 5), "5 of 5 (47–100 %)");
        assert_eq!(words(0, 5), "0 of 5 (0–53 %)");
        assert_eq!(words(100, 100), "100 of 100 (96–100 %)");
        assert_eq!(words(3, 10), "3 of 10 (6–66 %)");
        assert_eq!(words(0, 0), "none made");
    }
}
