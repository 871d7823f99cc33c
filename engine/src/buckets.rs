//! Counts of durations, small enough to be sent: 32 buckets for each power of two of nanoseconds.

use crate::request::Nanos;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Buckets between a power of two and the next; their logarithm to the base of two.
const FINENESS: u32 = 5;

/// How many durations there were in each bucket.
///
/// Durations below 64 ns have a bucket each; a longer one is at most 1/32 of what is in it wide. Bounds of buckets are
/// the same for everybody, so that two of these can be added and subtracted. As JSON it is a list of numbers: for each
/// bucket that is not empty how far it is from the one before (from the first of all), then how many are in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Buckets(BTreeMap<u16, u64>);

impl Buckets {
    /// Counts some of about the same duration.
    pub fn add(&mut self, duration: Nanos, count: u64) {
        let bucket = self.0.entry(index(duration)).or_default();
        *bucket = bucket.saturating_add(count);
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Buckets) {
        for (index, count) in &other.0 {
            let bucket = self.0.entry(*index).or_default();
            *bucket = bucket.saturating_add(*count);
        }
    }

    /// What has been counted since there were those of `earlier`.
    pub fn since(&self, earlier: &Buckets) -> Buckets {
        let before = |index| earlier.0.get(index).copied().unwrap_or(0);
        let new = self.0.iter().map(|(index, count)| (*index, count.saturating_sub(before(index))));
        Buckets(new.filter(|(_, count)| *count > 0).collect())
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |all, count| all.saturating_add(*count))
    }

    /// How many are shorter than a power of two of nanoseconds; for any other duration: those of whole buckets.
    pub fn shorter_than(&self, duration: Nanos) -> u64 {
        self.0.range(..index(duration)).fold(0, |all, (_, count)| all.saturating_add(*count))
    }

    /// The duration that this part of them (0 to 1) does not exceed: the longest of the bucket in which that is.
    /// `None` if there are none.
    pub fn quantile(&self, part: f64) -> Option<Nanos> {
        let wanted = (part.clamp(0.0, 1.0) * self.total() as f64).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        let found = self.0.iter().find(|(_, count)| {
            seen = seen.saturating_add(**count);
            seen >= wanted
        });
        found.map(|(index, _)| longest(*index))
    }
}

/// The bucket of a duration.
fn index(duration: Nanos) -> u16 {
    let shift = (u64::BITS - duration.leading_zeros()).saturating_sub(FINENESS + 1);
    // At most 58 * 32 + 63.
    ((shift << FINENESS) as u16).saturating_add((duration >> shift) as u16)
}

/// The longest duration of a bucket.
fn longest(index: u16) -> Nanos {
    let shift = u32::from(index >> FINENESS).saturating_sub(1);
    let first = u64::from(index) - (u64::from(shift) << FINENESS);
    ((u128::from(first) + 1) << shift).saturating_sub(1).min(u128::from(Nanos::MAX)) as Nanos
}

impl From<Buckets> for Vec<u64> {
    fn from(buckets: Buckets) -> Vec<u64> {
        let mut before = 0;
        let pair = |(index, count)| [u64::from(index - std::mem::replace(&mut before, index)), count];
        buckets.0.into_iter().flat_map(pair).collect()
    }
}

impl TryFrom<Vec<u64>> for Buckets {
    type Error = String;

    fn try_from(numbers: Vec<u64>) -> Result<Buckets, String> {
        let mut buckets = BTreeMap::new();
        let mut at = 0_u64;
        let (pairs, []) = numbers.as_chunks::<2>() else {
            return Err("buckets are pairs of a distance and a count, here is one half".to_owned());
        };
        for [distance, count] in pairs {
            at = at.saturating_add(*distance);
            let known = u16::try_from(at).ok().filter(|at| *at <= index(Nanos::MAX));
            buckets.insert(known.ok_or_else(|| format!("there is no bucket {at}"))?, *count);
        }
        Ok(Buckets(buckets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: impl IntoIterator<Item = Nanos>) -> Buckets {
        let mut buckets = Buckets::default();
        durations.into_iter().for_each(|duration| buckets.add(duration, 1));
        buckets
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for index in 0..super::index(Nanos::MAX) {
            assert_eq!(super::index(longest(index)), index);
            assert_eq!(super::index(longest(index) + 1), index + 1, "after {}", longest(index));
        }
        assert_eq!(longest(super::index(Nanos::MAX)), Nanos::MAX);
    }

    #[test]
    fn a_quantile_is_right_to_three_percent() {
        let buckets = of(1..=100_000);
        for (part, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let told = buckets.quantile(part).unwrap() as f64;
            assert!((exact..exact * 1.032).contains(&told), "{part}: {told}, not {exact}");
        }
        assert_eq!((of([7]).quantile(0.0), of([]).quantile(0.5)), (Some(7), None));
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let (before, after) = (of([10, 5000]), of([10, 5000, 5001, 1 << 40]));
        let new = after.since(&before);
        assert_eq!((new.total(), new.quantile(0.5)), (2, Some(5119)));
        let mut together = before.clone();
        together.merge(&new);
        assert_eq!(together, after);
        assert_eq!(before.since(&after).total(), 0, "another daemon");
    }

    #[test]
    fn powers_of_two_are_bounds() {
        let buckets = of([1023, 1024, 1025, 4096]);
        let shorter = [10, 11, 12, 13].map(|power| buckets.shorter_than(1 << power));
        assert_eq!(shorter, [1, 3, 3, 4]);
    }

    #[test]
    fn they_are_sent_as_distances_and_counts() {
        let buckets = of([3, 3, 64, 1 << 20]);
        let text = serde_json::to_string(&buckets).unwrap();
        assert_eq!(text, "[3,2,61,1,448,1]");
        assert_eq!(serde_json::from_str::<Buckets>(&text).unwrap(), buckets);
        assert_eq!(of([Nanos::MAX]), serde_json::from_str("[1919,1]").unwrap());
        for nonsense in ["[1]", "[1920,1]", "[18446744073709551615,1,5,1]", "[1,-1]"] {
            assert!(serde_json::from_str::<Buckets>(nonsense).is_err(), "{nonsense}");
        }
    }
}
