//! Support for tests of blkstay from outside: the real binaries, driven by real clients.
//!
//! Everything here panics when it does not get what it wants: it is only for tests. Waiting is always
//! for a condition, and [`WATCHDOG`] makes a condition that never comes a loud failure.

pub mod binary;
pub mod client;
pub mod control;
pub mod daemon;
pub mod exercise;
pub mod exposition;
pub mod fate;
pub mod fed_back;
pub mod guest;
pub mod host;
pub mod journal;
pub mod lab;
pub mod load;
pub mod mapped;
pub mod memory;
pub mod polled;
pub mod queue;
pub mod random;
pub mod request;
pub mod stamp;

use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
pub const WATCHDOG: Duration = Duration::from_secs(30);

/// Asks `condition` until it is something; `what` says what was waited for if it never is.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < WATCHDOG, "waited {WATCHDOG:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A number from the environment, for tests that can be longer than they usually are, or have other luck.
#[track_caller]
pub fn number(variable: &str, usual: u64) -> u64 {
    let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{variable} is a number"));
    std::env::var(variable).map_or(usual, parse)
}
