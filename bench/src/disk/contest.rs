//! Several contestants under the same load, by turns.

use super::client::{Client, Load, Turns};
use super::contestant::{Contestant, Programs, Served};
use super::image::Image;
use super::server::Server;
use crate::figure::{Times, median};
use crate::machine::Others;
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs of each contestant.
pub const ROUNDS: usize = 5;

/// What all contests have in common.
pub struct Hall<'h> {
    /// The programs.
    pub programs: &'h Programs,
    /// Where sockets and journals are.
    pub within: &'h Path,
    /// How long the load runs before it is measured, and how long it is.
    pub warm_up: Duration,
    /// How long it is measured.
    pub measured: Duration,
}

/// Who runs, under which load.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Who.
    pub contestant: Contestant,
    /// Under which load.
    pub load: Load,
    /// Whether the server has one CPU, and not all.
    pub pinned: bool,
}

/// What one run showed.
struct Run {
    /// Requests in a second.
    iops: f64,
    /// Nanoseconds of CPU time that the server spent on each.
    cpu_ns: f64,
    /// CPUs that somebody else had meanwhile.
    others: f64,
    /// Share of the client's looks at its queues that were in vain.
    in_vain: f64,
    times: Option<Times>,
}

/// What the runs of one contestant showed: medians, and the extremes of the throughput.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    /// Requests in a second.
    pub iops: f64,
    /// The same in its slowest and in its fastest run.
    pub iops_range: [f64; 2],
    /// Nanoseconds of CPU time that the server spent on each request.
    pub cpu_ns: f64,
    /// CPUs that somebody else had meanwhile.
    pub others: f64,
    /// Share of the client's looks at its queues that were in vain.
    pub in_vain: f64,
    /// How long requests took, one at a time, in microseconds: half of them at most, and 99 % of them.
    pub latency_us: Option<[f64; 2]>,
}

impl Score {
    fn of(runs: &[Run]) -> Score {
        let over = |what: &dyn Fn(&Run) -> f64| median(runs.iter().map(what).collect());
        let quantile = |which: f64| {
            let all = runs.iter().filter_map(|run| Some(run.times.as_ref()?.quantile_us(which)));
            let all: Vec<f64> = all.collect();
            (!all.is_empty()).then(|| median(all))
        };
        let speeds = runs.iter().map(|run| run.iops);
        Score {
            iops: over(&|run| run.iops),
            iops_range: [speeds.clone().fold(f64::INFINITY, f64::min), speeds.fold(0.0, f64::max)],
            cpu_ns: over(&|run| run.cpu_ns),
            others: over(&|run| run.others),
            in_vain: over(&|run| run.in_vain),
            latency_us: quantile(0.5).zip(quantile(0.99)).map(<[f64; 2]>::from),
        }
    }
}

/// Each entry's score, or why it has none. Who comes first changes from round to round.
pub fn scores(hall: &Hall, image: &Image, entries: &[Entry]) -> Vec<Result<Score, String>> {
    let lacks = |entry: &Entry| entry.contestant.lacks(hall.programs, &image.place);
    let mut all: Vec<Result<Vec<Run>, String>> =
        entries.iter().map(|entry| lacks(entry).map_or(Ok(Vec::new()), Err)).collect();
    for round in 0..ROUNDS {
        for turn in 0..entries.len() {
            let which = (round + turn) % entries.len();
            let Ok(runs) = &mut all[which] else { continue };
            match run(hall, image, entries[which]) {
                Ok(run) => runs.push(run),
                Err(error) => all[which] = Err(format!("{error:#}")),
            }
        }
    }
    all.into_iter().map(|runs| runs.map(|runs| Score::of(&runs))).collect()
}

fn run(hall: &Hall, image: &Image, entry: Entry) -> Result<Run> {
    let Entry { contestant, load, pinned } = entry;
    let served = Served { place: &image.place, queues: load.queues };
    let server = contestant.start(hall.programs, served, hall.within, pinned, Server::start)?;
    let mut client = Client::connect(&server.socket(), load, image.disk())?;
    client.work(hall.warm_up)?;
    client.turns = Turns::default();
    if client.times.is_some() {
        client.times = Some(Times::new()?);
    }
    let others = Others::beside(|| server.cpu_ns());
    let (spent, started) = (server.cpu_ns(), Instant::now());
    let done = client.work(hall.measured)? as f64;
    let (elapsed, spent) = (started.elapsed(), server.cpu_ns().saturating_sub(spent));
    let others = others.cpus();
    let times = client.times.take();
    let (iops, cpu_ns) = (done / elapsed.as_secs_f64(), spent as f64 / done.max(1.0));
    Ok(Run { iops, cpu_ns, others, in_vain: client.turns.in_vain(), times })
}
