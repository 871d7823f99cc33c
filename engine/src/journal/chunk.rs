//! What a file is made of: chunks of one lane each, that say themselves what they are.
//!
//! A lane is a stream of frames with one writer at a time. A session is what one daemon wrote.

use super::frame::{WORD, mix};

/// The first bytes of every chunk, hence of every journal: no text begins with them.
pub const MAGIC: [u8; 8] = *b"\xffblkstay";

/// Version of the format that chunks and frames have.
pub const FORMAT: u32 = 1;

/// Chunks begin at multiples of that many bytes, and are as long as some of them.
pub const PAGE: u64 = 4096;

/// Words before the first frame.
pub const HEADER_WORDS: usize = 8;

/// Bytes before the first frame.
pub const HEADER_BYTES: usize = HEADER_WORDS * WORD;

/// What a chunk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The session: where in the file its first chunk begins.
    pub session: u64,
    /// Where in the file this one begins.
    pub offset: u64,
    /// The lane.
    pub lane: u32,
    /// How many chunks of the lane are before this one.
    pub number: u32,
    /// Its bytes, this header among them.
    pub bytes: u32,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHeader {
    /// Nothing was written there.
    Empty,
    /// It is of a format that this version does not know.
    Format(u32),
    /// It is none, or damaged.
    Damaged,
}

impl Header {
    /// As it is written. The last word has to be stored last: it makes the others count.
    pub fn words(&self) -> [u64; HEADER_WORDS] {
        let mut words = [
            u64::from_le_bytes(MAGIC),
            u64::from(FORMAT),
            self.session,
            self.offset,
            u64::from(self.lane) | u64::from(self.number) << 32,
            0,
            0,
            u64::from(self.bytes),
        ];
        words[HEADER_WORDS - 1] |= check(&words) << 32;
        words
    }

    /// What the chunk at `offset` in the file says, if one begins with these bytes.
    ///
    /// # Errors
    /// None does.
    pub fn read(bytes: &[u8], offset: u64) -> Result<Header, NoHeader> {
        if bytes.iter().take(HEADER_BYTES).all(|byte| *byte == 0) {
            return Err(NoHeader::Empty);
        }
        let mut words = [0; HEADER_WORDS];
        for (place, word) in words.iter_mut().zip(bytes.as_chunks().0) {
            *place = u64::from_le_bytes(*word);
        }
        let [magic, format, session, own_offset, lane, _, _, last] = words;
        if bytes.len() < HEADER_BYTES || magic != u64::from_le_bytes(MAGIC) {
            return Err(NoHeader::Damaged);
        }
        if format != u64::from(FORMAT) {
            return Err(u32::try_from(format).map_or(NoHeader::Damaged, NoHeader::Format));
        }
        let (lane, number) = halves(lane);
        let (bytes, sum) = halves(last);
        words[HEADER_WORDS - 1] = u64::from(bytes);
        let is_right = check(&words) == u64::from(sum) && own_offset == offset && session <= offset;
        let is_whole = bytes > 0 && u64::from(bytes).is_multiple_of(PAGE);
        match is_right && is_whole {
            true => Ok(Header { session, offset, lane, number, bytes }),
            false => Err(NoHeader::Damaged),
        }
    }
}

/// Low and high half.
fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, high @ ..] = word.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(high))
}

fn check(words: &[u64; HEADER_WORDS]) -> u64 {
    mix(words.iter().copied()) >> 32
}
