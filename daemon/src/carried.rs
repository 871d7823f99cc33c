//! A request on its way to the drive and back.

use crate::chain::{Finished, Submitted};
use crate::ring::Ring;
use blkstay_drives::{Operation, Request, Segments};
use blkstay_engine::request::{Nanos, Op, RequestId, Status};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// A request that the drive has.
pub struct Carried {
    /// Its name.
    pub id: RequestId,
    /// Where its completion goes.
    pub ring: Arc<Ring>,
    /// What it is.
    pub request: Submitted,
    /// It went past the engine.
    pub passed: bool,
    /// It has to be on the media before it completes.
    pub durable: bool,
    /// When it arrived.
    pub since: Nanos,
}

// SAFETY: the request keeps the guest's memory mapped, and its segments were found to lie in it.
unsafe impl Request for Carried {
    fn operation(&self) -> Operation {
        let (asked, durable) = (self.request.asked(), self.durable);
        match asked.op {
            Op::Write => Operation::Write { durable },
            Op::Flush => Operation::Flush,
            Op::Discard => Operation::Discard,
            Op::WriteZeroes => Operation::WriteZeroes { unmap: asked.unmap, durable },
            // A serial number is answered before the drive sees the request.
            Op::Read | Op::GetId => Operation::Read,
        }
    }

    fn range(&self) -> Range<u64> {
        let range = self.request.asked().range;
        range.offset..range.end()
    }

    fn segments(&self, into: &mut Segments) {
        // SAFETY: as above.
        self.request.segments(|at, length| unsafe { into.push(at, length) });
    }
}

impl Carried {
    /// It is over: what the guest gets, and what the host said if that failed.
    pub fn finish(self, result: &io::Result<()>) -> (Finished, Status, Option<String>) {
        let asked = self.request.asked();
        match result {
            Ok(()) => {
                let read = if asked.op == Op::Read { asked.range.length } else { 0 };
                (self.request.finish(u32::try_from(read).unwrap_or(u32::MAX)), Status::Ok, None)
            }
            Err(error) => (self.request.finish(0), status_of(asked.op, error), Some(error.to_string())),
        }
    }

    /// It is given up, and was never the drive's: the guest will not be told.
    pub fn abandon(self) {
        self.ring.abandon(self.request.finish(0));
    }
}

/// What a drive would have said to what the host has said.
fn status_of(op: Op, error: &io::Error) -> Status {
    match (error.raw_os_error(), op) {
        (Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG), _) => Status::CapacityExceeded,
        (_, Op::Read) => Status::UnrecoveredRead,
        (_, Op::Write | Op::WriteZeroes) => Status::WriteFault,
        _ => Status::IoError,
    }
}
