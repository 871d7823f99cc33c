//! What a request's data says, read where it is in the guest's memory.

use crate::chain::Segments;
use crate::memory::Memory;
use blkstay_engine::policy::Probe;
use blkstay_engine::request::Probes;
use vm_memory::{Bytes, GuestAddress};

/// How many bytes are looked at at once.
const PIECE: usize = 4096;

static ZEROS: [u8; PIECE] = [0; PIECE];

/// The data of a request. It is not copied: the guest can change it as long as it has not been told that the
/// request is through, as it can while a drive reads it.
#[derive(Clone, Debug)]
pub struct Payload {
    memory: Memory,
    segments: Segments,
}

impl Payload {
    /// Data in these segments of memory, one after the other.
    pub fn new(memory: Memory, segments: Segments) -> Payload {
        Payload { memory, segments }
    }

    /// Reads bytes at an offset, all of them; says whether they are there.
    pub fn read(&self, mut offset: u64, mut into: &mut [u8]) -> bool {
        for (at, length) in &self.segments {
            let length = *length as u64;
            if offset >= length {
                offset -= length;
                continue;
            }
            let here = usize::try_from(length - offset).map_or(into.len(), |left| left.min(into.len()));
            let (now, later) = std::mem::take(&mut into).split_at_mut(here);
            let read = at.0.checked_add(offset).map(|at| self.memory.read_slice(now, GuestAddress(at)));
            if !matches!(read, Some(Ok(()))) {
                return false;
            }
            (into, offset) = (later, 0);
            if into.is_empty() {
                break;
            }
        }
        into.is_empty()
    }

    /// Which of a policy's tests it passes.
    pub fn probes(&self, tests: &[Probe]) -> Probes {
        let passed = (0_u8..).zip(tests).filter(|(_, test)| self.passes(test));
        passed.fold(Probes::default(), |mut probes, (index, _)| {
            probes.insert(index);
            probes
        })
    }

    fn passes(&self, test: &Probe) -> bool {
        match test {
            Probe::Zero => self.is(0, self.length(), |_, piece| *piece == ZEROS[..piece.len()]),
            Probe::Bytes { offset, bytes } => {
                self.is(*offset, bytes.len(), |at, piece| *piece == bytes[at..][..piece.len()])
            }
        }
    }

    fn length(&self) -> usize {
        self.segments.iter().map(|(_, length)| length).sum()
    }

    /// Whether a part of it is there and each piece of that is right.
    fn is(&self, offset: u64, length: usize, is_right: impl Fn(usize, &[u8]) -> bool) -> bool {
        let mut buffer = [0; PIECE];
        (0..length).step_by(PIECE).all(|at| {
            let piece = &mut buffer[..PIECE.min(length - at)];
            offset.checked_add(at as u64).is_some_and(|offset| self.read(offset, piece))
                && is_right(at, piece)
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::sync::Arc;
    use vm_memory::GuestMemoryMmap;

    /// Data in segments of these lengths, with a gap after each.
    pub fn payload(data: &[u8], lengths: &[usize]) -> Payload {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0x1000), 1 << 20)]).unwrap();
        let (mut at, mut rest, mut segments) = (GuestAddress(0x1000), data, Segments::new());
        for length in lengths {
            let (now, later) = rest.split_at(*length);
            memory.write_slice(now, at).unwrap();
            segments.push((at, *length));
            (at, rest) = (GuestAddress(at.0 + *length as u64 + 7), later);
        }
        Payload::new(Memory::new(Arc::new(memory)), segments)
    }

    #[test]
    fn parts_are_read_across_segments_and_not_beyond() {
        let data: Vec<u8> = (0..100).collect();
        let payload = payload(&data, &[3, 47, 50]);
        let read = |offset, length| {
            let mut bytes = vec![0; length];
            payload.read(offset, &mut bytes).then_some(bytes)
        };
        assert_eq!(read(0, 100).as_deref(), Some(&data[..]));
        assert_eq!(read(2, 60).as_deref(), Some(&data[2..62]));
        assert_eq!(read(99, 1), Some(vec![99]));
        assert_eq!((read(100, 1), read(50, 51), read(u64::MAX, 1)), (None, None, None));
    }

    #[test]
    fn tests_are_passed_by_their_bytes_alone() {
        let bytes = |offset, bytes: &[u8]| Probe::Bytes { offset, bytes: bytes.to_vec() };
        let mut data = vec![0; 10_000];
        data[4090..4100].copy_from_slice(b"0123456789");
        let long = data[10..].to_vec();
        let tests = [
            Probe::Zero,
            bytes(4090, b"0123"),
            bytes(4091, b"0123"),
            bytes(9999, &[0]),
            bytes(9999, &[0, 0]),
            bytes(u64::MAX, &[0]),
            bytes(10, &long),
        ];
        assert_eq!(payload(&data, &[4095, 5905]).probes(&tests), Probes(0b100_1010));
        assert!(payload(&vec![0; 10_000], &[1, 9999]).passes(&Probe::Zero));
        let mut last = vec![0; 10_000];
        last[9999] = 1;
        assert!(!payload(&last, &[10_000]).passes(&Probe::Zero));
    }
}
