//! What the disk does in each phase of an attempt, counted from the journal: what a change costs.

use crate::journal;
use anyhow::Result;
use blkstay_engine::journal::{Arm, Line, Record, Source};
use blkstay_engine::request::{Nanos, Op};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A phase of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sample {
    phase: String,
    began_ns: Nanos,
    took_ns: Nanos,
    counts: Counts,
}

/// What arrived in a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Bytes that they were about.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes that they were about.
    pub written_bytes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Pages that were dirtied in the guest's page cache, as the script reported them: `PHASE-dirtied`.
    pub dirtied_pages: u64,
}

/// A phase in all attempts of an arm: medians, each for itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The event that begins it.
    pub phase: String,
    /// Attempts in which it ended.
    pub attempts: u64,
    /// Milliseconds that it took.
    pub ms: f64,
    /// The shortest and the longest.
    pub ms_range: [f64; 2],
    /// What arrived in it.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Phase {
    /// What is in a [`row`](Self::row).
    pub const HEADER: [&str; 8] =
        ["phase", "writes", "KiB written", "flushes", "reads", "pages dirtied", "ms", "least to most"];

    /// Its figures as people read them.
    pub fn row(&self) -> [String; 8] {
        let Counts { writes, written_bytes, flushes, reads, dirtied_pages, .. } = self.counts;
        let [writes, kib, flushes, reads, dirtied] =
            [writes, written_bytes / 1024, flushes, reads, dirtied_pages].map(|figure| figure.to_string());
        let [least, most] = self.ms_range;
        let times = [format!("{:.1}", self.ms), format!("{least:.1} to {most:.1}")];
        let [time, range] = times;
        [self.phase.clone(), writes, kib, flushes, reads, dirtied, time, range]
    }
}

/// Phases of each arm, in their order.
pub type Traffic = BTreeMap<String, Vec<Phase>>;

/// Reads a journal; `phases` are events of the guest, of which the last only ends the one before.
///
/// # Errors
/// The journal cannot be read.
pub fn read(path: &Path, phases: &[String]) -> Result<Traffic> {
    let mut tally = Tally { phases, arm: None, open: None, attempt: Vec::new(), samples: BTreeMap::new() };
    if !phases.is_empty() {
        journal::each(path, |line| {
            tally.take(&line);
            Ok(true)
        })?;
    }
    let samples = tally.samples;
    Ok(samples.into_iter().map(|(arm, samples)| (arm, summary(phases, &samples))).collect())
}

struct Tally<'p> {
    phases: &'p [String],
    arm: Option<Arm>,
    open: Option<Sample>,
    attempt: Vec<Sample>,
    samples: BTreeMap<String, Vec<Sample>>,
}

impl Tally<'_> {
    fn take(&mut self, line: &Line) {
        match &line.record {
            Record::AttemptBegan { arm, .. } => {
                (self.arm, self.open) = (Some(*arm), None);
                self.attempt.clear();
            }
            Record::Event { source: Source::Guest, event, .. } => self.event(event, line.t),
            Record::Arrived { request, .. } => {
                if let Some(open) = &mut self.open {
                    open.counts.add(request.op, request.range.length);
                }
            }
            Record::Report { name, value } => self.report(name, value),
            Record::AttemptEnded { .. } => {
                if let Some(arm) = self.arm.take() {
                    self.samples.entry(arm.to_string()).or_default().append(&mut self.attempt);
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, event: &str, t: Nanos) {
        let Some(index) = self.phases.iter().position(|phase| phase == event) else { return };
        if let Some(mut ended) = self.open.take() {
            ended.took_ns = t.saturating_sub(ended.began_ns);
            self.attempt.push(ended);
        }
        if index + 1 < self.phases.len() {
            self.open = Some(Sample { phase: event.to_owned(), began_ns: t, ..Sample::default() });
        }
    }

    fn report(&mut self, name: &str, value: &str) {
        let phase = name.strip_suffix("-dirtied").unwrap_or_default();
        let sample = self.attempt.iter_mut().find(|sample| sample.phase == phase);
        if let (Some(sample), Ok(pages)) = (sample, value.parse()) {
            sample.counts.dirtied_pages = pages;
        }
    }
}

impl Counts {
    fn add(&mut self, op: Op, bytes: u64) {
        match op {
            Op::Read => (self.reads, self.read_bytes) = (self.reads + 1, self.read_bytes + bytes),
            Op::Write => (self.writes, self.written_bytes) = (self.writes + 1, self.written_bytes + bytes),
            Op::Flush => self.flushes += 1,
            Op::Discard | Op::WriteZeroes | Op::GetId => {}
        }
    }
}

fn summary(phases: &[String], samples: &[Sample]) -> Vec<Phase> {
    let each = phases.iter().filter_map(|phase| {
        let of: Vec<&Sample> = samples.iter().filter(|sample| sample.phase == *phase).collect();
        let sorted = |what: fn(&Sample) -> u64| {
            let mut values: Vec<u64> = of.iter().map(|sample| what(sample)).collect();
            values.sort_unstable();
            values
        };
        let median = |what| middle(&sorted(what));
        let times = sorted(|sample| sample.took_ns);
        let (least, most) = (times.first()?, times.last()?);
        Some(Phase {
            phase: phase.clone(),
            attempts: of.len() as u64,
            ms: ms(median(|sample| sample.took_ns)),
            ms_range: [ms(*least), ms(*most)],
            counts: Counts {
                reads: median(|sample| sample.counts.reads),
                read_bytes: median(|sample| sample.counts.read_bytes),
                writes: median(|sample| sample.counts.writes),
                written_bytes: median(|sample| sample.counts.written_bytes),
                flushes: median(|sample| sample.counts.flushes),
                dirtied_pages: median(|sample| sample.counts.dirtied_pages),
            },
        })
    });
    each.collect()
}

/// The median of what is sorted; between the two in the middle if there are two.
fn middle(sorted: &[u64]) -> u64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0);
    at(sorted.len().saturating_sub(1) / 2).midpoint(at(sorted.len() / 2))
}

/// In milliseconds, with a digit after the point.
fn ms(ns: Nanos) -> f64 {
    (ns as f64 / 100_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use blkstay_engine::class::ClassSet;
    use blkstay_engine::request::{ByteRange, Probes, Request, RequestId};

    fn lines() -> Vec<Line> {
        let event = |event: &str| Record::Event { source: Source::Guest, event: event.into(), detail: None };
        let arrived = |op, length| Record::Arrived {
            request: Request {
                id: RequestId(1),
                queue: 0,
                op,
                range: ByteRange { offset: 0, length },
                class: ClassSet::default(),
                probes: Probes::default(),
            },
            point: None,
            passed: true,
            resubmitted: false,
        };
        let records = [
            arrived(Op::Write, 1),
            Record::AttemptBegan { attempt: 1, arm: Arm::Control, watchdog_ns: None },
            arrived(Op::Write, 2),
            event("extend"),
            arrived(Op::Write, 4096),
            arrived(Op::Write, 8192),
            arrived(Op::Flush, 0),
            event("fill"),
            arrived(Op::Read, 512),
            event("end"),
            arrived(Op::Write, 16),
            Record::Report { name: "extend-dirtied".into(), value: "3".into() },
            Record::AttemptEnded { attempt: 1 },
        ];
        records.into_iter().enumerate().map(|(t, record)| Line { t: t as u64 * 1_000_000, record }).collect()
    }

    #[test]
    fn a_median_lies_in_the_middle() {
        assert_eq!([middle(&[]), middle(&[7]), middle(&[1, 5]), middle(&[1, 2, 9])], [0, 7, 3, 2]);
    }

    #[test]
    fn what_arrives_between_two_events_belongs_to_the_first() {
        let phases = ["extend", "fill", "end"].map(str::to_owned);
        let mut tally =
            Tally { phases: &phases, arm: None, open: None, attempt: Vec::new(), samples: BTreeMap::new() };
        lines().iter().for_each(|line| tally.take(line));
        let summary = summary(&phases, &tally.samples["control"]);
        let [extend, fill] = &summary[..] else { panic!("{summary:?}") };
        let expected =
            Counts { writes: 2, written_bytes: 12288, flushes: 1, dirtied_pages: 3, ..Counts::default() };
        assert_eq!((extend.phase.as_str(), extend.ms, extend.counts), ("extend", 4.0, expected));
        assert_eq!((fill.counts.reads, fill.counts.read_bytes, fill.counts.writes), (1, 512, 0));
    }
}
