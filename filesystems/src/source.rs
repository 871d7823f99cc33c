//! Where the newest bytes of the disk are.

use blkstay_engine::request::ByteRange;

/// Reads bytes at an offset, all of them; says whether it could.
pub type ReadAt<'r> = dyn FnMut(u64, &mut [u8]) -> bool + 'r;

/// Something that knows what is on the disk.
pub(crate) trait Source {
    /// Reads bytes of the disk; says whether it could.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> bool;

    /// Reads a whole block.
    fn block(&mut self, number: u64, block_size: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(block_size).ok()?];
        self.read(number.checked_mul(block_size)?, &mut bytes).then_some(bytes)
    }
}

/// The disk as it is.
pub(crate) struct Disk<'a>(pub &'a mut ReadAt<'a>);

impl Source for Disk<'_> {
    fn read(&mut self, offset: u64, into: &mut [u8]) -> bool {
        (self.0)(offset, into)
    }
}

/// The disk as a write leaves it.
pub(crate) struct Written<'a> {
    pub range: ByteRange,
    pub payload: &'a mut ReadAt<'a>,
    pub disk: &'a mut ReadAt<'a>,
}

impl Written<'_> {
    /// How many of `length` bytes from `offset` on are all in the write, or all outside of it; and whether
    /// they are inside.
    fn stretch(&self, offset: u64, length: u64) -> (u64, bool) {
        let end = self.range.offset.saturating_add(self.range.length);
        if offset < self.range.offset {
            (length.min(self.range.offset - offset), false)
        } else if offset < end {
            (length.min(end - offset), true)
        } else {
            (length, false)
        }
    }
}

impl Source for Written<'_> {
    fn read(&mut self, mut offset: u64, mut into: &mut [u8]) -> bool {
        while !into.is_empty() {
            let (length, inside) = self.stretch(offset, into.len() as u64);
            let (now, later) = std::mem::take(&mut into).split_at_mut(length as usize);
            let read = match inside {
                true => (self.payload)(offset - self.range.offset, now),
                false => (self.disk)(offset, now),
            };
            if !read {
                return false;
            }
            (into, offset) = (later, offset.saturating_add(length));
        }
        true
    }
}
