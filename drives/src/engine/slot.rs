//! A request in a ring: what the kernel is told to do for it, and what its answers mean.

use crate::drive::ends_early;
use crate::media::raw::Raw;
use crate::{Operation, Request, Segments};
use io_uring::{opcode, squeue, types};
use std::io;

/// The longest transfer of one piece that the kernel makes (`MAX_RW_COUNT`).
const PIECE_MAX: usize = 0x7fff_f000;

/// How often a request is tried again that the kernel had no means for.
const RETRIES: u8 = 8;

/// A request that is under way.
pub struct Slot<R> {
    /// Until it has ended.
    pub request: Option<R>,
    /// What is left to move. Its vectors stay in their place until the slot is used again: they are on the heap.
    pub segments: Segments,
    /// Where that is to go to.
    pub offset: u64,
    /// How often it was tried again.
    pub retries: u8,
}

impl<R: Request> Slot<R> {
    /// What the kernel's answer means: the end, or `None` if there is more to do.
    pub fn answered(&mut self, raw: &Raw, answer: i32) -> Option<io::Result<()>> {
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
pub fn entry<R: Request>(file: types::Fd, slot: &Slot<R>) -> Option<squeue::Entry> {
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
