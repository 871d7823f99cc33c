//! The journal's format: what is written is read, lanes and sessions merge as they should, and damage is told, never a
//! panic.

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::journal::chunk::{HEADER_BYTES, HEADER_WORDS, Header, MAGIC, PAGE};
use blkstay_engine::journal::frame::{self, Head, kind};
use blkstay_engine::journal::{Line, Piece, Reader, Record, Trouble, What, codec, contents};
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};
use proptest::collection::vec;
use proptest::prelude::*;

/// A file that is being written.
#[derive(Default)]
struct File(Vec<u64>);

/// A chunk of one page that is being written.
struct Chunk {
    header: Header,
    words: Vec<u64>,
}

impl File {
    fn place(&self) -> u64 {
        self.0.len() as u64 * 8
    }

    fn chunk(&self, session: u64, lane: u32, number: u32) -> Chunk {
        let header = Header { session, offset: self.place(), lane, number, bytes: PAGE as u32 };
        Chunk { header, words: header.words().to_vec() }
    }

    /// Puts chunks behind each other; a chunk that is not the last of its lane is made by [`File::chunk`] before them.
    fn push(&mut self, mut chunk: Chunk) {
        assert_eq!(chunk.header.offset, self.place(), "chunks come in order");
        chunk.words.resize(PAGE as usize / 8, 0);
        self.0.append(&mut chunk.words);
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

impl Chunk {
    fn add(mut self, t: u64, record: &Record) -> Chunk {
        codec::encode(t, record, &mut self.words).expect("a frame");
        self
    }

    fn logs(self, lines: &[(u64, &str)]) -> Chunk {
        lines.iter().fold(self, |chunk, (t, line)| chunk.add(*t, &log(line)))
    }

    fn end(mut self, next: Option<u64>) -> Chunk {
        let (end, words) = frame::end(next);
        self.words.extend_from_slice(&end[..words]);
        self
    }
}

fn log(line: &str) -> Record {
    Record::Log { line: line.to_owned() }
}

/// The kernel's lines that are read, in order; and what is wrong.
fn told(bytes: &[u8]) -> (String, Vec<Trouble>) {
    let (mut words, mut troubles) = (Vec::new(), Vec::new());
    for piece in contents(bytes) {
        match piece {
            Piece::Line(Line { record: Record::Log { line }, .. }) => words.push(line),
            Piece::Line(line) => panic!("{line:?}"),
            Piece::Trouble(trouble) => troubles.push(trouble),
        }
    }
    (words.join(" "), troubles)
}

#[test]
fn lanes_of_a_session_are_merged_by_time_and_sessions_follow_each_other() {
    let mut file = File::default();
    file.push(file.chunk(0, 0, 0).logs(&[(1, "a"), (4, "d")]).end(Some(3 * PAGE)));
    file.push(file.chunk(0, 2, 0).logs(&[(5, "f"), (9, "i")]));
    file.push(file.chunk(0, 1, 0).logs(&[(2, "b"), (5, "e"), (8, "h")]).end(None));
    file.push(file.chunk(0, 0, 2).logs(&[(7, "g")]));
    file.push(file.chunk(0, 0, 1).logs(&[(5, "d'")]).end(Some(2 * PAGE)));
    let session = file.place();
    file.push(file.chunk(session, 0, 0).logs(&[(1, "A"), (3, "C")]).end(None));
    file.push(file.chunk(session, 1, 0).logs(&[(2, "B")]).end(None));
    let (words, troubles) = told(&file.bytes());
    assert_eq!((words.as_str(), troubles), ("a b d d' e f g h i A B C", vec![]));
}

#[test]
fn room_that_was_not_used_is_nothing_odd() {
    let mut file = File::default();
    file.push(file.chunk(0, 0, 0).logs(&[(1, "a")]).end(Some(3 * PAGE)));
    file.0.resize(3 * PAGE as usize / 8, 0);
    file.push(file.chunk(0, 0, 1));
    file.0.resize(9 * PAGE as usize / 8 + 3, 0);
    assert_eq!(told(&file.bytes()), ("a".to_owned(), vec![]));
}

#[test]
fn what_was_not_written_to_its_end_does_not_count() {
    let mut file = File::default();
    let mut chunk = file.chunk(0, 0, 0).logs(&[(1, "a"), (2, "b")]);
    let torn = chunk.words.len();
    chunk = chunk.logs(&[(3, "c")]);
    chunk.words[torn] = 0;
    file.push(chunk);
    assert_eq!(told(&file.bytes()), ("a b".to_owned(), vec![]));
}

#[test]
fn a_flipped_bit_costs_one_record_at_most_and_is_told() {
    let mut file = File::default();
    file.push(file.chunk(0, 0, 0).logs(&[(1, "first"), (2, "second"), (3, "third")]).end(None));
    let whole = file.bytes();
    let used = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    for bit in HEADER_BYTES * 8..used * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (words, troubles) = told(&bytes);
        let is_last = bit / 8 >= used - 8;
        let left = words.split(' ').filter(|word| ["first", "second", "third"].contains(word)).count();
        assert!(is_last || left == 2, "bit {bit}: {words}, {troubles:?}");
        assert!(troubles.len() == 1, "bit {bit}: {words}, {troubles:?}");
        assert!(troubles[0].is_damage() && troubles[0].at <= bit as u64 / 8, "bit {bit}: {troubles:?}");
    }
}

#[test]
fn a_damaged_header_is_told_and_so_is_what_was_behind_it() {
    let mut file = File::default();
    file.push(file.chunk(0, 0, 0).logs(&[(1, "a")]).end(Some(PAGE)));
    file.push(file.chunk(0, 0, 1).logs(&[(2, "b")]).end(Some(2 * PAGE)));
    file.push(file.chunk(0, 0, 2).logs(&[(3, "c")]).end(None));
    for bit in 0..HEADER_BYTES * 8 {
        let mut bytes = file.bytes();
        bytes[PAGE as usize + bit / 8] ^= 1 << (bit % 8);
        let (words, troubles) = told(&bytes);
        assert_eq!(words, "a c");
        let first = &troubles[0];
        assert_eq!(first.at, PAGE);
        assert!(matches!(first.what, What::NoChunk { bytes: PAGE } | What::Format { .. }), "{troubles:?}");
        assert_eq!(troubles[1].what, What::Missing { lane: 0, chunks: Some(1) });
        assert_eq!(troubles.len(), 2);
    }
}

#[test]
fn what_is_missing_is_told() {
    let mut file = File::default();
    file.push(file.chunk(0, 0, 0).logs(&[(1, "a")]).end(Some(PAGE)));
    file.push(file.chunk(0, 0, 1).logs(&[(2, "b")]).end(None));
    let whole = file.bytes();
    let (words, troubles) = told(&whole[..PAGE as usize]);
    assert_eq!((words.as_str(), troubles[0].what.clone()), ("a", What::Missing { lane: 0, chunks: None }));
    let (words, troubles) = told(&whole[..PAGE as usize + HEADER_BYTES]);
    assert_eq!((words.as_str(), troubles[0].what.clone()), ("a", What::CutShort));

    let mut file = File::default();
    file.push(file.chunk(0, 0, 0).logs(&[(1, "a")]));
    file.push(file.chunk(0, 0, 1).logs(&[(2, "b")]).end(None));
    let (words, troubles) = told(&file.bytes());
    assert_eq!((words.as_str(), troubles.len(), troubles[0].what.clone()), ("a b", 1, What::NoEnd));
}

#[test]
fn what_this_version_does_not_know_is_skipped_with_a_note() {
    let mut file = File::default();
    let mut chunk = file.chunk(0, 0, 0).logs(&[(1, "a")]);
    chunk.words.extend([Head::of(77, 0, 16, &[2, 3]).word(), 2, 3]);
    chunk.words.extend([Head::of(kind::COMPLETED, 0, 16, &[2, 200]).word(), 2, 200]);
    chunk.words.extend([Head::of(kind::COMPLETED, 64, 16, &[2, 0]).word(), 2, 0]);
    file.push(chunk.logs(&[(3, "b")]).end(None));
    let (words, troubles) = told(&file.bytes());
    assert_eq!(words, "a b");
    let kinds: Vec<What> = troubles.iter().map(|trouble| trouble.what.clone()).collect();
    let unknown = |kind| What::Unknown { kind };
    assert_eq!(kinds, [unknown(77), unknown(kind::COMPLETED), unknown(kind::COMPLETED)]);
    assert!(troubles.iter().all(|trouble| !trouble.is_damage()));
}

#[test]
fn a_chunk_that_is_written_while_it_is_read_is_whole() {
    let mut file = File::default();
    let chunk = file.chunk(0, 0, 0).logs(&[(1, "a"), (2, "b"), (3, "c")]);
    file.push(chunk);
    let whole = file.bytes();
    let second = HEADER_BYTES + whole[HEADER_BYTES..].windows(3).position(|b| b == b"log").expect("one") + 40;
    let second = second.next_multiple_of(8);
    let mut fetched = 0;
    let fetch = |at: u64, place: &mut [u8]| {
        let from = &whole[at as usize..][..place.len()];
        place.copy_from_slice(from);
        fetched += usize::from(place.len() > HEADER_BYTES);
        if fetched == 1 && place.len() > HEADER_BYTES {
            // The first look at it came before something was written that lies before what it saw last.
            place[second..second + 8].fill(0);
        }
        Ok::<usize, ()>(place.len())
    };
    let pieces: Vec<Piece> =
        Reader::new(PAGE, fetch).expect("read").map(|piece| piece.expect("read")).collect();
    let pieces = pieces.iter().map(|piece| matches!(piece, Piece::Line(_)));
    assert_eq!(pieces.collect::<Vec<_>>(), [true, true, true]);
    assert_eq!(fetched, 2, "it was not odd");
}

#[test]
fn a_request_takes_64_bytes_when_it_arrives_and_completes() {
    let (id, range) = (RequestId(1 << 40), ByteRange { offset: 1 << 50, length: 1 << 20 });
    let class = ClassSet::of(&Class::ALL);
    let request =
        Request { id, queue: u16::MAX, op: Op::WriteZeroes, range, class, probes: Probes::default() };
    let mut words = Vec::new();
    let arrived = Record::Arrived { request, point: None, passed: true, resubmitted: true };
    codec::encode(u64::MAX, &arrived, &mut words).expect("a frame");
    let (status, error) = (Status::Aborted, None);
    codec::encode(u64::MAX, &Record::Completed { id, status, passed: true, error }, &mut words)
        .expect("a frame");
    assert_eq!(words.len() * 8, 64);
}

/// Whatever it is, it is read to its end; nothing is read twice.
fn survives(bytes: &[u8]) -> usize {
    let pieces = contents(bytes);
    assert!(pieces.len() <= bytes.len() + 1);
    for piece in &pieces {
        if let Piece::Trouble(trouble) = piece {
            assert!(!trouble.to_string().is_empty());
        }
    }
    pieces.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn soup_is_no_journal(soup in vec(any::<u8>(), 0..10_000)) {
        survives(&soup);
        survives(&[&MAGIC[..], &soup].concat());
    }

    #[test]
    fn soup_in_a_chunk_is_damage(soup in vec(prop_oneof![0..1_u64 << 36, any::<u64>(), Just(0)], 0..500)) {
        let mut file = File::default();
        let mut chunk = file.chunk(0, 0, 0).logs(&[(1, "a")]);
        chunk.words.extend(&soup);
        file.push(chunk);
        survives(&file.bytes());
    }

    #[test]
    fn a_damaged_journal_is_read_on(changes in vec((0..3 * PAGE as usize, any::<u8>()), 0..20), cut in 0..3 * PAGE as usize) {
        let mut file = File::default();
        for number in 0..3 {
            let mut chunk = file.chunk(0, 0, number);
            for t in 0..30 {
                chunk = chunk.add(t, &log("something")).add(t, &Record::Submitted { id: RequestId(t) });
            }
            file.push(chunk.end((number < 2).then_some(u64::from(number + 1) * PAGE)));
        }
        let mut bytes = file.bytes();
        for (place, value) in changes {
            bytes[place] = value;
        }
        survives(&bytes);
        survives(&bytes[..cut]);
    }
}

#[test]
fn a_hostile_chunk_takes_no_longer_than_it_is() {
    // Every word is the head of a frame as long as all that follows; none of them is right.
    let mut file = File::default();
    let words = (1 << 20) / 8;
    let header = Header { session: 0, offset: 0, lane: 0, number: 0, bytes: 1 << 20 };
    file.0.extend(header.words());
    for at in HEADER_WORDS..words {
        let rest = (words - at - 1) as u32 * 8;
        file.0.push(
            Head { kind: kind::OTHER, flags: 0, check: 0, bytes: if at % 2 == 0 { rest } else { 512 } }
                .word(),
        );
    }
    let began = std::time::Instant::now();
    survives(&file.bytes());
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}
