//! Looks at a daemon that always does the same, for tests.

use super::interval::Look;
use blkstay_engine::event::Gate;
use blkstay_engine::journal::Arm;
use blkstay_engine::report::{HeldRequest, Latency, OpStats, PolicyReport, StatsReport};
use blkstay_engine::request::{Op, RequestId};

/// After so many seconds: in each there were 1000 reads and 500 writes of 4 KiB and an error; in the n-th they took
/// n times 100 µs. One write is held.
pub fn look(seconds: u64) -> Look {
    let op = |op, each: u64, errors| {
        let (requests, latency) = (each * seconds, Latency::default());
        let mut stats =
            OpStats { op, requests, bytes: requests * 4096, errors, latency, buckets: Default::default() };
        (1..=seconds).for_each(|second| stats.buckets.add(second * 100_000, each));
        stats
    };
    let policy = PolicyReport {
        origin: Some("my.toml".to_owned()),
        armed: true,
        attempt: Some(3),
        arm: Some(Arm::Forced),
        ..PolicyReport::default()
    };
    let stats = StatsReport {
        uptime_ns: seconds * 1_000_000_000,
        bytes: 64 << 20,
        connected: true,
        in_flight: 1,
        held: 1,
        writes_through: false,
        passing: 4,
        policy,
        ops: vec![op(Op::Read, 1000, 0), op(Op::Write, 500, seconds)],
    };
    let held = HeldRequest {
        id: RequestId(7),
        op: Op::Write,
        offset: 4096,
        length: 512,
        point: "W".to_owned(),
        rule: None,
        gate: Gate::Complete,
        until: "control.go".to_owned(),
        since_ns: 500_000_000,
        deadline_ns: 10_500_000_000,
    };
    Look { stats, held: vec![held] }
}
