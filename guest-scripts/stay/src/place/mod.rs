//! Where a file's bytes are on the disk.

mod disk;
mod ext4;
mod fiemap;

use crate::failure::Failure;
use disk::Disk;
use nix::sys::statfs::{EXT4_SUPER_MAGIC, fstatfs};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A range of the disk, partitions not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// First byte on the disk.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// The blocks are allocated but hold no data yet: reads of the file do not come here, the first write does.
    pub is_unwritten: bool,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = if self.is_unwritten { " unwritten" } else { "" };
        write!(f, "{} {}{note}", self.offset, self.length)
    }
}

/// Finds the bytes `offset..offset + length` of a file.
pub fn of_data(path: &Path, offset: u64, length: u64) -> Result<Location, Failure> {
    let about = |why: String| Failure::of(path.display(), why);
    let file = File::open(path).map_err(|error| about(error.to_string()))?;
    let disk = disk_of(&file).map_err(about)?;
    let extents =
        fiemap::extents(&file, offset, length).map_err(|error| about(format!("FIEMAP: {error}")))?;
    let found = fiemap::locate(&extents, offset, length).map_err(|why| about(why.to_string()))?;
    Ok(Location { offset: found.offset + disk.start, ..found })
}

/// Finds the block that maps the byte at `offset` of a file on ext2, ext3 or ext4 without extents: the last-level
/// indirect block.
///
/// Reads the inode through the page cache of the block device, which is where the filesystem keeps it, and warms
/// nothing else there but the upper-level blocks of a double or triple mapping.
pub fn of_mapping_block(path: &Path, offset: u64) -> Result<Location, Failure> {
    let about = |why: String| Failure::of(path.display(), why);
    let file = File::open(path).map_err(|error| about(error.to_string()))?;
    let kind = fstatfs(&file).map_err(|error| about(error.to_string()))?.filesystem_type();
    if kind != EXT4_SUPER_MAGIC {
        return Err(about("only ext2, ext3 and ext4 have mapping blocks".to_owned()));
    }
    let disk = disk_of(&file).map_err(about)?;
    let inode = file.metadata().map_err(|error| about(error.to_string()))?.ino();
    let image = disk.open().map_err(about)?;
    let block = ext4::mapping_block(&image, inode, offset).map_err(|why| about(why.to_string()))?;
    Ok(Location { offset: block.offset + disk.start, ..block })
}

fn disk_of(file: &File) -> Result<Disk, String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    Disk::of_device(Path::new("/sys"), metadata.dev())
}
