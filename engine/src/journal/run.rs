//! Frames that stand for several records: of requests that no policy concerns, which arrive and complete many at a time
//! with numbers one after the other. Such a request takes some 10 bytes instead of 64, and it is the file's pages that
//! cost a journal most.

use super::frame::{Head, WORD, kind};
use super::{Line, Record};
use crate::class::ClassSet;
use crate::request::{ByteRange, Nanos, Op, Probes, Request, RequestId, SECTOR, Status};
use std::collections::VecDeque;

/// Words of the longest frame: a reader looks for longer ones less hard after damage.
const WORDS_MAX: usize = 60;

/// Most requests that a word of [`kind::PASSED_COMPLETED`] stands for.
const TOGETHER_MAX: u64 = 256;

/// Bits of a request's length and of its operation in a word of [`kind::PASSED_ARRIVED`]; the rest is its offset.
const LENGTH_BITS: u32 = 16;
const OP_BITS: u32 = 4;

/// Records that are to become one frame.
#[derive(Debug)]
pub struct Run {
    /// The frame, whose head is missing.
    words: [u64; WORDS_MAX],
    /// How many there are; 0 if there is no frame.
    length: usize,
    kind: u8,
    /// The number that goes on with it.
    next: u64,
}

impl Default for Run {
    fn default() -> Run {
        Run { words: [0; WORDS_MAX], length: 0, kind: 0, next: 0 }
    }
}

impl Run {
    /// Adds a request that arrived, if it goes on with this run, or begins one: whose queue, whose time it is, whose
    /// number is the next.
    #[inline]
    pub fn arrived(&mut self, t: Nanos, request: &Request) -> bool {
        let Request { id: RequestId(id), queue, op, range, class, probes } = *request;
        let Some(word) = packed(op, range).filter(|_| class == ClassSet::NONE && probes.is_empty()) else {
            return false;
        };
        let queue = u64::from(queue);
        if self.length == 0 {
            self.begin(kind::PASSED_ARRIVED, t);
            let _ = self.push(id) && self.push(queue);
        } else if !self.is(kind::PASSED_ARRIVED, t) || self.words[3] != queue || self.next != id {
            return false;
        }
        self.next = id.wrapping_add(1);
        self.push(word)
    }

    /// Adds a request that completed well, if its time is this run's, or begins one.
    #[inline]
    pub fn completed(&mut self, t: Nanos, RequestId(id): RequestId) -> bool {
        if id >> 56 != 0 {
            return false;
        }
        if self.length == 0 {
            self.begin(kind::PASSED_COMPLETED, t);
        } else if !self.is(kind::PASSED_COMPLETED, t) {
            return false;
        } else if let Some(last) = self.words.get_mut(self.length - 1)
            && self.next == id
            && (*last & (TOGETHER_MAX - 1)) < TOGETHER_MAX - 1
        {
            *last += 1;
            self.next = id.wrapping_add(1);
            return true;
        }
        self.next = id.wrapping_add(1);
        self.push(id << 8)
    }

    fn begin(&mut self, kind: u8, t: Nanos) {
        self.kind = kind;
        self.words[1] = t;
        self.length = 2;
    }

    fn is(&self, kind: u8, t: Nanos) -> bool {
        self.kind == kind && self.words[1] == t
    }

    /// Says whether there was room.
    #[inline]
    fn push(&mut self, word: u64) -> bool {
        let place = self.words.get_mut(self.length);
        let has_room = place.is_some();
        if let Some(place) = place {
            *place = word;
            self.length += 1;
        }
        has_room
    }

    /// Whether there is something that is no frame yet.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.length > 0
    }

    /// Ends the frame.
    pub fn frame(&mut self) -> &[u64] {
        let words = self.words.get_mut(..self.length).unwrap_or_default();
        if let [head, body @ ..] = words {
            *head = Head::of(self.kind, 0, (body.len() * WORD) as u32, body).word();
        }
        words
    }

    /// Forgets it.
    pub fn clear(&mut self) {
        self.length = 0;
    }
}

/// A request in one word, if it fits.
#[inline]
fn packed(op: Op, ByteRange { offset, length }: ByteRange) -> Option<u64> {
    let (sector, sectors) = (offset / SECTOR, length / SECTOR);
    let fits = offset % SECTOR == 0
        && length % SECTOR == 0
        && sectors >> LENGTH_BITS == 0
        && sector >> (u64::BITS - LENGTH_BITS - OP_BITS) == 0;
    fits.then_some((sector << LENGTH_BITS | sectors) << OP_BITS | op as u64)
}

fn unpacked(word: u64) -> Option<(Op, ByteRange)> {
    let op = *Op::ALL.get((word & ((1 << OP_BITS) - 1)) as usize)?;
    let word = word >> OP_BITS;
    let length = (word & ((1 << LENGTH_BITS) - 1)) * SECTOR;
    Some((op, ByteRange { offset: (word >> LENGTH_BITS) * SECTOR, length }))
}

/// The lines that a frame stands for, at least one, if it is one of these and makes sense.
pub fn decode(head: Head, body: &[u8]) -> Option<VecDeque<Line>> {
    let (words, []) = body.as_chunks() else { return None };
    // A longer one was never written, and could stand for very many lines.
    if !matches!(head.kind, kind::PASSED_ARRIVED | kind::PASSED_COMPLETED) || words.len() >= WORDS_MAX {
        return None;
    }
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    match (head.kind, head.flags, &words[..]) {
        (kind::PASSED_ARRIVED, 0, [t, first, queue, packed @ ..]) if !packed.is_empty() => {
            let queue = u16::try_from(*queue).ok()?;
            let line = |(number, word): (u64, &u64)| {
                let ((op, range), id) = (unpacked(*word)?, RequestId(first.checked_add(number)?));
                let (class, probes) = (ClassSet::NONE, Probes::default());
                let request = Request { id, queue, op, range, class, probes };
                let record = Record::Arrived { request, point: None, passed: true, resubmitted: false };
                Some(Line { t: *t, record })
            };
            (0..).zip(packed).map(line).collect()
        }
        (kind::PASSED_COMPLETED, 0, [t, runs @ ..]) if !runs.is_empty() => {
            let ids = runs.iter().flat_map(|run| (run >> 8)..=(run >> 8) + (run & (TOGETHER_MAX - 1)));
            let completed = |id| {
                let (id, status) = (RequestId(id), Status::Ok);
                Line { t: *t, record: Record::Completed { id, status, passed: true, error: None } }
            };
            Some(ids.map(completed).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u64, offset: u64, length: u64) -> Request {
        let (class, probes) = (ClassSet::NONE, Probes::default());
        let range = ByteRange { offset, length };
        Request { id: RequestId(id), queue: 3, op: Op::WriteZeroes, range, class, probes }
    }

    /// What a reader makes of it.
    fn read(run: &mut Run) -> Vec<Line> {
        let frame = run.frame().to_vec();
        run.clear();
        let head = Head::read(frame[0]).expect("a head");
        assert_eq!(head.body_words(), frame.len() - 1);
        assert_eq!(head.check, head.check_of(frame[1..].iter().copied()));
        let body: Vec<u8> = frame[1..].iter().flat_map(|word| word.to_le_bytes()).collect();
        Vec::from(decode(head, &body).expect("lines"))
    }

    #[test]
    fn requests_are_read_as_they_were_written() {
        let mut run = Run::default();
        let largest = request(9, ((1 << 44) - 1) * SECTOR, ((1 << 16) - 1) * SECTOR);
        let requests = [request(7, 0, 0), request(8, 4096, 8192), largest];
        assert!(requests.iter().all(|request| run.arrived(5, request)));
        let lines = read(&mut run);
        let expected = requests.map(|request| Line {
            t: 5,
            record: Record::Arrived { request, point: None, passed: true, resubmitted: false },
        });
        assert_eq!(lines, expected);
        assert!(!run.is_open());
    }

    #[test]
    fn what_does_not_go_on_with_a_run_is_not_taken() {
        let mut run = Run::default();
        assert!(!run.arrived(5, &request(1, 1, 512)) && !run.arrived(5, &request(1, 0, 1 << 25)));
        assert!(!run.completed(5, RequestId(1 << 56)));
        assert!(run.arrived(5, &request(1, 0, 512)));
        assert!(!run.arrived(6, &request(2, 0, 512)), "another time");
        assert!(!run.arrived(5, &request(3, 0, 512)), "another number");
        assert!(!run.arrived(5, &Request { queue: 4, ..request(2, 0, 512) }), "another queue");
        assert!(!run.completed(5, RequestId(1)), "something else");
        assert!(run.arrived(5, &request(2, 0, 512)));
        run.clear();
        assert!(run.completed(5, RequestId(1)) && !run.arrived(5, &request(2, 0, 512)));
        assert!(!run.completed(6, RequestId(2)), "another time");
    }

    #[test]
    fn completions_are_read_in_their_order() {
        let mut run = Run::default();
        let ids: Vec<u64> = (10..600).chain([3, 2, 4, 5]).collect();
        assert!(ids.iter().all(|id| run.completed(1, RequestId(*id))));
        assert_eq!(run.frame().len(), 2 + 3 + 3, "numbers that follow each other take a word");
        let completed = |line: &Line| match line.record {
            Record::Completed { id, status: Status::Ok, passed: true, error: None } => id.0,
            _ => panic!("{line:?}"),
        };
        assert_eq!(read(&mut run).iter().map(completed).collect::<Vec<_>>(), ids);
    }

    #[test]
    fn a_frame_is_never_longer_than_a_reader_looks_for() {
        let mut run = Run::default();
        let taken = (0..1000).take_while(|id| run.arrived(1, &request(*id, 0, 512))).count();
        assert_eq!((taken, read(&mut run).len()), (WORDS_MAX - 4, WORDS_MAX - 4));
        let taken = (0..1000).take_while(|id| run.completed(1, RequestId(2 * id))).count();
        assert_eq!(taken, WORDS_MAX - 2);
    }

    #[test]
    fn nonsense_is_no_line() {
        let head = |kind, flags| Head { kind, flags, check: 0, bytes: 0 };
        let word = |number: u64| number.to_le_bytes();
        let body = |words: &[u64]| words.iter().flat_map(|number| word(*number)).collect::<Vec<u8>>();
        let refused = [
            (head(kind::PASSED_ARRIVED, 0), body(&[1, 2])),
            (head(kind::PASSED_ARRIVED, 1), body(&[1, 2, 3, 4])),
            (head(kind::PASSED_ARRIVED, 0), body(&[1, 2, 1 << 16, 4])),
            (head(kind::PASSED_ARRIVED, 0), body(&[1, u64::MAX, 0, 0, 0])),
            (head(kind::PASSED_ARRIVED, 0), body(&[1, 2, 0, 15])),
            (head(kind::PASSED_ARRIVED, 0), body(&[1, 2, 3])),
            (head(kind::PASSED_COMPLETED, 0), body(&[1])),
            (head(kind::PASSED_COMPLETED, 0), body(&[1; WORDS_MAX])),
            (head(kind::PASSED_COMPLETED, 0), vec![1; 9]),
            (head(kind::ARRIVED, 0), body(&[1, 2, 3, 4])),
        ];
        for (head, body) in refused {
            assert_eq!(decode(head, &body), None, "{head:?} {body:?}");
        }
        assert!(decode(head(kind::PASSED_COMPLETED, 0), &body(&[1, u64::MAX])).is_some());
    }
}
