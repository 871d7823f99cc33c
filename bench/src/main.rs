//! Measures blkstay against its bounds. Prints a table a part, bound and figure side by side, and writes JSON.
//!
//! A benchmark is no test: what is beyond its bound is marked and the exit status is 0, since whatever else runs on
//! the machine is measured too. Daemons are the real program, found like those of the tests.

mod counted;
mod delay;
mod disk;
mod event;
mod figure;
mod held;
mod load;
mod machine;
mod matching;
mod pin;
mod report;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use machine::Machine;
use report::Report;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measures blkstay against its bounds, with the `blkstayd` that is built beside it or in `$BLKSTAY_BIN_DIR`.
#[derive(Debug, Parser)]
#[command(name = "blkstay-bench", version)]
struct Cli {
    /// What is measured; everything if none is named
    #[arg(value_enum)]
    parts: Vec<Part>,

    /// File that the figures are written to, as JSON, beside those of parts that are not measured now
    #[arg(long, value_name = "PATH", default_value = "target/bench.json")]
    json: PathBuf,

    /// Directory for images and journals; should be in memory
    #[arg(long, value_name = "PATH", default_value = "/dev/shm")]
    directory: PathBuf,

    /// Measure a tenth as long: to see that it works, not for figures
    #[arg(long)]
    quick: bool,

    #[command(flatten)]
    disk: disk::Choice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Throughput with many rules and points that do not match
    Matching,
    /// How late requests go on whose delay is over
    Delay,
    /// How soon a guest sees what an event has released
    Event,
    /// Many requests held at once: memory, order and time of their release
    Held,
    /// As a disk beside qemu-storage-daemon: throughput, CPU time, latency
    Disk,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// How long and where to measure.
struct Plan<'p> {
    directory: &'p Path,
    quick: bool,
    disk: &'p disk::Choice,
}

/// How often something is measured until others leave the machine alone, and what counts as that, in CPUs.
const TRIES: usize = 6;
const OTHERS_MAX: f64 = 0.03;

impl Plan<'_> {
    /// Measures until others did not disturb it; if they always do, the time when they did least counts.
    fn calmest<T>(&self, mut measure: impl FnMut() -> Result<(T, f64)>) -> Result<(T, f64)> {
        let mut best = measure()?;
        for _ in 1..TRIES {
            if best.1 <= OTHERS_MAX {
                break;
            }
            let next = measure()?;
            if next.1 < best.1 {
                best = next;
            }
        }
        Ok(best)
    }

    /// So many, or a tenth of it.
    fn times(&self, n: usize) -> usize {
        if self.quick { n.div_ceil(10) } else { n }
    }
}

fn main() -> Result<()> {
    if let Some(each) = std::env::var(disk::guest::load::IN_GUEST).ok().and_then(|each| each.parse().ok()) {
        return disk::guest::load::run(Duration::from_millis(each));
    }
    let cli = Cli::parse();
    let mut report = Report::at(&cli.json)?;
    let machine = Machine::seen();
    let directory = if cli.directory.is_dir() { cli.directory.clone() } else { std::env::temp_dir() };
    let plan = Plan { directory: &directory, quick: cli.quick, disk: &cli.disk };
    let parts = if cli.parts.is_empty() { Part::value_variants() } else { &cli.parts };
    println!("{machine}");
    for part in parts {
        let measure = match part {
            Part::Matching => matching::measure,
            Part::Delay => delay::measure,
            Part::Event => event::measure,
            Part::Held => held::measure,
            Part::Disk => disk::measure,
        };
        let tables = measure(&plan)?;
        tables.iter().for_each(|table| println!("\n{table}"));
        report.set(&part.to_string(), &machine, &tables)?;
    }
    println!("\nwritten to {}", cli.json.display());
    Ok(())
}
