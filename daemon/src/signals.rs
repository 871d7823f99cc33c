//! Signals: those that end the daemon in order, and those that must not end it at all.

use crate::{cut, ring};
use anyhow::{Context, Result};
use nix::sys::signal::SigHandler;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the daemon.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Unless whoever started this wants it to go on (nohup).
    hang_up: Option<Signal>,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    ///
    /// # Errors
    /// The system does not let signals be handled.
    pub fn catch() -> Result<Signals> {
        let terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let hang_up = (!is_ignored(libc::SIGHUP)).then(|| signal(SignalKind::hangup())).transpose();
        Ok(Signals { terminate, interrupt, hang_up: hang_up.context("cannot catch SIGHUP")? })
    }

    /// Waits for one.
    pub async fn any(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hang_up => {}
        }
    }
}

fn is_ignored(signal: i32) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: it only fills what is there for that, of which zeros are a value.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// What others can send this process signals by: memory that is cut, a limit for files, a write that waits.
///
/// # Errors
/// The system does not let signals be handled.
pub fn survive() -> std::io::Result<()> {
    cut::survive()?;
    ring::can_be_interrupted()?;
    // What goes past RLIMIT_FSIZE is an error for who asked for it (EFBIG).
    // SAFETY: nothing runs when it is ignored.
    unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    Ok(())
}
