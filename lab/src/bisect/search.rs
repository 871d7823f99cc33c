//! The search itself: which kernel to try next, and what is known in the end.

use blkstay_engine::journal::Outcome;
use std::ops::Range;

/// On which side of the change a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The case is not open on it.
    Good,
    /// It is open.
    Bad,
}

impl Side {
    /// The side that a verdict puts a kernel on; none if it says nothing about the kernel.
    pub fn of(verdict: Outcome) -> Option<Side> {
        match verdict {
            Outcome::Open => Some(Side::Bad),
            Outcome::Lost | Outcome::Missed | Outcome::Reached => None,
            _ => Some(Side::Good),
        }
    }
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try this kernel.
    Try(usize),
    /// This end got no verdict that says on which side it is.
    EndUnknown(usize),
    /// This end is on the side on which it was said not to be.
    EndWrong(usize),
    /// The verdict changed from the first of these to the last; those in between, if any, say nothing.
    Changed(Range<usize>),
}

/// A search among kernels in order, of which the ends are said to be on different sides. Like any bisection it takes
/// for granted that there is one change between them.
#[derive(Clone, Debug)]
pub struct Search {
    /// What is said of the first.
    first: Side,
    /// What came out; `Some(None)` says nothing.
    tried: Vec<Option<Option<Side>>>,
    /// The last that is known to be like the first, and the first that is known to be like the last.
    ends: Range<usize>,
}

impl Search {
    /// A search among `count` kernels, at least two, of which the first is said to be on this side.
    pub fn new(count: usize, first: Side) -> Search {
        Search { first, tried: vec![None; count], ends: 0..count.saturating_sub(1) }
    }

    /// What there is to do now.
    pub fn next(&self) -> Next {
        for end in [0, self.tried.len().saturating_sub(1)] {
            let right = (self.first == Side::Good) == (end == 0);
            match self.tried.get(end).copied().flatten() {
                None => return Next::Try(end),
                Some(None) => return Next::EndUnknown(end),
                Some(Some(side)) if (side == Side::Good) != right => return Next::EndWrong(end),
                Some(Some(_)) => {}
            }
        }
        let untried = (self.ends.start + 1..self.ends.end).filter(|index| self.tried[*index].is_none());
        // Twice the distance to the middle, so that it is whole.
        let middle = self.ends.start + self.ends.end;
        match untried.min_by_key(|index| (2 * index).abs_diff(middle)) {
            Some(index) => Next::Try(index),
            None => Next::Changed(self.ends.clone()),
        }
    }

    /// How many tries are left, if all of them say something.
    pub fn tries_left(&self) -> u32 {
        let open = self.tried[self.ends.start..self.ends.end].iter().filter(|tried| tried.is_none()).count();
        usize::BITS - open.leading_zeros()
    }

    /// Notes what came out for a kernel that was to be tried.
    pub fn told(&mut self, index: usize, side: Option<Side>) {
        self.tried[index] = Some(side);
        match side {
            Some(side) if side == self.first && index < self.ends.end => {
                self.ends.start = self.ends.start.max(index);
            }
            Some(side) if side != self.first && index > self.ends.start => {
                self.ends.end = self.ends.end.min(index);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Side::{Bad, Good};

    /// Searches kernels that are as given; says which were tried and how it ended.
    fn search(first: Side, kernels: &[Option<Side>]) -> (Vec<usize>, Next) {
        let mut search = Search::new(kernels.len(), first);
        let mut tried = Vec::new();
        loop {
            match search.next() {
                Next::Try(index) => {
                    assert!(!tried.contains(&index), "none is tried twice");
                    tried.push(index);
                    search.told(index, kernels[index]);
                }
                end => return (tried, end),
            }
        }
    }

    fn changing_at(count: usize, change: usize, first: Side) -> Vec<Option<Side>> {
        let other = if first == Good { Bad } else { Good };
        (0..count).map(|index| Some(if index < change { first } else { other })).collect()
    }

    #[test]
    fn every_change_is_found_in_few_tries() {
        for first in [Good, Bad] {
            for count in 2..40 {
                for change in 1..count {
                    let (tried, end) = search(first, &changing_at(count, change, first));
                    assert_eq!(end, Next::Changed(change - 1..change));
                    let most = 2 + (usize::BITS - (count - 2).leading_zeros()) as usize;
                    assert!(tried.len() <= most, "{} tries among {count}", tried.len());
                }
            }
        }
    }

    #[test]
    fn kernels_that_say_nothing_are_passed_over() {
        let mut kernels = changing_at(9, 6, Bad);
        kernels[4] = None;
        assert_eq!(search(Bad, &kernels).1, Next::Changed(5..6));
        kernels[5] = None;
        assert_eq!(search(Bad, &kernels).1, Next::Changed(3..6), "one of those after 3, up to 6");
    }

    #[test]
    fn with_nothing_but_silence_between_the_ends_all_of_it_is_tried() {
        let mut kernels = vec![None; 5];
        (kernels[0], kernels[4]) = (Some(Good), Some(Bad));
        assert_eq!(search(Good, &kernels), (vec![0, 4, 2, 1, 3], Next::Changed(0..4)));
    }

    #[test]
    fn ends_that_are_not_as_they_are_said_to_be_end_it_at_once() {
        assert_eq!(search(Good, &[Some(Bad), Some(Good), Some(Bad)]), (vec![0], Next::EndWrong(0)));
        assert_eq!(search(Bad, &[Some(Bad), Some(Good), Some(Bad)]), (vec![0, 2], Next::EndWrong(2)));
        assert_eq!(search(Bad, &[Some(Bad), Some(Good), None]), (vec![0, 2], Next::EndUnknown(2)));
    }

    #[test]
    fn only_open_is_bad_and_what_says_nothing_is_on_no_side() {
        let sides = [Outcome::Open, Outcome::Closed, Outcome::Survived, Outcome::Missed, Outcome::Lost];
        assert_eq!(sides.map(Side::of), [Some(Bad), Some(Good), Some(Good), None, None]);
    }
}
