//! Tells what each block of a disk is to the filesystem on it.
#![forbid(unsafe_code)]

mod bytes;
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
