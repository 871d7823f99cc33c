//! A file by io_uring. What it has no good way for goes to threads.

use super::ring::Ring;
use super::threads::Threads;
use crate::media::raw::Raw;
use crate::{Drive, Ended, Operation, Request};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A raw file, a ring for each lane, and threads for what the kernel would do by threads of its own: discards and zeros; and
/// for data that does not lie as direct I/O wants it.
pub struct Uring<R: Request> {
    /// Before the threads, which own the file and the descriptors that the rings know.
    rings: Vec<Mutex<Ring<R>>>,
    threads: Threads<R, Raw>,
}

impl<R: Request> Uring<R> {
    /// Serves a file with so many lanes.
    ///
    /// # Errors
    /// The kernel does not know io_uring, or refuses it; `threads` is lost with it.
    pub fn new(threads: Threads<R, Raw>, lanes: usize) -> Result<Uring<R>, (Threads<R, Raw>, io::Error)> {
        let file = threads.media().file.as_fd();
        let ring = |lane| Ring::new(file, threads.bell(lane).as_fd()).map(Mutex::new);
        match (0..lanes.max(1)).map(ring).collect() {
            Ok(rings) => Ok(Uring { rings, threads }),
            Err(error) => Err((threads, error)),
        }
    }

    fn ring(&self, lane: usize) -> MutexGuard<'_, Ring<R>> {
        self.rings[lane % self.rings.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on what waits in a ring, and takes what it has for us, until neither is possible.
    fn advance(&self, lane: usize, ring: &mut Ring<R>, ended: &mut Vec<Ended<R>>) {
        loop {
            if ring.has_waiting() {
                ring.push();
            }
            if !ring.collect(self.threads.media(), ended) || !ring.has_waiting() {
                break;
            }
        }
        if ring.is_broken() {
            for request in ring.stranded() {
                ended.extend(self.threads.hand_over(lane, request));
            }
        } else if ring.is_refused() {
            self.threads.bell(lane).ring();
        }
    }
}

impl<R: Request> Drive<R> for Uring<R> {
    fn submit(&self, lane: usize, requests: &mut Vec<R>, ended: &mut Vec<Ended<R>>) {
        let mut ring = self.ring(lane);
        let wakes = self.threads.bell(lane).is_on();
        if wakes {
            // What ends in here wakes nobody.
            ring.notify(false);
        }
        for request in requests.drain(..) {
            let for_ring = match request.operation() {
                Operation::Read | Operation::Write { .. } => !request.range().is_empty() && !ring.is_broken(),
                Operation::Flush => !ring.is_broken(),
                Operation::Discard | Operation::WriteZeroes { .. } => false,
            };
            let other = if for_ring { ring.take(self.threads.media(), request).err() } else { Some(request) };
            ended.extend(other.and_then(|request| self.threads.hand_over(lane, request)));
        }
        self.advance(lane, &mut ring, ended);
        if wakes {
            ring.notify(true);
            self.advance(lane, &mut ring, ended);
        }
        self.threads.reap(lane, ended);
    }

    fn reap(&self, lane: usize, ended: &mut Vec<Ended<R>>) {
        self.advance(lane, &mut self.ring(lane), ended);
        self.threads.reap(lane, ended);
    }

    fn ready(&self, lane: usize) -> Option<BorrowedFd<'_>> {
        Some(self.threads.bell(lane).as_fd())
    }

    fn notify(&self, lane: usize, on: bool) {
        let mut ring = self.ring(lane);
        self.threads.notify(lane, on);
        ring.notify(on);
    }

    fn woken(&self, lane: usize) {
        self.threads.woken(lane);
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.threads.read_at(offset, into)
    }

    fn bytes(&self) -> u64 {
        self.threads.bytes()
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.threads.resize(bytes)
    }

    fn end(&self) -> io::Result<()> {
        self.threads.end()
    }
}
