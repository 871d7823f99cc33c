//! A descriptor that wakes who sleeps on it, and is silent for who polls.

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// An eventfd with a switch.
pub struct Bell {
    event: EventFd,
    on: AtomicBool,
}

impl Bell {
    /// A bell that is switched on.
    pub fn new() -> io::Result<Bell> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Bell { event, on: AtomicBool::new(true) })
    }

    /// Wakes who sleeps, if it is on. What there is to find is in its place before this is called.
    pub fn ring(&self) {
        if self.on.load(Ordering::SeqCst) {
            // It fails only if it has rung 2^64 times unheard, and then it is readable.
            let _ = self.event.write(1);
        }
    }

    /// Switches it.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// Makes it unreadable.
    pub fn heard(&self) {
        while self.event.read() == Err(Errno::EINTR) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
