//! The ring of one lane: requests in slots, what the kernel has of them, and what comes back.

use crate::drive::ends_early;
use crate::media::{gather, raw::Raw};
use crate::{Ended, Operation, Request, Segments};
use io_uring::{EnterFlags, IoUring, opcode, squeue, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};

/// Entries that are handed to the kernel at once.
const SUBMISSIONS: u32 = 256;

/// Requests that the kernel has at once. It never owes more answers than the ring has places for, so none is lost
/// and it never refuses (`EBUSY`).
const IN_KERNEL_MAX: u32 = 1024;

/// The longest transfer of one piece that the kernel makes (`MAX_RW_COUNT`).
const PIECE_MAX: usize = 0x7fff_f000;

/// How often a request is tried again that the kernel had no means for.
const RETRIES: u8 = 8;

/// A request that is under way.
struct Slot<R> {
    request: Option<R>,
    /// What is left to move. Its vectors stay in their place until the slot is used again: they are on the heap.
    segments: Segments,
    /// Where that is to go to.
    offset: u64,
    retries: u8,
}

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
    /// Requests in the ring.
    in_ring: u32,
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
        Ok(Ring {
            ring,
            file: types::Fd(file.as_raw_fd()),
            slots: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            offered: VecDeque::new(),
            in_ring: 0,
            is_broken: false,
        })
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
        while !self.is_broken {
            self.offer();
            if self.offered.is_empty() {
                return;
            }
            match self.ring.submit() {
                Ok(0) => return,
                Ok(taken) => drop(self.offered.drain(..taken.min(self.offered.len()))),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => return,
                    _ => self.give_up(),
                },
            }
        }
    }

    fn offer(&mut self) {
        let mut entries = self.ring.submission();
        while self.in_ring < IN_KERNEL_MAX && !entries.is_full() {
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
        self.waiting.extend(self.offered.drain(..));
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
        let before = self.in_ring;
        for answer in self.ring.completion() {
            self.in_ring -= 1;
            let index = answer.user_data() as u32;
            let Some(slot) = self.slots.get_mut(index as usize) else { continue };
            let Some(result) = slot.answered(raw, answer.result()) else {
                self.waiting.push_back(index);
                continue;
            };
            self.free.push(index);
            ended.extend(slot.request.take().map(|request| Ended { request, result }));
        }
        self.in_ring < before
    }

    /// Whether something waits for a place in the ring.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.offered.is_empty()
    }
}

impl<R: Request> Slot<R> {
    /// What the kernel's answer means: the end, or `None` if there is more to do.
    fn answered(&mut self, raw: &Raw, answer: i32) -> Option<io::Result<()>> {
        match answer {
            _ if answer == -libc::EINTR => None,
            _ if answer == -libc::EAGAIN && self.retries < RETRIES => {
                self.retries += 1;
                None
            }
            ..0 => Some(Err(io::Error::from_raw_os_error(-answer))),
            _ if self.segments.bytes() == 0 => Some(Ok(())),
            0 => Some(Err(ends_early())),
            1.. => {
                self.segments.advance(answer as u64);
                self.offset += answer as u64;
                match self.segments.bytes() {
                    0 => Some(Ok(())),
                    _ if !raw.fits(&self.segments, self.offset) => Some(Err(ends_early())),
                    _ => None,
                }
            }
        }
    }
}

/// What the kernel is told to do next for a request.
fn entry<R: Request>(file: types::Fd, slot: &Slot<R>) -> Option<squeue::Entry> {
    let vectors = slot.segments.vectors();
    let (at, count) = (vectors.as_ptr(), vectors.len() as u32);
    let one = vectors
        .first()
        .filter(|_| count == 1)
        .map(|vector| (vector.iov_base, vector.iov_len.min(PIECE_MAX) as u32));
    let entry = match (slot.request.as_ref()?.operation(), one) {
        (Operation::Read, Some((at, length))) => {
            opcode::Read::new(file, at.cast(), length).offset(slot.offset).build()
        }
        (Operation::Read, None) => opcode::Readv::new(file, at, count).offset(slot.offset).build(),
        (Operation::Write { durable }, Some((at, length))) => {
            opcode::Write::new(file, at.cast(), length).offset(slot.offset).rw_flags(flags(durable)).build()
        }
        (Operation::Write { durable }, None) => {
            opcode::Writev::new(file, at, count).offset(slot.offset).rw_flags(flags(durable)).build()
        }
        _ => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
    };
    // Once refused for want of means, a thread of the kernel may wait for them.
    Some(if slot.retries > 0 { entry.flags(squeue::Flags::ASYNC) } else { entry })
}

fn flags(durable: bool) -> i32 {
    if durable { libc::RWF_DSYNC } else { 0 }
}

impl<R> Ring<R> {
    /// Waits until the kernel is through with everything; says whether it could.
    fn drain(&mut self) -> bool {
        while self.in_ring > self.offered.len() as u32 {
            // SAFETY: no argument is passed, and nothing is submitted.
            let waited = unsafe {
                self.ring.submitter().enter::<libc::sigset_t>(0, 1, EnterFlags::GETEVENTS.bits(), None)
            };
            match waited {
                Ok(_) => self.in_ring -= self.ring.completion().count() as u32,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
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
