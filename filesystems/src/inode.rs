//! Inodes (kernel's `Documentation/filesystems/ext4/inodes.rst`): what a file is, and where its map begins.

use crate::bytes::{le16, le32};
use crate::mapping::{Content, Shape};
use crate::superblock::Layout;
use blkstay_engine::class::Class;

/// Number of the inode that keeps blocks free for group descriptors.
const RESIZE_INODE: u32 = 7;
/// Number of the inode that has the disk's bad blocks. Nobody uses them.
const BAD_BLOCKS_INODE: u32 = 1;

const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_ATTRIBUTE_VALUE: u32 = 0x20_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

/// Bytes that a symbolic link can have inside of its inode, with the 0 after them.
const LINK_INSIDE: u32 = 60;

/// What is the same for all of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    pub inode: u32,
    /// What its data blocks are.
    pub class: Class,
    pub shape: Shape,
}

/// What an inode says about blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Inode {
    /// `None`: it maps no blocks.
    pub map: Option<(Branch, Content)>,
    /// The block of its extended attributes; 0: none.
    pub attributes: u64,
}

impl Inode {
    /// Reads an inode; `bytes` begins with it.
    pub fn parse(bytes: &[u8], number: u32, layout: &Layout) -> Inode {
        if le16(bytes, 0) == 0 || is_deleted(bytes, layout) || number == BAD_BLOCKS_INODE {
            return Inode::default();
        }
        let attributes = u64::from(le32(bytes, 0x68)) | u64::from(le16(bytes, 0x76)) << 32;
        let attributes = if attributes < layout.blocks { attributes } else { 0 };
        Inode { map: map(bytes, number, layout), attributes }
    }
}

/// Whether it was deleted, rather than unlinked and still open: then its time of deletion is the number of
/// another such inode, or 0. The map of a deleted inode may still be there.
fn is_deleted(bytes: &[u8], layout: &Layout) -> bool {
    le32(bytes, 0x14) > layout.inodes()
}

fn map(bytes: &[u8], number: u32, layout: &Layout) -> Option<(Branch, Content)> {
    let flags = le32(bytes, 0x20);
    let class = class(bytes, number, layout)?;
    if flags & FLAG_INLINE_DATA != 0 {
        return None;
    }
    let shape = if flags & FLAG_EXTENTS != 0 { Shape::Extents } else { Shape::Indirect };
    let mut content = Content::of_inode(bytes.get(0x28..0x64)?, shape, layout.block_size, layout.blocks);
    if number == RESIZE_INODE {
        // What its double indirect block lists are blocks kept for group descriptors, known by their place.
        content.children.iter_mut().for_each(|child| child.height = 0);
    }
    (content != Content::default()).then_some((Branch { inode: number, class, shape }, content))
}

/// What the data blocks of an inode are. `None`: it has none.
fn class(bytes: &[u8], number: u32, layout: &Layout) -> Option<Class> {
    let flags = le32(bytes, 0x20);
    let inside = flags & FLAG_EXTENTS == 0 && le32(bytes, 0x4) < LINK_INSIDE;
    match le16(bytes, 0) & 0xF000 {
        0x4000 => Some(Class::Directory),
        0x8000 if number == RESIZE_INODE => Some(Class::GroupDescriptor),
        0x8000 if number == layout.journal_inode => Some(Class::JournalBlock),
        0x8000 if flags & FLAG_ATTRIBUTE_VALUE != 0 => Some(Class::Xattr),
        0x8000 => Some(Class::FileData),
        0xA000 if !inside => Some(Class::FileData),
        _ => None,
    }
}
