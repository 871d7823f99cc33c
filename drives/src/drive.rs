//! The words: what a drive is asked, and what it answers.

use crate::Segments;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, RawFd};

/// What a request asks for. Its range is [`Request::range`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Put the range's bytes into the segments.
    Read,
    /// Put the segments' bytes into the range; `durable`: they are on the media when the request has ended.
    Write {
        /// Do not end before the bytes would outlive a power cut.
        durable: bool,
    },
    /// Make everything durable that ended before this was submitted. Has no range.
    Flush,
    /// The range's bytes are not needed any more. It is advice: they may stay.
    Discard,
    /// Make the range read as zeros.
    WriteZeroes {
        /// The room of the range may be given back.
        unmap: bool,
        /// Do not end before the zeros would outlive a power cut.
        durable: bool,
    },
}

/// A request that a drive can carry out.
///
/// # Safety
/// What [`Request::segments`] pushes stays valid for reads and, for [`Operation::Read`], for writes as long as the
/// value lives, wherever it is moved to. Others may read and write that memory at the same time: it is a guest's.
pub unsafe trait Request: Send + 'static {
    /// What it asks for; the same at every call.
    fn operation(&self) -> Operation;
    /// The bytes of the disk that it is about; the caller has checked them against the disk's size.
    fn range(&self) -> Range<u64>;
    /// Pushes where its data is in memory, in order. For reads and writes the lengths add up to the range's.
    fn segments(&self, into: &mut Segments);
}

/// A request that the drive is through with.
#[derive(Debug)]
pub struct Ended<R> {
    /// The request as it was submitted.
    pub request: R,
    /// How it went. What the operating system said keeps its number (`raw_os_error`); data that ends early, because
    /// the image was truncated, is [`io::ErrorKind::UnexpectedEof`].
    pub result: io::Result<()>,
}

/// Something that keeps a disk's bytes, and takes requests for them.
///
/// Requests that are under way at the same time are carried out in any order. What a thread submitted may end while it is
/// in a system call, which that interrupts (`EINTR`), or wait until it leaves one that cannot be interrupted. Dropping a drive waits for what is under
/// way and drops it; an overlay is dropped with it, see [`Drive::end`].
pub trait Drive<R: Request>: Send + Sync {
    /// Takes all of `requests`; those that are through at once are appended to `ended`, as is anything else of this
    /// lane that has ended meanwhile. A lane beyond the last counts from the first again.
    fn submit(&self, lane: usize, requests: &mut Vec<R>, ended: &mut Vec<Ended<R>>);

    /// Appends those of a lane that are through. Costs no system call if there are none.
    fn reap(&self, lane: usize, ended: &mut Vec<Ended<R>>);

    /// A descriptor that becomes readable when `reap` has something; `None` if everything ends in `submit`.
    fn ready(&self, lane: usize) -> Option<BorrowedFd<'_>>;

    /// Whether the descriptor of a lane says anything; at the start it does. A thread that polls switches it off.
    /// One that switches it on reaps once more before it sleeps, for what ended before.
    fn notify(&self, lane: usize, on: bool);

    /// Makes the descriptor of a lane unreadable again: called when it was readable, before `reap`.
    fn woken(&self, lane: usize);

    /// The calling thread serves a lane from now on until it calls [`Drive::leave`]: a drive may then have for it what one
    /// thread alone can use. `wake` stays open until then. One thread at most serves a lane.
    fn adopt(&self, lane: usize, wake: RawFd) {
        let _ = (lane, wake);
    }

    /// Sleeps, on the thread that serves a lane, until `reap` may have something or its `wake` has become readable since
    /// [`Drive::notify`] was switched on last; says whether it did. If not, the thread is to wait for both descriptors by
    /// itself. So whoever sleeps switches that on, looks at everything that `wake` may be about, reaps, and sleeps.
    fn sleep(&self, lane: usize) -> bool {
        let _ = lane;
        false
    }

    /// The calling thread does not serve the lane any more. Waits for what it has submitted; `reap` has that.
    fn leave(&self, lane: usize) {
        let _ = lane;
    }

    /// Fills a buffer from the disk, for who looks at it beside the guest. Blocks.
    ///
    /// # Errors
    /// The disk ends before, or cannot be read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// The size in bytes.
    fn bytes(&self) -> u64;

    /// Changes the size while the disk is in use. What is cut off is lost, what is added reads as zeros. Of an overlay
    /// only the top changes; the base follows when it is committed. A block device only takes the size that it has now.
    ///
    /// # Errors
    /// The size is none that the medium can have; nothing has changed then.
    fn resize(&self, bytes: u64) -> io::Result<()>;

    /// Ends an overlay as its [`crate::End`] says: commits it to the base, or does nothing. Called when nothing is under
    /// way. After an error it may be called again: what the overlay holds stays until the drive is dropped.
    ///
    /// # Errors
    /// The base cannot be written. It holds a part of the overlay then, as it does if the process is killed meanwhile.
    fn end(&self) -> io::Result<()>;
}

/// The error for data that the image no longer has.
pub(crate) fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the image ends before; was it truncated?")
}

/// The end of a range, as far as numbers go.
pub(crate) fn end_of(offset: u64, length: u64) -> u64 {
    offset.saturating_add(length)
}
