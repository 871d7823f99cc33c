//! Which blocks an overlay has.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in a block of an overlay.
pub const BLOCK: u64 = 4096;

/// A bit for each block of the base. Blocks beyond it are present always.
pub struct Presence {
    words: Vec<AtomicU64>,
    blocks: u64,
}

impl Presence {
    /// None of so many.
    pub fn new(blocks: u64) -> Presence {
        let words = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Presence { words, blocks }
    }

    /// Whether a block is present. Who sees that it is sees its bytes.
    pub fn has(&self, block: u64) -> bool {
        match self.words.get((block / 64) as usize) {
            Some(word) if block < self.blocks => word.load(Ordering::Acquire) >> (block % 64) & 1 == 1,
            _ => true,
        }
    }

    /// The blocks, from the first of a range on, that are all present or all absent; says which.
    pub fn run(&self, blocks: Range<u64>) -> (bool, Range<u64>) {
        let present = self.has(blocks.start);
        let mut end = blocks.start + 1;
        while end < blocks.end && self.has(end) == present {
            end += 1;
        }
        (present, blocks.start..end)
    }

    /// Whether all of a range are present.
    pub fn has_all(&self, blocks: Range<u64>) -> bool {
        blocks.is_empty() || {
            let (present, run) = self.run(blocks.clone());
            present && run.end >= blocks.end
        }
    }

    /// These are present from now on; their bytes are in place.
    pub fn add(&self, blocks: Range<u64>) {
        for block in blocks.start..blocks.end.min(self.blocks) {
            if let Some(word) = self.words.get((block / 64) as usize) {
                word.fetch_or(1 << (block % 64), Ordering::Release);
            }
        }
    }
}

/// The blocks that a range touches.
pub fn touched(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK..range.end.div_ceil(BLOCK)
}

/// The blocks that lie in a range as a whole.
pub fn whole(range: &Range<u64>) -> Range<u64> {
    range.start.div_ceil(BLOCK)..range.end / BLOCK
}

/// The bytes of some blocks.
pub fn bytes(blocks: &Range<u64>) -> Range<u64> {
    blocks.start * BLOCK..blocks.end * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_presence_changes() {
        let presence = Presence::new(200);
        presence.add(60..130);
        assert_eq!(presence.run(0..200), (false, 0..60));
        assert_eq!(presence.run(60..200), (true, 60..130));
        assert_eq!(presence.run(130..1000), (false, 130..200));
        assert_eq!(presence.run(200..1000), (true, 200..1000));
        assert!(presence.has_all(60..130) && !presence.has_all(59..61) && presence.has_all(5..5));
        presence.add(190..1000);
        assert!(presence.has_all(190..1000));
    }
}
