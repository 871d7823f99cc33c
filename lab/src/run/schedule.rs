//! Which attempts a guest makes, and in which order.

use super::experiment::Judged;
use blkstay_engine::journal::{Arm, Outcome};
use serde::{Deserialize, Serialize};

/// Control attempts that are enough if all of them reach every point: they show that the case fits the kernel, and
/// have most likely seen a slow one.
pub const CONTROL_ENOUGH: u64 = 20;

/// How many attempts are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// In each arm.
    pub each: u64,
    /// Whether there is a natural arm.
    pub natural: bool,
}

impl Times {
    /// The arm of the next attempt; none when all have been made. What the natural arm shows must not be the
    /// after-effect of forcing, so it comes before.
    pub fn next(self, made: &[Judged]) -> Option<Arm> {
        let count = |arm| made.iter().filter(|judged| judged.arm == arm).count() as u64;
        if count(Arm::Control) < self.control_asked(made) && !self.control_is_enough(made) {
            Some(Arm::Control)
        } else if self.natural && count(Arm::Natural) < self.each {
            Some(Arm::Natural)
        } else if count(Arm::Forced) < self.each {
            Some(Arm::Forced)
        } else {
            None
        }
    }

    /// Attempts in all, if the control arm always reaches.
    pub fn total(self) -> u64 {
        let others = if self.natural { 2 } else { 1 };
        self.each.min(CONTROL_ENOUGH) + others * self.each
    }

    /// How many control attempts there are to be, as far as one can tell from those made.
    pub fn control_asked(self, made: &[Judged]) -> u64 {
        if self.control_is_enough(made) { CONTROL_ENOUGH } else { self.each }
    }

    fn control_is_enough(self, made: &[Judged]) -> bool {
        let mut control = made.iter().filter(|judged| judged.arm == Arm::Control);
        let reached = control.by_ref().take_while(|judged| judged.outcome == Outcome::Reached).count() as u64;
        reached == CONTROL_ENOUGH && self.each > CONTROL_ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arms of all attempts, if the control attempt of this number (if any) misses a point.
    fn arms(times: Times, missed: Option<usize>) -> Vec<Arm> {
        let mut made: Vec<Judged> = Vec::new();
        while let Some(arm) = times.next(&made) {
            let reached = arm != Arm::Control || missed != Some(made.len() + 1);
            let outcome = if reached { Outcome::Reached } else { Outcome::Missed };
            made.push(Judged { arm, outcome, why: String::new(), signs: Vec::new(), report: None });
        }
        made.into_iter().map(|judged| judged.arm).collect()
    }

    fn counts(times: Times, missed: Option<usize>) -> [usize; 3] {
        let arms = arms(times, missed);
        [Arm::Control, Arm::Natural, Arm::Forced].map(|arm| arms.iter().filter(|one| **one == arm).count())
    }

    #[test]
    fn nothing_is_forced_before_the_others_are_through() {
        let arms = arms(Times { each: 2, natural: true }, None);
        use Arm::{Control, Forced, Natural};
        assert_eq!(arms, [Control, Control, Natural, Natural, Forced, Forced]);
    }

    #[test]
    fn twenty_control_attempts_are_enough_if_all_of_them_reach() {
        assert_eq!(counts(Times { each: 20, natural: false }, None), [20, 0, 20]);
        assert_eq!(counts(Times { each: 100, natural: true }, None), [20, 100, 100]);
        assert_eq!(Times { each: 100, natural: true }.total(), 220);
    }

    #[test]
    fn a_control_arm_that_misses_is_made_in_full() {
        assert_eq!(counts(Times { each: 100, natural: false }, Some(20)), [100, 0, 100]);
        assert_eq!(counts(Times { each: 3, natural: false }, Some(1)), [3, 0, 3]);
    }
}
