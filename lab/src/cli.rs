//! The command line of `blkstay`.

use crate::fstests::{PolicyOf, parse_env};
use crate::run::lab::CPUS;
use crate::run::{Expectation, Format};
use blkstay_engine::policy::{Settings, parse_bytes, parse_duration};
use blkstay_engine::request::Nanos;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Shortest time between two looks at a daemon.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

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
    /// With `--explain` it also says in words what each policy will do; with `--against` it tries one on what a
    /// journal has recorded.
    ///
    /// Exit status: 0 all are good; 1 one has a mistake or cannot be read, or a warning under `--deny-warnings`, or
    /// the journal cannot be read; 2 the command line is wrong.
    Check(Check),
    /// Run cases on kernels, in guests, and judge them
    ///
    /// Exit status: 0 every verdict is as expected, or there is one where nothing was expected; 1 nothing could be run,
    /// or the results cannot be written; 2 the command line is wrong; 3 a verdict is `lost` or `missed`, and was not
    /// expected to be; 4 a verdict is another than expected; 130 interrupted.
    Run(Box<Run>),
    /// Find the release in which a case's verdict changed
    ///
    /// Exit status: 0 found; 1 it could not be run; 2 the command line is wrong; 3 kernels in between, or one of the
    /// two, got no verdict that says on which side they are; 4 `--good` is open, or `--bad` is not; 130 interrupted.
    Bisect(Bisect),
    /// Run tests of fstests in guests, on disks that may obey policies, and judge them; docs/fstests.md
    ///
    /// Exit status: 0 every verdict is as expected, or every test passed or could not be run where nothing was
    /// expected; 1 nothing could be run; 2 the command line is wrong; 3 a guest was lost; 4 a test failed, or a verdict
    /// is another than expected; 130 interrupted.
    Fstests(Box<Fstests>),
    /// Write `stay`, the guest's helper, to a file: a static program for guests that you boot yourself
    Stay {
        /// File to write it to, or directory for it
        #[arg(short, long, value_name = "PATH", default_value = "stay")]
        output: PathBuf,
    },
    /// List, fetch and build kernels for `blkstay run --kernel`; docs/kernels.md has examples
    ///
    /// Exit status: 0 done; 1 there is no such kernel, or it cannot be fetched or built; 2 the command line is wrong.
    Kernel {
        /// What to do
        #[command(subcommand)]
        command: KernelCommand,
    },
    /// Print a journal, or verify it
    ///
    /// Exit status: 0 printed, or with `--verify` its policy decides everything again as it is recorded; 1 it cannot
    /// be read or has lines that are not a journal's (all others are printed), or a decision differs; 2 the command
    /// line is wrong.
    Log(Log),
    /// Make one page, or text for a mail, of what runs have shown
    ///
    /// The page needs neither network nor script. Of each arm the first attempt that showed what most of them did is
    /// drawn.
    ///
    /// Exit status: 0 written; 1 there is nothing to report on, or it cannot be read or written; 2 the command line is
    /// wrong.
    Report(Report),
    /// Steer a running blkstayd over its control socket
    ///
    /// Exit status: 0 it has taken effect, or what was awaited is true; 1 it was refused or nobody listens; 2 the
    /// command line is wrong.
    Control(Control),
    /// Watch a running blkstayd: requests a second, latencies, what is held and for what
    ///
    /// On a terminal it is a live view; press q to leave it. Anywhere else it prints a line an interval;
    /// docs/observability.md has examples.
    ///
    /// Exit status: 0 ended as told; 1 nobody listens, or the daemon is gone; 2 the command line is wrong.
    Top(Top),
    /// Print the counters of a running blkstayd for Prometheus
    ///
    /// Exit status: 0 printed; 1 nobody listens or it was refused; 2 the command line is wrong.
    Metrics {
        /// The socket of `blkstayd --control`
        #[arg(value_name = "SOCKET")]
        socket: PathBuf,
    },
    /// Print the JSON Schema of policy files, for editors
    Schema,
    /// Print completions of these commands for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page of blkstay, or write one for each command
    Man {
        /// Directory to write them to; it is made if it is not there
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// What a policy is read with beside its files.
#[derive(Clone, Debug, Default, Args)]
pub struct With {
    /// Value of a parameter of the policy, may be repeated; of the same name the last counts
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_set)]
    pub set: Vec<(String, String)>,

    /// What chance is drawn from, instead of the policy's own seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

impl With {
    /// The same as the reader of policies takes it.
    pub fn settings(&self) -> Settings {
        Settings { set: self.set.iter().cloned().collect(), seed: self.seed }
    }
}

/// Arguments of `blkstay check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Policy files
    #[arg(required = true, value_name = "POLICY")]
    pub policies: Vec<PathBuf>,

    /// Parameters and seed
    #[command(flatten)]
    pub with: With,

    /// Let warnings count as mistakes
    #[arg(long, visible_alias = "strict")]
    pub deny_warnings: bool,

    /// Say in words what the policy will do
    #[arg(long)]
    pub explain: bool,

    /// Say what the policy would have decided on each request of this journal
    #[arg(long, value_name = "JOURNAL", conflicts_with = "explain")]
    pub against: Option<PathBuf>,

    /// Print one JSON document, or with `--against` a JSON object a line; docs/check.md describes the fields
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `blkstay run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Policy files with a [case], or their names without `.toml` in ./policies
    #[arg(required_unless_present = "table", value_name = "CASE")]
    pub cases: Vec<PathBuf>,

    /// A table that is written down, or its name without `.toml` in ./tables: which cases run on which kernels, how often
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["cases", "kernels"])]
    pub table: Option<PathBuf>,

    /// Kernel to run them on, may be repeated: a bzImage, a directory with an unpacked kernel package or a
    /// build, `debian:6.12`, the newest such build in Debian's suites, or a variant: `variant:NAME`,
    /// `my-fix.toml`, each with `@debian:7.3` or not [default: debian:6.12]
    #[arg(long = "kernel", value_name = "KERNEL")]
    pub kernels: Vec<String>,

    /// Attempts in each arm; 20 are enough in the control arm if all of them reach every point [default: 10, or as the
    /// table says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub times: Option<u64>,

    /// Make as many attempts with no policy at all, too: how often does chance do it?
    #[arg(long)]
    pub natural: bool,

    /// Guests at a time [default: three for two processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// Processors of each guest; under emulation one is much faster, and enough for whatever holds bring about
    #[arg(long, value_name = "N", default_value_t = CPUS, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cpus: u16,

    /// Add each finished cell (a case on a kernel) to this file, and do not run again those that are there
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,

    /// What every verdict is expected to be, or with `KERNEL=`, `CASE=` or `CASE,KERNEL=` before it that of some;
    /// `closed|survived`: either; may be repeated
    #[arg(long, value_name = "[WHOM=]VERDICT", value_parser = Expectation::parse)]
    pub expect: Vec<Expectation>,

    /// Parameters and seed
    #[command(flatten)]
    pub with: With,

    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Print one JSON document: the same as `--format json`
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// Write the result to this file, too, as its name says: .json, .xml (JUnit's), .md, .csv, or else the table; may
    /// be repeated
    #[arg(long, value_name = "FILE")]
    pub output: Vec<PathBuf>,

    /// Keep console, journal, image and every attempt's report in this directory
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

impl Run {
    /// How the result is printed.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// Arguments of `blkstay fstests`.
#[derive(Debug, Args)]
pub struct Fstests {
    /// A checkout of fstests, built with `make`; it is not written to
    #[arg(long, value_name = "PATH")]
    pub tree: PathBuf,

    /// Run the tests of this group, may be repeated
    #[arg(long = "group", value_name = "GROUP", required_unless_present = "tests")]
    pub groups: Vec<String>,

    /// Run this test (generic/001, or a pattern), may be repeated
    #[arg(long = "test", value_name = "TEST")]
    pub tests: Vec<String>,

    /// Leave out the tests of this group, may be repeated
    #[arg(long, value_name = "GROUP")]
    pub exclude: Vec<String>,

    /// Leave out the tests that this file lists, one a line
    #[arg(long, value_name = "FILE")]
    pub exclude_file: Option<PathBuf>,

    /// Kernel to run them on, as after `blkstay run --kernel`; may be repeated
    #[arg(long = "kernel", value_name = "KERNEL", default_value = "debian:6.12")]
    pub kernels: Vec<String>,

    /// The filesystem: FSTYP
    #[arg(long, value_name = "FS", default_value = "ext4")]
    pub fs: String,

    /// MKFS_OPTIONS, for both disks: `-O ^extents,^64bit`
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub mkfs: Option<String>,

    /// What else local.config is to set, may be repeated: `MOUNT_OPTIONS=-o data=journal`
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_env)]
    pub env: Vec<(String, String)>,

    /// Policy that a disk obeys while a test runs; both disks if none is named
    #[arg(long = "policy", value_name = "[test=|scratch=]FILE", value_parser = |text: &str| Ok::<_, String>(PolicyOf::parse(text)))]
    pub policies: Vec<PolicyOf>,

    /// Parameters and seed of the policies
    #[command(flatten)]
    pub with: With,

    /// Run each test as often with no policy, too
    #[arg(long, requires = "policies")]
    pub natural: bool,

    /// Run each test so often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub times: u64,

    /// How long a test may take; then it is lost, and the others go on in a new guest
    #[arg(long, value_name = "TIME", default_value = "900s", value_parser = parse_interval)]
    pub limit: Duration,

    /// Size of each of the two disks; their files are sparse
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = parse_bytes)]
    pub size: u64,

    /// Memory of a guest
    #[arg(long, value_name = "SIZE", default_value = "2G", value_parser = parse_bytes)]
    pub memory: u64,

    /// Image of a root file system instead of Debian's: ext4, with bash and what fstests calls
    #[arg(long, value_name = "IMAGE")]
    pub root: Option<PathBuf>,

    /// Guests at a time, one for a kernel [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// What every verdict is expected to be, or with `KERNEL=`, `TEST=` or `TEST,KERNEL=` before it that of some;
    /// `survived|missed` where nothing is said
    #[arg(long, value_name = "[WHOM=]VERDICT", value_parser = Expectation::parse)]
    pub expect: Vec<Expectation>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Print one JSON document: the same as `--format json`
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// Write the result to this file, too, as its name says: .json, .xml (JUnit's), .md, .csv, or else the table; may
    /// be repeated
    #[arg(long, value_name = "FILE")]
    pub output: Vec<PathBuf>,

    /// Keep what fstests left, consoles, journals and disks in this directory
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,

    /// Options that `check` is given, too: `-- -T -R xunit`
    #[arg(last = true, value_name = "OPTION")]
    pub options: Vec<String>,
}

impl Fstests {
    /// How the result is printed.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// Arguments of `blkstay bisect`.
#[derive(Debug, Args)]
pub struct Bisect {
    /// A policy file with a [case], or its name without `.toml` in ./policies
    #[arg(value_name = "CASE")]
    pub case: PathBuf,

    /// A kernel on which it is not open, as after `blkstay run --kernel`; older than the bad one, or newer
    #[arg(long, value_name = "KERNEL")]
    pub good: String,

    /// A kernel on which it is open
    #[arg(long, value_name = "KERNEL")]
    pub bad: String,

    /// The kernels to search, oldest first, good and bad among them [default: all of Debian's between these two]
    #[arg(long, value_name = "KERNEL", num_args = 1..)]
    pub kernels: Vec<String>,

    /// Attempts in each arm
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub times: u64,

    /// Add each result to this file, and do not run again those that are there; it can be one of `blkstay run`
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,

    /// Parameters and seed
    #[command(flatten)]
    pub with: With,

    /// Print one JSON document; docs/run.md describes the fields
    #[arg(long)]
    pub json: bool,
}

/// What can be done with kernels.
#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// List what Debian's suites offer, what the cache has, and the variants in ./variants
    List(KernelList),
    /// Fetch kernels into the cache, and build those that are variants
    Fetch(KernelFetch),
    /// Build a variant: a module of a stock kernel, made anew with a change
    Build(KernelBuild),
}

/// Arguments of `blkstay kernel list`.
#[derive(Debug, Args)]
pub struct KernelList {
    /// Print one JSON document; docs/kernels.md describes the fields
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `blkstay kernel fetch`.
#[derive(Debug, Args)]
pub struct KernelFetch {
    /// Kernels, as after `blkstay run --kernel`
    #[arg(required = true, value_name = "KERNEL")]
    pub specs: Vec<String>,
}

/// Arguments of `blkstay kernel build`.
#[derive(Debug, Args)]
pub struct KernelBuild {
    /// The variant's file, or its name in ./variants
    #[arg(value_name = "VARIANT")]
    pub variant: String,

    /// Debian kernel to make it of, instead of the variant's own
    #[arg(long, value_name = "KERNEL")]
    pub kernel: Option<String>,
}

/// Arguments of `blkstay log`.
#[derive(Debug, Args)]
pub struct Log {
    /// The journal
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,

    /// How to print it
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub format: LogFormat,

    /// Feed it back to the policy that it names, and say whether the same is decided again
    #[arg(long, conflicts_with = "format")]
    pub verify: bool,
}

/// How a journal is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line a record, for people
    Text,
    /// A JSON object a line, with the fields that docs/journal.md describes
    Jsonl,
}

/// Arguments of `blkstay report`.
#[derive(Debug, Args)]
pub struct Report {
    /// What was given to `blkstay run --keep`, or a kept directory in it; files of results, too: what `blkstay run`
    /// prints with `--json`
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Write it to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Plain text, for the body of a mail, instead of HTML
    #[arg(long)]
    pub text: bool,
}

/// Arguments of `blkstay control`.
#[derive(Debug, Args)]
pub struct Control {
    /// The socket of `blkstayd --control`
    #[arg(value_name = "SOCKET")]
    pub socket: PathBuf,

    /// What to ask for
    #[command(subcommand)]
    pub verb: Verb,

    /// Print the answer as it comes, one JSON object
    #[arg(long, global = true)]
    pub json: bool,
}

/// Arguments of `blkstay top`.
#[derive(Debug, Args)]
pub struct Top {
    /// The socket of `blkstayd --control`
    #[arg(value_name = "SOCKET")]
    pub socket: PathBuf,

    /// How often it looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,

    /// Print one line about everything since the daemon started, and end
    #[arg(long)]
    pub once: bool,

    /// Print a JSON object an interval; docs/observability.md describes the fields
    #[arg(long)]
    pub json: bool,
}

/// What can be asked of a daemon.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Replace the policy; what the old one held is released first
    Load {
        /// The policy file
        #[arg(value_name = "POLICY")]
        policy: PathBuf,
        /// Parameters and seed
        #[command(flatten)]
        with: With,
        /// Let it act only in attempts, or once it is armed
        #[arg(long)]
        disarmed: bool,
    },
    /// Let the policy act from now on; it starts fresh
    Arm,
    /// Let it act no more; what it holds is released
    Disarm,
    /// Let every request stand at whatever gate it comes to
    Pause {
        /// Only those of this queue
        #[arg(long, value_name = "N")]
        queue: Option<u16>,
        /// How long at most, instead of the policy's watchdog
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        watchdog: Option<Nanos>,
    },
    /// End every pause
    Resume,
    /// List what stands at a gate
    Held,
    /// Let what stands go on: one request, a point's, or everything
    Release {
        /// The request's number
        #[arg(long, value_name = "N", conflicts_with = "point")]
        request: Option<u64>,
        /// The point's name
        #[arg(long, value_name = "NAME")]
        point: Option<String>,
    },
    /// Make the event `control.NAME` happen
    Emit {
        /// The event's name, without `control.`
        #[arg(value_name = "NAME")]
        event: String,
        /// Anything worth keeping in the journal beside it
        #[arg(long, value_name = "TEXT")]
        detail: Option<String>,
    },
    /// Return when something is true
    Await {
        /// An event (`A.done`), a state, a comparison (`held >= 1`), or JSON: `{"all":["A.done","control.go"]}`
        #[arg(value_name = "EXPRESSION")]
        until: String,
    },
    /// Tell how the attempt stands
    Status,
    /// Tell how many requests there were and how long they took
    Stats,
    /// Change the size of the disk; a guest that is connected is told
    Resize {
        /// The new size, a multiple of the disk's block: bytes, or 64M, 1G
        #[arg(value_name = "SIZE", value_parser = parse_bytes)]
        bytes: u64,
    },
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = Duration::from_nanos(parse_duration(text)?);
    match interval >= INTERVAL_MIN {
        true => Ok(interval),
        false => Err(format!("`{text}` is too often: give it {} ms or more", INTERVAL_MIN.as_millis())),
    }
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn of_the_same_parameter_the_last_value_counts() {
        let words =
            ["blkstay", "check", "p", "--set", "a=1", "--set", "b=x=y", "--set", "a=2", "--seed", "7"];
        let Command::Check(check) = Cli::parse_from(words).command else { panic!("not a check") };
        let settings = check.with.settings();
        let set: Vec<_> = settings.set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((set, settings.seed), (vec![("a", "2"), ("b", "x=y")], Some(7)));
    }

    #[test]
    fn a_parameter_without_a_value_is_refused() {
        let refused = Cli::try_parse_from(["blkstay", "check", "p", "--set", "a"]).expect_err("refused");
        assert!(refused.to_string().contains("write NAME=VALUE"), "{refused}");
    }
}
