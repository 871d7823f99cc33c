//! A filesystem: its groups, its files and its journal, learned from the disk and changed by what is written.

use crate::files::Files;
use crate::groups::{Change, Groups};
use crate::inode::Inode;
use crate::journal::{Committed, Journal, Transaction};
use crate::source::Source;
use crate::superblock::Layout;
use crate::tags::{HEADER, Header};
use blkstay_engine::class::{Class, ClassSet};
use std::ops::Range;

/// Whether the inode bitmaps on the disk can be believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bitmaps {
    /// The filesystem has been there.
    Good,
    /// It is just being made, and parts of it are of the one before.
    Stale,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Volume {
    pub layout: Layout,
    groups: Groups,
    files: Files,
    journal: Option<Journal>,
}

impl Volume {
    /// Reads all that is known of where things are.
    pub fn learn(layout: Layout, bitmaps: Bitmaps, source: &mut dyn Source) -> Volume {
        let groups = Groups::read(&layout, &[], source);
        let files = Files::new(layout.blocks, layout.block_size);
        let mut volume = Volume { layout, groups, files, journal: None };
        for group in 0..volume.layout.groups {
            volume.scan(group, bitmaps, source);
        }
        volume.files.settle();
        volume.open_journal(source);
        volume.replay(source);
        volume
    }

    /// The superblock says that there is more of it, or that it has other features.
    pub fn become_like(&mut self, layout: Layout, source: &mut dyn Source) {
        let known = self.groups.all();
        self.groups = Groups::read(&layout, &known[..known.len().min(layout.groups as usize)], source);
        self.files.grow(layout.blocks);
        let former = std::mem::replace(&mut self.layout, layout).journal_inode;
        if former != self.layout.journal_inode {
            self.take_inode(former, source);
            self.take_inode(self.layout.journal_inode, source);
            self.files.settle();
            self.open_journal(source);
        }
    }

    /// What each part of a range of blocks is. `None`: nothing says.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<Class>)> + '_ {
        self.groups.over(range).flat_map(move |(range, fixed)| {
            let files = fixed.is_none().then(|| self.files.over(range.clone()));
            let fixed = fixed.map(|class| (range, Some(class)));
            fixed.into_iter().chain(files.into_iter().flatten())
        })
    }

    /// What the blocks of a range are to a read, or to a write.
    pub fn classes(&self, range: Range<u64>, write: bool) -> ClassSet {
        let mut set = ClassSet::NONE;
        for (part, class) in self.over(range) {
            match (class, &self.journal) {
                (Some(Class::JournalBlock), Some(journal)) => {
                    journal.over(part).for_each(|(_, class)| set.insert(class));
                }
                (Some(class), _) => set.insert(class),
                (None, journal) => {
                    let inside = part.start >= self.layout.first_block && part.end <= self.layout.blocks;
                    let data =
                        write && inside && journal.as_ref().is_some_and(|journal| journal.format().is_some());
                    set.insert(if data { Class::FileData } else { Class::Unknown });
                }
            }
        }
        set
    }

    /// Takes blocks that are new in place.
    pub fn apply(&mut self, changed: &[Range<u64>], source: &mut dyn Source) {
        for block in changed.iter().cloned().flatten() {
            if self.groups.at(block) == Some(Class::GroupDescriptor) {
                self.take_descriptors(block, source);
            }
        }
        for block in changed.iter().cloned().flatten() {
            if let Some((group, index)) = self.groups.table_place(block) {
                self.take_inodes(group, index, source);
            } else if self.files.maps(block) {
                self.files.set_block(block, source);
            }
        }
        if self.files.settle() {
            self.open_journal(source);
        }
    }

    /// Takes a block of the journal. Gives back what has been committed with it.
    pub fn take_journal(&mut self, block: u64, source: &mut dyn Source) -> Option<Transaction> {
        let matters = |target: u64| {
            let class = self.groups.at(target).or_else(|| self.files.at(target));
            !matches!(
                class,
                Some(
                    Class::BlockBitmap
                        | Class::InodeBitmap
                        | Class::Directory
                        | Class::FileData
                        | Class::Xattr
                )
            )
        };
        self.journal.as_mut()?.take(block, source, matters)
    }

    fn open_journal(&mut self, source: &mut dyn Source) {
        let runs = self.files.runs(self.layout.journal_inode);
        let internal = self.layout.journal_inode != 0;
        self.journal = internal.then(|| Journal::open(runs, self.layout.block_size, source)).flatten();
    }

    /// Reads the inodes of a group that are in use.
    fn scan(&mut self, group: u64, bitmaps: Bitmaps, source: &mut dyn Source) {
        let Some(known) = self.groups.all().get(group as usize).copied() else { return };
        if known.used == 0 {
            return;
        }
        let bitmap = match bitmaps {
            Bitmaps::Good => source.block(known.inode_bitmap, self.layout.block_size).unwrap_or_default(),
            Bitmaps::Stale => Vec::new(),
        };
        let used = |index: u64| {
            let byte = bitmap.get((index / 8) as usize).copied().unwrap_or(0xFF);
            index < known.used.into() && byte & 1 << (index % 8) != 0
        };
        let per_block = self.layout.inodes_per_block();
        for (place, block) in self.groups.table(group).enumerate() {
            let indexes = place as u64 * per_block..(place as u64 + 1) * per_block;
            if self.files.are_full() || indexes.start >= known.used.into() {
                return;
            }
            if !indexes.clone().any(used) {
                continue;
            }
            let bytes = source.block(block, self.layout.block_size).unwrap_or_default();
            self.take_table(group, indexes, &bytes, used, source);
        }
    }

    /// Takes the block of an inode table that has this inode as it is now.
    fn take_inode(&mut self, number: u32, source: &mut dyn Source) {
        let Some(index) = number.checked_sub(1) else { return };
        let (group, index) = (index / self.layout.inodes_per_group, index % self.layout.inodes_per_group);
        self.take_inodes(group.into(), u64::from(index) / self.layout.inodes_per_block(), source);
    }

    /// Takes a block of an inode table as it is now.
    fn take_inodes(&mut self, group: u64, index: u64, source: &mut dyn Source) {
        let per_block = self.layout.inodes_per_block();
        let Some(block) = self.groups.table(group).nth(index as usize) else { return };
        let Some(bytes) = source.block(block, self.layout.block_size) else { return };
        self.take_table(group, index * per_block..(index + 1) * per_block, &bytes, |_| true, source);
    }

    fn take_table(
        &mut self,
        group: u64,
        indexes: Range<u64>,
        bytes: &[u8],
        used: impl Fn(u64) -> bool,
        source: &mut dyn Source,
    ) {
        let per_group = u64::from(self.layout.inodes_per_group);
        for (index, raw) in indexes.zip(bytes.chunks_exact(self.layout.inode_size as usize)) {
            if index < per_group && used(index) {
                let number = (group * per_group + index + 1) as u32;
                self.files.set_inode(number, Inode::parse(raw, number, &self.layout), source);
            }
        }
    }

    /// Takes a block of group descriptors as it is now, if it is not a copy.
    fn take_descriptors(&mut self, block: u64, source: &mut dyn Source) {
        let Some(index) = self.layout.descriptor_index(block) else { return };
        let Some(bytes) = source.block(block, self.layout.block_size) else { return };
        let per_group = self.layout.inodes_per_group;
        for change in self.groups.set_descriptors(index, &bytes, &self.layout) {
            let (group, first) = match change {
                Change::Moved(group) => (group, 0),
                Change::Fewer(group, used) => (group, used),
            };
            let start = group as u32 * per_group + 1;
            self.files.drop_inodes(start + first..start + per_group);
            if matches!(change, Change::Moved(_)) {
                self.scan(group, Bitmaps::Stale, source);
            }
        }
    }

    /// Carries out what is committed in the journal and perhaps not in place, as the kernel will at mount.
    fn replay(&mut self, source: &mut dyn Source) {
        let Some(format) = self.journal.as_ref().and_then(Journal::format) else { return };
        let (mut log, mut sequence) = (format.start, format.sequence);
        for _ in format.first..format.end {
            let Some(journal) = self.journal.as_ref().filter(|_| format.has(log)) else { return };
            let Some(block) = journal.on_disk(log) else { return };
            let mut header = [0; HEADER];
            let read = source.read(block * self.layout.block_size, &mut header);
            let header = Header::parse(&header);
            let next = header.is_some_and(|header| header.sequence == sequence);
            if !read || !next && !journal.expects(log) {
                return;
            }
            if let Some(transaction) = self.take_journal(block, source) {
                self.carry_out(&transaction, source);
            }
            if header.is_some_and(|header| next && header.class == Class::JournalCommit) {
                sequence = sequence.wrapping_add(1);
            }
            log = format.after(log);
        }
    }

    /// Takes what a transaction has changed.
    pub fn carry_out(&mut self, transaction: &Transaction, source: &mut dyn Source) {
        let block_size = self.layout.block_size;
        let mut committed = Committed { transaction, block_size, under: source };
        let targets = transaction.range(..self.layout.blocks).map(|(target, _)| *target);
        let changed: Vec<_> = targets.map(|target| target..target + 1).collect();
        self.apply(&changed, &mut committed);
    }
}
