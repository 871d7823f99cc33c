//! How many requests there were, how large, and how long they took.

use crate::chain::Asked;
use blkstay_engine::buckets::Buckets;
use blkstay_engine::report::{Latency, OpStats};
use blkstay_engine::request::{Nanos, Op, Status};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A latency beyond an hour counts as an hour.
const LONGEST_NS: Nanos = 3_600_000_000_000;

/// Counts of one thread.
#[derive(Default)]
pub struct Stats {
    ops: [Option<Box<Counted>>; Op::ALL.len()],
}

/// Counts of one operation.
struct Counted {
    requests: u64,
    bytes: u64,
    errors: u64,
    total_ns: u64,
    /// From out of the ring to the used ring, in nanoseconds.
    latency: Histogram<u64>,
}

impl Counted {
    fn new() -> Option<Box<Counted>> {
        // Two digits, so that a bucket is at most 1 % wide; the bounds are such that this cannot fail.
        let latency = Histogram::new_with_bounds(1, LONGEST_NS, 2).ok()?;
        Some(Box::new(Counted { requests: 0, bytes: 0, errors: 0, total_ns: 0, latency }))
    }

    /// The same counts as they are sent: the histogram's buckets lie within those, without crossing a bound.
    fn buckets(&self) -> Buckets {
        let mut buckets = Buckets::default();
        for value in self.latency.iter_recorded() {
            let duration = self.latency.lowest_equivalent(value.value_iterated_to());
            buckets.add(duration, value.count_since_last_iteration());
        }
        buckets
    }
}

impl Stats {
    /// A request has ended, so long after it arrived.
    pub fn ended(&mut self, asked: Option<Asked>, status: Status, latency: Nanos) {
        let Some(Asked { op, range, .. }) = asked else { return };
        let slot = &mut self.ops[op as usize];
        if slot.is_none() {
            *slot = Counted::new();
        }
        let Some(counted) = slot else { return };
        counted.requests += 1;
        counted.bytes += range.length;
        counted.errors += u64::from(status != Status::Ok);
        counted.total_ns = counted.total_ns.saturating_add(latency);
        counted.latency.saturating_record(latency);
    }

    /// Adds another thread's.
    pub fn add(&mut self, other: &Stats) {
        for (mine, theirs) in self.ops.iter_mut().zip(&other.ops) {
            let Some(theirs) = theirs else { continue };
            if mine.is_none() {
                *mine = Counted::new();
            }
            if let Some(mine) = mine {
                mine.requests += theirs.requests;
                mine.bytes += theirs.bytes;
                mine.errors += theirs.errors;
                mine.total_ns = mine.total_ns.saturating_add(theirs.total_ns);
                // Both have the same bounds.
                let _ = mine.latency.add(&theirs.latency);
            }
        }
    }

    /// For people and programs: operations that there were, in the order of [`Op::ALL`].
    pub fn report(&self) -> Vec<OpStats> {
        let ops = Op::ALL.into_iter().zip(&self.ops);
        ops.filter_map(|(op, counted)| Some((op, counted.as_ref()?)))
            .map(|(op, counted)| {
                let at = |quantile| counted.latency.value_at_quantile(quantile);
                OpStats {
                    op,
                    requests: counted.requests,
                    bytes: counted.bytes,
                    errors: counted.errors,
                    latency: Latency {
                        total_ns: counted.total_ns,
                        p50_ns: at(0.5),
                        p90_ns: at(0.9),
                        p99_ns: at(0.99),
                        p999_ns: at(0.999),
                        max_ns: counted.latency.max(),
                    },
                    buckets: counted.buckets(),
                }
            })
            .collect()
    }
}

/// What went past the core, by the lane that it went through.
pub struct Passed {
    lanes: Vec<Passing>,
}

/// What goes through a lane. Only its worker counts here, but for requests that another thread found to be through.
#[derive(Default)]
struct Passing {
    stats: Mutex<Stats>,
    /// Requests that have arrived and not completed.
    in_flight: AtomicUsize,
}

impl Passed {
    /// Nothing has.
    pub fn new(lanes: usize) -> Passed {
        Passed { lanes: (0..lanes).map(|_| Passing::default()).collect() }
    }

    /// So many have arrived.
    pub fn entered(&self, lane: usize, count: usize) {
        self.lanes[lane].in_flight.fetch_add(count, Ordering::AcqRel);
    }

    /// So many have completed.
    pub fn left(&self, lane: usize, count: usize) {
        self.lanes[lane].in_flight.fetch_sub(count, Ordering::AcqRel);
    }

    /// How many there are between.
    pub fn in_flight(&self, lane: usize) -> usize {
        self.lanes[lane].in_flight.load(Ordering::Acquire)
    }

    /// How many there are between in all lanes.
    pub fn all_in_flight(&self) -> u64 {
        (0..self.lanes.len()).map(|lane| self.in_flight(lane) as u64).sum()
    }

    /// Counts some that have completed.
    pub fn counting(&self, lane: usize) -> MutexGuard<'_, Stats> {
        self.lanes[lane].stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds them all to others.
    pub fn add_to(&self, all: &mut Stats) {
        for lane in 0..self.lanes.len() {
            all.add(&self.counting(lane));
        }
    }
}
