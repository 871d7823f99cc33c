//! Each drive beside a model of a disk: the same bytes, whatever is done in whatever pieces.

mod common;

use blkstay_drives::{End, Operation};
use common::{Asked, Disk, Kind, content, kinds, one};
use proptest::prelude::*;
use std::ops::Range;

const BYTES: usize = (64 << 10) + 3 * 512;
const BYTES_MAX: u64 = 128 << 10;

/// What is done; numbers are cut to fit the disk.
#[derive(Clone, Debug)]
enum Step {
    Read(u64, u64, Pieces),
    Write(u64, u64, Pieces, bool, u8),
    Flush,
    Discard(u64, u64),
    Zero(u64, u64, bool, bool),
    Resize(u64),
}

/// How memory is cut, and where in a page it lies.
#[derive(Clone, Debug)]
struct Pieces(Vec<u64>, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (any::<u64>(), prop_oneof![0..600u64, 4000..9000u64, any::<u64>()]);
    let pieces = || {
        let skipped = prop_oneof![Just(0usize), Just(512), Just(1), Just(77)];
        (prop::collection::vec(prop_oneof![1..5u64, 500..5000u64], 0..6), skipped)
            .prop_map(|(cuts, at)| Pieces(cuts, at))
    };
    let step = prop_oneof![
        4 => (place(), pieces()).prop_map(|((at, length), pieces)| Step::Read(at, length, pieces)),
        6 => (place(), pieces(), any::<(bool, u8)>())
            .prop_map(|((at, length), pieces, (durable, fill))| Step::Write(at, length, pieces, durable, fill)),
        1 => Just(Step::Flush),
        1 => place().prop_map(|(at, length)| Step::Discard(at, length)),
        2 => (place(), any::<(bool, bool)>())
            .prop_map(|((at, length), (unmap, durable))| Step::Zero(at, length, unmap, durable)),
        1 => any::<u64>().prop_map(Step::Resize),
    ];
    prop::collection::vec(step, 1..24)
}

/// A disk and what it should hold.
struct Pair {
    disk: Disk,
    model: Vec<u8>,
    unit: u64,
}

impl Pair {
    fn cut(&self, at: u64, length: u64) -> Range<u64> {
        let units = self.model.len() as u64 / self.unit;
        let start = at % (units + 1);
        let count = (length / self.unit) % (units - start + 1);
        start * self.unit..(start + count) * self.unit
    }

    fn part(&mut self, range: &Range<u64>) -> &mut [u8] {
        &mut self.model[range.start as usize..range.end as usize]
    }

    fn asked(&self, operation: Operation, range: Range<u64>, pieces: &Pieces) -> Asked {
        let (mut left, mut lengths) = ((range.end - range.start) as usize, Vec::new());
        for cut in &pieces.0 {
            let length = (*cut as usize).min(left);
            lengths.push(length);
            left -= length;
        }
        lengths.push(left);
        Asked::in_pieces(operation, range, &lengths, pieces.1)
    }

    fn carry_out(&self, asked: Asked) -> Asked {
        let (result, asked) = one(&self.disk, asked);
        result.unwrap();
        asked
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Read(at, length, ref pieces) => {
                let range = self.cut(at, length);
                let asked = self.carry_out(self.asked(Operation::Read, range.clone(), pieces));
                assert!(asked.content() == self.part(&range), "what was read of {range:?} is something else");
            }
            Step::Write(at, length, ref pieces, durable, fill) => {
                let range = self.cut(at, length);
                let bytes: Vec<u8> = range.clone().map(|at| fill.wrapping_add((at % 13) as u8)).collect();
                self.carry_out(
                    self.asked(Operation::Write { durable }, range.clone(), pieces).holding(&bytes),
                );
                self.part(&range).copy_from_slice(&bytes);
            }
            Step::Flush => drop(self.carry_out(Asked::new(Operation::Flush, 0..0))),
            Step::Discard(at, length) => self.discard(self.cut(at, length)),
            Step::Zero(at, length, unmap, durable) => {
                let range = self.cut(at, length);
                self.carry_out(Asked::new(Operation::WriteZeroes { unmap, durable }, range.clone()));
                self.part(&range).fill(0);
            }
            Step::Resize(bytes) => {
                let bytes = (bytes % BYTES_MAX).next_multiple_of(512).max(512);
                self.disk.resize(bytes).unwrap();
                self.model.resize(bytes as usize, 0);
            }
        }
    }

    /// Each byte that was discarded is what it was, or zero.
    fn discard(&mut self, range: Range<u64>) {
        self.carry_out(Asked::new(Operation::Discard, range.clone()));
        let seen = content(&self.disk);
        let now = &seen[range.start as usize..range.end as usize];
        for (was, is) in self.part(&range).iter_mut().zip(now) {
            assert!(*is == 0 || *is == *was, "a discard made something new of {range:?}");
            *was = *is;
        }
    }
}

fn original() -> Vec<u8> {
    (0..BYTES).map(|at| (at % 251) as u8 | 1).collect()
}

fn assert_like_the_model(kind: &Kind, steps: &[Step]) {
    let original = original();
    std::fs::write(kind.base(), &original).unwrap();
    let mut pair = Pair { disk: kind.open(), model: original.clone(), unit: kind.unit };
    if kind.name == "memory" {
        pair.carry_out(Asked::write(0, &original));
    }
    for step in steps {
        pair.take(step);
    }
    assert_eq!(pair.disk.bytes(), pair.model.len() as u64);
    assert!(content(&pair.disk) == pair.model, "the disk holds something else");
    if kind.spec.overlay.is_some() {
        assert!(
            std::fs::read(kind.base()).unwrap() == original,
            "the base was written before it was committed"
        );
    }
    pair.disk.end().unwrap();
    drop(pair.disk);
    let kept =
        if kind.spec.overlay.is_some() && kind.spec.end == End::Drop { &original } else { &pair.model };
    if kind.name != "memory" {
        assert!(std::fs::read(kind.base()).unwrap() == *kept, "the file is not as it should be in the end");
    }
}

/// Does the same to every kind of drive, so that they are also compared with each other.
#[test]
fn every_drive_is_like_the_model() {
    let kinds = kinds(&original());
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in steps())| {
        for kind in &kinds {
            let run = std::panic::AssertUnwindSafe(|| assert_like_the_model(kind, &steps));
            if std::panic::catch_unwind(run).is_err() {
                return Err(TestCaseError::fail(kind.name));
            }
        }
    });
}
