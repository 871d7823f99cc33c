//! Media: what holds bytes, and may block.

pub mod align;
mod clear;
pub mod memory;
pub mod overlay;
mod presence;
pub mod raw;

use crate::{Operation, Request, Segments};
use std::io;
use std::ops::Range;

/// How long a caller can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: what would block fails with [`io::ErrorKind::WouldBlock`] and is to be asked again from its start.
    Now,
    /// As long as it takes.
    Blocks,
}

/// Something that holds the bytes of a disk. Any number of threads use it at once.
pub trait Media: Send + Sync + 'static {
    /// Whether nothing here waits for anything slower than memory, whatever the patience.
    fn is_swift(&self) -> bool;
    /// The next request is about this place: a hint, for what is far away in memory.
    fn soon(&self, _offset: u64) {}
    /// Fills the segments from `offset` on.
    fn read(&self, into: &mut Segments, offset: u64, patience: Patience) -> io::Result<()>;
    /// Stores the segments from `offset` on; `durable`: for ever.
    fn write(&self, from: &mut Segments, offset: u64, durable: bool, patience: Patience) -> io::Result<()>;
    /// Makes what was stored before durable.
    fn flush(&self, patience: Patience) -> io::Result<()>;
    /// Gives back room, where that can be done.
    fn discard(&self, range: Range<u64>) -> io::Result<()>;
    /// Makes a range read as zeros; `unmap`: its room may be given back.
    fn zero(&self, range: Range<u64>, unmap: bool, durable: bool) -> io::Result<()>;
    /// The size in bytes.
    fn bytes(&self) -> u64;
    /// Changes the size.
    fn resize(&self, bytes: u64) -> io::Result<()>;
    /// What is to be done at the end.
    fn end(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Does what a request asks for; `segments` are to work with, whatever is in them.
pub fn carry_out(
    media: &(impl Media + ?Sized),
    request: &impl Request,
    segments: &mut Segments,
    patience: Patience,
) -> io::Result<()> {
    let range = request.range();
    match request.operation() {
        Operation::Read => {
            gather(request, &range, segments)?;
            media.read(segments, range.start, patience)
        }
        Operation::Write { durable } => {
            gather(request, &range, segments)?;
            media.write(segments, range.start, durable, patience)
        }
        Operation::Flush => media.flush(patience),
        _ if range.is_empty() => Ok(()),
        _ if patience == Patience::Now && !media.is_swift() => Err(would_block()),
        Operation::Discard => media.discard(range),
        Operation::WriteZeroes { unmap, durable } => media.zero(range, unmap, durable),
    }
}

/// Collects where a request's data is.
pub fn gather(request: &impl Request, range: &Range<u64>, segments: &mut Segments) -> io::Result<()> {
    segments.clear();
    request.segments(segments);
    if Some(segments.bytes()) == range.end.checked_sub(range.start) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the segments are not as long as the range"))
}

pub fn would_block() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}
