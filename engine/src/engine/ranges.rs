//! Which of many ranges share a byte with one: found, not scanned for.

use crate::request::ByteRange;

/// Ranges with a number each. An implicit balanced tree: sorted by first byte, the middle of a slice is its
/// root, and each root knows how far the ranges of its slice reach. Most requests meet no range at all, and a map of
/// the disk tells that at once.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    nodes: Vec<Node>,
    map: Map,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    start: u64,
    end: u64,
    /// Largest `end` in the slice that this node is the root of.
    reach: u64,
    number: u32,
}

impl Ranges {
    /// Those.
    pub fn new(ranges: impl IntoIterator<Item = (ByteRange, u32)>) -> Ranges {
        let node = |(range, number): (ByteRange, u32)| {
            let (start, end) = (range.offset, range.end());
            Node { start, end, reach: end, number }
        };
        let mut nodes: Vec<Node> =
            ranges.into_iter().map(node).filter(|node| node.start < node.end).collect();
        nodes.sort_by_key(|node| (node.start, node.number));
        set_reach(&mut nodes);
        let map = Map::new(&nodes);
        Ranges { nodes, map }
    }

    /// Appends the number of every range that shares a byte with this one.
    pub fn overlapping(&self, range: ByteRange, found: &mut Vec<u32>) {
        if range.length > 0 && self.map.may_meet(range) {
            visit(&self.nodes, range, found);
        }
    }
}

/// Bits of the map for each range: enough that most of them are not set.
const BITS_EACH: u64 = 16;

/// Most words of the map that are looked at for one request; a longer one meets the tree.
const WORDS_MAX: usize = 16;

/// A bit for each piece of the disk from the first range to the last: whether a range has a byte there.
#[derive(Clone, Debug, Default)]
struct Map {
    start: u64,
    /// First byte after it.
    end: u64,
    /// Pieces have 2 to the power of this bytes.
    shift: u32,
    bits: Vec<u64>,
}

impl Map {
    fn new(nodes: &[Node]) -> Map {
        let Some(first) = nodes.first() else { return Map::default() };
        let (start, end) = (first.start, nodes.iter().map(|node| node.end).max().unwrap_or(first.end));
        let bits_max = nodes.len() as u64 * BITS_EACH;
        let shift =
            (0..u64::BITS - 1).find(|shift| (end - start) >> shift < bits_max).unwrap_or(u64::BITS - 1);
        let words = ((end - start) >> shift) / 64 + 1;
        let mut map = Map { start, end, shift, bits: vec![0; words as usize] };
        // They are sorted: what is set is set once, however many ranges lie there.
        let mut next = 0;
        for node in nodes {
            for piece in map.piece(node.start).max(next)..=map.piece(node.end - 1) {
                map.bits[(piece / 64) as usize] |= 1 << (piece % 64);
                next = piece + 1;
            }
        }
        map
    }

    fn piece(&self, at: u64) -> u64 {
        (at - self.start) >> self.shift
    }

    /// Whether there may be a range that shares a byte with this one; it is not empty.
    fn may_meet(&self, range: ByteRange) -> bool {
        if range.end() <= self.start || range.offset >= self.end {
            return false;
        }
        let first = self.piece(range.offset.max(self.start));
        let last = self.piece(range.end().min(self.end) - 1);
        let (first_word, last_word) = ((first / 64) as usize, (last / 64) as usize);
        let is_set = |word: usize| {
            let from = if word == first_word { first % 64 } else { 0 };
            let to = if word == last_word { last % 64 } else { 63 };
            self.bits[word] >> from << from << (63 - to) != 0
        };
        last_word - first_word >= WORDS_MAX || (first_word..=last_word).any(is_set)
    }
}

fn set_reach(nodes: &mut [Node]) -> u64 {
    if nodes.is_empty() {
        return 0;
    }
    let (before, rest) = nodes.split_at_mut(nodes.len() / 2);
    let Some((root, after)) = rest.split_first_mut() else { return 0 };
    root.reach = root.end.max(set_reach(before)).max(set_reach(after));
    root.reach
}

fn visit(mut nodes: &[Node], range: ByteRange, found: &mut Vec<u32>) {
    while let Some((root, after)) = nodes.get(nodes.len() / 2..).and_then(<[Node]>::split_first) {
        if root.reach <= range.offset {
            return;
        }
        let before = &nodes[..nodes.len() / 2];
        if root.start >= range.end() {
            nodes = before;
            continue;
        }
        visit(before, range, found);
        if root.end > range.offset {
            found.push(root.number);
        }
        nodes = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn range((offset, length): (u64, u64)) -> ByteRange {
        ByteRange { offset, length }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_scan_finds(ranges in vec((0..200_u64, 0..40_u64), 0..60), wanted in (0..220_u64, 0..50_u64)) {
            let ranges: Vec<ByteRange> = ranges.into_iter().map(range).collect();
            let numbered = || ranges.iter().copied().zip(0_u32..);
            let mut found = Vec::new();
            Ranges::new(numbered()).overlapping(range(wanted), &mut found);
            found.sort_unstable();
            let scanned: Vec<u32> =
                numbered().filter(|(one, _)| one.overlaps(range(wanted))).map(|(_, number)| number).collect();
            prop_assert_eq!(found, scanned);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_missed_on_a_disk_that_is_much_larger_than_its_ranges(
            ranges in vec((0..1_u64 << 40, 1..1_u64 << 34), 1..60),
            wanted in (0..1_u64 << 40, 1..1_u64 << 36),
        ) {
            let ranges: Vec<ByteRange> = ranges.into_iter().map(range).collect();
            let mut found = Vec::new();
            Ranges::new(ranges.iter().copied().zip(0..)).overlapping(range(wanted), &mut found);
            let scanned = ranges.iter().filter(|one| one.overlaps(range(wanted))).count();
            prop_assert_eq!(found.len(), scanned);
        }
    }

    #[test]
    fn the_last_byte_of_all_is_a_byte() {
        let ranges = Ranges::new([(range((u64::MAX - 1, 1)), 7)]);
        let mut found = Vec::new();
        ranges.overlapping(range((u64::MAX - 1, 1)), &mut found);
        assert_eq!(found, [7]);
    }
}
