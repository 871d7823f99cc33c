//! Transactions, block by block.

use super::*;
use crate::source::Disk;

const SIZE: usize = 1024;
/// The journal's first block on the disk, and its length.
const FIRST: u64 = 10;
const LENGTH: u32 = 8;

/// A disk with an empty journal, followed from the beginning.
struct Log {
    disk: Vec<u8>,
    journal: Journal,
}

impl Log {
    fn new() -> Log {
        let mut disk = vec![0; SIZE * 64];
        let start = FIRST as usize * SIZE;
        disk[start..start + 32].copy_from_slice(&words(&[0xC03B_3998, 4, 0, 1024, LENGTH, 1, 1, 0])[..32]);
        // Two pieces, so that what follows in the journal does not follow on the disk.
        let runs = vec![
            Run { first: FIRST, length: 4, logical: 0 },
            Run { first: FIRST + 10, length: 4, logical: 4 },
        ];
        let journal = Journal::open(runs, SIZE as u64, &mut Disk(&mut reader(&disk))).expect("a journal");
        Log { disk, journal }
    }

    /// Writes a block of the log; the targets that are thereby committed.
    fn write(&mut self, log: u32, block: &[u8]) -> Vec<u64> {
        self.commit(log, block).map(|transaction| transaction.into_keys().collect()).unwrap_or_default()
    }

    fn commit(&mut self, log: u32, block: &[u8]) -> Option<Transaction> {
        let place = self.journal.on_disk(log).expect("a block of the journal");
        self.disk[place as usize * SIZE..][..SIZE].copy_from_slice(block);
        self.journal.take(place, &mut Disk(&mut reader(&self.disk)), |target| target != UNINTERESTING)
    }

    fn class(&self, log: u32) -> Class {
        let place = self.journal.on_disk(log).expect("a block of the journal");
        self.journal.over(place..place + 1).map(|(_, class)| class).next().expect("one block")
    }
}

const UNINTERESTING: u64 = 40;

fn reader(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> bool + '_ {
    |offset, into| {
        let from = bytes.get(offset as usize..).and_then(|bytes| bytes.get(..into.len()));
        from.map(|from| into.copy_from_slice(from)).is_some()
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.resize(SIZE, 0);
    bytes
}

fn descriptor(sequence: u32, targets: &[u32]) -> Vec<u8> {
    let tags = targets.iter().flat_map(|target| [*target, 0x2]);
    let last = targets.len() * 2 + 2;
    let mut all: Vec<u32> = [0xC03B_3998, 1, sequence].into_iter().chain(tags).collect();
    all[last] |= 0x8;
    words(&all)
}

fn commit(sequence: u32) -> Vec<u8> {
    words(&[0xC03B_3998, 2, sequence])
}

const COPY: [u8; SIZE] = [7; SIZE];

#[test]
fn every_order_of_a_transaction_is_the_same() {
    let parts = [(1, descriptor(1, &[30, 31])), (2, COPY.to_vec()), (3, COPY.to_vec()), (4, commit(1))];
    for order in (0..256).map(|n| [n % 4, n / 4 % 4, n / 16 % 4, n / 64]) {
        if (0..4).any(|part| !order.contains(&part)) {
            continue;
        }
        let mut log = Log::new();
        let mut seen: Vec<u64> =
            order.iter().flat_map(|part| log.write(parts[*part].0, &parts[*part].1)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [30, 31], "{order:?}");
        let classes = [1, 2, 3, 4].map(|block| log.class(block));
        let copy = Class::JournalBlock;
        assert_eq!(classes, [Class::JournalDescriptor, copy, copy, Class::JournalCommit]);
    }
}

#[test]
fn the_log_goes_round() {
    let mut log = Log::new();
    log.write(6, &descriptor(1, &[30, 31]));
    log.write(7, &COPY);
    log.write(1, &COPY);
    assert_eq!(log.write(2, &commit(1)), [30, 31]);
}

#[test]
fn several_descriptors_are_one_transaction() {
    let mut log = Log::new();
    log.write(1, &descriptor(1, &[30]));
    log.write(2, &COPY);
    log.write(3, &descriptor(1, &[31]));
    log.write(4, &COPY);
    log.write(5, &words(&[0xC03B_3998, 5, 1, 20, 33]));
    assert_eq!(log.class(5), Class::JournalRevoke);
    assert_eq!(log.write(6, &commit(1)), [30, 31]);
}

#[test]
fn what_never_committed_is_dropped() {
    let mut log = Log::new();
    log.write(1, &descriptor(1, &[30, 31]));
    log.write(2, &COPY);
    log.write(1, &descriptor(2, &[32]));
    log.write(2, &COPY);
    assert_eq!(log.write(3, &commit(2)), [32]);
    assert_eq!(log.write(4, &commit(1)), Vec::<u64>::new());
    assert!(log.journal.tags.is_empty() && log.journal.copies.is_empty());
}

#[test]
fn a_copy_is_read_back_with_its_first_bytes() {
    let mut log = Log::new();
    let mut tags = descriptor(1, &[30, UNINTERESTING as u32]);
    tags[12 + 7] |= 0x1;
    log.write(1, &tags);
    let mut copy = COPY;
    copy[..4].fill(0);
    copy[500..].fill(0);
    log.write(2, &copy);
    log.write(3, &COPY);
    assert_eq!(log.journal.kept_bytes, 500, "neither zeros at the end nor what does not matter");
    let transaction = log.commit(4, &commit(1)).expect("a transaction");
    let mut read = reader(&log.disk);
    let mut disk = Disk(&mut read);
    let mut committed = Committed { transaction: &transaction, block_size: SIZE as u64, under: &mut disk };
    copy[..4].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]);
    assert_eq!(committed.block(30, SIZE as u64).as_deref(), Some(&copy[..]));
    assert_eq!(committed.block(UNINTERESTING, SIZE as u64).as_deref(), Some(&COPY[..]), "from the journal");
    let mut across = [1; 8];
    assert!(committed.read(31 * SIZE as u64 - 4, &mut across));
    assert_eq!(across, [0; 8], "what the copy ends with, and the disk after it");
}

#[test]
fn copies_that_are_too_many_are_read_from_the_journal() {
    let mut log = Log::new();
    log.journal.kept_bytes = COPIES_MAX;
    log.write(1, &descriptor(1, &[30]));
    log.write(2, &COPY);
    assert_eq!((log.journal.kept_bytes, log.journal.copies.get(&2)), (0, Some(&None)));
    let transaction = log.commit(3, &commit(1)).expect("a transaction");
    let mut read = reader(&log.disk);
    let bytes = transaction[&30].bytes(SIZE as u64, &mut Disk(&mut read));
    assert_eq!(bytes.as_deref(), Some(&COPY[..]));
}

#[test]
fn a_journal_that_claims_too_much_is_not_looked_at() {
    let open = |runs: Vec<Run>| Journal::open(runs, SIZE as u64, &mut Disk(&mut |_, _| false)).is_some();
    let run = |first: u64, length: u32| Run { first, length, logical: first as u32 };
    assert!(open(vec![run(10, 100)]) && !open(vec![]));
    assert!(!open(vec![run(10, 11_000_000)]));
    assert!(open(vec![run(10, 6_000_000), run(11, 6_000_000)]), "a block counts once");
}
