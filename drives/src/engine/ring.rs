//! The ring of one lane: requests in slots, what the kernel has of them, and what comes back.

use super::slot::{Slot, entry};
use crate::media::{gather, raw::Raw};
use crate::{Ended, Operation, Request, Segments};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{Ordering, fence};

/// Entries that are handed to the kernel at once.
const SUBMISSIONS: u32 = 256;

/// Requests that the kernel has at once. It never owes more answers than the ring has places for, so none is lost
/// and it never refuses (`EBUSY`).
const IN_KERNEL_MAX: u32 = 1024;

/// Requests that a drive that has nothing to do gets at once, and that it gets at once after these. The kernel keeps
/// what it gets at once until it has prepared all of it, and only then is the drive told: it is to have begun with the
/// first ones meanwhile.
const FIRST_CHUNK: usize = 2;
const CHUNK: usize = 8;

/// In place of a slot: the look-out for the descriptor that wakes the thread.
const WATCH: u32 = u32::MAX;

/// A ring with its requests.
pub struct Ring<R> {
    ring: IoUring,
    /// Not registered with the ring: that would keep it open, and locked, for a while after both are closed.
    file: types::Fd,
    slots: Vec<Slot<R>>,
    free: Vec<u32>,
    /// Slots that are not in the ring yet.
    waiting: VecDeque<u32>,
    /// Slots that are in the ring, but that the kernel has not taken, in its order.
    offered: VecDeque<u32>,
    /// Entries in the ring: requests, and the look-out.
    in_ring: u32,
    /// What wakes the thread that sleeps in this ring, if it is one's own.
    wake: Option<RawFd>,
    /// Whether the ring looks out for that.
    is_watching: bool,
    /// Whether it has said so since the thread was about to sleep.
    is_woken: bool,
    /// The kernel refuses the ring for good: nothing more goes there.
    is_broken: bool,
}

impl<R: Request> Ring<R> {
    /// A ring for a file, whose answers make `event` readable. Both stay open as long as the ring.
    ///
    /// # Errors
    /// The kernel does not know io_uring, or refuses it.
    pub fn new(file: BorrowedFd<'_>, event: BorrowedFd<'_>) -> io::Result<Ring<R>> {
        let ring = IoUring::builder().setup_cqsize(IN_KERNEL_MAX).build(SUBMISSIONS)?;
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Ring::with(ring, file, None))
    }

    /// A ring for a file that the calling thread alone uses. That thread may sleep in it, and `wake` ends that when it
    /// becomes readable. Both stay open as long as the ring.
    ///
    /// An answer interrupts nobody: the kernel keeps it until the thread asks, and says in the ring that there is one.
    ///
    /// # Errors
    /// The kernel does not know such rings (before Linux 6.1).
    pub fn of_this_thread(file: BorrowedFd<'_>, wake: RawFd) -> io::Result<Ring<R>> {
        let ring = IoUring::builder()
            .setup_cqsize(IN_KERNEL_MAX)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(SUBMISSIONS)?;
        Ok(Ring::with(ring, file, Some(wake)))
    }

    fn with(ring: IoUring, file: BorrowedFd<'_>, wake: Option<RawFd>) -> Ring<R> {
        Ring {
            ring,
            file: types::Fd(file.as_raw_fd()),
            slots: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            offered: VecDeque::new(),
            in_ring: 0,
            wake,
            is_watching: false,
            is_woken: false,
            is_broken: false,
        }
    }

    /// The thread is about to sleep: whatever wakes it from now on, and is collected before it does, keeps it awake.
    pub fn about_to_sleep(&mut self) {
        self.is_woken = false;
    }

    /// Sleeps until there is an answer, or what wakes the thread has become readable since it was about to sleep; says
    /// whether the ring can do that.
    pub fn sleep(&mut self) -> bool {
        if self.is_broken {
            // The kernel answers for what it has.
            return self.at_work() > 0;
        }
        if self.is_woken {
            return true;
        }
        self.watch();
        // Interrupted, refused or not: whoever is awake looks everywhere.
        if let Ok(taken) = self.ring.submit_and_wait(1) {
            self.taken(taken);
        }
        true
    }

    /// Waits for an answer, if the kernel has something to answer.
    pub fn wait(&mut self) {
        if self.at_work() > 0 {
            // Who waits looks, and waits again.
            let _ = self.enter(1);
        }
    }

    fn watch(&mut self) {
        let Some(wake) = self.wake.filter(|_| !self.is_watching) else { return };
        let entry = opcode::PollAdd::new(types::Fd(wake), libc::POLLIN as u32).multi(true).build();
        // SAFETY: it refers to no memory.
        if unsafe { self.ring.submission().push(&entry.user_data(WATCH.into())) }.is_ok() {
            self.offered.push_back(WATCH);
            self.in_ring += 1;
            self.is_watching = true;
        }
    }

    fn taken(&mut self, count: usize) {
        self.offered.drain(..count.min(self.offered.len()));
    }

    /// Whether requests are to go another way.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether the kernel would not take what was offered: it is to be offered again soon.
    pub fn is_refused(&self) -> bool {
        !self.offered.is_empty()
    }

    /// Whether answers make the event readable. Who switches it on looks for answers afterwards.
    pub fn notify(&mut self, on: bool) {
        let answers = self.ring.completion();
        if on {
            answers.enable_eventfd();
        } else {
            answers.disable_eventfd();
        }
        drop(answers);
        // The kernel either sees the switch or its answer is seen by the next look.
        fence(Ordering::SeqCst);
    }

    /// Takes a read, a write or a flush; gives it back if that is not how its data lies.
    pub fn take(&mut self, raw: &Raw, request: R) -> Result<(), R> {
        let range = request.range();
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        if index as usize == self.slots.len() {
            self.slots.push(Slot { request: None, segments: Segments::default(), offset: 0, retries: 0 });
        }
        let Some(slot) = self.slots.get_mut(index as usize) else { return Err(request) };
        if request.operation() == Operation::Flush {
            slot.segments.clear();
        } else if gather(&request, &range, &mut slot.segments).is_err()
            || !raw.fits(&slot.segments, range.start)
        {
            self.free.push(index);
            return Err(request);
        }
        (slot.offset, slot.retries) = (range.start, 0);
        slot.request = Some(request);
        self.waiting.push_back(index);
        Ok(())
    }

    /// Puts what waits into the ring and lets the kernel take it, as far as there is room.
    pub fn push(&mut self) {
        let mut chunk = if self.at_work() == 0 { FIRST_CHUNK } else { CHUNK };
        while !self.is_broken {
            self.offer(chunk);
            chunk = CHUNK;
            if self.offered.is_empty() {
                return;
            }
            match self.ring.submit() {
                Ok(0) => return,
                Ok(taken) => self.taken(taken),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => return,
                    _ => self.give_up(),
                },
            }
        }
    }

    fn offer(&mut self, chunk: usize) {
        let mut entries = self.ring.submission();
        while self.offered.len() < chunk && self.in_ring < IN_KERNEL_MAX && !entries.is_full() {
            let Some(index) = self.waiting.pop_front() else { return };
            let Some(entry) = self.slots.get(index as usize).and_then(|slot| entry(self.file, slot)) else {
                continue;
            };
            // SAFETY: the slot keeps the request, so its segments, and the vectors until the answer is here.
            if unsafe { entries.push(&entry.user_data(index.into())) }.is_err() {
                self.waiting.push_front(index);
                return;
            }
            self.offered.push_back(index);
            self.in_ring += 1;
        }
    }

    /// What the kernel has not taken will never get there.
    fn give_up(&mut self) {
        self.is_broken = true;
        self.in_ring -= self.offered.len() as u32;
        self.is_watching &= !self.offered.contains(&WATCH);
        self.waiting.extend(self.offered.drain(..).filter(|index| *index != WATCH));
    }

    /// Once broken: the requests that go another way. Those that the kernel has are answered still.
    pub fn stranded(&mut self) -> Vec<R> {
        let (slots, free) = (&mut self.slots, &mut self.free);
        let take = |index: u32| {
            free.push(index);
            slots.get_mut(index as usize)?.request.take()
        };
        self.waiting.drain(..).filter_map(take).collect()
    }

    /// Takes all answers that there are; says whether there were any.
    pub fn collect(&mut self, raw: &Raw, ended: &mut Vec<Ended<R>>) -> bool {
        self.have_answers();
        let mut any = false;
        for answer in self.ring.completion() {
            let index = answer.user_data() as u32;
            if index == WATCH {
                self.is_woken = true;
                if !cqueue::more(answer.flags()) {
                    self.is_watching = false;
                    self.in_ring -= 1;
                }
                continue;
            }
            self.in_ring -= 1;
            any = true;
            let Some(slot) = self.slots.get_mut(index as usize) else { continue };
            let Some(result) = slot.answered(raw, answer.result()) else {
                self.waiting.push_back(index);
                continue;
            };
            self.free.push(index);
            ended.extend(slot.request.take().map(|request| Ended { request, result }));
        }
        any
    }

    /// Whether anything is on its way through the ring.
    pub fn is_in_use(&self) -> bool {
        self.at_work() > 0 || self.has_waiting()
    }

    /// Has the kernel put into the ring what it keeps for this thread.
    fn have_answers(&mut self) {
        if self.ring.submission().taskrun() {
            // Without anything to submit it can be interrupted, and is asked again.
            let _ = self.enter(0);
        }
    }

    /// Whether something waits for a place in the ring.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.offered.is_empty()
    }
}

impl<R> Ring<R> {
    /// How many requests the kernel has.
    pub fn at_work(&self) -> usize {
        let is_on_watch = self.is_watching && !self.offered.contains(&WATCH);
        self.in_ring as usize - self.offered.len() - usize::from(is_on_watch)
    }

    /// Waits for so many answers.
    fn enter(&self, answers: u32) -> io::Result<usize> {
        // SAFETY: no argument is passed, and nothing is submitted.
        unsafe {
            self.ring.submitter().enter::<libc::sigset_t>(0, answers, EnterFlags::GETEVENTS.bits(), None)
        }
    }

    /// Waits until the kernel is through with everything; says whether it could.
    fn drain(&mut self) -> bool {
        while self.at_work() > 0 {
            match self.enter(1) {
                Ok(_) => self.forget_answers(),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn forget_answers(&mut self) {
        for answer in self.ring.completion() {
            let is_watch = answer.user_data() == u64::from(WATCH);
            if is_watch && cqueue::more(answer.flags()) {
                continue;
            }
            self.is_watching &= !is_watch;
            self.in_ring -= 1;
        }
    }
}

impl<R> Drop for Ring<R> {
    fn drop(&mut self) {
        if !self.drain() {
            // The kernel may use their memory for ever.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}
