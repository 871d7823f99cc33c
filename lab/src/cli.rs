//! The command line of `blkstay`.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Forces kernel storage races from outside: policies, guests and verdicts.
#[derive(Debug, Parser)]
#[command(name = "blkstay", version, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What `blkstay` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check policy files: every mistake, with line, caret and advice
    ///
    /// Exit status: 0 all are good; 1 one has a mistake or cannot be read; 2 the command line is wrong.
    Check(Check),
    /// Run a case in guests and judge it
    ///
    /// Exit status: 0 every kernel got a verdict; 1 the case could not be run; 2 the command line is
    /// wrong; 3 a verdict is `lost` or `missed`; 130 interrupted.
    Run(Run),
    /// Print a journal
    ///
    /// Exit status: 0 printed; 1 it cannot be read or has lines that are not a journal's (all others
    /// are printed); 2 the command line is wrong.
    Log(Log),
}

/// Arguments of `blkstay check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Policy files
    #[arg(required = true, value_name = "POLICY")]
    pub policies: Vec<PathBuf>,
}

/// Arguments of `blkstay run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// A policy file with a [case], or its name without `.toml` in ./policies
    #[arg(value_name = "CASE")]
    pub case: PathBuf,

    /// Kernel to run it on, may be repeated: a bzImage, a directory with an unpacked kernel package,
    /// or `debian:6.12`, the newest such build in Debian's suites
    #[arg(long = "kernel", value_name = "KERNEL", default_value = "debian:6.12")]
    pub kernels: Vec<String>,

    /// Attempts in each arm
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub times: u64,

    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,

    /// Keep console, journal, image and every attempt's report in this directory
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// Arguments of `blkstay log`.
#[derive(Debug, clap::Args)]
pub struct Log {
    /// The journal
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,

    /// How to print it
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub format: LogFormat,
}

/// How a journal is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line a record, for people
    Text,
    /// A JSON object a line, with the fields that docs/journal.md describes
    Jsonl,
}
