//! What can be wrong with a journal.

use std::fmt;

/// Something in a file that is not as a daemon writes it, or not as this version knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Where in the file, in bytes.
    pub at: u64,
    /// What is wrong there.
    pub what: What,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// No chunk begins where one should.
    NoChunk {
        /// Bytes up to the next one.
        bytes: u64,
    },
    /// A chunk is of another version of the format.
    Format {
        /// That version.
        version: u32,
    },
    /// The file ends before the chunk does, and records may have been there.
    CutShort,
    /// Nothing readable is there.
    Damaged {
        /// Bytes that were passed over.
        bytes: u64,
    },
    /// The lane goes on in another chunk, though this one does not say so: records may be missing.
    NoEnd,
    /// Chunks of a lane are missing.
    Missing {
        /// The lane.
        lane: u32,
        /// How many; if nobody knows, nothing.
        chunks: Option<u32>,
    },
    /// A whole record that this version does not know.
    Unknown {
        /// Kind of its frame.
        kind: u8,
    },
    /// In a journal of JSON lines: a line that is none of a journal.
    NoLine {
        /// Its number, counted from 1.
        number: u64,
        /// Why.
        why: String,
    },
}

impl Trouble {
    /// Whether the file is damaged, rather than newer than this version.
    pub fn is_damage(&self) -> bool {
        !matches!(self.what, What::Unknown { .. })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match &self.what {
            What::NoLine { number, why } => write!(f, "{number}: not a journal's line: {why}"),
            What::NoChunk { bytes } => {
                write!(f, "byte {at}: no chunk of a journal begins here; {bytes} bytes are skipped")
            }
            What::Format { version } => write!(
                f,
                "byte {at}: this is version {version} of the format, of which this program knows {}; use a newer one",
                super::chunk::FORMAT
            ),
            What::CutShort => write!(f, "byte {at}: the file ends within a chunk; what followed is missing"),
            What::Damaged { bytes } => write!(f, "byte {at}: damaged; {bytes} bytes are skipped"),
            What::NoEnd => {
                write!(f, "byte {at}: the chunk has no end though its lane goes on; records may be missing")
            }
            What::Missing { lane, chunks: Some(chunks) } => {
                write!(f, "byte {at}: {chunks} chunks of lane {lane} before this are missing")
            }
            What::Missing { lane, chunks: None } => {
                write!(f, "byte {at}: lane {lane} goes on after this, and what follows is missing")
            }
            What::Unknown { kind } => write!(
                f,
                "byte {at}: a record of kind {kind} that this version does not know is skipped; use a newer one"
            ),
        }
    }
}
