//! Blocks that say where a file's blocks are: extent trees and indirect blocks (kernel's
//! `Documentation/filesystems/ext4/ifork.rst`).

use crate::bytes::{le16, le32};
use blkstay_engine::class::Class;

const EXTENT_MAGIC: u16 = 0xF30A;
/// Bytes of an extent node's header, and of each entry.
const EXTENT_ENTRY: usize = 12;
/// No tree is higher: with 340 entries a block that is more than a file can have.
const EXTENT_DEPTH_MAX: u16 = 5;
/// An extent that is longer is this much shorter and not written yet.
const EXTENT_WRITTEN_MAX: u16 = 0x8000;
/// How many of the 15 numbers in an inode are of data blocks; then come one of each kind of indirect block.
const DIRECT: usize = 12;

/// How a file is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Extents,
    Indirect,
}

impl Shape {
    /// What its mapping blocks are.
    pub fn class(self) -> Class {
        match self {
            Shape::Extents => Class::Extent,
            Shape::Indirect => Class::Indirect,
        }
    }
}

/// Blocks in a row, of the disk and of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// On the disk.
    pub first: u64,
    /// At least 1.
    pub length: u32,
    /// Of the file.
    pub logical: u32,
}

impl Run {
    pub fn blocks(self) -> std::ops::Range<u64> {
        self.first..self.first + u64::from(self.length)
    }
}

/// A mapping block as the one above it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub block: u64,
    /// The first block of the file that it maps.
    pub logical: u32,
    /// How many mapping blocks are between it and the data.
    pub height: u8,
}

/// What a mapping block, or an inode, says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub runs: Vec<Run>,
    pub children: Vec<Child>,
}

impl Content {
    /// How much memory it takes, in numbers of things.
    pub fn weight(&self) -> usize {
        1 + self.runs.len() + self.children.len()
    }

    /// Reads a mapping block of a filesystem of `blocks` blocks. What makes no sense in it is left out.
    pub fn of_block(bytes: &[u8], shape: Shape, place: Child, blocks: u64) -> Content {
        match shape {
            Shape::Extents if depth(bytes) == Some(place.height.into()) => extents(bytes, blocks),
            Shape::Extents => Content::default(),
            Shape::Indirect => {
                let mut content = Content::default();
                let numbers = bytes.len() / 4;
                let step = span(numbers, place.height);
                for index in 0..numbers {
                    let logical = logical(u64::from(place.logical) + index as u64 * step);
                    content.add(le32(bytes, index * 4), logical, place.height, blocks);
                }
                content
            }
        }
    }

    /// Reads the 60 bytes of an inode that map its blocks.
    pub fn of_inode(bytes: &[u8], shape: Shape, block_size: u64, blocks: u64) -> Content {
        if shape == Shape::Extents {
            return extents(bytes, blocks);
        }
        let mut content = Content::default();
        for index in 0..DIRECT {
            content.add(le32(bytes, index * 4), index as u32, 0, blocks);
        }
        let mut next = DIRECT as u64;
        for height in 0..3_u8 {
            let number = u64::from(le32(bytes, (DIRECT + usize::from(height)) * 4));
            if (1..blocks).contains(&number) {
                content.children.push(Child { block: number, logical: logical(next), height });
            }
            next += span((block_size / 4) as usize, height + 1);
        }
        content
    }

    /// Adds a block: of data at height 0, else one that maps. 0 is a hole.
    fn add(&mut self, block: u32, logical: u32, height: u8, blocks: u64) {
        let block = u64::from(block);
        if !(1..blocks).contains(&block) {
            return;
        }
        if height > 0 {
            return self.children.push(Child { block, logical, height: height - 1 });
        }
        match self.runs.last_mut() {
            Some(run)
                if run.blocks().end == block && logical.checked_sub(run.logical) == Some(run.length) =>
            {
                run.length += 1;
            }
            _ => self.runs.push(Run { first: block, length: 1, logical }),
        }
    }
}

/// Blocks of a file that one number maps, in an indirect block of this height with that many numbers.
fn span(numbers: usize, height: u8) -> u64 {
    (numbers as u64).saturating_pow(height.into())
}

fn logical(block: u64) -> u32 {
    u32::try_from(block).unwrap_or(u32::MAX)
}

/// The depth that an extent node says it has. `None`: it is not one.
fn depth(bytes: &[u8]) -> Option<u16> {
    let depth = le16(bytes, 6);
    (le16(bytes, 0) == EXTENT_MAGIC && depth <= EXTENT_DEPTH_MAX).then_some(depth)
}

fn extents(bytes: &[u8], blocks: u64) -> Content {
    let mut content = Content::default();
    let Some(depth) = depth(bytes) else { return content };
    let entries = bytes.chunks_exact(EXTENT_ENTRY).skip(1).take(le16(bytes, 2).into());
    for entry in entries {
        let logical = le32(entry, 0);
        if depth > 0 {
            let block = u64::from(le32(entry, 4)) | u64::from(le16(entry, 8)) << 32;
            if (1..blocks).contains(&block) {
                content.children.push(Child { block, logical, height: (depth - 1) as u8 });
            }
            continue;
        }
        let length = match le16(entry, 4) {
            length if length > EXTENT_WRITTEN_MAX => length - EXTENT_WRITTEN_MAX,
            length => length,
        };
        let first = u64::from(le32(entry, 8)) | u64::from(le16(entry, 6)) << 32;
        if length > 0 && first > 0 && first + u64::from(length) <= blocks {
            content.runs.push(Run { first, length: length.into(), logical });
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    #[test]
    fn indirect_blocks_know_their_place_in_the_file() {
        let root = Content::of_inode(
            &numbers(&[7, 8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 21, 22]),
            Shape::Indirect,
            1024,
            100,
        );
        assert_eq!(root.runs, [Run { first: 7, length: 3, logical: 0 }]);
        let places: Vec<_> = root.children.iter().map(|child| (child.logical, child.height)).collect();
        assert_eq!(places, [(12, 0), (12 + 256, 1), (12 + 256 + 256 * 256, 2)]);

        let double = Content::of_block(&numbers(&[30, 0, 31, 100]), Shape::Indirect, root.children[1], 100);
        let third = Child { block: 31, logical: 12 + 256 + 2 * 4, height: 0 };
        assert_eq!(double.children, [Child { block: 30, logical: 12 + 256, height: 0 }, third]);
    }

    #[test]
    fn an_extent_beyond_the_disk_or_of_another_depth_is_left_out() {
        let mut leaf = vec![0; 1024];
        leaf[..8].copy_from_slice(&[0x0A, 0xF3, 3, 0, 84, 0, 0, 0]);
        leaf[12..24].copy_from_slice(&[5, 0, 0, 0, 2, 0x80, 0, 0, 50, 0, 0, 0]);
        leaf[24..36].copy_from_slice(&[9, 0, 0, 0, 2, 0, 0, 0, 99, 0, 0, 0]);
        let place = Child { block: 1, logical: 0, height: 0 };
        let content = Content::of_block(&leaf, Shape::Extents, place, 100);
        assert_eq!(content.runs, [Run { first: 50, length: 2, logical: 5 }]);
        let higher = Child { height: 1, ..place };
        assert_eq!(Content::of_block(&leaf, Shape::Extents, higher, 100), Content::default());
    }
}
