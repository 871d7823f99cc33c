//! Writes to a guest's descriptor for calls, which whoever has the other end can make wait at any time: a counter that is
//! full, and `O_NONBLOCK` taken away again, for that belongs to both ends. Writing without waiting has no call of its own
//! for such descriptors (no `RWF_NOWAIT`, nothing to open anew), and a look before each write would cost a call and could
//! be outrun. So a write that waits is interrupted by who looks on ([`crate::onlooker`]).

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::gettid;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Interrupts a write. Who does not expect it, ignores it.
const SIGNAL: Signal = Signal::SIGURG;

thread_local! {
    static THREAD: i32 = gettid().as_raw();
}

/// Who writes to a ring's descriptor, and which write it is: the thread's number in the lower half, 0 if nobody does, and in
/// the upper how many writes there have been. One thread at a time writes.
#[derive(Debug, Default)]
pub struct Telling(AtomicU64);

/// A write that was going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writing(u64);

impl Telling {
    /// Writes once what an eventfd adds to its counter.
    ///
    /// # Errors
    /// It is full, or no descriptor to write to, or the write waited and was interrupted ([`io::ErrorKind::Interrupted`]).
    pub fn tell(&self, descriptor: impl AsFd) -> io::Result<()> {
        let count = (self.0.load(Ordering::Relaxed) >> 32).wrapping_add(1) << 32;
        self.0.store(count | THREAD.with(|thread| *thread as u64), Ordering::Release);
        let written = nix::unistd::write(descriptor, &1_u64.to_ne_bytes());
        self.0.store(count, Ordering::Release);
        Ok(written.map(drop)?)
    }

    /// The write that is going on.
    pub fn writing(&self) -> Option<Writing> {
        let now = self.0.load(Ordering::Acquire);
        (now as u32 != 0).then_some(Writing(now))
    }
}

impl Writing {
    /// Interrupts it. If it is through by now, that disturbs nobody.
    pub fn interrupt(self) {
        // SAFETY: it only sends a signal that every thread survives.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.0 as u32 as i32, SIGNAL as i32) };
    }
}

/// From here on writes can be interrupted.
///
/// # Errors
/// The system does not let signals be handled.
pub fn can_be_interrupted() -> Result<(), Errno> {
    extern "C" fn nothing(_: i32) {}
    // Without SA_RESTART, so that the write ends.
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(SIGNAL, &action) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use vmm_sys_util::eventfd::EventFd;

    #[test]
    fn a_write_that_waits_is_interrupted_and_one_that_does_not_is_none() {
        can_be_interrupted().unwrap();
        let (full, telling) = (EventFd::new(0).unwrap(), Arc::new(Telling::default()));
        full.write(u64::MAX - 1).unwrap();
        let (end, own) = (full.try_clone().unwrap(), telling.clone());
        let waits = std::thread::spawn(move || {
            // SAFETY: the descriptor is open as long as its owner, which this thread has.
            let end = unsafe { std::os::fd::BorrowedFd::borrow_raw(end.as_raw_fd()) };
            own.tell(end)
        });
        while !waits.is_finished() {
            telling.writing().inspect(|writing| writing.interrupt());
            std::thread::yield_now();
        }
        let kind = waits.join().unwrap().unwrap_err().kind();
        assert_eq!((kind, telling.writing()), (io::ErrorKind::Interrupted, None));
        full.read().unwrap();
        // SAFETY: as above.
        telling.tell(unsafe { std::os::fd::BorrowedFd::borrow_raw(full.as_raw_fd()) }).unwrap();
        assert_eq!(full.read().unwrap(), 1);
    }
}
