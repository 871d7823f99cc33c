//! Wakes the core when the engine asked for it: never early, and late by as little as the machine allows.
//!
//! A thread that sleeps comes back tens of microseconds late, most of all in a virtual machine. So the timer's
//! sleeps end a little before each deadline, and the rest of the time it looks at the clock.

use blkstay_engine::request::Nanos;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// No deadline.
pub const NEVER: Nanos = Nanos::MAX;

/// When the timer's thread spins rather than sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// How long before a deadline.
    before_ns: Nanos,
    /// How long after one it waits for the next.
    after_ns: Nanos,
}

impl Polling {
    /// Long enough for what a sleep is late by: a deadline costs at most so much of a CPU.
    pub const BRIEF: Polling = Polling { before_ns: 150_000, after_ns: 0 };

    /// A CPU of its own, as long as deadlines follow each other closely.
    pub const BUSY: Polling = Polling { before_ns: 10_000_000, after_ns: 10_000_000 };
}

/// One deadline; setting it replaces the one before. Setting it never waits for the timer's thread.
#[derive(Debug)]
pub struct Timer {
    deadline: AtomicU64,
    /// The deadline that the thread sleeps for; 0 while it is awake.
    asleep_for: AtomicU64,
    thread: OnceLock<Thread>,
}

impl Default for Timer {
    fn default() -> Timer {
        let (deadline, asleep_for) = (AtomicU64::new(NEVER), AtomicU64::new(0));
        Timer { deadline, asleep_for, thread: OnceLock::new() }
    }
}

impl Timer {
    /// Asks for a wake-up at that time, or [`NEVER`]. Only an earlier one than the thread sleeps for costs a system
    /// call: it is cheaper to let it come back in vain.
    pub fn set(&self, deadline: Nanos) {
        self.deadline.store(deadline, Ordering::SeqCst);
        if deadline < self.asleep_for.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Calls `wake` at every deadline, for ever.
    pub fn run(&self, polling: Polling, now: impl Fn() -> Nanos, wake: impl Fn()) -> ! {
        let _ = self.thread.set(std::thread::current());
        sleep_precisely();
        let mut last = 0;
        loop {
            let (at, now) = (self.deadline.load(Ordering::SeqCst), now());
            if at <= now {
                last = now;
                // Forgotten, unless another has taken its place by now.
                let _ = self.deadline.compare_exchange(at, NEVER, Ordering::SeqCst, Ordering::SeqCst);
                wake();
            } else if at - now <= polling.before_ns || now - last < polling.after_ns {
                std::hint::spin_loop();
            } else {
                self.sleep(at, now, at.saturating_sub(polling.before_ns));
            }
        }
    }

    /// Sleeps until then, or until an earlier deadline than this one is set.
    fn sleep(&self, deadline: Nanos, now: Nanos, until: Nanos) {
        self.asleep_for.store(deadline, Ordering::SeqCst);
        // A deadline that was set just before nobody was told to wake up for.
        if self.deadline.load(Ordering::SeqCst) == deadline {
            match deadline {
                NEVER => std::thread::park(),
                _ => std::thread::park_timeout(Duration::from_nanos(until.saturating_sub(now))),
            }
        }
        self.asleep_for.store(0, Ordering::SeqCst);
    }
}

/// The kernel may be late by 50 µs on purpose, to wake up for several threads at once; not for this one.
fn sleep_precisely() {
    if let Err(error) = nix::sys::prctl::set_timerslack(1) {
        tracing::debug!(%error, "delays are less precise: the timer's slack is as it was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};
    use std::time::Instant;

    const WATCHDOG: Duration = Duration::from_secs(30);

    /// A timer that runs, its clock, and when it woke somebody.
    fn running(polling: Polling) -> (Arc<Timer>, Instant, mpsc::Receiver<Nanos>) {
        let (timer, zero) = (Arc::new(Timer::default()), Instant::now());
        let (sender, wakes) = mpsc::channel();
        let run = timer.clone();
        std::thread::spawn(move || {
            let now = move || zero.elapsed().as_nanos() as Nanos;
            run.run(polling, now, || {
                let _ = sender.send(now());
            })
        });
        (timer, zero, wakes)
    }

    #[test]
    fn it_is_never_early_and_forgets_a_deadline_that_has_passed() {
        for polling in [Polling::BRIEF, Polling::BUSY] {
            let (timer, zero, wakes) = running(polling);
            for ahead in [0, 1_000, 70_000, 200_000, 3_000_000, 20_000_000] {
                let at = zero.elapsed().as_nanos() as Nanos + ahead;
                timer.set(at);
                assert!(wakes.recv_timeout(WATCHDOG).expect("a wake-up") >= at, "{ahead} ns ahead");
            }
            assert!(wakes.try_recv().is_err(), "it woke twice for one deadline");
        }
    }

    #[test]
    fn an_earlier_deadline_counts_though_it_sleeps_for_a_later_one() {
        let (timer, zero, wakes) = running(Polling::BRIEF);
        timer.set(zero.elapsed().as_nanos() as Nanos + 3_600_000_000_000);
        // Also once it does sleep for that.
        while timer.asleep_for.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        timer.set(zero.elapsed().as_nanos() as Nanos + 1_000_000);
        wakes.recv_timeout(WATCHDOG).expect("a wake-up before the hour is over");
    }

    #[test]
    fn a_deadline_that_was_taken_back_wakes_nobody() {
        let (timer, zero, wakes) = running(Polling::BRIEF);
        timer.set(zero.elapsed().as_nanos() as Nanos + 3_600_000_000_000);
        timer.set(NEVER);
        timer.set(0);
        wakes.recv_timeout(WATCHDOG).expect("a wake-up");
        assert!(wakes.try_recv().is_err(), "it woke for what was taken back");
    }
}
