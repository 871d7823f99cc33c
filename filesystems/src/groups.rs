//! Block groups: what lies where the superblock and the group descriptors say (kernel's
//! `Documentation/filesystems/ext4/group_descr.rst`), whatever files there are.

use crate::bytes::{le16, le32};
use crate::intervals::Intervals;
use crate::source::Source;
use crate::superblock::{Layout, PLACE};
use blkstay_engine::class::Class;
use std::ops::Range;

const FLAG_INODES_UNUSED: u16 = 0x1;

/// A group as its descriptor has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
    /// Inodes that were ever used: those of the table after them have not even been written.
    pub used: u32,
}

impl Group {
    fn parse(raw: &[u8], layout: &Layout) -> Group {
        let wide = layout.descriptor_size >= 64;
        let high = |at: usize| if wide { u64::from(le32(raw, at)) << 32 } else { 0 };
        let low = |at: usize| u64::from(le32(raw, at));
        let unused_high = if wide { u32::from(le16(raw, 0x32)) << 16 } else { 0 };
        let unused = match layout.counts_unused {
            true if le16(raw, 0x12) & FLAG_INODES_UNUSED != 0 => layout.inodes_per_group,
            true => u32::from(le16(raw, 0x1C)) | unused_high,
            false => 0,
        };
        Group {
            block_bitmap: low(0x0) | high(0x20),
            inode_bitmap: low(0x4) | high(0x24),
            inode_table: low(0x8) | high(0x28),
            used: layout.inodes_per_group.saturating_sub(unused),
        }
    }

    fn places(&self) -> [u64; 3] {
        [self.block_bitmap, self.inode_bitmap, self.inode_table]
    }
}

/// What a changed descriptor means for the inodes of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// They are somewhere else.
    Moved(u64),
    /// From this one on they are unused.
    Fewer(u64, u32),
}

/// All groups.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: Vec<Group>,
    fixed: Intervals<Class>,
    /// Which group's inode table a block is of.
    tables: Intervals<u64>,
}

impl Groups {
    /// Reads all descriptors, except of groups that are `known`.
    pub fn read(layout: &Layout, known: &[Group], source: &mut dyn Source) -> Groups {
        let mut groups =
            Groups { groups: known.to_vec(), fixed: Intervals::default(), tables: Intervals::default() };
        groups.place_superblocks(layout);
        for index in known.len() as u64 / layout.descriptors_per_block()..layout.descriptor_blocks() {
            let block = source.block(layout.descriptor_block(index), layout.block_size).unwrap_or_default();
            let skip = groups.groups.len() as u64 - index * layout.descriptors_per_block();
            let new = descriptors(&block, index, layout).skip(skip as usize).map(|(_, group)| group);
            groups.groups.extend(new);
        }
        groups.groups.resize(layout.groups as usize, Group::default());
        for group in 0..layout.groups {
            groups.place(group, layout);
        }
        groups
    }

    pub fn all(&self) -> &[Group] {
        &self.groups
    }

    /// What is fixed in a range.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<Class>)> + '_ {
        self.fixed.over(range)
    }

    pub fn at(&self, block: u64) -> Option<Class> {
        self.fixed.at(block)
    }

    /// Where the inode table of a group is; empty if it makes no sense.
    pub fn table(&self, group: u64) -> Range<u64> {
        let start = self.groups.get(group as usize).map_or(0, |group| group.inode_table);
        self.tables.piece(start).filter(|(_, of)| *of == group).map_or(0..0, |(range, _)| range)
    }

    /// The group whose inode table a block is of, and which block of that it is.
    pub fn table_place(&self, block: u64) -> Option<(u64, u64)> {
        self.tables.piece(block).map(|(range, group)| (group, block - range.start))
    }

    /// Takes the block of descriptors with this index as it is now.
    pub fn set_descriptors(&mut self, index: u64, block: &[u8], layout: &Layout) -> Vec<Change> {
        let mut changes = Vec::new();
        for (number, new) in descriptors(block, index, layout) {
            let Some(old) = self.groups.get_mut(number as usize) else { continue };
            if old.places() != new.places() {
                changes.push(Change::Moved(number));
            } else if new.used < old.used {
                changes.push(Change::Fewer(number, new.used));
            }
            old.used = new.used;
        }
        let moved: Vec<u64> = changes.iter().filter_map(Change::moved).collect();
        moved.iter().for_each(|group| self.lift(*group, layout));
        for (number, new) in descriptors(block, index, layout).filter(|(number, _)| moved.contains(number)) {
            self.groups[number as usize] = new;
        }
        if !moved.is_empty() {
            self.place_all(layout, &mut changes);
        }
        changes
    }

    /// The superblock, the descriptors and their copies, by the layout alone.
    fn place_superblocks(&mut self, layout: &Layout) {
        self.fixed
            .set(PLACE.start / layout.block_size..PLACE.end.div_ceil(layout.block_size), Class::Superblock);
        for group in 0..layout.groups {
            let start = layout.group_start(group);
            if layout.has_superblock(group) {
                self.fixed.set(start..start + 1, Class::Superblock);
            }
            self.fixed.set(layout.descriptors_in(group), Class::GroupDescriptor);
        }
        if (1..layout.blocks).contains(&layout.mmp_block) {
            self.fixed.fill(layout.mmp_block..layout.mmp_block + 1, Class::Unknown);
        }
    }

    /// Places the groups that are not, also those that found no place before.
    fn place_all(&mut self, layout: &Layout, changes: &mut Vec<Change>) {
        for group in 0..layout.groups {
            let had = !self.table(group).is_empty();
            self.place(group, layout);
            let change = Change::Moved(group);
            if !had && !self.table(group).is_empty() && !changes.contains(&change) {
                changes.push(change);
            }
        }
    }

    /// Places bitmaps and table of a group, if they are where nothing else is.
    fn place(&mut self, number: u64, layout: &Layout) {
        let group = self.groups[number as usize];
        for (range, class) in ranges(group, layout) {
            let sound = range.start > 0 && range.end <= layout.blocks;
            if !sound || self.fixed.over(range.clone()).any(|(_, what)| what.is_some()) {
                continue;
            }
            self.fixed.set(range.clone(), class);
            if class == Class::InodeTable {
                self.tables.set(range, number);
            }
        }
    }

    fn lift(&mut self, number: u64, layout: &Layout) {
        let table = self.table(number);
        self.fixed.clear(table.clone(), |class| class == Class::InodeTable);
        self.tables.clear(table, |of| of == number);
        let group = self.groups[number as usize];
        for (range, class) in
            ranges(group, layout).into_iter().filter(|(_, class)| *class != Class::InodeTable)
        {
            self.fixed.clear(range, |what| what == class);
        }
    }
}

impl Change {
    fn moved(&self) -> Option<u64> {
        match self {
            Change::Moved(group) => Some(*group),
            Change::Fewer(..) => None,
        }
    }
}

fn ranges(group: Group, layout: &Layout) -> [(Range<u64>, Class); 3] {
    let of = |start: u64, blocks: u64| start..start.saturating_add(blocks);
    [
        (of(group.block_bitmap, 1), Class::BlockBitmap),
        (of(group.inode_bitmap, 1), Class::InodeBitmap),
        (of(group.inode_table, layout.table_blocks()), Class::InodeTable),
    ]
}

/// The groups of a block of descriptors, with their numbers.
fn descriptors(block: &[u8], index: u64, layout: &Layout) -> impl Iterator<Item = (u64, Group)> {
    let numbers = index * layout.descriptors_per_block()..layout.groups;
    let raw = block.chunks_exact(layout.descriptor_size as usize);
    numbers.zip(raw).map(|(number, raw)| (number, Group::parse(raw, layout)))
}
