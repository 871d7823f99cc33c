//! What came out, as people are told it: an outcome, and whether the kernel by-passed what the case races with.

use blkstay_engine::journal::Outcome;
use std::fmt;

/// How the reason of a `closed` begins where a direct write went through the page cache, so that nothing waited.
pub const BYPASSED: &str = "by-passed";

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The outcome.
    pub outcome: Outcome,
    /// Whether it is `closed` because there was nothing to hold.
    pub bypassed: bool,
}

impl Word {
    /// All of them, in the order in which they are explained.
    pub const ALL: [Word; 7] = [
        Word::plain(Outcome::Open),
        Word::plain(Outcome::Closed),
        Word { outcome: Outcome::Closed, bypassed: true },
        Word::plain(Outcome::Survived),
        Word::plain(Outcome::Missed),
        Word::plain(Outcome::Lost),
        Word::plain(Outcome::Reached),
    ];

    /// An outcome of which there is no more to say.
    pub const fn plain(outcome: Outcome) -> Word {
        Word { outcome, bypassed: false }
    }

    /// An attempt's, by its reason.
    pub fn of(outcome: Outcome, why: &str) -> Word {
        Word { outcome, bypassed: outcome == Outcome::Closed && why.starts_with(BYPASSED) }
    }

    /// A kernel's, by how many of its control attempts were by-passed.
    pub fn of_kernel(verdict: Outcome, control_bypassed: u64) -> Word {
        Word { outcome: verdict, bypassed: verdict == Outcome::Closed && control_bypassed > 0 }
    }

    /// What it means, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self.outcome {
            Outcome::Open => "the order was forced and the symptom appeared",
            Outcome::Closed if self.bypassed => {
                "the direct write that the case races with went through the page cache: there was nothing to hold, and nothing waited"
            }
            Outcome::Closed => {
                "the guest would not go on while the hold stood, though it does without: a fix is at work"
            }
            Outcome::Survived => "the order was forced and there was no symptom",
            Outcome::Missed => "a point was never reached, so the case says nothing about this kernel",
            Outcome::Lost => "the guest crashed, hung, fell silent or was too slow to tell: nothing is known",
            Outcome::Reached => "nothing was held, and every point was reached",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bypassed = if self.bypassed { " (by-passed)" } else { "" };
        write!(f, "{}{bypassed}", self.outcome)
    }
}
