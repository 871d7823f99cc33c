//! The daemon, QEMU and what else a run starts.

use crate::tie;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Makes a command whose process dies with this one, however this one dies. The runtime has one
/// thread, the main one, so that is the one it is tied to.
pub fn tied(program: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true);
    // A process group of its own: Ctrl-C in a terminal reaches the lab alone, which then ends all.
    command.process_group(0);
    tie::to_this_thread(command.as_std_mut());
    command
}

/// Asks a process to end, and makes it if it does not within `patience`.
pub async fn end(child: &mut Child, patience: Duration) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        if tokio::time::timeout(patience, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}
