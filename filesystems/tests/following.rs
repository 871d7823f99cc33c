//! The map follows what is written: afterwards it is the same as if it had been learned then.

mod support;

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::request::ByteRange;
use support::{Bench, Image, Oracle, classes, difference, learn, shuffle};

/// Changes a filesystem: new, longer, shorter and deleted files of all kinds.
fn change(image: &Image) {
    let mut commands = String::from("rm torn\nrm small9\nrm small1\nmkdir new\ncd new\n");
    commands += &(0..30).map(|index| format!("write @small more{index}\n")).collect::<String>();
    commands += "cd /\nwrite @large anew\nea_set -f @value anew user.big\n";
    commands += &(1..500).map(|index| format!("punch anew {0} {0}\n", index * 2)).collect::<String>();
    commands += "punch large 20 1000\nfallocate small2 90000 90010\nkill_file sub/dir1\nunlink sub/dir1\n";
    image.beside("small", b"some words");
    image.beside("large", &vec![9; 1_500_000]);
    image.beside("value", &[b'w'; 600]);
    image.debugfs(&commands);
}

#[track_caller]
fn assert_same(map: &Bench, after: &[u8], size: u64, but: &ClassSet) {
    let seen = classes(&map.map, after.len() as u64, size);
    let right = classes(&learn(after), after.len() as u64, size);
    let wrong: Vec<String> = (0..seen.len())
        .filter(|block| seen[*block] != right[*block] && !right[*block].meets(*but))
        .map(|block| format!("{block}: {}, not {}", seen[block], right[block]))
        .collect();
    let some = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} blocks are wrong:\n{some}", wrong.len());
}

fn journal() -> ClassSet {
    ClassSet::from_name("journal").expect("a group of classes")
}

/// Carries out changes in place, in several orders of their blocks.
fn in_place(options: &[&str], size: u64) {
    let before = Image::new(24_000, &[&["-b", &*size.to_string()], options].concat());
    let after = before.copy();
    change(&after);
    let (before, after) = (before.bytes(), after.bytes());
    for seed in 0..4 {
        let mut bench = Bench::new(before.clone());
        for block in shuffle(difference(&before, &after, size), seed) {
            bench.write_block_of(&after, block, size);
        }
        assert_same(&bench, &after, size, &ClassSet::NONE);
    }
}

#[test]
fn changes_in_place_in_any_order() {
    in_place(&["-N", "800", "-O", "^has_journal"], 1024);
    in_place(&["-N", "800", "-O", "^has_journal"], 4096);
    in_place(&["-N", "800", "-t", "ext2"], 1024);
    in_place(&["-N", "800"], 1024);
}

#[test]
fn parts_of_blocks() {
    let before = Image::new(24_000, &["-b", "4096", "-N", "800", "-O", "^has_journal"]);
    let after = before.copy();
    change(&after);
    let (before, after) = (before.bytes(), after.bytes());
    let mut bench = Bench::new(before.clone());
    for sector in shuffle(difference(&before, &after, 512), 3) {
        bench.write_block_of(&after, sector, 512);
    }
    assert_same(&bench, &after, 4096, &ClassSet::NONE);
}

/// A changed filesystem, and the same change as a transaction in the journal of the one before.
struct Journaled {
    before: Vec<u8>,
    /// With the transaction in the journal.
    logged: Vec<u8>,
    /// With the change in place.
    after: Vec<u8>,
    data: Vec<u64>,
    metadata: Vec<u64>,
    size: u64,
}

impl Journaled {
    fn new(options: &[&str], open: &str) -> Journaled {
        let before = Image::new(24_000, options);
        let after = before.copy();
        change(&after);
        let oracle = Oracle::of(&after);
        let size = oracle.block_size;
        let changed = difference(&before.bytes(), &after.bytes(), size);
        let (data, metadata) = changed.into_iter().partition(|block| oracle.at(*block) == Class::FileData);
        let mut journaled = Journaled {
            before: before.bytes(),
            logged: Vec::new(),
            after: after.bytes(),
            data,
            metadata,
            size,
        };
        let copies: Vec<u8> =
            journaled.metadata.iter().flat_map(|block| journaled.block(*block)).copied().collect();
        before.beside("copies", &copies);
        let list: Vec<String> = journaled.metadata.iter().map(u64::to_string).collect();
        let said = before.debugfs(&format!("jo {open}\njw -b {} @copies\njc\n", list.join(",")));
        assert!(!said.contains("rror"), "{said}");
        journaled.logged = before.bytes();
        journaled
    }

    fn block(&self, block: u64) -> &[u8] {
        &self.after[(block * self.size) as usize..][..self.size as usize]
    }

    /// The blocks written to the journal: superblocks, others, and the commit block. A superblock that changes
    /// the format of the journal is on the disk before anything in that format.
    fn log(&self) -> (Vec<u64>, Vec<u64>, u64) {
        let changed = difference(&self.before, &self.logged, self.size);
        let map = learn(&self.logged);
        let class = |block: u64| map.read(ByteRange { offset: block * self.size, length: self.size });
        let of = |classes: &[Class]| {
            changed
                .iter()
                .copied()
                .filter(|block| class(*block).meets(ClassSet::of(classes)))
                .collect::<Vec<_>>()
        };
        let commit = of(&[Class::JournalCommit]);
        assert_eq!(commit.len(), 1);
        let superblocks = of(&[Class::Superblock, Class::JournalSuperblock]);
        (superblocks, of(&[Class::JournalDescriptor, Class::JournalBlock]), commit[0])
    }

    /// Writes the data in place, then the transaction, then the metadata in place. Data that is where metadata
    /// was is left out: jbd2 keeps such blocks until the transaction that frees them has committed.
    fn follow(&self, seed: u64) {
        let mut bench = Bench::new(self.before.clone());
        for block in &self.data {
            let known = bench.map.read(ByteRange { offset: block * self.size, length: 1 });
            if known.meets(ClassSet::of(&[Class::Unknown, Class::FileData])) {
                let seen = bench.write_block_of(&self.after, *block, self.size);
                assert_eq!(seen, ClassSet::of(&[Class::FileData]));
            }
        }
        let (superblocks, log, commit) = self.log();
        for block in superblocks.into_iter().chain(shuffle(log, seed)) {
            bench.write_block_of(&self.logged, block, self.size);
        }
        assert_same(&bench, &self.before, self.size, &journal());
        let seen = bench.write_block_of(&self.logged, commit, self.size);
        assert_eq!(seen, ClassSet::of(&[Class::JournalCommit]));
        assert_same(&bench, &self.after, self.size, &journal());
        for block in shuffle(self.metadata.clone(), seed) {
            bench.write_block_of(&self.after, block, self.size);
            assert!(bench.map.read(ByteRange { offset: block * self.size, length: 1 }) != ClassSet::NONE);
        }
        assert_same(&bench, &self.after, self.size, &journal());
    }

    /// Writes the transaction in as few writes as can be.
    fn follow_merged(&self) {
        let mut bench = Bench::new(self.before.clone());
        let (mut log, others, commit) = self.log();
        log.extend(others);
        log.push(commit);
        log.sort_unstable();
        for run in log.chunk_by(|a, b| a + 1 == *b) {
            let bytes = &self.logged[(run[0] * self.size) as usize..][..run.len() * self.size as usize];
            bench.write(run[0] * self.size, bytes);
        }
        assert_same(&bench, &self.after, self.size, &journal());
    }
}

fn journaled(options: &[&str], open: &str) {
    let journaled = Journaled::new(options, open);
    (0..3).for_each(|seed| journaled.follow(seed));
    journaled.follow_merged();
    assert_same(&Bench::new(journaled.logged.clone()), &journaled.after, journaled.size, &journal());
}

#[test]
fn a_transaction_counts_from_its_commit_on() {
    journaled(&["-b", "1024", "-N", "800"], "-c -v 3");
}

#[test]
fn a_transaction_with_checksums_of_version_2() {
    journaled(&["-b", "4096", "-N", "800"], "-c -v 2");
    journaled(&["-b", "1024", "-N", "800", "-O", "^64bit"], "-c -v 2");
}

#[test]
fn a_transaction_of_ext3() {
    journaled(&["-b", "1024", "-N", "800", "-t", "ext3"], "");
    journaled(&["-b", "4096", "-N", "800", "-t", "ext3", "-I", "128"], "");
}

#[test]
fn a_transaction_without_checksums() {
    journaled(&["-b", "4096", "-N", "800"], "");
}

/// Makes another filesystem over one.
fn remake(old: &[&str], new: &[&str], size: u64) {
    let old = Image::new(24_000, old);
    let new = Image::new(24_000, new).bytes();
    for seed in 0..4 {
        let mut bench = Bench::new(old.bytes());
        for block in shuffle(difference(&bench.disk, &new, size), seed) {
            bench.write_block_of(&new, block, size);
        }
        assert_same(&bench, &new, size, &ClassSet::NONE);
    }
}

#[test]
fn another_filesystem_is_made() {
    remake(&["-b", "1024", "-N", "800"], &["-b", "1024", "-N", "800"], 1024);
    remake(&["-b", "1024", "-N", "800", "-t", "ext3"], &["-b", "4096", "-N", "400"], 1024);
    remake(&["-b", "4096", "-N", "800"], &["-b", "1024", "-N", "400", "-t", "ext2"], 1024);
    remake(&["-b", "4096", "-N", "800"], &["-b", "1024", "-N", "400", "-O", "^flex_bg"], 1024);
}

#[test]
fn no_filesystem_is_unknown_until_one_is_made() {
    let image = Image::new(20_000, &["-b", "1024", "-N", "800"]).bytes();
    let mut bench = Bench::new(vec![0; image.len()]);
    let all = ByteRange { offset: 0, length: image.len() as u64 };
    assert_eq!(bench.map.read(all), ClassSet::of(&[Class::Unknown]));
    assert_eq!(bench.map.read(ByteRange::default()), ClassSet::NONE);
    for block in difference(&bench.disk, &image, 1024) {
        bench.write_block_of(&image, block, 1024);
    }
    assert_same(&bench, &image, 1024, &ClassSet::NONE);
    let seen = bench.write(1024, &[0; 1024]);
    assert_eq!(seen, ClassSet::of(&[Class::Superblock]), "as it was when it was written over");
    assert_eq!(bench.map.read(all), ClassSet::of(&[Class::Unknown]));
}

#[test]
fn clusters_are_not_understood() {
    let image = Image::empty(50_000, &["-b", "1024", "-O", "bigalloc", "-C", "16384"]).bytes();
    let all = ByteRange { offset: 0, length: image.len() as u64 };
    assert_eq!(learn(&image).read(all), ClassSet::of(&[Class::Unknown]));
}
