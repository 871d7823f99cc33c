//! Chance: the same seed gives the same draws, on every machine.
//!
//! Each rule of each attempt has a stream of its own, by its name, so that what one draws does not depend on the others.

use crate::policy::{Delay, Order, Shape};
use crate::request::{Nanos, RequestId};
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Pareto, StandardNormal};

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

/// Names a stream of chance by who draws from it, so that a rule that has a name draws the same when others come
/// before it: FNV-1a of a word and the name.
pub fn stream_of(kind: u8, name: &str) -> u64 {
    let bytes = [kind].into_iter().chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// A stream of draws.
#[derive(Clone, Debug)]
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// A stream ([`stream_of`]) in one attempt.
    pub fn new(seed: u64, attempt: u64, stream: u64) -> Chance {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&attempt.to_le_bytes());
        key[16..24].copy_from_slice(&stream.to_le_bytes());
        Chance(ChaCha8Rng::from_seed(key))
    }

    /// Whether something of this probability comes about.
    pub fn comes(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }

    /// A delay.
    pub fn delay(&mut self, delay: &Delay) -> Nanos {
        self.shape(&delay.shape).clamp(delay.min_ns, delay.max_ns.max(delay.min_ns))
    }

    fn shape(&mut self, shape: &Shape) -> Nanos {
        match shape {
            Shape::Fixed(time) => *time,
            Shape::Uniform(from, to) => self.0.random_range(*from..=(*to).max(*from)),
            Shape::Normal { mean_ns, deviation_ns } => {
                let normal = Normal::new(*mean_ns as f64, *deviation_ns as f64);
                normal.map_or(*mean_ns, |normal| rounded(normal.sample(&mut self.0)))
            }
            Shape::LogNormal { median_ns, p99_ns } => {
                let z: f64 = StandardNormal.sample(&mut self.0);
                let (median, p99) = (*median_ns as f64, *p99_ns as f64);
                rounded(median * libm::pow(p99 / median, z / Z99))
            }
            Shape::Pareto { least_ns, shape } => {
                let pareto = Pareto::new(*least_ns as f64, *shape);
                pareto.map_or(*least_ns, |pareto| rounded(pareto.sample(&mut self.0)))
            }
            Shape::Table(rows) => {
                let weights = WeightedIndex::new(rows.iter().map(|(_, weight)| *weight));
                let row = weights.map_or(0, |weights| weights.sample(&mut self.0));
                rows.get(row).map_or(0, |(time, _)| *time)
            }
        }
    }

    /// Puts requests, given in order of arrival at their gate, into the order in which they go on.
    pub fn reorder(&mut self, order: &Order, mut requests: Vec<(RequestId, u64)>) -> Vec<RequestId> {
        match order {
            Order::LastFirst => requests.reverse(),
            Order::Random => requests.shuffle(&mut self.0),
            Order::BySector => requests.sort_by_key(|(id, offset)| (*offset, *id)),
            Order::Written(positions) => {
                let place = |index: usize| positions.iter().position(|position| *position == index);
                let mut placed: Vec<_> = requests.into_iter().enumerate().collect();
                placed.sort_by_key(|(index, _)| place(*index).unwrap_or(*index));
                requests = placed.into_iter().map(|(_, request)| request).collect();
            }
        }
        requests.into_iter().map(|(id, _)| id).collect()
    }
}

/// To nanoseconds; what is less than none is none.
fn rounded(time: f64) -> Nanos {
    time.max(0.0) as Nanos
}
