//! The superblock (kernel's `Documentation/filesystems/ext4/super.rst`) and what follows from it alone.

use crate::bytes::{le16, le32, le64_of};
use crate::source::Source;
use std::ops::Range;

/// Where the superblock is, in bytes, whatever the block size.
pub(crate) const PLACE: Range<u64> = 1024..2048;

/// More groups than that are not looked at: 128 TiB in groups of 128 MiB.
const GROUPS_MAX: u64 = 1 << 20;

const MAGIC: u16 = 0xEF53;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_MMP: u32 = 0x100;
/// Those that leave every block where this crate looks for it; with any other the disk is not understood.
const INCOMPAT_UNDERSTOOD: u32 =
    0x2 | 0x4 | INCOMPAT_META_BG | 0x40 | INCOMPAT_64BIT | INCOMPAT_MMP | 0x200 | 0x400 | 0x3_F000;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// Which groups begin with a copy of the superblock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Copies {
    Everywhere,
    /// In 0, 1 and the powers of 3, 5 and 7.
    Sparse,
    /// In 0 and in these.
    Two([u32; 2]),
}

/// What a superblock says about where things are. What changes while it is mounted is left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// In bytes; 1024 to 65536.
    pub block_size: u64,
    /// Blocks of the filesystem, from block 0 of the disk.
    pub blocks: u64,
    /// Where group 0 begins: 1 if blocks are of 1024 bytes, else 0.
    pub first_block: u64,
    pub blocks_per_group: u64,
    pub groups: u64,
    pub inodes_per_group: u32,
    /// In bytes.
    pub inode_size: u64,
    /// Of a group descriptor, in bytes.
    pub descriptor_size: u64,
    /// Whether groups say how many of their inodes were never used.
    pub counts_unused: bool,
    /// Of the journal; 0: there is none on this disk.
    pub journal_inode: u32,
    /// The block that tells other hosts that it is mounted; 0: none.
    pub mmp_block: u64,
    reserved_descriptor_blocks: u64,
    /// From this block of group descriptors on, they are in the groups that they describe.
    first_meta_group: u64,
    copies: Copies,
    uuid: [u8; 16],
}

impl Layout {
    /// Reads the superblock of a disk of `bytes` bytes. `None`: there is none, or not one that this crate
    /// understands, as with `bigalloc`.
    pub fn read(bytes: u64, source: &mut dyn Source) -> Option<Layout> {
        let mut raw = [0; 1024];
        source.read(PLACE.start, &mut raw).then_some(())?;
        Layout::parse(&raw).filter(|layout| layout.blocks <= bytes / layout.block_size)
    }

    fn parse(raw: &[u8]) -> Option<Layout> {
        let (compat, incompat, ro_compat) = (le32(raw, 0x5C), le32(raw, 0x60), le32(raw, 0x64));
        let (old, log_block_size) = (le32(raw, 0x4C) == 0, le32(raw, 0x18));
        let understood = le16(raw, 0x38) == MAGIC
            && (old || incompat & !INCOMPAT_UNDERSTOOD == 0 && ro_compat & RO_COMPAT_BIGALLOC == 0);
        if !understood || log_block_size > 6 {
            return None;
        }
        let has_64bit = incompat & INCOMPAT_64BIT != 0;
        let meta = incompat & INCOMPAT_META_BG != 0;
        let mut layout = Layout {
            block_size: 1024 << log_block_size,
            blocks: if has_64bit { le64_of(raw, 0x4, 0x150) } else { le32(raw, 0x4).into() },
            first_block: le32(raw, 0x14).into(),
            blocks_per_group: le32(raw, 0x20).into(),
            groups: 0,
            inodes_per_group: le32(raw, 0x28),
            inode_size: if old { 128 } else { le16(raw, 0x58).into() },
            descriptor_size: if has_64bit { le16(raw, 0xFE).into() } else { 32 },
            counts_unused: ro_compat & (RO_COMPAT_GDT_CSUM | RO_COMPAT_METADATA_CSUM) != 0,
            journal_inode: if compat & COMPAT_HAS_JOURNAL != 0 { le32(raw, 0xE0) } else { 0 },
            mmp_block: if incompat & INCOMPAT_MMP != 0 { le64_of(raw, 0x168, 0x16C) } else { 0 },
            reserved_descriptor_blocks: if meta { 0 } else { le16(raw, 0xCE).into() },
            first_meta_group: if meta { le32(raw, 0x104).into() } else { u64::MAX },
            copies: if compat & COMPAT_SPARSE_SUPER2 != 0 {
                Copies::Two([le32(raw, 0x24C), le32(raw, 0x250)])
            } else if ro_compat & RO_COMPAT_SPARSE_SUPER != 0 {
                Copies::Sparse
            } else {
                Copies::Everywhere
            },
            uuid: raw.get(0x68..0x78)?.try_into().ok()?,
        };
        layout.is_sound(le32(raw, 0x0)).then(|| {
            layout.groups = layout.count_groups();
            layout
        })
    }

    fn count_groups(&self) -> u64 {
        (self.blocks - self.first_block).div_ceil(self.blocks_per_group)
    }

    /// Whether the numbers fit each other, so that no arithmetic on them can go wrong later.
    fn is_sound(&self, inodes: u32) -> bool {
        let bits = self.block_size * 8;
        self.first_block == u64::from(self.block_size == 1024)
            && self.blocks > self.first_block
            && self.blocks < 1 << 48
            && (256..=bits).contains(&self.blocks_per_group)
            && (1..=bits).contains(&self.inodes_per_group.into())
            && self.inode_size.is_power_of_two()
            && (128..=self.block_size).contains(&self.inode_size)
            && self.descriptor_size.is_power_of_two()
            && (32..=1024).contains(&self.descriptor_size)
            && self.count_groups() <= GROUPS_MAX
            && self.count_groups() * u64::from(self.inodes_per_group) == u64::from(inodes)
    }

    /// Whether `new` is this filesystem after it has grown, or with other features, so that what is known of
    /// it stays true.
    pub fn becomes(&self, new: &Layout) -> bool {
        let key = |layout: &Layout| {
            let sizes = (layout.block_size, layout.inode_size, layout.descriptor_size);
            (layout.uuid, sizes, layout.blocks_per_group, layout.inodes_per_group)
        };
        key(self) == key(new) && self.blocks <= new.blocks
    }

    pub fn group_start(&self, group: u64) -> u64 {
        self.first_block + group * self.blocks_per_group
    }

    /// Whether a group begins with a copy of the superblock.
    pub fn has_superblock(&self, group: u64) -> bool {
        let power = |base: u64| {
            let powers = std::iter::successors(Some(base), |power| power.checked_mul(base));
            powers.take_while(|power| *power <= group).any(|power| power == group)
        };
        match self.copies {
            Copies::Everywhere => true,
            Copies::Sparse => group <= 1 || [3, 5, 7].into_iter().any(power),
            Copies::Two(groups) => group == 0 || groups.contains(&(group as u32)),
        }
    }

    pub fn descriptors_per_block(&self) -> u64 {
        self.block_size / self.descriptor_size
    }

    /// Blocks of group descriptors, of which [`Layout::descriptor_block`] tells where they are.
    pub fn descriptor_blocks(&self) -> u64 {
        self.groups.div_ceil(self.descriptors_per_block())
    }

    /// Where the block of group descriptors with this index is; its copies are elsewhere.
    pub fn descriptor_block(&self, index: u64) -> u64 {
        if index < self.first_meta_group {
            return self.first_block + 1 + index;
        }
        let group = index * self.descriptors_per_block();
        self.group_start(group) + u64::from(self.has_superblock(group))
    }

    /// The index of a block of group descriptors; `None` if it is a copy, or kept free.
    pub fn descriptor_index(&self, block: u64) -> Option<u64> {
        let meta =
            block.checked_sub(self.first_block)? / self.blocks_per_group / self.descriptors_per_block();
        let near = block.checked_sub(self.first_block + 1)?;
        let indexes = [near, meta].into_iter().filter(|index| *index < self.descriptor_blocks());
        indexes.into_iter().find(|index| self.descriptor_block(*index) == block)
    }

    /// The blocks at the beginning of a group that have group descriptors or are kept for them.
    pub fn descriptors_in(&self, group: u64) -> Range<u64> {
        let (index, place) = (group / self.descriptors_per_block(), group % self.descriptors_per_block());
        let superblock = self.has_superblock(group);
        let blocks = if index >= self.first_meta_group {
            u64::from(place <= 1 || place == self.descriptors_per_block() - 1)
        } else if superblock {
            self.descriptor_blocks().min(self.first_meta_group) + self.reserved_descriptor_blocks
        } else {
            0
        };
        let start = self.group_start(group) + u64::from(superblock);
        start.min(self.blocks)..(start + blocks).min(self.blocks)
    }

    /// Blocks of a group's inode table.
    pub fn table_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group) * self.inode_size).div_ceil(self.block_size)
    }

    pub fn inodes_per_block(&self) -> u64 {
        self.block_size / self.inode_size
    }

    /// The highest number of an inode.
    pub fn inodes(&self) -> u32 {
        u32::try_from(self.groups * u64::from(self.inodes_per_group)).unwrap_or(u32::MAX)
    }
}
