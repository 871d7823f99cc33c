//! Keeps a client that polls and the daemon apart, so that neither takes the other's CPU: what the client sees late
//! because it did not run would count against the daemon.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Runs what starts the daemon on all CPUs but the last, and this thread on the last from then on. With one CPU
/// there is nothing to keep apart.
pub fn apart<T>(start: impl FnOnce() -> T) -> T {
    let last = last_cpu();
    if last == 0 {
        return start();
    }
    keep_to(0..last);
    let started = start();
    keep_to(last..last + 1);
    started
}

/// Runs what starts a server on the first CPU alone. This thread is then on the last.
pub fn to_first_cpu<T>(start: impl FnOnce() -> T) -> T {
    on(0..1, start)
}

/// Runs what starts a server that may use every CPU. This thread is then on the last.
pub fn to_any_cpu<T>(start: impl FnOnce() -> T) -> T {
    on(0..last_cpu() + 1, start)
}

/// Runs something on the last CPU alone; then this thread may use all of them.
pub fn to_last_cpu<T>(run: impl FnOnce() -> T) -> T {
    let last = last_cpu();
    keep_to(last..last + 1);
    let result = run();
    keep_to(0..last + 1);
    result
}

fn on<T>(cpus: std::ops::Range<usize>, start: impl FnOnce() -> T) -> T {
    let last = last_cpu();
    keep_to(cpus);
    let started = start();
    keep_to(last..last + 1);
    started
}

fn last_cpu() -> usize {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    online.trim().rsplit(['-', ',']).next().and_then(|last| last.parse().ok()).unwrap_or(0)
}

/// A thread that may not be kept to CPUs runs on any.
fn keep_to(cpus: std::ops::Range<usize>) {
    let mut set = CpuSet::new();
    if cpus.into_iter().all(|cpu| set.set(cpu).is_ok()) {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}
