//! Reads a whole journal: its sessions one after the other, the lanes of each merged by time.

use super::chunk::{HEADER_BYTES, Header, MAGIC, NoHeader, PAGE};
use super::frames::{Frames, Next};
use super::{Line, Trouble, What};
use crate::request::Nanos;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// What a reader finds.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A record.
    Line(Line),
    /// Something else.
    Trouble(Trouble),
}

/// Reads the journal that `fetch` fetches bytes of: it fills what it is given from that place in the file on, and says
/// how many bytes it found. At most a chunk of each lane of a session is in memory.
///
/// A file that is still being written may be read, too: each lane then ends somewhere.
#[derive(Debug)]
pub struct Reader<F> {
    fetch: F,
    /// What is left of the file, by session and lane.
    sessions: BTreeMap<u64, BTreeMap<u32, VecDeque<Header>>>,
    lanes: Vec<Lane>,
    /// The lanes' next lines: when, and whose.
    heads: BinaryHeap<Reverse<(Nanos, usize)>>,
    troubles: VecDeque<Trouble>,
}

#[derive(Debug)]
struct Lane {
    number: u32,
    chunks: VecDeque<Header>,
    /// The chunk that is read, and how many bytes it should have.
    open: Option<(Frames, Header)>,
    /// The number that the next chunk has to have.
    expected: u32,
    /// Where the chunk before broke off without an end.
    broken_off: Option<u64>,
    /// How often this chunk was read again.
    again: usize,
    next: Option<Line>,
}

/// A chunk is not read more often than that because somebody writes it.
const AGAIN_MAX: usize = 16;

impl<E, F: FnMut(u64, &mut [u8]) -> Result<usize, E>> Reader<F> {
    /// Looks for the chunks of a file with that many bytes.
    ///
    /// # Errors
    /// Bytes cannot be fetched.
    pub fn new(bytes: u64, fetch: F) -> Result<Reader<F>, E> {
        let (sessions, troubles) = Default::default();
        let mut reader = Reader { fetch, sessions, lanes: Vec::new(), heads: BinaryHeap::new(), troubles };
        reader.find_chunks(bytes)?;
        Ok(reader)
    }

    fn find_chunks(&mut self, bytes: u64) -> Result<(), E> {
        let mut at = 0;
        // Where something began that is no chunk.
        let mut odd: Option<(u64, NoHeader)> = None;
        while at < bytes {
            let found = Header::read(&self.fetch(at, HEADER_BYTES as u64)?, at);
            if found.is_ok() || matches!(found, Err(NoHeader::Format(_))) {
                self.note(odd.take(), at);
            }
            match found {
                Ok(header) => {
                    let lanes = self.sessions.entry(header.session).or_default();
                    lanes.entry(header.lane).or_default().push_back(header);
                    at = at.saturating_add(u64::from(header.bytes));
                }
                Err(NoHeader::Empty) => at += PAGE,
                Err(no) => {
                    odd.get_or_insert((at, no));
                    at += PAGE;
                }
            }
        }
        self.note(odd, bytes);
        // One that was made ready ahead may be used after one that is behind it.
        for chunks in self.sessions.values_mut().flat_map(BTreeMap::values_mut) {
            chunks.make_contiguous().sort_by_key(|chunk| (chunk.number, chunk.offset));
        }
        Ok(())
    }

    /// Notes what was no chunk, up to `to`.
    fn note(&mut self, odd: Option<(u64, NoHeader)>, to: u64) {
        if let Some((at, no)) = odd {
            let what = match no {
                NoHeader::Format(version) => What::Format { version },
                NoHeader::Empty | NoHeader::Damaged => What::NoChunk { bytes: to - at },
            };
            self.troubles.push_back(Trouble { at, what });
        }
    }

    /// At most so many bytes from that place on.
    fn fetch(&mut self, at: u64, most: u64) -> Result<Vec<u8>, E> {
        let mut bytes = vec![0; usize::try_from(most).unwrap_or(usize::MAX)];
        let found = (self.fetch)(at, &mut bytes)?;
        bytes.truncate(found);
        Ok(bytes)
    }

    fn begin_session(&mut self, lanes: BTreeMap<u32, VecDeque<Header>>) -> Result<(), E> {
        self.lanes.clear();
        self.heads.clear();
        for (number, chunks) in lanes {
            let (open, broken_off, next) = (None, None, None);
            self.lanes.push(Lane { number, chunks, open, expected: 0, broken_off, again: 0, next });
            self.advance(self.lanes.len() - 1)?;
        }
        Ok(())
    }

    /// Reads the next line of a lane.
    fn advance(&mut self, index: usize) -> Result<(), E> {
        loop {
            let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
            let Some((frames, header)) = &mut lane.open else {
                if !self.open_next(index)? {
                    return Ok(());
                }
                continue;
            };
            if lane.chunks.is_empty() && lane.again < AGAIN_MAX && frames.is_odd() {
                lane.again += 1;
                let (at, bytes) = (header.offset, u64::from(header.bytes));
                let bytes = self.fetch(at, bytes)?;
                self.lanes[index].read_again(bytes);
            }
            let lane = &mut self.lanes[index];
            let Some((frames, header)) = &mut lane.open else { return Ok(()) };
            let (place, session) = (frames.place(), header.session);
            match frames.next() {
                Next::Line(line) => {
                    self.troubles.extend(lane.no_end());
                    self.heads.push(Reverse((line.t, index)));
                    lane.next = Some(line);
                    return Ok(());
                }
                Next::Trouble(trouble) => {
                    self.troubles.extend(lane.no_end());
                    self.troubles.push_back(trouble);
                }
                Next::End { next } => {
                    let on = lane.ended();
                    if let Some(next) = next.filter(|_| !on) {
                        self.look_for(session, index, place, next)?;
                    }
                }
                Next::Open => self.troubles.extend(lane.broke_off(place)),
            }
        }
    }

    /// Opens a lane's next chunk, if there is one.
    fn open_next(&mut self, index: usize) -> Result<bool, E> {
        let Some(header) = self.lanes[index].chunks.pop_front() else { return Ok(false) };
        let bytes = self.fetch(header.offset, u64::from(header.bytes))?;
        let lane = &mut self.lanes[index];
        if header.number < lane.expected {
            // There was one with that number.
            let what = What::NoChunk { bytes: header.bytes.into() };
            self.troubles.push_back(Trouble { at: header.offset, what });
            return Ok(true);
        }
        if header.number > lane.expected {
            let chunks = Some(header.number - lane.expected);
            let what = What::Missing { lane: lane.number, chunks };
            self.troubles.push_back(Trouble { at: header.offset, what });
            lane.broken_off = None;
        }
        lane.expected = header.number.saturating_add(1);
        lane.again = 0;
        lane.open = Some((Frames::new(bytes, header.offset), header));
        Ok(true)
    }

    /// A chunk ended at `place` and says where the lane goes on. If there is none, it was lost, or begun only after
    /// chunks were looked for.
    fn look_for(&mut self, session: u64, index: usize, place: u64, next: u64) -> Result<(), E> {
        let found = Header::read(&self.fetch(next, HEADER_BYTES as u64)?, next);
        let Lane { number: lane, expected, .. } = self.lanes[index];
        let is_it = |found: Header| (found.session, found.lane, found.number) == (session, lane, expected);
        if !found.is_ok_and(is_it) {
            let what = What::Missing { lane, chunks: None };
            self.troubles.push_back(Trouble { at: place, what });
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Piece>, E> {
        loop {
            if let Some(trouble) = self.troubles.pop_front() {
                return Ok(Some(Piece::Trouble(trouble)));
            }
            if let Some(Reverse((_, index))) = self.heads.pop() {
                let line = self.lanes[index].next.take();
                self.advance(index)?;
                if let Some(line) = line {
                    return Ok(Some(Piece::Line(line)));
                }
            } else {
                match self.sessions.pop_first() {
                    Some((_, lanes)) => self.begin_session(lanes)?,
                    None => return Ok(None),
                }
            }
        }
    }
}

impl Lane {
    fn read_again(&mut self, bytes: Vec<u8>) {
        if let Some((frames, _)) = &mut self.open {
            frames.refresh(bytes);
        }
    }

    /// Something follows in another chunk after one without an end.
    fn no_end(&mut self) -> Option<Trouble> {
        self.broken_off.take().map(|at| Trouble { at, what: What::NoEnd })
    }

    /// The chunk's end was there. Whether there is another one.
    fn ended(&mut self) -> bool {
        self.open = None;
        self.broken_off = None;
        !self.chunks.is_empty()
    }

    /// The chunk's end was not there.
    fn broke_off(&mut self, at: u64) -> Option<Trouble> {
        let (frames, header) = self.open.take()?;
        self.broken_off = Some(at);
        let is_cut = frames.bytes() < u64::from(header.bytes);
        is_cut.then_some(Trouble { at: header.offset.saturating_add(frames.bytes()), what: What::CutShort })
    }
}

impl<E, F: FnMut(u64, &mut [u8]) -> Result<usize, E>> Iterator for Reader<F> {
    type Item = Result<Piece, E>;

    fn next(&mut self) -> Option<Result<Piece, E>> {
        self.take().transpose()
    }
}

/// Everything in a journal, be it in this format or JSON lines.
pub fn contents(journal: &[u8]) -> Vec<Piece> {
    if !journal.starts_with(&MAGIC) {
        return json_lines(journal);
    }
    let fetch = |at: u64, place: &mut [u8]| {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(journal.len());
        let found = journal[from..].iter().zip(place).map(|(byte, place)| *place = *byte).count();
        Ok::<usize, std::convert::Infallible>(found)
    };
    match Reader::new(journal.len() as u64, fetch) {
        Ok(reader) => reader.flatten().collect(),
        Err(never) => match never {},
    }
}

fn json_lines(journal: &[u8]) -> Vec<Piece> {
    let mut at = 0;
    let mut pieces = Vec::new();
    for (line, number) in journal.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        pieces.push(match serde_json::from_slice(line) {
            Ok(line) => Piece::Line(line),
            Err(error) => {
                let what = What::NoLine { number, why: error.to_string() };
                Piece::Trouble(Trouble { at, what })
            }
        });
        at += line.len() as u64;
    }
    pieces
}
