//! Inodes that change, and their limits.

use super::*;
use crate::mapping::Shape;
use crate::source::Disk;

const SIZE: usize = 1024;

fn extents(inode: u32, runs: &[(u64, u32)], children: &[u64]) -> Inode {
    let branch = Branch { inode, class: Class::FileData, shape: Shape::Extents };
    let run = |(index, (first, length)): (usize, &(u64, u32))| Run {
        first: *first,
        length: *length,
        logical: index as u32 * 100,
    };
    let child = |block: &u64| Child { block: *block, logical: 0, height: 0 };
    let content = Content {
        runs: runs.iter().enumerate().map(run).collect(),
        children: children.iter().map(child).collect(),
    };
    Inode { map: Some((branch, content)), attributes: 0 }
}

/// An extent block that maps one run.
fn leaf(first: u32, length: u16) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    bytes[..4].copy_from_slice(&[0x0A, 0xF3, 1, 0]);
    bytes[16..18].copy_from_slice(&length.to_le_bytes());
    bytes[20..24].copy_from_slice(&first.to_le_bytes());
    bytes
}

/// A disk whose block 50 is a leaf.
fn with_leaf(into: &mut [u8], offset: u64) -> bool {
    let leaf = leaf(200, 10);
    let block = if offset == 50 * SIZE as u64 { leaf } else { vec![0; SIZE] };
    into.copy_from_slice(&block[..into.len()]);
    true
}

fn change(files: &mut Files, inodes: &[(u32, Inode)]) {
    let mut read = |offset: u64, into: &mut [u8]| with_leaf(into, offset);
    for (number, inode) in inodes {
        files.set_inode(*number, inode.clone(), &mut Disk(&mut read));
    }
    files.settle();
}

#[test]
fn blocks_go_from_one_file_to_another_in_either_order() {
    for first in [0, 1] {
        let mut files = Files::new(1000, SIZE as u64);
        change(&mut files, &[(12, extents(12, &[(100, 10)], &[50])), (13, extents(13, &[(300, 1)], &[]))]);
        assert_eq!((files.at(50), files.at(205)), (Some(Class::Extent), Some(Class::FileData)));
        let mut new = [(12, Inode::default()), (13, extents(13, &[(105, 10)], &[50]))];
        new.rotate_left(first);
        change(&mut files, &new);
        assert_eq!((files.at(50), files.at(205)), (Some(Class::Extent), Some(Class::FileData)));
        assert_eq!(
            (files.at(104), files.at(105), files.at(114)),
            (None, Some(Class::FileData), Some(Class::FileData))
        );
        change(&mut files, &[(13, Inode::default())]);
        assert_eq!(files.over(0..1000).collect::<Vec<_>>(), [(0..1000, None)]);
        assert_eq!((files.weight, files.nodes.len()), (0, 0));
    }
}

#[test]
fn a_block_of_attributes_is_there_as_long_as_one_inode_has_it() {
    let mut files = Files::new(1000, SIZE as u64);
    let with = |attributes: u64| Inode { map: None, attributes };
    change(&mut files, &[(12, with(70)), (13, with(70))]);
    change(&mut files, &[(12, with(0))]);
    assert_eq!(files.at(70), Some(Class::Xattr));
    change(&mut files, &[(13, with(71))]);
    assert_eq!((files.at(70), files.at(71)), (None, Some(Class::Xattr)));
}

#[test]
fn no_more_is_kept_than_the_limit() {
    let mut files = Files::new(100_000, SIZE as u64);
    files.weight_max = 100;
    for number in 12..200 {
        let start = u64::from(number) * 100;
        change(&mut files, &[(number, extents(number, &[(start, 1), (start + 2, 1), (start + 4, 1)], &[]))]);
        assert!(files.weight <= 100);
    }
    assert!(files.are_full());
    assert_eq!((files.at(1200), files.at(19_900)), (Some(Class::FileData), None));
    change(&mut files, &[(12, extents(12, &[(1200, 1); 99], &[]))]);
    assert_eq!(files.at(1200), None, "what no longer fits is forgotten, not left as it was");
}
