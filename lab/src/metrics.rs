//! `blkstay metrics`: a daemon's counters as Prometheus reads them (its text exposition format, version 0.0.4).

use crate::link::Link;
use crate::out;
use anyhow::Result;
use blkstay_engine::report::{OpStats, StatsReport};
use blkstay_engine::request::Nanos;
use std::fmt::{Display, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long a daemon may take to answer: whoever scrapes does not wait for ever.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Buckets of latencies end at these powers of two of nanoseconds, 1.024 µs to 68.7 s.
const POWERS: std::ops::RangeInclusive<u32> = 10..=36;

/// Prints them.
///
/// # Errors
/// Nobody listens, or the daemon refuses; standard output cannot be written.
pub fn metrics(socket: &Path) -> Result<ExitCode> {
    out::print(&text(&Link::impatient(socket, ANSWER_LIMIT)?.stats()?))?;
    Ok(ExitCode::SUCCESS)
}

/// The whole text: a family after the other, each with what it is and of which type.
pub fn text(stats: &StatsReport) -> String {
    let mut page = Page(String::new());
    let policy = &stats.policy;
    page.family("uptime_seconds", "gauge", "Time since the daemon started.");
    page.sample("uptime_seconds", "", seconds(stats.uptime_ns));
    page.family("disk_size_bytes", "gauge", "Size of the disk.");
    page.sample("disk_size_bytes", "", stats.bytes);
    page.family("guest_connected", "gauge", "Whether a guest is connected.");
    page.sample("guest_connected", "", u8::from(stats.connected));
    page.family("requests_in_flight", "gauge", "Requests that have arrived and not completed.");
    page.sample("requests_in_flight", "", stats.in_flight + stats.passing);
    page.family("requests_held", "gauge", "Requests that are held or delayed.");
    page.sample("requests_held", "", stats.held);
    page.family("paused", "gauge", "Whether the disk or a ring is paused.");
    page.sample("paused", "", u8::from(policy.paused));
    page.family("policy_armed", "gauge", "Whether the policy acts on what arrives now.");
    page.sample("policy_armed", "", u8::from(policy.armed));
    page.family("policy_info", "gauge", "Where the policy was read from; no sample if there is none.");
    if let Some(origin) = &policy.origin {
        page.sample("policy_info", &format!("origin=\"{}\"", label(origin)), 1);
    }
    page.each("requests_total", "Requests that have completed.", stats, |op| op.requests);
    page.each("request_bytes_total", "Bytes that completed requests were about.", stats, |op| op.bytes);
    page.each("request_errors_total", "Requests that did not end well.", stats, |op| op.errors);
    let duration = "request_duration_seconds";
    page.family(duration, "histogram", "How long requests took, from out of the ring to the used ring.");
    stats.ops.iter().for_each(|op| page.histogram(duration, op));
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP blkstay_{name} {help}\n# TYPE blkstay_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.0, "blkstay_{name} {value}"),
            labels => writeln!(self.0, "blkstay_{name}{{{labels}}} {value}"),
        };
    }

    /// A counter with a sample for each operation.
    fn each(&mut self, name: &str, help: &str, stats: &StatsReport, value: impl Fn(&OpStats) -> u64) {
        self.family(name, "counter", help);
        stats.ops.iter().for_each(|op| self.sample(name, &format!("op=\"{}\"", op.op), value(op)));
    }

    fn histogram(&mut self, name: &str, op: &OpStats) {
        let label = format!("op=\"{}\"", op.op);
        for power in POWERS {
            let bound = 1 << power;
            let labels = format!("{label},le=\"{}\"", seconds(bound));
            self.sample(&format!("{name}_bucket"), &labels, op.buckets.shorter_than(bound));
        }
        self.sample(&format!("{name}_bucket"), &format!("{label},le=\"+Inf\""), op.requests);
        self.sample(&format!("{name}_sum"), &label, seconds(op.latency.total_ns));
        self.sample(&format!("{name}_count"), &label, op.requests);
    }
}

/// To the nanosecond, without an exponent.
fn seconds(time: Nanos) -> String {
    let text = format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A label's value between quotes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use blkstay_engine::report::{Latency, PolicyReport};
    use blkstay_engine::request::Op;

    #[test]
    fn times_are_exact() {
        let told = [0, 1, 1024, 1_500_000_000, 68_719_476_736].map(seconds);
        assert_eq!(told, ["0", "0.000000001", "0.000001024", "1.5", "68.719476736"]);
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let mut op = OpStats {
            op: Op::WriteZeroes,
            requests: 3,
            bytes: 0,
            errors: 0,
            latency: Latency { total_ns: 100_000_003_000, ..Latency::default() },
            buckets: Default::default(),
        };
        op.buckets.add(1_000, 1);
        op.buckets.add(2_000, 1);
        op.buckets.add(100_000_000_000, 1);
        let text = text(&StatsReport { ops: vec![op], ..StatsReport::default() });
        for line in [
            "blkstay_request_duration_seconds_bucket{op=\"write-zeroes\",le=\"0.000001024\"} 1",
            "blkstay_request_duration_seconds_bucket{op=\"write-zeroes\",le=\"0.000002048\"} 2",
            "blkstay_request_duration_seconds_bucket{op=\"write-zeroes\",le=\"68.719476736\"} 2",
            "blkstay_request_duration_seconds_bucket{op=\"write-zeroes\",le=\"+Inf\"} 3",
            "blkstay_request_duration_seconds_sum{op=\"write-zeroes\"} 100.000003",
            "blkstay_request_duration_seconds_count{op=\"write-zeroes\"} 3",
        ] {
            assert!(text.lines().any(|told| told == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_path_cannot_break_out_of_its_label() {
        let policy = PolicyReport { origin: Some("a\"b\\c\n# HELP x".to_owned()), ..PolicyReport::default() };
        let text = text(&StatsReport { policy, ..StatsReport::default() });
        assert!(text.contains("blkstay_policy_info{origin=\"a\\\"b\\\\c\\n# HELP x\"} 1\n"), "{text}");
    }
}
