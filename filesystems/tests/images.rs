//! Every block of filesystems of many kinds is what e2fsprogs say it is.

mod support;

use blkstay_engine::class::Class;
use support::{Image, Oracle, learn};

/// Checks every block, and that there were some of each of these classes.
fn check(kibibytes: u64, options: &[&str], some: &[Class]) {
    let image = Image::new(kibibytes, options);
    let oracle = Oracle::of(&image);
    oracle.assert_is(&learn(&image.bytes()));
    for class in some.iter().chain(&[Class::FileData, Class::Directory, Class::InodeTable, Class::Superblock])
    {
        assert!(oracle.count(*class) > 0, "no block is {}", class.name());
    }
}

const EXT4: [Class; 4] = [Class::Extent, Class::Xattr, Class::JournalSuperblock, Class::GroupDescriptor];
const EXT3: [Class; 3] = [Class::Indirect, Class::Xattr, Class::JournalSuperblock];

#[test]
fn ext4_with_large_blocks() {
    check(300_000, &["-b", "4096", "-N", "400"], &EXT4);
}

#[test]
fn ext4_with_small_blocks_in_many_groups() {
    check(100_000, &["-b", "1024", "-N", "4000"], &EXT4);
}

#[test]
fn ext4_with_blocks_of_64k() {
    check(400_000, &["-b", "65536", "-N", "400"], &[Class::Extent]);
}

#[test]
fn ext4_with_quota_files_and_an_orphan_file() {
    check(60_000, &["-b", "1024", "-N", "400", "-O", "quota,project,orphan_file"], &EXT4);
}

#[test]
fn ext4_with_data_in_inodes() {
    check(60_000, &["-b", "1024", "-N", "400", "-O", "inline_data"], &EXT4);
}

#[test]
fn ext4_without_flexible_groups_and_64_bits() {
    check(100_000, &["-b", "1024", "-N", "4000", "-O", "^flex_bg,^64bit,^resize_inode"], &EXT4);
}

#[test]
fn descriptors_in_meta_groups() {
    check(200_000, &["-b", "1024", "-N", "4000", "-O", "meta_bg,^resize_inode"], &EXT4);
    check(200_000, &["-b", "1024", "-N", "4000", "-O", "meta_bg,^resize_inode,^64bit,^sparse_super"], &EXT4);
}

#[test]
fn two_copies_of_the_superblock() {
    check(100_000, &["-b", "1024", "-N", "4000", "-O", "sparse_super2"], &EXT4);
}

#[test]
fn ext3() {
    check(100_000, &["-b", "1024", "-N", "4000", "-t", "ext3", "-I", "128"], &EXT3);
    check(100_000, &["-b", "1024", "-N", "400", "-O", "^extents,^64bit"], &EXT3);
    check(300_000, &["-b", "4096", "-N", "400", "-O", "^extents,^64bit"], &EXT3);
}

#[test]
fn ext2() {
    check(60_000, &["-b", "1024", "-N", "4000", "-t", "ext2"], &[Class::Indirect]);
    check(60_000, &["-b", "1024", "-N", "400", "-t", "ext2", "-r", "0"], &[Class::Indirect]);
}

#[test]
fn without_a_journal() {
    check(60_000, &["-b", "1024", "-N", "400", "-O", "^has_journal"], &[Class::Extent]);
}

#[test]
fn other_sizes_of_groups_and_inodes() {
    check(60_000, &["-b", "1024", "-g", "2048", "-N", "4000", "-I", "512"], &EXT4);
}
