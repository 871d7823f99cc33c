//! What a record is wrapped in: a head, then a body that begins with the time, in words of 8 bytes, little endian.
//!
//! The head is stored last, at once, and is never 0: a record that has none was not written to its end.

/// Bytes in a word; every frame begins at a multiple of it.
pub const WORD: usize = 8;

/// Kinds of frames.
pub mod kind {
    /// A request arrived.
    pub const ARRIVED: u8 = 1;
    /// It went to the drive.
    pub const SUBMITTED: u8 = 2;
    /// The drive finished it.
    pub const DONE: u8 = 3;
    /// The guest was told.
    pub const COMPLETED: u8 = 4;
    /// Any other record, as JSON.
    pub const OTHER: u8 = 5;
    /// Nothing else follows in this chunk. Its body is one word: where in the file the lane's next chunk begins;
    /// or none, if nothing else follows in the lane.
    pub const END: u8 = 6;
    /// Requests that no policy concerns arrived in one ring, at the same time and with numbers one after the other.
    pub const PASSED_ARRIVED: u8 = 7;
    /// Such requests completed well, at the same time.
    pub const PASSED_COMPLETED: u8 = 8;
    /// A rule decided.
    pub const DECIDED: u8 = 9;
    /// A hold began.
    pub const HELD: u8 = 10;
    /// A request that stood at a gate goes on.
    pub const RELEASED: u8 = 11;
}

/// Words of the longest [`kind::END`]: every chunk has room for it after its last record.
pub const END_WORDS: usize = 2;

/// What ends a chunk; `next`: where the lane goes on.
pub fn end(next: Option<u64>) -> ([u64; END_WORDS], usize) {
    match next {
        Some(next) => ([Head::of(kind::END, 0, 8, &[next]).word(), next], 2),
        None => ([Head::of(kind::END, 0, 0, &[]).word(), 0], 1),
    }
}

/// What the first word of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is, one of [`kind`] or something newer.
    pub kind: u8,
    /// What else it has.
    pub flags: u8,
    /// Check of the head and the body.
    pub check: u16,
    /// Bytes of the body, without what fills its last word.
    pub bytes: u32,
}

impl Head {
    /// The head of a frame with that body.
    pub fn of(kind: u8, flags: u8, bytes: u32, body: &[u64]) -> Head {
        let mut head = Head { kind, flags, check: 0, bytes };
        head.check = head.check_of(body.iter().copied());
        head
    }

    /// As it is written.
    pub fn word(self) -> u64 {
        u64::from(self.kind)
            | u64::from(self.flags) << 8
            | u64::from(self.check) << 16
            | u64::from(self.bytes) << 32
    }

    /// What a word says as a head; none if nothing was written there.
    pub fn read(word: u64) -> Option<Head> {
        let [kind, flags, low, high, bytes @ ..] = word.to_le_bytes();
        let check = u16::from_le_bytes([low, high]);
        (word != 0).then_some(Head { kind, flags, check, bytes: u32::from_le_bytes(bytes) })
    }

    /// Words of the body.
    pub fn body_words(self) -> usize {
        (self.bytes as usize).div_ceil(WORD)
    }

    /// What its check has to be with that body.
    pub fn check_of(self, body: impl Iterator<Item = u64>) -> u16 {
        let plain = Head { check: 0, ..self }.word();
        let mixed = mix(std::iter::once(plain).chain(body));
        u16::try_from(mixed >> 48).unwrap_or_default()
    }
}

/// A number of that many words that is another one when a bit of them is: one multiplication a word.
pub(super) fn mix(words: impl Iterator<Item = u64>) -> u64 {
    /// Odd, with bits that look like chance: the fraction of the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    words.fold(FACTOR, |sum, word| (sum.rotate_left(29) ^ word).wrapping_mul(FACTOR))
}
