//! The journal (jbd2): what its blocks are, and which copies of blocks a transaction has.

use crate::intervals::Intervals;
use crate::mapping::Run;
use crate::source::Source;
use crate::tags::{Format, HEADER, Header, Tag, unescape};
use blkstay_engine::class::Class;
use std::collections::BTreeMap;
use std::ops::Range;

/// How many bytes of copies are kept in memory until their transaction commits. When they are more, they are
/// forgotten and read from the journal when they are needed: by then they are on the disk.
const COPIES_MAX: usize = 32 << 20;

/// A journal of more blocks is not looked at; e2fsprogs make none.
const BLOCKS_MAX: u64 = 10_240_000;
/// At most so many of its blocks are looked at when it is found: all of 1 GiB in blocks of 4 KiB. The others are
/// copies until they are written.
const LOOK_MAX: usize = 1 << 18;

/// A copy of a block.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Where in the journal, as a block of the disk.
    place: u64,
    escaped: bool,
    /// Without the zeros that it ends with. `None`: it is to be read.
    kept: Option<Box<[u8]>>,
}

/// The copies of a committed transaction, by where they belong.
pub(crate) type Transaction = BTreeMap<u64, Image>;

/// What the disk is with a transaction carried out.
pub(crate) struct Committed<'a> {
    pub transaction: &'a Transaction,
    pub block_size: u64,
    pub under: &'a mut dyn Source,
}

impl Source for Committed<'_> {
    fn read(&mut self, mut offset: u64, mut into: &mut [u8]) -> bool {
        while !into.is_empty() {
            let (number, skip) = (offset / self.block_size, (offset % self.block_size) as usize);
            let length = into.len().min(self.block_size as usize - skip);
            let (now, later) = std::mem::take(&mut into).split_at_mut(length);
            let Some(copy) = self.transaction.get(&number) else {
                if !self.under.read(offset, now) {
                    return false;
                }
                (into, offset) = (later, offset.saturating_add(length as u64));
                continue;
            };
            let Some(block) = copy.bytes(self.block_size, self.under) else { return false };
            now.iter_mut().zip(&block[skip..]).for_each(|(to, from)| *to = *from);
            (into, offset) = (later, offset.saturating_add(length as u64));
        }
        true
    }
}

impl Image {
    fn bytes(&self, block_size: u64, journal: &mut dyn Source) -> Option<Vec<u8>> {
        let mut bytes = match &self.kept {
            Some(kept) => {
                let mut bytes = kept.to_vec();
                bytes.resize(block_size as usize, 0);
                bytes
            }
            None => journal.block(self.place, block_size)?,
        };
        if self.escaped {
            unescape(&mut bytes);
        }
        Some(bytes)
    }
}

/// A journal on the disk. Its memory is in the order of its blocks that were written since they were last part of a
/// committed transaction, at most [`COPIES_MAX`] and some 100 bytes for each block.
#[derive(Debug)]
pub(crate) struct Journal {
    block_size: u64,
    /// In the order of the disk, and in that of the journal.
    runs: Vec<Run>,
    in_order: Vec<Run>,
    blocks: u32,
    /// What is where, in blocks of the disk. What has no class is a copy, or nothing.
    classes: Intervals<Class>,
    /// `None`: there is no superblock yet that makes sense, so no transaction can be read.
    format: Option<Format>,
    /// What the descriptors of a transaction say that is not complete: for a block of the log, which
    /// transaction it is of and where it belongs.
    tags: BTreeMap<u32, (u32, Tag)>,
    /// Copies that were written, by block of the log.
    copies: BTreeMap<u32, Option<Box<[u8]>>>,
    kept_bytes: usize,
    /// The transaction that committed last.
    committed: Option<u32>,
}

impl Journal {
    /// Looks at the journal in these blocks. `None`: there are none, or too many.
    pub fn open(mut runs: Vec<Run>, block_size: u64, source: &mut dyn Source) -> Option<Journal> {
        runs.sort_by_key(|run| run.first);
        let mut free = 0;
        runs.retain(|run| {
            let apart = run.first >= free;
            free = free.max(run.blocks().end);
            apart
        });
        let blocks: u64 = runs.iter().map(|run| u64::from(run.length)).sum();
        (blocks <= BLOCKS_MAX).then_some(())?;
        let end = runs.iter().map(|run| run.logical.saturating_add(run.length)).max()?;
        let mut in_order = runs.clone();
        in_order.sort_by_key(|run| run.logical);
        let mut journal = Journal {
            block_size,
            runs,
            in_order,
            blocks: end,
            classes: Intervals::default(),
            format: None,
            tags: BTreeMap::new(),
            copies: BTreeMap::new(),
            kept_bytes: 0,
            committed: None,
        };
        journal.look(source);
        Some(journal)
    }

    /// What its blocks in a range are.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Class)> + '_ {
        self.classes.over(range).map(|(range, class)| (range, class.unwrap_or(Class::JournalBlock)))
    }

    /// What its superblock says; `None`: no transaction can be read.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Takes a block as it is now. `matters` says whether the content of a block of the filesystem does.
    /// Gives back what has thereby been committed.
    pub fn take(
        &mut self,
        block: u64,
        source: &mut dyn Source,
        matters: impl Fn(u64) -> bool,
    ) -> Option<Transaction> {
        let log = self.in_log(block)?;
        let mut header = [0; HEADER];
        let read = source.read(block.checked_mul(self.block_size)?, &mut header);
        let header = if read { Header::parse(&header) } else { None };
        self.forget_copy(log);
        self.classes.clear(block..block + 1, |_| true);
        let Some(header) = header else {
            if self.format.is_some_and(|format| format.has(log)) {
                self.take_copy(log, block, source, matters);
            }
            return self.complete(log);
        };
        self.classes.set(block..block + 1, header.class);
        match header.class {
            Class::JournalSuperblock if log == 0 => self.take_superblock(block, source),
            Class::JournalDescriptor => return self.take_descriptor(log, header.sequence, source),
            Class::JournalCommit => return self.commit(header.sequence),
            _ => {}
        }
        None
    }

    /// Where a block of the log is on the disk.
    pub fn on_disk(&self, log: u32) -> Option<u64> {
        let index = self.in_order.partition_point(|run| run.logical <= log).checked_sub(1)?;
        let run = self.in_order.get(index).filter(|run| log - run.logical < run.length)?;
        Some(run.first + u64::from(log - run.logical))
    }

    /// Whether a block of the log is a copy that a descriptor has told of.
    pub fn expects(&self, log: u32) -> bool {
        self.tags.contains_key(&log)
    }

    fn in_log(&self, block: u64) -> Option<u32> {
        let index = self.runs.partition_point(|run| run.first <= block).checked_sub(1)?;
        let run = self.runs.get(index).filter(|run| run.blocks().contains(&block))?;
        run.logical.checked_add(u32::try_from(block - run.first).ok()?)
    }

    /// Finds out what its blocks are.
    fn look(&mut self, source: &mut dyn Source) {
        let blocks: Vec<u64> = self.runs.iter().flat_map(|run| run.blocks()).take(LOOK_MAX).collect();
        for block in blocks {
            let mut header = [0; HEADER];
            let read = source.read(block * self.block_size, &mut header);
            if let Some(header) = Header::parse(&header).filter(|_| read) {
                self.classes.set(block..block + 1, header.class);
            }
        }
        if let Some(block) = self.on_disk(0) {
            self.take_superblock(block, source);
        }
    }

    fn take_superblock(&mut self, block: u64, source: &mut dyn Source) {
        let bytes = source.block(block, self.block_size).unwrap_or_default();
        self.format = Format::parse(&bytes, self.block_size, self.blocks);
    }

    fn take_descriptor(&mut self, log: u32, sequence: u32, source: &mut dyn Source) -> Option<Transaction> {
        let format = self.format.filter(|format| format.has(log))?;
        let bytes = source.block(self.on_disk(log)?, self.block_size)?;
        let mut at = log;
        for tag in format.tags(&bytes) {
            at = format.after(at);
            self.tags.insert(at, (sequence, tag));
        }
        if self.committed == Some(sequence) { self.commit(sequence) } else { None }
    }

    fn take_copy(&mut self, log: u32, block: u64, source: &mut dyn Source, matters: impl Fn(u64) -> bool) {
        let wanted = self.tags.get(&log).is_none_or(|(_, tag)| matters(tag.target));
        let bytes = if wanted { source.block(block, self.block_size) } else { None };
        let kept = bytes.map(|mut bytes| {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(end);
            bytes.into_boxed_slice()
        });
        self.kept_bytes += kept.as_ref().map_or(0, |kept| kept.len());
        self.copies.insert(log, kept);
        if self.kept_bytes > COPIES_MAX {
            self.copies.values_mut().for_each(|copy| *copy = None);
            self.kept_bytes = 0;
        }
    }

    fn forget_copy(&mut self, log: u32) -> Option<Option<Box<[u8]>>> {
        let copy = self.copies.remove(&log)?;
        self.kept_bytes -= copy.as_ref().map_or(0, |kept| kept.len());
        Some(copy)
    }

    /// A transaction has its commit block: all of its copies that were written count. What is left of
    /// another is dropped, for jbd2 commits one after the other.
    fn commit(&mut self, sequence: u32) -> Option<Transaction> {
        self.committed = Some(sequence);
        let mut transaction = Transaction::new();
        for (log, (of, tag)) in std::mem::take(&mut self.tags) {
            if of != sequence {
                continue;
            }
            match self.forget_copy(log) {
                Some(kept) => self.add(&mut transaction, log, tag, kept),
                None => {
                    self.tags.insert(log, (of, tag));
                }
            }
        }
        (!transaction.is_empty()).then_some(transaction)
    }

    /// A copy that came after its commit block counts at once.
    fn complete(&mut self, log: u32) -> Option<Transaction> {
        let (_, tag) = *self.tags.get(&log).filter(|(of, _)| Some(*of) == self.committed)?;
        let kept = self.forget_copy(log)?;
        self.tags.remove(&log);
        let mut transaction = Transaction::new();
        self.add(&mut transaction, log, tag, kept);
        Some(transaction)
    }

    fn add(&self, transaction: &mut Transaction, log: u32, tag: Tag, kept: Option<Box<[u8]>>) {
        if let Some(place) = self.on_disk(log) {
            transaction.insert(tag.target, Image { place, escaped: tag.escaped, kept });
        }
    }
}

#[cfg(test)]
mod tests;
