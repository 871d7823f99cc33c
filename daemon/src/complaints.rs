//! Failures of the drive in the log, where a disk that fails every request must not fill it.

use blkstay_engine::request::{Nanos, RequestId, Status};
use std::sync::atomic::{AtomicU64, Ordering};

/// Time between two lines, in nanoseconds.
const PERIOD: Nanos = 1_000_000_000;

/// When there was a line, and how many there would have been since.
#[derive(Default)]
pub struct Complaints {
    /// When there may be the next.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl Complaints {
    /// The drive could not do a request: a line says so at most once a second, and how many others there were.
    pub fn drive_failed(&self, now: Nanos, id: RequestId, status: Status, error: &str) {
        if let Some(unsaid) = self.turn(now) {
            tracing::warn!(%id, %status, error, unsaid, "the drive could not do a request");
        }
    }

    /// Whether it is time for a line: how many were left out since the last.
    pub fn turn(&self, now: Nanos) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(PERIOD);
        let mine = now >= next
            && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        match mine {
            true => Some(self.unsaid.swap(0, Ordering::Relaxed)),
            false => {
                self.unsaid.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_tells_of_the_others() {
        let complaints = Complaints::default();
        let told = [0, 1, PERIOD - 1, PERIOD, PERIOD + 1, 5 * PERIOD].map(|now| complaints.turn(now));
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
