//! The map of a disk.

use crate::journal::{Committed, Transaction};
use crate::source::{Disk, ReadAt, Source, Written};
use crate::superblock::{Layout, PLACE};
use crate::volume::{Bitmaps, Volume};
use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::request::ByteRange;
use std::ops::Range;

/// Tells what each block of a disk is to the filesystem on it.
#[derive(Debug)]
pub struct Map {
    bytes: u64,
    volume: Option<Volume>,
}

impl Map {
    /// Learns what is on a disk of `bytes` bytes. Without a filesystem that this crate understands everything
    /// is unknown, until a superblock is written.
    pub fn learn(bytes: u64, disk: &mut ReadAt<'_>) -> Map {
        let source = &mut Disk(disk);
        let volume = Layout::read(bytes, source).map(|layout| Volume::learn(layout, Bitmaps::Good, source));
        Map { bytes, volume }
    }

    /// Whether there is a filesystem that this crate understands.
    pub fn is_known(&self) -> bool {
        self.volume.is_some()
    }

    /// What the blocks of a read are. Nothing, if the range is empty.
    pub fn read(&self, range: ByteRange) -> ClassSet {
        self.classes(range, false)
    }

    /// What the blocks of a write are, by what is known and by what is written; follows the change.
    ///
    /// `payload` reads the data of the write at an offset from the write's start. `disk` reads the disk as
    /// earlier writes have left it; what it says where this write is does not matter. Only what matters is
    /// read, which file data is not.
    ///
    /// With a journal it does little harm if writes that are still on their way are not on `disk` yet: what a transaction
    /// changes is kept from the writes themselves. Without one, a mapping block that is on its way when the
    /// inode that begins to use it is written is read as it was, and what it maps is unknown until it is
    /// written again.
    pub fn write(&mut self, range: ByteRange, payload: &mut ReadAt<'_>, disk: &mut ReadAt<'_>) -> ClassSet {
        let before = self.classes(range, true);
        let length = range.length.min(self.bytes.saturating_sub(range.offset));
        let range = ByteRange { length, ..range };
        self.follow(range, &mut Written { range, payload, disk });
        if self.volume.is_some() { self.classes(range, true) } else { before }
    }

    fn classes(&self, range: ByteRange, write: bool) -> ClassSet {
        match &self.volume {
            _ if range.length == 0 => ClassSet::NONE,
            Some(volume) => volume.classes(blocks(range, volume.layout.block_size), write),
            None => ClassSet::of(&[Class::Unknown]),
        }
    }

    fn follow(&mut self, range: ByteRange, source: &mut Written<'_>) {
        let superblock = ByteRange { offset: PLACE.start, length: PLACE.end - PLACE.start };
        if range.overlaps(superblock) {
            self.take_superblock(source);
        }
        let Some(volume) = &mut self.volume else { return };
        let (mut in_place, mut journal) = (Vec::new(), Vec::new());
        for (part, class) in volume.over(blocks(range, volume.layout.block_size)) {
            match class {
                Some(Class::GroupDescriptor | Class::InodeTable | Class::Extent | Class::Indirect) => {
                    in_place.push(part);
                }
                Some(Class::JournalBlock) => journal.push(part),
                _ => {}
            }
        }
        if !in_place.is_empty() {
            volume.apply(&in_place, source);
        }
        for block in journal.into_iter().flatten() {
            let taken = self.volume.as_mut().and_then(|volume| volume.take_journal(block, source));
            if let Some(transaction) = taken {
                self.commit(&transaction, source);
            }
        }
    }

    fn commit(&mut self, transaction: &Transaction, source: &mut dyn Source) {
        let Some(volume) = &mut self.volume else { return };
        let block_size = volume.layout.block_size;
        if transaction.contains_key(&(PLACE.start / block_size)) {
            self.take_superblock(&mut Committed { transaction, block_size, under: source });
        }
        if let Some(volume) = &mut self.volume {
            volume.carry_out(transaction, source);
        }
    }

    /// A superblock was written: of the same filesystem, of the same that has grown, of another, or of none.
    fn take_superblock(&mut self, source: &mut dyn Source) {
        let layout = Layout::read(self.bytes, source);
        match (&mut self.volume, layout) {
            (Some(volume), Some(layout)) if volume.layout == layout => {}
            (Some(volume), Some(layout)) if volume.layout.becomes(&layout) => {
                volume.become_like(layout, source);
            }
            (_, Some(layout)) => self.volume = Some(Volume::learn(layout, Bitmaps::Stale, source)),
            (_, None) => self.volume = None,
        }
    }
}

/// The blocks that a range touches.
fn blocks(range: ByteRange, block_size: u64) -> Range<u64> {
    let end = range.offset.saturating_add(range.length);
    range.offset / block_size..end.div_ceil(block_size)
}
