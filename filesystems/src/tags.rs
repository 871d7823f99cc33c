//! Blocks of the journal that are not copies (kernel's `Documentation/filesystems/ext4/journal.rst`).

use crate::bytes::{be16, be32};
use blkstay_engine::class::Class;

const MAGIC: u32 = 0xC03B_3998;
/// Bytes that say what a block of the journal is.
pub(crate) const HEADER: usize = 12;

const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;

const TAG_ESCAPED: u32 = 0x1;
const TAG_SAME_UUID: u32 = 0x2;
const TAG_LAST: u32 = 0x8;
const UUID: usize = 16;
/// Blocks for fast commits, if the journal does not say how many.
const FAST_COMMIT_BLOCKS: u32 = 256;

/// What a block of the journal begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Header {
    pub class: Class,
    /// Of the transaction.
    pub sequence: u32,
}

impl Header {
    /// `None`: it is a copy of a block, or nothing.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let class = match be32(bytes, 4) {
            1 => Class::JournalDescriptor,
            2 => Class::JournalCommit,
            3 | 4 => Class::JournalSuperblock,
            5 => Class::JournalRevoke,
            _ => return None,
        };
        (be32(bytes, 0) == MAGIC).then(|| Header { class, sequence: be32(bytes, 8) })
    }
}

/// Where a copy belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tag {
    pub target: u64,
    /// Whether its first 4 bytes were the journal's magic number, and are 0 in the copy.
    pub escaped: bool,
}

/// Gives an escaped block its first bytes back.
pub(crate) fn unescape(block: &mut [u8]) {
    block.iter_mut().zip(MAGIC.to_be_bytes()).for_each(|(byte, magic)| *byte = magic);
}

/// What the journal's superblock says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Format {
    incompat: u32,
    /// The first block of the log.
    pub first: u32,
    /// The first block after the log. From here on are fast commits.
    pub end: u32,
    /// Where the oldest transaction is that is not all in place; 0: there is none.
    pub start: u32,
    /// Number of that transaction.
    pub sequence: u32,
}

impl Format {
    /// Reads the superblock of a journal of `blocks` blocks. `None`: it makes no sense.
    pub fn parse(bytes: &[u8], block_size: u64, blocks: u32) -> Option<Format> {
        let v2 = be32(bytes, 4) == 4;
        let incompat = if v2 { be32(bytes, 0x28) } else { 0 };
        let fast = match be32(bytes, 0x54) {
            _ if incompat & INCOMPAT_FAST_COMMIT == 0 => 0,
            0 => FAST_COMMIT_BLOCKS,
            count => count,
        };
        let format = Format {
            incompat,
            first: be32(bytes, 0x14),
            end: be32(bytes, 0x10).checked_sub(fast)?,
            start: be32(bytes, 0x1C),
            sequence: be32(bytes, 0x18),
        };
        let sound = format.first > 0 && format.first < format.end && format.end <= blocks;
        let superblock = Header::parse(bytes)?.class == Class::JournalSuperblock;
        (superblock && sound && u64::from(be32(bytes, 0xC)) == block_size).then_some(format)
    }

    /// The block of the log after this one.
    pub fn after(&self, block: u32) -> u32 {
        if block.saturating_add(1) >= self.end { self.first } else { block + 1 }
    }

    /// Whether a block is of the log.
    pub fn has(&self, block: u32) -> bool {
        (self.first..self.end).contains(&block)
    }

    /// The tags of a descriptor block.
    pub fn tags(&self, block: &[u8]) -> Vec<Tag> {
        let (wide, v3) = (self.incompat & INCOMPAT_64BIT != 0, self.incompat & INCOMPAT_CSUM_V3 != 0);
        let v2 = !v3 && self.incompat & INCOMPAT_CSUM_V2 != 0;
        let size = if v3 { 16 } else { 8 + if wide { 4 } else { 0 } + if v2 { 2 } else { 0 } };
        let end = block.len().saturating_sub(if v2 || v3 { 4 } else { 0 });
        let (mut tags, mut at) = (Vec::new(), HEADER);
        while at + size <= end {
            let flags = if v3 { be32(block, at + 4) } else { be16(block, at + 6).into() };
            let high = if wide { u64::from(be32(block, at + 8)) } else { 0 };
            let target = u64::from(be32(block, at)) | high << 32;
            tags.push(Tag { target, escaped: flags & TAG_ESCAPED != 0 });
            if flags & TAG_LAST != 0 {
                break;
            }
            at += size + if flags & TAG_SAME_UUID == 0 { UUID } else { 0 };
        }
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(incompat: u32) -> Format {
        Format { incompat, first: 1, end: 100, start: 0, sequence: 1 }
    }

    /// A descriptor block of 1024 bytes with these bytes after its header.
    fn descriptor(tags: &[&[u8]]) -> Vec<u8> {
        let mut bytes: Vec<u8> = [MAGIC, 1, 7].map(u32::to_be_bytes).concat();
        bytes.extend(tags.concat());
        bytes.resize(1024, 0);
        bytes
    }

    fn targets(incompat: u32, tags: &[&[u8]]) -> Vec<(u64, bool)> {
        format(incompat).tags(&descriptor(tags)).iter().map(|tag| (tag.target, tag.escaped)).collect()
    }

    const UUID: &[u8] = &[0xEE; 16];

    #[test]
    fn tags_of_every_format() {
        let plain = targets(
            0,
            &[&[0, 0, 0, 5, 9, 9, 0, 0], UUID, &[0, 0, 0, 6, 9, 9, 0, 0x3], &[0, 0, 0, 7, 9, 9, 0, 0xA]],
        );
        assert_eq!(plain, [(5, false), (6, true), (7, false)]);
        let wide = targets(
            0x2,
            &[&[0, 0, 0, 5, 9, 9, 0, 0, 0, 0, 0, 1], UUID, &[0, 0, 0, 6, 9, 9, 0, 0xB, 0, 0, 0, 0]],
        );
        assert_eq!(wide, [(1 << 32 | 5, false), (6, true)]);
        let v2 = targets(0x8, &[&[0, 0, 0, 5, 9, 9, 0, 2, 9, 9], &[0, 0, 0, 6, 9, 9, 0, 0xA, 9, 9]]);
        assert_eq!(v2, [(5, false), (6, false)]);
        let wide_v2 = targets(
            0xA,
            &[&[0, 0, 0, 5, 9, 9, 0, 2, 0, 0, 0, 2, 9, 9], &[0, 0, 0, 6, 9, 9, 0, 0xA, 0, 0, 0, 0, 9, 9]],
        );
        assert_eq!(wide_v2, [(2 << 32 | 5, false), (6, false)]);
        let v3 = targets(
            0x12,
            &[
                &[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 3, 9, 9, 9, 9],
                UUID,
                &[0, 0, 0, 6, 0, 0, 0, 0xB, 0, 0, 0, 0, 9, 9, 9, 9],
            ],
        );
        assert_eq!(v3, [(3 << 32 | 5, false), (6, true)]);
    }

    #[test]
    fn tags_end_with_the_block() {
        let endless = vec![0; 1024];
        assert_eq!(format(0).tags(&endless).len(), 42);
        assert_eq!(format(0x10).tags(&[0xFF; 30]).len(), 0);
    }

    #[test]
    fn a_journal_beyond_its_file_is_not_read() {
        let mut bytes: Vec<u8> = [MAGIC, 4, 0, 1024, 100, 1, 3, 0].map(u32::to_be_bytes).concat();
        bytes.resize(1024, 0);
        assert_eq!(
            Format::parse(&bytes, 1024, 100),
            Some(Format { end: 100, start: 0, sequence: 3, ..format(0) })
        );
        assert_eq!(Format::parse(&bytes, 1024, 99), None);
        assert_eq!(Format::parse(&bytes, 4096, 100), None);
        bytes[0x2B] = 0x20;
        bytes[0x57] = 40;
        assert_eq!(
            Format::parse(&bytes, 1024, 100).map(|format| format.end),
            Some(60),
            "fast commits are apart"
        );
    }
}
