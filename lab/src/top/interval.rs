//! What happened between two looks at a daemon.

use blkstay_engine::buckets::Buckets;
use blkstay_engine::report::{HeldRequest, OpStats, PolicyReport, StatsReport};
use blkstay_engine::request::{Nanos, Op};
use serde::Serialize;

/// A look at a daemon.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Its counters.
    pub stats: StatsReport,
    /// What is held.
    pub held: Vec<HeldRequest>,
}

/// What came between a look and the one before; a line of `--json`, which docs/observability.md describes. Fields are
/// only ever added.
#[derive(Clone, Debug, Serialize)]
pub struct Interval {
    /// The daemon's age.
    pub uptime_ns: Nanos,
    /// How long it was.
    pub interval_ns: Nanos,
    /// Whether a guest is connected.
    pub connected: bool,
    /// Size of the disk.
    pub bytes: u64,
    /// The policy and how it stands.
    pub policy: PolicyReport,
    /// Requests that have arrived and not completed.
    pub in_flight: u64,
    /// How many are held or delayed.
    pub held: u64,
    /// All operations together.
    pub all: Done,
    /// Each operation that there ever was.
    pub ops: Vec<OpDone>,
    /// Every request that is held.
    pub standing: Vec<HeldRequest>,
}

/// What was done of an operation.
#[derive(Clone, Debug, Serialize)]
pub struct OpDone {
    /// The operation.
    pub op: Op,
    /// What was done of it.
    #[serde(flatten)]
    pub done: Done,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Done {
    /// Requests a second.
    pub iops: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// Requests that did not end well.
    pub errors: u64,
    /// Half of the requests took no longer; `None` if there were none.
    pub p50_ns: Option<Nanos>,
    /// 99 of 100 took no longer.
    pub p99_ns: Option<Nanos>,
    /// The same since the daemon started.
    pub total: Total,
}

/// What was done since the daemon started.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Total {
    /// Requests.
    pub requests: u64,
    /// Bytes that they were about.
    pub bytes: u64,
    /// Those that did not end well.
    pub errors: u64,
    /// Half of them took no longer.
    pub p50_ns: Option<Nanos>,
    /// 99 of 100 took no longer.
    pub p99_ns: Option<Nanos>,
}

impl Interval {
    /// What came after the counters of `before`: everything since the daemon started if there are none, or if they are
    /// another daemon's.
    pub fn new(before: Option<&StatsReport>, look: &Look) -> Interval {
        let Look { stats, held } = look;
        let before = before.filter(|before| before.uptime_ns < stats.uptime_ns);
        let interval_ns = stats.uptime_ns - before.map_or(0, |before| before.uptime_ns);
        let earlier = |op: Op| before.and_then(|before| before.ops.iter().find(|stats| stats.op == op));
        let mut all = Sum::default();
        let ops = stats.ops.iter().map(|now| {
            let of_it = Sum::of(now, earlier(now.op));
            all.add(&of_it);
            OpDone { op: now.op, done: of_it.done(interval_ns) }
        });
        let ops = ops.collect();
        Interval {
            uptime_ns: stats.uptime_ns,
            interval_ns,
            connected: stats.connected,
            bytes: stats.bytes,
            policy: stats.policy.clone(),
            in_flight: stats.in_flight + stats.passing,
            held: stats.held,
            all: all.done(interval_ns),
            ops,
            standing: held.clone(),
        }
    }
}

/// Counts of an interval, and since the daemon started.
#[derive(Default)]
struct Sum {
    new: Counts,
    total: Counts,
}

#[derive(Clone, Default)]
struct Counts {
    requests: u64,
    bytes: u64,
    errors: u64,
    latency: Buckets,
}

impl Counts {
    fn of(stats: &OpStats) -> Counts {
        let OpStats { requests, bytes, errors, buckets, .. } = stats;
        Counts { requests: *requests, bytes: *bytes, errors: *errors, latency: buckets.clone() }
    }

    fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            requests: self.requests.saturating_sub(earlier.requests),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            errors: self.errors.saturating_sub(earlier.errors),
            latency: self.latency.since(&earlier.latency),
        }
    }

    fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
    }
}

impl Sum {
    fn of(now: &OpStats, earlier: Option<&OpStats>) -> Sum {
        let total = Counts::of(now);
        Sum { new: total.since(&earlier.map(Counts::of).unwrap_or_default()), total }
    }

    fn add(&mut self, other: &Sum) {
        self.new.add(&other.new);
        self.total.add(&other.total);
    }

    fn done(&self, interval_ns: Nanos) -> Done {
        let Sum { new, total } = self;
        let a_second = |count: u64| match interval_ns {
            0 => 0.0,
            interval => count as f64 * 1e9 / interval as f64,
        };
        Done {
            iops: a_second(new.requests),
            bytes_per_second: a_second(new.bytes),
            errors: new.errors,
            p50_ns: new.latency.quantile(0.5),
            p99_ns: new.latency.quantile(0.99),
            total: Total {
                requests: total.requests,
                bytes: total.bytes,
                errors: total.errors,
                p50_ns: total.latency.quantile(0.5),
                p99_ns: total.latency.quantile(0.99),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixed;
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let (before, after) = (fixed::look(1), fixed::look(2));
        let interval = Interval::new(Some(&before.stats), &after);
        assert_eq!((interval.interval_ns, interval.in_flight), (1_000_000_000, 5));
        let [read, write] = interval.ops.as_slice() else { panic!("two operations, not {interval:?}") };
        assert_eq!((read.op, read.done.iops, read.done.bytes_per_second), (Op::Read, 1000.0, 4_096_000.0));
        assert_eq!((write.done.iops, write.done.errors, write.done.total.errors), (500.0, 1, 2));
        assert_eq!((read.done.total.requests, interval.all.total.requests), (2000, 3000));
        // 100 µs in the first second, 200 µs in the second; to 3 %.
        let near = |told: Option<Nanos>, exact: f64| {
            let told = told.map_or(0.0, |told| told as f64);
            assert!((exact..exact * 1.032).contains(&told), "{told}, not {exact}");
        };
        near(read.done.p50_ns, 200_000.0);
        near(read.done.total.p50_ns, 100_000.0);
        near(read.done.total.p99_ns, 200_000.0);
    }

    #[test]
    fn another_daemon_begins_anew() {
        let interval = Interval::new(Some(&fixed::look(9).stats), &fixed::look(2));
        assert_eq!((interval.interval_ns, interval.all.iops), (2_000_000_000, 1500.0));
        let nothing = Interval::new(None, &Look::default());
        assert_eq!((nothing.all.iops, nothing.all.p50_ns), (0.0, None));
    }
}
