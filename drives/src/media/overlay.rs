//! What is written, kept apart from a base that stays as it is until that is committed.

use super::presence::{BLOCK, Presence, bytes, touched, whole};
use super::raw::{Raw, read_at};
use super::{Media, Patience, would_block};
use crate::Segments;
use crate::drive::{end_of, ends_early};
use crate::media::align::Bounce;
use crate::segments::with_buffer;
use crate::spec::End;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// How much is committed at once, and looked through for zeros.
const COMMIT: u64 = 1 << 16;

/// A base and what lies over it.
pub struct Overlay {
    base: Raw,
    top: Box<dyn Media>,
    present: Presence,
    /// Held while blocks become present, so that no copy from the base covers what another request wrote.
    making: Mutex<()>,
    end: End,
}

impl Overlay {
    /// Nothing yet over a base; `top` is as long as the base and full of zeros.
    ///
    /// # Errors
    /// The last bytes of a base that is no whole number of blocks cannot be copied.
    pub fn new(base: Raw, top: Box<dyn Media>, end: End) -> io::Result<Overlay> {
        let size = base.bytes();
        let present = Presence::new(size.div_ceil(BLOCK));
        let overlay = Overlay { base, top, present, making: Mutex::new(()), end };
        if !size.is_multiple_of(BLOCK) {
            // So every block that is absent is whole in the base, however the disk grows.
            overlay.copy_up(size / BLOCK, Patience::Blocks)?;
        }
        Ok(overlay)
    }

    fn make(&self, patience: Patience) -> io::Result<MutexGuard<'_, ()>> {
        match self.making.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if patience == Patience::Now && !self.is_swift() => {
                Err(would_block())
            }
            Err(TryLockError::WouldBlock) => Ok(self.making.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Copies a block from the base, if it is absent. Under the lock.
    fn copy_up(&self, block: u64, patience: Patience) -> io::Result<()> {
        if self.present.has(block) {
            return Ok(());
        }
        let range = block * BLOCK..(block * BLOCK + BLOCK).min(self.base.bytes()).min(self.bytes());
        let mut content = Bounce::new((range.end - range.start) as usize);
        with_buffer(content.bytes(), |all| self.base.read(all, range.start, patience))?;
        with_buffer(content.bytes(), |all| self.top.write(all, range.start, false, patience))?;
        self.present.add(block..block + 1);
        Ok(())
    }

    /// Copies the blocks that a range covers in part. Under the lock.
    fn copy_up_edges(&self, range: &Range<u64>, patience: Patience) -> io::Result<()> {
        let (touched, whole) = (touched(range), whole(range));
        for block in [touched.start, touched.end - 1] {
            if !whole.contains(&block) {
                self.copy_up(block, patience)?;
            }
        }
        Ok(())
    }

    fn commit(&self) -> io::Result<()> {
        let (old, new) = (self.base.bytes(), self.bytes());
        if new != old {
            self.base.resize(new)?;
        }
        let mut next = 0..new.div_ceil(BLOCK);
        while !next.is_empty() {
            let (present, run) = self.present.run(next.clone());
            let range = bytes(&run);
            if present {
                self.commit_range(range.start..range.end.min(new), old)?;
            }
            next.start = run.end;
        }
        self.base.flush(Patience::Blocks)
    }

    /// Commits a part; beyond `old` the base is full of zeros.
    fn commit_range(&self, range: Range<u64>, old: u64) -> io::Result<()> {
        let mut content = Bounce::new(COMMIT as usize);
        let mut start = range.start;
        while start < range.end {
            let length = COMMIT.min(range.end - start);
            let part = &mut content.bytes()[..length as usize];
            read_at(&*self.top, start, part)?;
            if part.iter().any(|byte| *byte != 0) {
                with_buffer(part, |all| self.base.write(all, start, false, Patience::Blocks))?;
            } else if start < old {
                self.base.zero(start..start + length, true, false)?;
            }
            start += length;
        }
        Ok(())
    }
}

impl Media for Overlay {
    fn is_swift(&self) -> bool {
        self.base.is_swift() && self.top.is_swift()
    }

    fn soon(&self, offset: u64) {
        self.top.soon(offset);
    }

    fn read(&self, into: &mut Segments, offset: u64, patience: Patience) -> io::Result<()> {
        let range = offset..end_of(offset, into.bytes());
        if range.end > self.bytes() {
            return Err(ends_early());
        }
        let mut next = range.start;
        while next < range.end {
            let (present, run) = self.present.run(touched(&(next..range.end)));
            let end = bytes(&run).end.min(range.end);
            let media: &dyn Media = if present { &*self.top } else { &self.base };
            if end - next == into.bytes() {
                return media.read(into, next, patience);
            }
            media.read(&mut into.take(end - next), next, patience)?;
            next = end;
        }
        Ok(())
    }

    fn write(&self, from: &mut Segments, offset: u64, _: bool, patience: Patience) -> io::Result<()> {
        let range = offset..end_of(offset, from.bytes());
        if range.end > self.bytes() {
            return Err(ends_early());
        }
        if self.present.has_all(touched(&range)) {
            return self.top.write(from, offset, false, patience);
        }
        let _making = self.make(patience)?;
        self.copy_up_edges(&range, patience)?;
        self.top.write(from, offset, false, patience)?;
        self.present.add(touched(&range));
        Ok(())
    }

    /// What an overlay holds is gone with the daemon in any case.
    fn flush(&self, _: Patience) -> io::Result<()> {
        Ok(())
    }

    /// Whole blocks become zeros of the overlay's own.
    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        let whole = whole(&range);
        if whole.is_empty() { Ok(()) } else { self.zero(bytes(&whole), true, false) }
    }

    fn zero(&self, range: Range<u64>, unmap: bool, _: bool) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let _making = self.make(Patience::Blocks)?;
        self.copy_up_edges(&range, Patience::Blocks)?;
        self.top.zero(range.clone(), unmap, false)?;
        self.present.add(touched(&range));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.top.bytes()
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let before = self.bytes();
        if bytes < before {
            // What is cut off must not shine through again from the base.
            self.zero(bytes..before, true, false)?;
        }
        self.top.resize(bytes)
    }

    fn end(&self) -> io::Result<()> {
        match self.end {
            End::Drop => Ok(()),
            End::Commit => self.commit(),
        }
    }
}
