//! What is where: ranges of blocks, each with a value, kept as few as they can be.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that do not overlap. Neighbours with the same value are one.
#[derive(Clone, Debug)]
pub(crate) struct Intervals<T> {
    pieces: BTreeMap<u64, Piece<T>>,
}

#[derive(Clone, Copy, Debug)]
struct Piece<T> {
    end: u64,
    what: T,
}

impl<T> Default for Intervals<T> {
    fn default() -> Self {
        Intervals { pieces: BTreeMap::new() }
    }
}

impl<T: Copy + PartialEq> Intervals<T> {
    /// Gives a range this value, whatever it had.
    pub fn set(&mut self, mut range: Range<u64>, what: T) {
        if range.is_empty() {
            return;
        }
        self.remove(range.clone());
        if let Some((start, piece)) = self.pieces.range(..range.start).next_back()
            && piece.end == range.start
            && piece.what == what
        {
            range.start = *start;
        }
        if let Some(piece) = self.pieces.get(&range.end).copied()
            && piece.what == what
        {
            self.pieces.remove(&range.end);
            range.end = piece.end;
        }
        self.pieces.insert(range.start, Piece { end: range.end, what });
    }

    /// Gives what has no value in a range this one.
    pub fn fill(&mut self, range: Range<u64>, what: T) {
        let free: Vec<_> = self.over(range).filter(|(_, what)| what.is_none()).collect();
        for (range, _) in free {
            self.set(range, what);
        }
    }

    /// Takes the values away from what of a range has one that is `doomed`.
    pub fn clear(&mut self, range: Range<u64>, doomed: impl Fn(T) -> bool) {
        let hit: Vec<_> = self.over(range).filter(|(_, what)| what.is_some_and(&doomed)).collect();
        for (range, _) in hit {
            self.remove(range);
        }
    }

    /// The value of a block.
    pub fn at(&self, block: u64) -> Option<T> {
        self.piece(block).map(|(_, what)| what)
    }

    /// The whole range around a block that has one value.
    pub fn piece(&self, block: u64) -> Option<(Range<u64>, T)> {
        let (start, piece) = self.pieces.range(..=block).next_back()?;
        (piece.end > block).then_some((*start..piece.end, piece.what))
    }

    /// All of a range in order, in pieces with and without a value.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<T>)> + '_ {
        let first =
            self.piece(range.start).map(|(found, what)| (found.start, Piece { end: found.end, what }));
        let rest = if range.start < range.end { range.start + 1..range.end } else { 0..0 };
        let rest = self.pieces.range(rest).map(|(start, piece)| (*start, *piece));
        let mut pieces = first.into_iter().chain(rest).peekable();
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let (end, what) = match pieces.peek() {
                Some((start, _)) if *start > at => (*start, None),
                Some((_, piece)) => (piece.end.min(range.end), Some(piece.what)),
                None => (range.end, None),
            };
            if what.is_some() {
                pieces.next();
            }
            let piece = at..end;
            at = end;
            Some((piece, what))
        })
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    fn remove(&mut self, range: Range<u64>) {
        self.cut(range.start);
        self.cut(range.end);
        let gone: Vec<u64> = self.pieces.range(range).map(|(start, _)| *start).collect();
        for start in gone {
            self.pieces.remove(&start);
        }
    }

    /// Makes a piece begin at a block, if one lies across it.
    fn cut(&mut self, at: u64) {
        if let Some((start, piece)) = self.pieces.range_mut(..at).next_back()
            && piece.end > at
            && *start < at
        {
            let rest = *piece;
            piece.end = at;
            self.pieces.insert(at, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_of_one_value_are_one_piece() {
        let mut map = Intervals::default();
        map.set(0..4, 'a');
        map.set(8..12, 'a');
        map.set(4..8, 'a');
        assert_eq!((map.len(), map.piece(5)), (1, Some((0..12, 'a'))));
        map.set(2..3, 'b');
        assert_eq!(
            map.over(1..5).collect::<Vec<_>>(),
            [(1..2, Some('a')), (2..3, Some('b')), (3..5, Some('a'))]
        );
    }

    proptest! {
        /// The same as an array of blocks, and as small as it can be.
        #[test]
        fn does_what_an_array_does(steps in proptest::collection::vec((0..3_u8, 0..64_u64, 0..20_u64, 0..3_u8), 0..60)) {
            let mut map = Intervals::default();
            let mut array = [None; 64];
            for (op, start, length, what) in steps {
                let range = start..(start + length).min(64);
                let blocks = &mut array[start as usize..range.end as usize];
                match op {
                    0 => { map.set(range, what); blocks.fill(Some(what)); }
                    1 => {
                        map.fill(range, what);
                        blocks.iter_mut().for_each(|block| *block = block.or(Some(what)));
                    }
                    _ => {
                        map.clear(range, |had| had == what);
                        blocks.iter_mut().for_each(|block| *block = block.filter(|had| *had != what));
                    }
                }
            }
            let seen: Vec<_> = map.over(0..64).flat_map(|(range, what)| range.map(move |_| what)).collect();
            prop_assert_eq!(&seen[..], &array[..]);
            prop_assert!((0..64).all(|block| map.at(block) == array[block as usize]));
            prop_assert!(map.len() <= array.chunk_by(|a, b| a == b).filter(|piece| piece[0].is_some()).count());
        }
    }
}
