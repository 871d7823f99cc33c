//! Looks on while a guest is connected, so that nobody waits for ever in a write to one of its descriptors: a watchdog.

use crate::ring::{Ring, Writing};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two looks: a write that both see takes thousands of times longer than one that waits for nothing.
const PERIOD: Duration = Duration::from_millis(500);

/// Looks on as long as this lives.
pub struct Onlooker {
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Onlooker {
    /// Looks at these rings.
    ///
    /// # Errors
    /// No threads are left.
    pub fn of(rings: &[Arc<Ring>]) -> io::Result<Onlooker> {
        let (end, ended) = channel::<()>();
        let rings = rings.to_vec();
        let look = move || {
            let mut before: Vec<Option<Writing>> = vec![None; rings.len()];
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                for (ring, before) in rings.iter().zip(&mut before) {
                    let now = ring.writing();
                    if let Some(writing) = now.filter(|now| Some(*now) == *before) {
                        writing.interrupt();
                    }
                    *before = now;
                }
            }
        };
        let thread = std::thread::Builder::new().name("onlooker".into()).spawn(look)?;
        Ok(Onlooker { thread: Some((end, thread)) })
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.thread.take() {
            drop(end);
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
