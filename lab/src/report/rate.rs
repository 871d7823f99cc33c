//! How sure a rate is.

use crate::run::rate;

/// Some of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// How many were so.
    pub some: u64,
    /// Of how many.
    pub of: u64,
}

impl Rate {
    /// `5 of 5 (48–100 %)`.
    pub fn words(self) -> String {
        if self.of == 0 {
            return "none made".to_owned();
        }
        format!("{} of {} ({})", self.some, self.of, rate::Rate::of(self.some, self.of).bounds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_attempts_say_little_and_many_say_much() {
        let words = |some, of| Rate { some, of }.words();
        assert_eq!(words(5, 5), "5 of 5 (48–100 %)");
        assert_eq!(words(0, 5), "0 of 5 (0–52 %)");
        assert_eq!(words(100, 100), "100 of 100 (96–100 %)");
        assert_eq!(words(3, 10), "3 of 10 (7–65 %)");
        assert_eq!(words(0, 0), "none made");
    }
}
