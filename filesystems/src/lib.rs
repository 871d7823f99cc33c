//! Tells what each block of a disk is to the ext2, ext3 or ext4 filesystem on it.
//!
//! A [`Map`] learns from the disk once, and then follows what the guest writes. Nothing here does I/O: whoever
//! asks hands in functions that read.
//!
//! # How it follows
//!
//! - **Through the journal.** Changes of metadata are in the journal before they are in place. Its descriptor blocks
//!   tell where the copies after them belong; when the commit block is written, all of them count as if they had
//!   been written in place: inodes and mapping blocks are read anew. What never commits counts for nothing.
//! - **In place**, for filesystems without a journal, for tools such as debugfs, and for `mkfs` in the guest. A
//!   superblock of another filesystem has everything learned anew.
//!
//! # What it says when nothing tells
//!
//! With a journal on the same disk, a *write* to a block that nothing maps is of file data: metadata does not go
//! to its place before it was in the journal, and in ordered mode data does before the transaction that maps
//! it. That is not so while `mkfs` or `e2fsck` writes, and a filesystem that is just being made is known piece by
//! piece. A *read* of such a block, and a write without a journal, is [`Unknown`]. A block that is freed
//! becomes unknown again.
//!
//! # What it does not know
//!
//! - Filesystems with `bigalloc` (blocks are allocated in clusters), external journals' devices, features that it has
//!   not heard of, and filesystems larger than their disk: everything is unknown.
//! - Fast commits: what they change is known with the next full commit.
//! - The journal's checksums and revoke records: the guest's kernel knows best what it has committed.
//! - Which block tells other hosts that the filesystem is mounted (MMP), and bad blocks: they are unknown.
//!
//! Files of quotas and of orphans are files: their blocks are file data. The one mapping block of the resize inode is
//! an indirect block, and what it lists are group descriptors.
//!
//! # Bounds
//!
//! Memory is in the order of mapped ranges, not of blocks: at most 2²² ranges, mapping blocks and inodes (under 800
//! MiB), 2²⁰ groups (200 MiB), 32 MiB of copies from a transaction, and some 100 bytes a block of the journal,
//! which has at most 10,240,000. What is beyond stays unknown. A request costs the logarithm of that and the
//! number of its pieces; one that changes metadata also what it changes. Nothing a guest writes makes it
//! panic or go in a circle; what is nonsense maps nothing.
//!
//! [`Unknown`]: blkstay_engine::class::Class::Unknown
#![forbid(unsafe_code)]

mod bytes;
mod claims;
mod files;
mod groups;
mod inode;
mod intervals;
mod journal;
mod map;
mod mapping;
mod source;
mod superblock;
mod tags;
mod volume;

pub use map::Map;
pub use source::ReadAt;
