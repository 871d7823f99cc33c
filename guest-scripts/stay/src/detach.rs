//! Leaving a process behind in the background.

use crate::failure::Failure;
use nix::libc;
use nix::unistd::{self, ForkResult};
use std::fs::OpenOptions;

/// On which side of the fork the caller finds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that was started by the script; it should end.
    Caller,
    /// The one that stays.
    Background,
}

/// What becomes of standard error in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// It stays, for whoever watches the console.
    KeepError,
    /// It is closed as well, so that `$(…)` in a script ends.
    Close,
}

/// Forks. What stays has a session of its own and does not keep the script's input and output open.
///
/// Call it only while the process has one thread.
pub fn into_background(streams: Streams) -> Result<Side, Failure> {
    // SAFETY: `stay` starts no threads, so the child may do whatever its parent could.
    let fork = unsafe { unistd::fork() }.map_err(|error| Failure::of("fork", error))?;
    if let ForkResult::Parent { .. } = fork {
        return Ok(Side::Caller);
    }
    unistd::setsid().map_err(|error| Failure::of("setsid", error))?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| Failure::of("/dev/null", error))?;
    unistd::dup2_stdin(&null).map_err(|error| Failure::of("/dev/null", error))?;
    unistd::dup2_stdout(&null).map_err(|error| Failure::of("/dev/null", error))?;
    if streams == Streams::Close {
        unistd::dup2_stderr(&null).map_err(|error| Failure::of("/dev/null", error))?;
    }
    Ok(Side::Background)
}

/// `IOPRIO_WHO_PROCESS`, and `IOPRIO_CLASS_BE` with the level that everybody has (ioprio_set(2)).
const IO_OF_PROCESS: i32 = 1;
const IO_AS_USUAL: i32 = (2 << 13) | 4;

/// Has this process, and those that it forks, run before all that are scheduled as usual (sched(7): `SCHED_FIFO`). Their I/O is
/// as everybody's: otherwise an I/O scheduler may keep that of others back until theirs is complete.
pub fn go_first() -> Result<(), Failure> {
    let least = libc::sched_param { sched_priority: 1 };
    // SAFETY: it reads a parameter that is there.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const least) };
    // SAFETY: it takes three numbers.
    let usual = unsafe { libc::syscall(libc::SYS_ioprio_set, IO_OF_PROCESS, 0, IO_AS_USUAL) };
    let done = nix::errno::Errno::result(done).and(nix::errno::Errno::result(usual));
    done.map(drop).map_err(|error| Failure::of("cannot run before others", error))
}

/// Closes the files that the script had open and did not mean for this process, so that one which stays in the
/// background does not keep them open. Call it while nothing of its own is open.
pub fn close_inherited_files() {
    // SAFETY: nothing that was opened in this process is open now, so it owns no descriptor above standard error.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
}
