//! Numbers and states as a person reads them.

use super::interval::Interval;
use crate::control::standing;
use crate::out;
use blkstay_engine::report::{HeldRequest, PolicyReport};
use blkstay_engine::request::Nanos;

/// `950 ns`, `12.5 µs`, `3.2 ms`, `1.50 s`; `-` if there is none.
pub fn time(time: Option<Nanos>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time @ 0..1_000) => format!("{time} ns"),
        Some(time @ 1_000..1_000_000) => format!("{:.1} µs", time as f64 / 1e3),
        Some(time @ 1_000_000..1_000_000_000) => format!("{:.1} ms", time as f64 / 1e6),
        Some(time) => format!("{:.2} s", time as f64 / 1e9),
    }
}

/// `512 B`, `64.0 MiB`.
pub fn size(bytes: f64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut scaled = bytes / 1024.0;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if bytes < 1024.0 { format!("{bytes:.0} B") } else { format!("{scaled:.1} {}", units[unit]) }
}

/// `1 h 02 min`, `3 min 07 s`, `12 s`.
pub fn age(time: Nanos) -> String {
    let seconds = time / 1_000_000_000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// `my.toml, armed, attempt 3 (forced), paused`.
pub fn policy(policy: &PolicyReport) -> String {
    let PolicyReport { origin, armed, attempt, arm, expired, paused } = policy;
    let mut words = match origin {
        None => vec!["no policy".to_owned()],
        Some(origin) => vec![out::printable(origin), if *armed { "armed" } else { "not armed" }.to_owned()],
    };
    if let (Some(attempt), Some(arm)) = (attempt, arm) {
        words.push(format!("attempt {attempt} ({arm})"));
    }
    if *expired {
        words.push("ended by a watchdog".to_owned());
    }
    if *paused {
        words.push("paused".to_owned());
    }
    words.join(", ")
}

/// `#7 write 4096+512 at W.complete until control.go, for 1.50 s, at most 8.50 s more`.
pub fn held(request: &HeldRequest, now: Nanos) -> String {
    let stood = time(Some(now.saturating_sub(request.since_ns)));
    let left = time(Some(request.deadline_ns.saturating_sub(now)));
    format!("{}, for {stood}, at most {left} more", out::printable(&standing(request)))
}

/// A line an interval, for what is no terminal.
pub fn line(interval: &Interval) -> String {
    let Interval { uptime_ns, all, in_flight, held, .. } = interval;
    let mut parts = vec![
        format!("{:.1} s", *uptime_ns as f64 / 1e9),
        format!("{:.0} IOPS", all.iops),
        format!("{}/s", size(all.bytes_per_second)),
        format!("p50 {}", time(all.p50_ns)),
        format!("p99 {}", time(all.p99_ns)),
        format!("{} errors", all.errors),
        format!("{in_flight} in flight"),
        format!("{held} held"),
    ];
    let ops = interval.ops.iter().filter(|op| op.done.iops > 0.0);
    parts.extend(ops.map(|op| format!("{} {:.0}/s", op.op, op.done.iops)));
    parts.push(policy(&interval.policy));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::super::fixed;
    use super::*;

    #[test]
    fn numbers_have_units() {
        let times = [None, Some(7), Some(12_500), Some(3_240_000), Some(61_500_000_000)].map(time);
        assert_eq!(times, ["-", "7 ns", "12.5 µs", "3.2 ms", "61.50 s"]);
        let sizes = [0.0, 1023.0, 1024.0, 67_108_864.0, 1e18].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "64.0 MiB", "909494.7 TiB"]);
        let ages = [12, 187, 3720].map(|seconds| age(seconds * 1_000_000_000));
        assert_eq!(ages, ["12 s", "3 min 07 s", "1 h 02 min"]);
    }

    #[test]
    fn a_line_tells_everything_at_a_glance() {
        let (before, after) = (fixed::look(1), fixed::look(2));
        let interval = Interval::new(Some(&before.stats), &after);
        assert_eq!(
            line(&interval),
            "2.0 s  1500 IOPS  5.9 MiB/s  p50 200.7 µs  p99 200.7 µs  1 errors  5 in flight  1 held  \
             read 1000/s  write 500/s  my.toml, armed, attempt 3 (forced)"
        );
        assert_eq!(
            held(&after.held[0], interval.uptime_ns),
            "#7 write 4096+512 at W.complete until control.go, for 1.50 s, at most 8.50 s more"
        );
    }

    #[test]
    fn what_a_policy_is_called_cannot_steer_a_terminal() {
        let report = PolicyReport { origin: Some("\u{1b}[2J".to_owned()), ..PolicyReport::default() };
        assert_eq!(policy(&report), "\\u{1b}[2J, not armed");
        assert_eq!(policy(&PolicyReport { paused: true, ..PolicyReport::default() }), "no policy, paused");
    }
}
