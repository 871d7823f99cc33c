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
    #[error(
        "block {0} is mapped by the inode itself; the first that a mapping block maps is {DIRECT_BLOCKS}"
    )]
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
            return Err(NoBlock::Filesystem(
                "spreads its group descriptors (meta_bg), which is not understood",
            ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// An image made by the filesystem's own tools, which also say what should be found in it.
    struct Image {
        directory: tempfile::TempDir,
    }

    impl Image {
        fn new(options: &[&str]) -> Self {
            let image = Image { directory: tempfile::tempdir().expect("a directory") };
            File::create(image.path()).and_then(|file| file.set_len(64 << 20)).expect("an empty image");
            run(Command::new("mkfs.ext4").args(["-q", "-F"]).args(options).arg(image.path()));
            image
        }

        /// One whose files have no extents though it is 64 bits wide, which mkfs does not make.
        fn wide(options: &[&str]) -> Self {
            let image = Image::new(&[&["-O", "extents,64bit"], options].concat());
            image.debugfs(&["-w"], "feature -extents");
            image
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("image")
        }

        fn open(&self) -> File {
            File::open(self.path()).expect("the image")
        }

        /// Puts a file in that has data at these offsets and holes between them; gives its inode.
        fn add(&self, name: &str, offsets: &[u64]) -> u64 {
            let source = self.directory.path().join("source");
            let file = File::create(&source).expect("a file");
            for &offset in offsets {
                file.write_all_at(&[b'x'; 512], offset).expect("data");
            }
            self.debugfs(&["-w"], &format!("write {} {name}", source.display()));
            let stat = self.debugfs(&[], &format!("stat {name}"));
            let inode = stat.split_whitespace().nth(1).expect("an inode");
            inode.parse().expect("the inode's number")
        }

        /// The `IND` block before a block in debugfs's list, which is in the order of the file.
        fn expected(&self, name: &str, logical: u64) -> u64 {
            let stat = self.debugfs(&[], &format!("stat {name}"));
            let mut indirect = 0;
            for entry in stat.split(['\n', ' ']) {
                let Some((what, block)) = entry.trim_end_matches(',').split_once("):") else { continue };
                match what {
                    "(IND" => indirect = block.parse().expect("a block"),
                    _ if what == format!("({logical}") => return indirect,
                    _ => {}
                }
            }
            panic!("no block {logical} in {stat}");
        }

        fn debugfs(&self, options: &[&str], request: &str) -> String {
            run(Command::new("debugfs").args(options).args(["-R", request]).arg(self.path()))
        }
    }

    fn run(command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn found(image: &Image, inode: u64, offset: u64) -> Result<u64, String> {
        mapping_block(&image.open(), inode, offset)
            .map(|block| block.offset / block.length)
            .map_err(|why| why.to_string())
    }

    #[test]
    fn mapping_blocks_of_every_depth_are_those_that_debugfs_finds() {
        let pointers = 256u64;
        let logicals = [
            5,
            12,
            12 + pointers - 1,
            12 + pointers + 3 * pointers + 7,
            12 + pointers + pointers.pow(2) + 2 * pointers.pow(2) + 5 * pointers + 9,
        ];
        let offsets: Vec<u64> = logicals.iter().map(|logical| logical * 1024).collect();
        let image = Image::new(&["-b", "1024", "-O", "^extents,^64bit"]);
        let inode = image.add("file", &offsets);
        for logical in &logicals[1..] {
            let block = image.expected("file", *logical);
            assert_eq!(found(&image, inode, logical * 1024 + 1023), Ok(block), "block {logical}");
        }
    }

    #[test]
    fn inodes_are_found_in_every_geometry() {
        let narrow = ["-O", "^extents,^64bit"];
        let images = [
            Image::new(&[&narrow[..], &["-b", "4096"]].concat()),
            Image::new(&[&narrow[..], &["-b", "2048", "-N", "64", "-I", "512", "-G", "4"]].concat()),
            Image::new(&[&narrow[..], &["-b", "1024", "-N", "64", "-I", "128"]].concat()),
            Image::wide(&["-b", "4096"]),
            Image::wide(&["-b", "4096", "-O", "^flex_bg,^resize_inode", "-g", "4096", "-N", "64"]),
            Image::wide(&["-b", "1024", "-N", "64", "-I", "256"]),
        ];
        for image in images {
            let filesystem = Superblock::read(&image.open()).expect("a superblock");
            let logical = (12 << 12) / filesystem.block_bytes;
            for number in 0..12 {
                let name = format!("file{number}");
                let inode = image.add(&name, &[12 << 12]);
                let block = image.expected(&name, logical);
                assert_eq!(found(&image, inode, 12 << 12), Ok(block), "inode {inode} of {filesystem:?}");
            }
        }
    }

    #[test]
    fn what_has_no_mapping_block_is_refused_with_the_reason() {
        let image = Image::new(&["-b", "4096", "-O", "^extents,^64bit"]);
        let inode = image.add("file", &[0]);
        let refusal = |offset| found(&image, inode, offset).expect_err("a refusal");
        assert_eq!(
            refusal(11 << 12),
            "block 11 is mapped by the inode itself; the first that a mapping block maps is 12"
        );
        assert_eq!(
            refusal(12 << 12),
            "no mapping block is allocated for block 12; allocate a block nearby, then `sync`"
        );
        assert!(refusal(1 << 60).ends_with("is beyond the end of any file without extents"));
        assert_eq!(found(&image, 1 << 40, 0), Err("the filesystem has no such inode".to_owned()));
        assert_eq!(found(&image, 0, 0), Err("the filesystem has no such inode".to_owned()));
    }

    #[test]
    fn files_and_filesystems_that_are_not_understood_are_refused() {
        let image = Image::new(&["-O", "extents"]);
        let inode = image.add("file", &[0]);
        let refusal = found(&image, inode, 12 << 12).expect_err("a refusal");
        assert_eq!(refusal, "the file uses extents, so it has no mapping blocks");

        let image = Image::new(&["-O", "meta_bg,^resize_inode"]);
        let refusal = found(&image, 12, 12 << 12).expect_err("a refusal");
        assert!(refusal.contains("meta_bg"), "{refusal}");

        let zeroes = Path::new("/dev/zero");
        let refusal = mapping_block(&File::open(zeroes).expect("zeroes"), 12, 0).expect_err("a refusal");
        assert_eq!(refusal.to_string(), "the filesystem is not ext4");
    }

    #[test]
    fn a_damaged_filesystem_is_an_error_and_no_more() {
        let image = Image::wide(&["-b", "1024", "-N", "64"]);
        let inode = image.add("file", &[12 << 10]);
        let file = File::options().read(true).write(true).open(image.path()).expect("the image");
        let mut answers = BTreeSet::new();
        for at in (SUPERBLOCK_AT..SUPERBLOCK_AT + 2048).step_by(2) {
            let mut sound = [0; 2];
            file.read_exact_at(&mut sound, at).expect("the sound bytes");
            file.write_all_at(&[0xFF; 2], at).expect("damage");
            answers.insert(found(&image, inode, 12 << 10).err());
            file.write_all_at(&sound, at).expect("repair");
        }
        let nonsense = "the filesystem has a superblock that makes no sense".to_owned();
        assert!(answers.contains(&Some(nonsense)), "{answers:?}");
        assert!(answers.contains(&Some("the filesystem is not ext4".to_owned())), "{answers:?}");
    }
}
