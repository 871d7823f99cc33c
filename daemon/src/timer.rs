//! Wakes the core when the engine asked for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// One deadline; setting it replaces the one before.
#[derive(Debug, Default)]
pub struct Timer {
    deadline: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Timer {
    /// Asks for a wake-up at that time, or for none.
    pub fn set(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        self.changed.notify_one();
    }

    /// Calls `wake` at every deadline, for ever.
    pub fn run(&self, wake: impl Fn()) -> ! {
        loop {
            self.wait();
            wake();
        }
    }

    /// Returns once the deadline has passed, and forgets it.
    fn wait(&self) {
        let mut deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            deadline = match *deadline {
                None => self.changed.wait(deadline).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        *deadline = None;
                        return;
                    }
                    let waited = self.changed.wait_timeout(deadline, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
