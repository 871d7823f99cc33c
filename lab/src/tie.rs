//! Child processes that never outlive the lab, however it ends.

use nix::sys::signal::Signal;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the kernel kill the process when the thread that starts it ends: that thread has to wait for it.
pub fn to_this_thread(command: &mut Command) -> &mut Command {
    // SAFETY: prctl(2) is async-signal-safe and touches nothing but the new process.
    unsafe {
        command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from))
    }
}
