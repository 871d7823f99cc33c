//! Wakes the core when the engine asked for it: never early, and late by as little as the machine allows.
//!
//! A thread that sleeps comes back tens of microseconds late, most of all in a virtual machine. So nobody sleeps up to a
//! deadline: the last moments before it are spent looking at the clock. The timer's own thread does that where there is a
//! CPU for it. Where the workers have all of them it would keep one from its rings, so a worker does it, which the thread
//! wakes in time.

use crate::urgency::urgent;
use blkstay_engine::request::Nanos;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

/// No deadline.
pub const NEVER: Nanos = Nanos::MAX;

/// How long before a deadline a sleep ends: long enough for what it is late by, and for a rehearsal.
const AHEAD: Nanos = 250_000;

/// How late a worker may be before the thread does what is due, nanoseconds: it may be in the middle of a long request.
const GRACE: Nanos = 200_000;

/// Who looks at the clock when a deadline is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// The timer's thread, for a moment: a deadline costs at most so much of a CPU.
    Brief,
    /// The timer's thread, as long as deadlines follow each other closely: a CPU of its own.
    Busy,
    /// A worker, while there is one.
    Worker,
}

impl Polling {
    /// How long before a deadline sleeps end, and how long after one none begins.
    fn awake_ns(self) -> (Nanos, Nanos) {
        match self {
            Polling::Brief | Polling::Worker => (AHEAD, 0),
            Polling::Busy => (10_000_000, 10_000_000),
        }
    }
}

/// Wakes a worker that sleeps.
type Wake = Box<dyn Fn() + Send>;

/// One deadline; setting it replaces the one before. Setting it never waits for the timer's thread.
pub struct Timer {
    polling: Polling,
    deadline: AtomicU64,
    /// The first deadline for which the thread will be awake in time; 0 while it is awake.
    asleep_for: AtomicU64,
    thread: OnceLock<Thread>,
    /// The worker that looks at the clock.
    keeper: Mutex<Option<Wake>>,
    /// Whether that one is awake.
    is_kept: AtomicBool,
}

impl Timer {
    /// A timer without a deadline.
    pub fn new(polling: Polling) -> Timer {
        Timer {
            polling,
            deadline: AtomicU64::new(NEVER),
            asleep_for: AtomicU64::new(0),
            thread: OnceLock::new(),
            keeper: Mutex::default(),
            is_kept: AtomicBool::new(false),
        }
    }

    /// Asks for a wake-up at that time, or [`NEVER`].
    pub fn set(&self, deadline: Nanos) {
        self.deadline.store(deadline, Ordering::SeqCst);
        if !self.is_kept.load(Ordering::SeqCst) {
            self.hurry(deadline);
        }
    }

    /// Has the thread be awake for a deadline. Only if it sleeps for a later one this costs a system call: it is cheaper
    /// to let it come back in vain.
    fn hurry(&self, deadline: Nanos) {
        if deadline < self.asleep_for.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether the deadline has passed; it is forgotten with that: who is told so does what is due.
    #[inline]
    pub fn take_due(&self, now: impl FnOnce() -> Nanos) -> bool {
        let at = self.deadline.load(Ordering::SeqCst);
        at != NEVER
            && at <= now()
            && self.deadline.compare_exchange(at, NEVER, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Calls `wake` at every deadline that no worker has taken, for ever; and `waits`, with the time and the deadline, as
    /// long as it looks at the clock for one.
    pub fn run(&self, now: impl Fn() -> Nanos, wake: impl Fn(), mut waits: impl FnMut(Nanos, Nanos)) -> ! {
        let _ = self.thread.set(std::thread::current());
        sleep_precisely();
        urgent();
        let (before_ns, after_ns) = self.polling.awake_ns();
        let mut last = 0;
        loop {
            let (at, now) = (self.deadline.load(Ordering::SeqCst), now());
            let is_near = at.saturating_sub(now) <= before_ns;
            if is_near && now < at.saturating_add(GRACE) && self.wake_keeper() {
                self.sleep(at, now, at.saturating_add(GRACE));
            } else if at <= now {
                last = now;
                if self.take_due(|| now) {
                    wake();
                }
            } else if is_near || now - last < after_ns {
                waits(now, at);
                std::hint::spin_loop();
            } else {
                self.sleep(at, now, at.saturating_sub(before_ns));
            }
        }
    }

    /// Sleeps until then, or until an earlier deadline than this one is set.
    fn sleep(&self, deadline: Nanos, now: Nanos, until: Nanos) {
        let (before_ns, _) = self.polling.awake_ns();
        self.asleep_for.store(until.saturating_add(before_ns), Ordering::SeqCst);
        // A deadline that was set just before nobody was told to wake up for.
        if self.deadline.load(Ordering::SeqCst) == deadline {
            match deadline {
                NEVER => std::thread::park(),
                _ => std::thread::park_timeout(Duration::from_nanos(until.saturating_sub(now))),
            }
        }
        self.asleep_for.store(0, Ordering::SeqCst);
    }

    fn keeper(&self) -> MutexGuard<'_, Option<Wake>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the worker is awake that looks at the clock; says whether there is one.
    fn wake_keeper(&self) -> bool {
        if self.is_kept.load(Ordering::SeqCst) {
            return true;
        }
        let keeper = self.keeper();
        keeper.iter().for_each(|wake| wake());
        keeper.is_some()
    }

    /// A worker looks at the clock from now on, as long as it is awake, by [`Timer::take_due`]; `None`: it need not.
    pub fn keep(&self, wake: impl Fn() + Send + 'static) -> Option<Keeping<'_>> {
        if self.polling != Polling::Worker {
            return None;
        }
        *self.keeper() = Some(Box::new(wake));
        self.is_kept.store(true, Ordering::SeqCst);
        Some(Keeping { timer: self })
    }
}

/// A worker that looks at the clock; it does not any more once this is dropped.
pub struct Keeping<'t> {
    timer: &'t Timer,
}

impl Keeping<'_> {
    /// Whether the deadline is so near that a sleep could last beyond it.
    pub fn is_near(&self, now: Nanos) -> bool {
        self.timer.deadline.load(Ordering::SeqCst).saturating_sub(now) <= AHEAD
    }

    /// The deadline.
    pub fn deadline(&self) -> Nanos {
        self.timer.deadline.load(Ordering::SeqCst)
    }

    /// Lets the worker sleep, unless the deadline is near; the thread sees to the clock meanwhile.
    pub fn leave_to_thread(&self, now: Nanos, sleep: impl FnOnce()) {
        self.timer.is_kept.store(false, Ordering::SeqCst);
        // A deadline that was set just before nobody has told the thread of.
        if !self.is_near(now) {
            self.timer.hurry(self.timer.deadline.load(Ordering::SeqCst));
            sleep();
        }
        self.timer.is_kept.store(true, Ordering::SeqCst);
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        *self.timer.keeper() = None;
        self.timer.is_kept.store(false, Ordering::SeqCst);
        self.timer.hurry(self.timer.deadline.load(Ordering::SeqCst));
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
        let (timer, zero) = (Arc::new(Timer::new(polling)), Instant::now());
        let (sender, wakes) = mpsc::channel();
        let run = timer.clone();
        std::thread::spawn(move || {
            let now = move || ns(zero);
            let wake = || sender.send(now()).unwrap_or_default();
            run.run(now, wake, |now, deadline| assert!(now < deadline))
        });
        (timer, zero, wakes)
    }

    fn ns(zero: Instant) -> Nanos {
        zero.elapsed().as_nanos() as Nanos
    }

    #[test]
    fn it_is_never_early_and_forgets_a_deadline_that_has_passed() {
        // There is no worker, so its thread does all of it.
        for polling in [Polling::Brief, Polling::Busy, Polling::Worker] {
            let (timer, zero, wakes) = running(polling);
            for ahead in [0, 1_000, 70_000, 200_000, 3_000_000, 20_000_000] {
                let at = ns(zero) + ahead;
                timer.set(at);
                assert!(wakes.recv_timeout(WATCHDOG).expect("a wake-up") >= at, "{ahead} ns ahead");
            }
            assert!(wakes.try_recv().is_err(), "it woke twice for one deadline");
        }
    }

    #[test]
    fn an_earlier_deadline_counts_though_it_sleeps_for_a_later_one() {
        let (timer, zero, wakes) = running(Polling::Brief);
        timer.set(ns(zero) + 3_600_000_000_000);
        // Also once it does sleep for that.
        while timer.asleep_for.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        timer.set(ns(zero) + 1_000_000);
        wakes.recv_timeout(WATCHDOG).expect("a wake-up before the hour is over");
    }

    #[test]
    fn a_deadline_that_was_taken_back_wakes_nobody() {
        let (timer, zero, wakes) = running(Polling::Brief);
        timer.set(ns(zero) + 3_600_000_000_000);
        timer.set(NEVER);
        timer.set(0);
        wakes.recv_timeout(WATCHDOG).expect("a wake-up");
        assert!(wakes.try_recv().is_err(), "it woke for what was taken back");
    }

    #[test]
    fn a_worker_is_woken_if_it_sleeps() {
        let timer = Timer::new(Polling::Worker);
        let (sender, woken) = mpsc::channel();
        let worker = timer.keep(move || sender.send(()).unwrap_or_default()).expect("it is to be kept");
        assert!(timer.wake_keeper() && woken.try_recv().is_err(), "it is awake");
        worker.leave_to_thread(0, || assert!(timer.wake_keeper() && woken.try_recv().is_ok()));
        assert!(timer.wake_keeper() && woken.try_recv().is_err(), "it is awake again");
        timer.set(AHEAD);
        worker.leave_to_thread(0, || panic!("the deadline is near"));
        drop(worker);
        assert!(!timer.wake_keeper());
    }

    #[test]
    fn somebody_is_there_for_each_deadline_that_a_worker_sleeps_for() {
        let (timer, zero, wakes) = running(Polling::Worker);
        let (sender, woken) = mpsc::channel();
        let wake = move || sender.send(()).unwrap_or_default();
        let worker = timer.keep(wake).expect("it is to be kept");
        for ahead in [1_000_000, 20_000_000] {
            timer.set(ns(zero) + ahead);
            worker.leave_to_thread(ns(zero), || {
                let since = Instant::now();
                // The thread itself does what is due if it did not run before the time of grace was over.
                while woken.try_recv().is_err() && wakes.try_recv().is_err() {
                    assert!(since.elapsed() < WATCHDOG, "nobody is there for a deadline {ahead} ns ahead");
                    std::thread::yield_now();
                }
            });
            while !timer.take_due(|| ns(zero)) && timer.deadline.load(Ordering::SeqCst) != NEVER {
                std::hint::spin_loop();
            }
        }
    }

    #[test]
    fn a_worker_that_is_busy_or_gone_is_not_waited_for() {
        let (timer, zero, wakes) = running(Polling::Worker);
        let worker = timer.keep(|| {}).expect("it is to be kept");
        let at = ns(zero) + 100_000;
        timer.set(at);
        let woken = wakes.recv_timeout(WATCHDOG).expect("the thread does what the worker does not");
        assert!(woken >= at + GRACE, "the worker was given time");
        timer.set(ns(zero) + 3_600_000_000_000);
        drop(worker);
        timer.set(ns(zero) + 1_000_000);
        wakes.recv_timeout(WATCHDOG).expect("a wake-up by the thread");
    }

    #[test]
    fn where_the_thread_has_a_cpu_no_worker_keeps_time() {
        assert!(Timer::new(Polling::Brief).keep(|| {}).is_none());
    }
}
