//! The frames of one chunk.

use super::chunk::HEADER_BYTES;
use super::codec::decode;
use super::frame::{Head, WORD, kind};
use super::{Line, Trouble, What, run};
use std::cell::Cell;
use std::collections::VecDeque;

/// Longest frame that is looked for after damage: else a hostile file could make that take for ever.
const SOUGHT_BYTES_MAX: usize = 512;

/// How often as many bytes as the chunk has are checked for long frames that turn out to be none.
const PATIENCE: usize = 16;

/// Reads a chunk's frames, one after the other.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where in the file they are.
    offset: u64,
    at: usize,
    /// What else the frame before stands for.
    rest: VecDeque<Line>,
    /// Words of long frames that may still turn out to be none.
    patience: Cell<usize>,
}

/// What comes next in a chunk.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// A record.
    Line(Line),
    /// Something that is none.
    Trouble(Trouble),
    /// Its end was written; and where the lane goes on, if it does.
    End { next: Option<u64> },
    /// Nothing more has been written.
    Open,
}

impl Frames {
    /// Of a chunk with those bytes that begins at `offset` in the file.
    pub fn new(bytes: Vec<u8>, offset: u64) -> Frames {
        let patience = Cell::new((bytes.len() / WORD).saturating_mul(PATIENCE));
        Frames { bytes, offset, at: HEADER_BYTES, rest: VecDeque::new(), patience }
    }

    /// Where in the file the next frame is.
    pub fn place(&self) -> u64 {
        self.offset.saturating_add(self.at as u64)
    }

    /// How many bytes of the chunk there are.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The same chunk, read again: more may have been written since.
    pub fn refresh(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Reads the next record. After the end, or where nothing more has been written, it says so again and again.
    pub fn next(&mut self) -> Next {
        if let Some(line) = self.rest.pop_front() {
            return Next::Line(line);
        }
        match self.frame(self.at) {
            Some((Head { kind: kind::END, bytes, .. }, (body, _))) => {
                Next::End { next: self.word(body).filter(|_| bytes > 0) }
            }
            Some((head, body)) => {
                let bytes = &self.bytes[body.0..body.1];
                self.rest = run::decode(head, bytes).unwrap_or_default();
                let read = self.rest.pop_front().or_else(|| decode(head, bytes));
                let place = self.place();
                self.at = body.0 + head.body_words() * WORD;
                let unknown = Trouble { at: place, what: What::Unknown { kind: head.kind } };
                read.map_or(Next::Trouble(unknown), Next::Line)
            }
            None => self.pass_over(),
        }
    }

    /// Whether nothing readable is next though something readable follows: damage, or a chunk that was read while
    /// it was written.
    pub fn is_odd(&self) -> bool {
        self.frame(self.at).is_none() && (self.head(self.at).is_some() || self.sought().is_some())
    }

    fn word(&self, at: usize) -> Option<u64> {
        self.bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
    }

    fn head(&self, at: usize) -> Option<Head> {
        self.word(at).and_then(Head::read)
    }

    /// The whole frame that is there: its head, and where its body begins and ends.
    fn frame(&self, at: usize) -> Option<(Head, (usize, usize))> {
        let head = self.head(at)?;
        let start = at + WORD;
        let body = self.bytes.get(start..start.checked_add(head.body_words() * WORD)?)?;
        let is_long = body.len() > SOUGHT_BYTES_MAX;
        if is_long && self.patience.get() < head.body_words() {
            return None;
        }
        let words = body.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let is_right = head.check == head.check_of(words) && head.kind != 0;
        if is_long && !is_right {
            self.patience.set(self.patience.get() - head.body_words());
        }
        is_right.then_some((head, (start, start + head.bytes as usize)))
    }

    /// Nothing readable is here: goes to where something is.
    fn pass_over(&mut self) -> Next {
        let (place, from) = (self.place(), self.at);
        let to = match (self.by_length(), self.sought(), self.head(from)) {
            (Some(to), ..) | (None, Some(to), _) => to,
            (None, None, Some(_)) => self.bytes.len(),
            (None, None, None) => return Next::Open,
        };
        self.at = to;
        Next::Trouble(Trouble { at: place, what: What::Damaged { bytes: (to - from) as u64 } })
    }

    /// Where the next frame is if the length of this one is right.
    fn by_length(&self) -> Option<usize> {
        let next = self.at + WORD + self.head(self.at)?.body_words() * WORD;
        self.frame(next).map(|_| next)
    }

    /// The next place with a frame that something good follows.
    fn sought(&self) -> Option<usize> {
        let mut places = (self.at + WORD..self.bytes.len()).step_by(WORD);
        places.find(|place| {
            let is_short = self.head(*place).is_some_and(|head| head.body_words() * WORD <= SOUGHT_BYTES_MAX);
            is_short && self.frame(*place).is_some_and(|(head, (start, _))| self.is_followed(head, start))
        })
    }

    /// Whether a frame, a place where none was written, or the chunk's end comes after that one.
    fn is_followed(&self, head: Head, start: usize) -> bool {
        let next = start + head.body_words() * WORD;
        self.head(next).is_none() || self.frame(next).is_some()
    }
}
