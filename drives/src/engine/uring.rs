//! A file by io_uring. What it has no good way for goes to threads.

use super::ring::Ring;
use super::threads::Threads;
use crate::media::raw::Raw;
use crate::{Drive, Ended, Operation, Request};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    /// Its address tells threads apart.
    static MARK: u8 = const { 0 };
}

/// A raw file, rings for each lane, and threads for what the kernel would do by threads of its own: discards and zeros; and
/// for data that does not lie as direct I/O wants it.
pub struct Uring<R: Request> {
    /// Before the threads, which own the file and the descriptors that the rings know.
    lanes: Vec<Lane<R>>,
    threads: Threads<R, Raw>,
}

/// The rings of a lane.
struct Lane<R> {
    /// Any thread's.
    shared: Mutex<Ring<R>>,
    /// That of the thread that serves the lane, which sleeps in it: nobody else may wait for the lock.
    own: Mutex<Option<Ring<R>>>,
    /// Which thread that is: the address of its mark, or 0.
    owner: AtomicUsize,
}

impl<R> Lane<R> {
    fn shared(&self) -> MutexGuard<'_, Ring<R>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the thread that serves the lane alone, see [`Lane::is_own`].
    fn own(&self) -> MutexGuard<'_, Option<Ring<R>>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this thread serves the lane.
    fn is_own(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == mark()
    }
}

impl<R: Request> Lane<R> {
    /// Does something with the ring of its own that this thread may have.
    fn with_own<T>(&self, act: impl FnOnce(&mut Ring<R>) -> T) -> Option<T> {
        if self.is_own() { self.own().as_mut().map(act) } else { None }
    }
}

fn mark() -> usize {
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

impl<R: Request> Uring<R> {
    /// Serves a file with so many lanes.
    ///
    /// # Errors
    /// The kernel does not know io_uring, or refuses it; `threads` is lost with it.
    pub fn new(threads: Threads<R, Raw>, lanes: usize) -> Result<Uring<R>, (Threads<R, Raw>, io::Error)> {
        let file = threads.media().file.as_fd();
        let lane = |lane| {
            let shared = Mutex::new(Ring::new(file, threads.bell(lane).as_fd())?);
            Ok(Lane { shared, own: Mutex::new(None), owner: AtomicUsize::new(0) })
        };
        match (0..lanes.max(1)).map(lane).collect() {
            Ok(lanes) => Ok(Uring { lanes, threads }),
            Err(error) => Err((threads, error)),
        }
    }

    fn lane(&self, lane: usize) -> &Lane<R> {
        &self.lanes[lane % self.lanes.len()]
    }

    /// Does something with the ring that this thread may use.
    fn with_ring(&self, lane: usize, act: impl FnOnce(&mut Ring<R>)) {
        let rings = self.lane(lane);
        if rings.is_own()
            && let Some(own) = &mut *rings.own()
        {
            return act(own);
        }
        act(&mut rings.shared());
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

impl<R: Request> Uring<R> {
    /// Takes requests into a ring, or hands them to the threads.
    fn take(&self, lane: usize, ring: &mut Ring<R>, requests: &mut Vec<R>, ended: &mut Vec<Ended<R>>) {
        for request in requests.drain(..) {
            let for_ring = match request.operation() {
                Operation::Read | Operation::Write { .. } => !request.range().is_empty() && !ring.is_broken(),
                Operation::Flush => !ring.is_broken(),
                Operation::Discard | Operation::WriteZeroes { .. } => false,
            };
            let other = if for_ring { ring.take(self.threads.media(), request).err() } else { Some(request) };
            ended.extend(other.and_then(|request| self.threads.hand_over(lane, request)));
        }
        self.advance(lane, ring, ended);
    }
}

impl<R: Request> Drive<R> for Uring<R> {
    fn submit(&self, lane: usize, requests: &mut Vec<R>, ended: &mut Vec<Ended<R>>) {
        self.with_ring(lane, |ring| {
            let wakes = self.threads.bell(lane).is_on();
            if wakes {
                // What ends in here wakes nobody.
                ring.notify(false);
            }
            self.take(lane, ring, requests, ended);
            if wakes {
                ring.notify(true);
                self.advance(lane, ring, ended);
            }
        });
        self.threads.reap(lane, ended);
    }

    fn reap(&self, lane: usize, ended: &mut Vec<Ended<R>>) {
        let rings = self.lane(lane);
        rings.with_own(|own| self.advance(lane, own, ended));
        self.advance(lane, &mut rings.shared(), ended);
        self.threads.reap(lane, ended);
    }

    fn adopt(&self, lane: usize, wake: RawFd) {
        let rings = self.lane(lane);
        match Ring::of_this_thread(self.threads.media().file.as_fd(), wake) {
            Ok(ring) => {
                *rings.own() = Some(ring);
                rings.owner.store(mark(), Ordering::Relaxed);
            }
            // It uses the shared ring like everybody else.
            Err(_) => rings.owner.store(0, Ordering::Relaxed),
        }
    }

    fn sleep(&self, lane: usize) -> bool {
        self.lane(lane).with_own(Ring::sleep).unwrap_or(false)
    }

    fn leave(&self, lane: usize) {
        let rings = self.lane(lane);
        if !rings.is_own() {
            return;
        }
        rings.owner.store(0, Ordering::Relaxed);
        let Some(mut ring) = rings.own().take() else { return };
        let mut ended = Vec::new();
        while ring.is_in_use() {
            self.advance(lane, &mut ring, &mut ended);
            ring.wait();
        }
        self.threads.put_back(lane, ended);
    }

    fn ready(&self, lane: usize) -> Option<BorrowedFd<'_>> {
        Some(self.threads.bell(lane).as_fd())
    }

    fn notify(&self, lane: usize, on: bool) {
        let rings = self.lane(lane);
        if on {
            rings.with_own(Ring::about_to_sleep);
        }
        let mut ring = rings.shared();
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
