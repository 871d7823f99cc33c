//! A disk of nothing: to measure all that is not the disk.

use crate::drive::{end_of, ends_early};
use crate::{Drive, Ended, Request};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Drops what is written. A read leaves its buffer as it is (like QEMU's `null-co`): that is the guest's own memory, so
/// it learns nothing from it.
pub struct Null {
    bytes: AtomicU64,
}

impl Null {
    /// So many bytes of nothing.
    pub fn new(bytes: u64) -> Null {
        Null { bytes: AtomicU64::new(bytes) }
    }
}

impl<R: Request> Drive<R> for Null {
    fn submit(&self, _: usize, requests: &mut Vec<R>, ended: &mut Vec<Ended<R>>) {
        ended.extend(requests.drain(..).map(|request| Ended { request, result: Ok(()) }));
    }

    fn reap(&self, _: usize, _: &mut Vec<Ended<R>>) {}

    fn ready(&self, _: usize) -> Option<BorrowedFd<'_>> {
        None
    }

    fn notify(&self, _: usize, _: bool) {}

    fn woken(&self, _: usize) {}

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if end_of(offset, into.len() as u64) > self.bytes.load(Ordering::Acquire) {
            return Err(ends_early());
        }
        into.fill(0);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.bytes.store(bytes, Ordering::Release);
        Ok(())
    }

    fn end(&self) -> io::Result<()> {
        Ok(())
    }
}
