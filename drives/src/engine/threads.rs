//! Does what needs no waiting on the thread that submits, and has threads for the rest.

use crate::bell::Bell;
use crate::media::raw::read_at;
use crate::media::{Media, Patience, carry_out};
use crate::{Drive, Ended, Request, Segments};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// As many requests wait for the media at once; a thread is started when it is needed first.
const THREADS_MAX: usize = 16;

thread_local! {
    /// The room for a request's segments, kept from one to the next.
    static ROOM: Cell<Segments> = Cell::default();
}

/// A medium with threads.
pub struct Threads<R: Request, M: Media> {
    shared: Arc<Shared<R, M>>,
}

struct Shared<R, M> {
    media: M,
    queue: Mutex<Queue<R>>,
    filled: Condvar,
    lanes: Vec<Lane<R>>,
}

struct Queue<R> {
    requests: VecDeque<(usize, R)>,
    threads: Vec<JoinHandle<()>>,
    idle: usize,
    closed: bool,
}

struct Lane<R> {
    ended: Mutex<Vec<Ended<R>>>,
    has_some: AtomicBool,
    bell: Bell,
}

impl<R: Request, M: Media> Threads<R, M> {
    /// Serves a medium with so many lanes.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn new(media: M, lanes: usize) -> io::Result<Threads<R, M>> {
        let lane = |_| {
            Ok(Lane { ended: Mutex::new(Vec::new()), has_some: AtomicBool::new(false), bell: Bell::new()? })
        };
        let lanes = (0..lanes.max(1)).map(lane).collect::<io::Result<_>>()?;
        let queue = Queue { requests: VecDeque::new(), threads: Vec::new(), idle: 0, closed: false };
        Ok(Threads {
            shared: Arc::new(Shared { media, queue: Mutex::new(queue), filled: Condvar::new(), lanes }),
        })
    }

    /// What is served.
    pub fn media(&self) -> &M {
        &self.shared.media
    }

    /// What wakes the thread of a lane.
    pub fn bell(&self, lane: usize) -> &Bell {
        &self.shared.lane(lane).bell
    }

    /// Keeps what has ended elsewhere for who collects next.
    pub fn put_back(&self, lane: usize, ended: Vec<Ended<R>>) {
        ended.into_iter().for_each(|ended| self.shared.lane(lane).put(ended));
    }

    /// Hands a request to the threads; gives it back as ended if there is none and none can be started.
    pub fn hand_over(&self, lane: usize, request: R) -> Option<Ended<R>> {
        let mut queue = lock(&self.shared.queue);
        queue.requests.push_back((lane, request));
        if queue.idle < queue.requests.len() && queue.threads.len() < THREADS_MAX {
            let (shared, name) = (self.shared.clone(), format!("drive-{}", queue.threads.len()));
            match std::thread::Builder::new().name(name).spawn(move || serve(&shared)) {
                Ok(thread) => queue.threads.push(thread),
                Err(result) if queue.threads.is_empty() => {
                    let (_, request) = queue.requests.pop_back()?;
                    return Some(Ended { request, result: Err(result) });
                }
                Err(_) => {}
            }
        }
        drop(queue);
        self.shared.filled.notify_one();
        None
    }
}

impl<R> Lane<R> {
    fn put(&self, ended: Ended<R>) {
        lock(&self.ended).push(ended);
        if !self.has_some.swap(true, Ordering::SeqCst) {
            self.bell.ring();
        }
    }
}

impl<R, M> Shared<R, M> {
    fn lane(&self, lane: usize) -> &Lane<R> {
        &self.lanes[lane % self.lanes.len()]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve<R: Request, M: Media>(shared: &Shared<R, M>) {
    let mut segments = Segments::default();
    let mut queue = lock(&shared.queue);
    loop {
        if let Some((lane, request)) = queue.requests.pop_front() {
            drop(queue);
            let result = carry_out(&shared.media, &request, &mut segments, Patience::Blocks);
            shared.lane(lane).put(Ended { request, result });
            queue = lock(&shared.queue);
        } else if queue.closed {
            return;
        } else {
            queue.idle += 1;
            queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

impl<R: Request, M: Media> Drive<R> for Threads<R, M> {
    fn submit(&self, lane: usize, requests: &mut Vec<R>, ended: &mut Vec<Ended<R>>) {
        let mut segments = ROOM.take();
        let patience = if self.shared.media.is_swift() { Patience::Blocks } else { Patience::Now };
        let mut requests = requests.drain(..);
        while let Some(request) = requests.next() {
            if let Some(next) = requests.as_slice().first() {
                self.shared.media.soon(next.range().start);
            }
            match carry_out(&self.shared.media, &request, &mut segments, patience) {
                Err(error) if patience == Patience::Now && error.kind() == io::ErrorKind::WouldBlock => {
                    ended.extend(self.hand_over(lane, request));
                }
                result => ended.push(Ended { request, result }),
            }
        }
        segments.clear();
        ROOM.set(segments);
        self.reap(lane, ended);
    }

    fn reap(&self, lane: usize, ended: &mut Vec<Ended<R>>) {
        let lane = self.shared.lane(lane);
        if lane.has_some.load(Ordering::SeqCst) {
            let mut found = lock(&lane.ended);
            lane.has_some.store(false, Ordering::SeqCst);
            ended.append(&mut found);
        }
    }

    fn ready(&self, lane: usize) -> Option<BorrowedFd<'_>> {
        (!self.shared.media.is_swift()).then(|| self.bell(lane).as_fd())
    }

    fn notify(&self, lane: usize, on: bool) {
        self.bell(lane).switch(on);
    }

    fn woken(&self, lane: usize) {
        self.bell(lane).heard();
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        read_at(&self.shared.media, offset, into)
    }

    fn bytes(&self) -> u64 {
        self.shared.media.bytes()
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.shared.media.resize(bytes)
    }

    fn end(&self) -> io::Result<()> {
        self.shared.media.end()
    }
}

impl<R: Request, M: Media> Drop for Threads<R, M> {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        let threads = std::mem::take(&mut queue.threads);
        drop(queue);
        self.shared.filled.notify_all();
        for thread in threads {
            // A thread that panicked has said so, and is through.
            let _ = thread.join();
        }
    }
}
