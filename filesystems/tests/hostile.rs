//! Whatever is on the disk and whatever is written, nothing panics and nothing takes for ever.

mod support;

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::request::ByteRange;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::LazyLock;
use support::{Bench, Image, classes};

const SIZE: u64 = 1024;

/// Small filesystems with all kinds of files.
static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let extents = Image::new(20_000, &["-b", "1024", "-N", "400"]);
    extents.beside("copies", &[5; 4096]);
    extents.debugfs("jo -c\njw -b 5000,5001,5002,5003 @copies\njc\n");
    let indirect = Image::new(20_000, &["-b", "1024", "-N", "400", "-t", "ext3"]);
    let plain = Image::new(20_000, &["-b", "1024", "-N", "400", "-O", "^has_journal,meta_bg,^resize_inode"]);
    [extents, indirect, plain].iter().map(Image::bytes).collect()
});

/// Where a write goes: what it is about decides more than what it says.
#[derive(Clone, Debug)]
enum Place {
    Anywhere(u64),
    Superblock(u64),
    /// The n-th block of a class.
    Of(usize, usize),
}

#[derive(Clone, Debug)]
struct Write {
    place: Place,
    /// Into the block.
    skip: u64,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Bytes(Vec<u8>),
    /// Another block of the image, of a class.
    Copy(usize, usize),
    /// The same number again and again: of blocks, of counts.
    Number(u32),
    /// A block of the journal with tags that point to these blocks.
    Log(u32, u32, Vec<u32>),
    /// An extent node of a depth, whose entries point to these blocks.
    Extents(u16, Vec<u32>),
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        1 => any::<u64>().prop_map(Place::Anywhere),
        1 => (0..1024_u64).prop_map(Place::Superblock),
        6 => (0..15_usize, any::<usize>()).prop_map(|(class, nth)| Place::Of(class, nth)),
    ]
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        vec(any::<u8>(), 1..40).prop_map(Data::Bytes),
        (0..15_usize, any::<usize>()).prop_map(|(class, nth)| Data::Copy(class, nth)),
        prop_oneof![any::<u32>(), 0..20_000_u32].prop_map(Data::Number),
        (1..6_u32, 0..4_u32, vec(0..20_000_u32, 0..20)).prop_map(|(kind, seq, to)| Data::Log(kind, seq, to)),
        (0..7_u16, vec(prop_oneof![0..20_000_u32, any::<u32>()], 0..84))
            .prop_map(|(depth, to)| Data::Extents(depth, to)),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let skip = prop_oneof![3 => Just(0), 1 => 0..SIZE];
    (place(), skip, data()).prop_map(|(place, skip, data)| Write { place, skip, data })
}

/// The n-th block of a class, counted in a circle.
fn block_of(image: &[ClassSet], class: usize, nth: usize) -> u64 {
    let class = ClassSet::of(&[Class::ALL[class]]);
    let blocks: Vec<u64> =
        (0..image.len() as u64).filter(|block| image[*block as usize].meets(class)).collect();
    blocks.get(nth % blocks.len().max(1)).copied().unwrap_or(0)
}

fn bytes_of(data: &Data, image: &[u8], known: &[ClassSet]) -> Vec<u8> {
    match data {
        Data::Bytes(bytes) => bytes.clone(),
        Data::Copy(class, nth) => image[(block_of(known, *class, *nth) * SIZE) as usize..][..1024].to_vec(),
        Data::Number(number) => number.to_le_bytes().repeat(256),
        Data::Log(kind, sequence, targets) => {
            let mut bytes: Vec<u8> = [0xC03B_3998, *kind, *sequence].map(u32::to_be_bytes).concat();
            for target in targets {
                bytes.extend([*target, 0x2, 0, 0].map(u32::to_be_bytes).concat());
            }
            bytes.resize(1024, 0);
            bytes
        }
        Data::Extents(depth, targets) => {
            let header = [0xF30A, targets.len() as u16, 84, *depth, 0, 0];
            let mut bytes: Vec<u8> = header.map(u16::to_le_bytes).concat();
            for (index, target) in targets.iter().enumerate() {
                let place = if *depth == 0 { [1, *target] } else { [*target, 0] };
                bytes.extend([index as u32, place[0], place[1]].map(u32::to_le_bytes).concat());
            }
            bytes.resize(1024, 0);
            bytes
        }
    }
}

/// Where a write goes, and what it says.
fn plan(write: &Write, image: &[u8], known: &[ClassSet]) -> (u64, Vec<u8>) {
    let offset = match write.place {
        Place::Anywhere(place) => place % image.len() as u64,
        Place::Superblock(place) => 1024 + place,
        Place::Of(class, nth) => block_of(known, class, nth) * SIZE + write.skip,
    };
    let mut bytes = bytes_of(&write.data, image, known);
    bytes.truncate(image.len() - offset as usize);
    (offset, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Nonsense is written to a good filesystem, also again after it is no longer good.
    #[test]
    fn writes_by_chance(which in 0..3_usize, writes in vec(write(), 1..40)) {
        let image = &IMAGES[which];
        let mut bench = Bench::new(image.clone());
        let known = classes(&bench.map, image.len() as u64, SIZE);
        for write in &writes {
            let (offset, bytes) = plan(write, image, &known);
            let seen = bench.write(offset, &bytes);
            prop_assert!(seen != ClassSet::NONE);
        }
        let all = ByteRange { offset: 0, length: u64::MAX };
        prop_assert!(bench.map.read(all) != ClassSet::NONE);
    }

    /// A filesystem is corrupt from the beginning.
    #[test]
    fn corrupt_images(which in 0..3_usize, writes in vec(write(), 1..40)) {
        let mut image = IMAGES[which].clone();
        let known = classes(&support::learn(&image), image.len() as u64, SIZE);
        for write in &writes {
            let (offset, bytes) = plan(write, &IMAGES[which], &known);
            image[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        Bench::new(image);
    }
}

/// A disk that cannot be read, and writes whose data cannot.
#[test]
fn nothing_can_be_read() {
    let bytes = IMAGES[0].len() as u64;
    let mut map = support::learn(&IMAGES[0]);
    let all = ByteRange { offset: 0, length: bytes };
    map.write(all, &mut |_, _| false, &mut |_, _| false);
    assert_eq!(map.read(all), ClassSet::of(&[Class::Unknown]));
}

/// A tree whose nodes all point to the same nodes below: 84 to the power of 5 ways through it.
#[test]
fn a_tree_with_very_many_ways() {
    let mut image = IMAGES[2].clone();
    let known = classes(&support::learn(&image), image.len() as u64, SIZE);
    let node = |depth: u16, to: u32| bytes_of(&Data::Extents(depth, vec![to; 84]), &[], &[]);
    for depth in 0..5_u32 {
        let start = (15_000 + depth as usize) * 1024;
        let node = node(depth as u16, if depth == 0 { 16_000 } else { 15_000 + depth - 1 });
        image[start..start + 1024].copy_from_slice(&node);
    }
    // The root directory's inode, the second of the table.
    let table = block_of(&known, 4, 0) * SIZE;
    let root = table as usize + 256 + 0x28;
    image[root..root + 60].copy_from_slice(&bytes_of(&Data::Extents(5, vec![15_004; 4]), &[], &[])[..60]);
    let map = support::learn(&image);
    assert_eq!(map.read(ByteRange { offset: 15_000 * SIZE, length: 1 }), ClassSet::of(&[Class::Extent]));
    assert_eq!(map.read(ByteRange { offset: 16_000 * SIZE, length: 1 }), ClassSet::of(&[Class::Directory]));
}
