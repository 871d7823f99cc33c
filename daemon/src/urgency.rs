//! Whose turn it is on a CPU that several threads want: what is due for a guest comes before what is made ready for later.
//!
//! None of this needs a right, or takes more of a CPU than before: it is about when a thread gets its share.

use nix::errno::Errno;

/// The shortest slice that the kernel gives, nanoseconds: the shorter a thread's slices, the sooner its next begins.
const SLICE: u64 = 100_000;

/// The calling thread is short of time, and never at work for long: when it wakes up it goes before those with long slices.
pub fn urgent() {
    // SAFETY: it takes two numbers, and gives one.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads the attributes, which say how long they are.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    note(set == 0, "a thread that has to be in time gets slices of the usual length");
}

/// The calling thread works for later: when it wakes up it takes the CPU from nobody.
pub fn patient() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the parameters.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    note(set == 0, "a thread that works for later takes the CPU from others");
}

/// Kernels before 6.12 know no slices; a sandbox may refuse both.
fn note(is_set: bool, otherwise: &str) {
    if !is_set {
        tracing::debug!(error = %Errno::last(), "{otherwise}");
    }
}
