//! Finds mapping blocks of ext4 files without extents, which FIEMAP does not tell.
//!
//! Field offsets are those of the kernel's Documentation/filesystems/ext4 (super.rst, group_descr.rst, inodes.rst,
//! blockmap.rst).

use super::Location;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const SUPERBLOCK_AT: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 1024;
const MAGIC: u16 = 0xEF53;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INODE_EXTENTS: u32 = 0x8_0000;
const INODE_INLINE_DATA: u32 = 0x1000_0000;
/// Blocks that the inode maps itself.
const DIRECT_BLOCKS: u64 = 12;

/// Why there is no mapping block to be told.
#[derive(Debug, thiserror::Error)]
pub enum NoBlock {
    /// The filesystem could not be read.
    #[error("cannot read the filesystem: {0}")]
    Io(#[from] io::Error),
    /// It is not the filesystem it should be, or has a feature that is not understood here.
    #[error("the filesystem {0}")]
    Filesystem(&'static str),
    /// The file's data is not mapped by mapping blocks.
    #[error("the file {0}, so it has no mapping blocks")]
    File(&'static str),
    /// The inode maps this block itself.
    #[error("block {0} is mapped by the inode itself; the first that a mapping block maps is {DIRECT_BLOCKS}")]
    Direct(u64),
    /// No file without extents has such a block.
    #[error("block {0} is beyond the end of any file without extents")]
    TooFar(u64),
    /// The mapping block does not exist.
    #[error("no mapping block is allocated for block {0}; allocate a block nearby, then `sync`")]
    Hole(u64),
}

/// Finds the last-level indirect block for the byte at `offset` of an inode.
pub fn mapping_block(image: &File, inode: u64, offset: u64) -> Result<Location, NoBlock> {
    let filesystem = Superblock::read(image)?;
    let pointers = filesystem.pointers_of(image, inode)?;
    let logical = offset / filesystem.block_bytes;
    let path = path_to(logical, filesystem.block_bytes / 4)?;
    let mut block = pointers[path.root];
    for index in path.upper {
        if block == 0 {
            break;
        }
        block = read_u32(image, block * filesystem.block_bytes + index * 4)?;
    }
    match block {
        0 => Err(NoBlock::Hole(logical)),
        block => Ok(Location {
            offset: block * filesystem.block_bytes,
            length: filesystem.block_bytes,
            is_unwritten: false,
        }),
    }
}

/// How to come to the last-level indirect block of a file's block.
#[derive(Debug, PartialEq, Eq)]
struct MapPath {
    /// Which of the inode's 15 pointers to begin with.
    root: usize,
    /// Which pointer to follow in each block above the last level.
    upper: Vec<u64>,
}

fn path_to(logical: u64, pointers: u64) -> Result<MapPath, NoBlock> {
    let mut rest = logical.checked_sub(DIRECT_BLOCKS).ok_or(NoBlock::Direct(logical))?;
    if rest < pointers {
        return Ok(MapPath { root: 12, upper: vec![] });
    }
    rest -= pointers;
    if rest < pointers.pow(2) {
        return Ok(MapPath { root: 13, upper: vec![rest / pointers] });
    }
    rest -= pointers.pow(2);
    if rest < pointers.pow(3) {
        return Ok(MapPath { root: 14, upper: vec![rest / pointers.pow(2), rest / pointers % pointers] });
    }
    Err(NoBlock::TooFar(logical))
}

/// What has to be known of a filesystem to find an inode.
#[derive(Debug)]
struct Superblock {
    block_bytes: u64,
    first_data_block: u64,
    inodes: u64,
    inodes_per_group: u64,
    inode_bytes: u64,
    descriptor_bytes: u64,
    is_64bit: bool,
}

impl Superblock {
    fn read(image: &File) -> Result<Self, NoBlock> {
        let mut raw = [0; SUPERBLOCK_BYTES];
        image.read_exact_at(&mut raw, SUPERBLOCK_AT)?;
        if u16_at(&raw, 0x38) != MAGIC {
            return Err(NoBlock::Filesystem("is not ext4"));
        }
        let incompat = u32_at(&raw, 0x60);
        if incompat & INCOMPAT_META_BG != 0 {
            return Err(NoBlock::Filesystem("spreads its group descriptors (meta_bg), which is not understood"));
        }
        let is_64bit = incompat & INCOMPAT_64BIT != 0;
        let is_dynamic = u32_at(&raw, 0x4C) > 0;
        let block_bytes_log = u32_at(&raw, 0x18);
        let found = Superblock {
            block_bytes: 1024 << block_bytes_log.min(16),
            first_data_block: u32_at(&raw, 0x14).into(),
            inodes: u32_at(&raw, 0x0).into(),
            inodes_per_group: u32_at(&raw, 0x28).into(),
            inode_bytes: if is_dynamic { u16_at(&raw, 0x58).into() } else { 128 },
            descriptor_bytes: if is_64bit { u16_at(&raw, 0xFE).into() } else { 32 },
            is_64bit,
        };
        let is_sound = block_bytes_log <= 6
            && found.inodes_per_group > 0
            && (128..=found.block_bytes).contains(&found.inode_bytes)
            && found.descriptor_bytes >= if is_64bit { 64 } else { 32 };
        if is_sound { Ok(found) } else { Err(NoBlock::Filesystem("has a superblock that makes no sense")) }
    }

    /// The 15 block pointers of an inode.
    fn pointers_of(&self, image: &File, inode: u64) -> Result<[u64; 15], NoBlock> {
        let mut raw = [0; 128];
        image.read_exact_at(&mut raw, self.inode_at(image, inode)?)?;
        let flags = u32_at(&raw, 0x20);
        if flags & INODE_EXTENTS != 0 {
            return Err(NoBlock::File("uses extents"));
        }
        if flags & INODE_INLINE_DATA != 0 {
            return Err(NoBlock::File("is stored inside its inode"));
        }
        Ok(std::array::from_fn(|index| u32_at(&raw, 0x28 + 4 * index).into()))
    }

    fn inode_at(&self, image: &File, inode: u64) -> Result<u64, NoBlock> {
        let index = inode.checked_sub(1).filter(|_| inode <= self.inodes);
        let index = index.ok_or(NoBlock::Filesystem("has no such inode"))?;
        let (group, index) = (index / self.inodes_per_group, index % self.inodes_per_group);
        let descriptor = (self.first_data_block + 1) * self.block_bytes + group * self.descriptor_bytes;
        let low = read_u32(image, descriptor + 0x8)?;
        let high = if self.is_64bit { read_u32(image, descriptor + 0x28)? } else { 0 };
        let table = (high << 32 | low).checked_mul(self.block_bytes);
        table
            .and_then(|table| table.checked_add(index * self.inode_bytes))
            .ok_or(NoBlock::Filesystem("has a group descriptor that makes no sense"))
    }
}

fn read_u32(image: &File, offset: u64) -> io::Result<u64> {
    let mut raw = [0; 4];
    image.read_exact_at(&mut raw, offset)?;
    Ok(u32::from_le_bytes(raw).into())
}

fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([raw[at], raw[at + 1]])
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}
