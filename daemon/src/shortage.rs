//! When the process has no descriptors left: who accepts connections waits until one is let go of.

use crate::complaints::Complaints;
use blkstay_engine::request::Nanos;
use std::io;
use std::time::Duration;
use tokio::sync::Notify;

/// How long who accepts waits at most: others let go of descriptors as well, and say nothing.
pub const WAIT_MAX: Duration = Duration::from_secs(1);

/// What is known of it.
#[derive(Default)]
pub struct Shortage {
    complaints: Complaints,
    /// Told when a client is gone.
    gone: Notify,
}

impl Shortage {
    /// A connection could not be accepted: a line says so at most once a second.
    pub fn found(&self, now: Nanos, whose: &str, error: &io::Error) {
        if let Some(unsaid) = self.complaints.turn(now) {
            tracing::warn!(%error, unsaid, "{whose} cannot be accepted; another has to go first");
        }
    }

    /// A client is gone, and its descriptors are closed.
    pub fn is_gone(&self) {
        self.gone.notify_one();
    }

    /// Waits for a client to go.
    pub async fn wait(&self) {
        let _ = tokio::time::timeout(WAIT_MAX, self.gone.notified()).await;
    }

    /// Waits for others to have let go of something.
    pub fn wait_for_others(&self) {
        std::thread::sleep(WAIT_MAX);
    }
}
