//! Support for tests of blkstay from outside: the real binaries, driven by real clients.
//!
//! Everything here panics when it does not get what it wants: it is only for tests. Waiting is always
//! for a condition, and [`WATCHDOG`] makes a condition that never comes a loud failure.

pub mod binary;
pub mod client;
pub mod control;
pub mod daemon;
pub mod exposition;
pub mod fate;
pub mod fed_back;
pub mod journal;
pub mod lab;
pub mod mapped;
pub mod memory;
pub mod polled;
pub mod queue;
pub mod random;
pub mod request;

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
