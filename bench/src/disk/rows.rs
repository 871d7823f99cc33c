//! What is compared, and the bound of each comparison: with a journal and without a policy unless it says otherwise.

use super::client::{Load, Waits};
use super::contestant::{Ours, Theirs};
use super::ring::Op;
use clap::ValueEnum;

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rows {
    /// A drive that is not there: what the server itself costs
    Null,
    /// A file in memory
    Tmpfs,
    /// A file on a drive, without the page cache
    Disk,
    /// One request at a time, and a client that sleeps
    Polling,
    /// Polling for ever
    Busy,
    /// With a journal beside without
    Journal,
    /// Four queues beside one
    Queues,
    /// A policy that has nothing to do beside none
    Policy,
    /// A file in memory, from within a guest
    Guest,
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Nowhere.
    Null,
    /// In a file in memory.
    Tmpfs,
    /// In a file on a drive.
    Disk,
}

/// Whom `blkstayd` is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Rival {
    /// The storage daemon, in its best way.
    StorageDaemon,
    /// Itself, otherwise.
    Ourselves(Ours, Load),
}

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The rows that it is one of.
    pub rows: Rows,
    /// What is measured, in words.
    pub what: &'static str,
    /// On which drive.
    pub drive: Drive,
    /// Under which load.
    pub load: Load,
    /// Whom.
    pub ours: Ours,
    /// Beside whom.
    pub rival: Rival,
    /// Whether the servers have one CPU, and not all.
    pub pinned: bool,
    /// The least that its throughput should be, in the rival's.
    pub bound: f64,
}

impl Row {
    const fn new(rows: Rows, what: &'static str, drive: Drive, load: Load, bound: f64) -> Row {
        Row { rows, what, drive, load, ours: Ours::PLAIN, rival: Rival::StorageDaemon, pinned: true, bound }
    }
}

const EVENTS: Load = Load { op: Op::Read, depth: 32, queues: 1, waits: Waits::Events };
const POLLS: Load = Load { waits: Waits::Polls, ..EVENTS };
const ONE: Load = Load { depth: 1, ..EVENTS };

const fn writes(load: Load) -> Load {
    Load { op: Op::Write, ..load }
}

/// A policy that nothing on the disk of these benchmarks matches: it ends long before.
const NO_MATCH: &str = "[[rule]]\nop = \"discard\"\ngate = \"complete\"\ndelay = \"1ms\"\n\n\
                        [[rule]]\nplace = { sector = 68719476736, sectors = 8 }\ngate = \"submit\"\ndelay = \"1ms\"\n";

/// All of them. `cores` are the machine's.
pub fn all(cores: usize) -> Vec<Row> {
    let mut rows = against_the_storage_daemon();
    rows.extend(against_ourselves(cores));
    rows
}

fn against_the_storage_daemon() -> Vec<Row> {
    let polling = Ours { name: "--poll-max 1000", arguments: &["--poll-max", "1000"], ..Ours::PLAIN };
    let busy = Ours { name: "--busy-poll", arguments: &["--busy-poll"], ..Ours::PLAIN };
    vec![
        Row::new(Rows::Null, "null, reads, depth 32", Drive::Null, EVENTS, 1.2),
        Row::new(Rows::Null, "null, reads, depth 32, client polls", Drive::Null, POLLS, 1.2),
        Row::new(
            Rows::Null,
            "null, reads, depth 1, client polls",
            Drive::Null,
            Load { depth: 1, ..POLLS },
            1.0,
        ),
        Row::new(Rows::Tmpfs, "tmpfs, reads, depth 32", Drive::Tmpfs, EVENTS, 1.7),
        Row::new(Rows::Tmpfs, "tmpfs, writes, depth 32", Drive::Tmpfs, writes(EVENTS), 1.7),
        Row::new(Rows::Disk, "disk, reads, depth 1", Drive::Disk, ONE, 1.05),
        Row::new(Rows::Disk, "disk, writes, depth 1", Drive::Disk, writes(ONE), 1.05),
        Row::new(Rows::Disk, "disk, reads, depth 32", Drive::Disk, EVENTS, 1.05),
        Row::new(Rows::Disk, "disk, writes, depth 32", Drive::Disk, writes(EVENTS), 1.05),
        Row::new(Rows::Polling, "null, reads, depth 1", Drive::Null, ONE, 1.0),
        Row {
            ours: polling,
            ..Row::new(Rows::Polling, "null, reads, depth 1, --poll-max 1000", Drive::Null, ONE, 2.5)
        },
        Row {
            ours: busy,
            ..Row::new(
                Rows::Busy,
                "null, reads, depth 32, client polls, --busy-poll",
                Drive::Null,
                POLLS,
                2.0,
            )
        },
    ]
}

fn against_ourselves(cores: usize) -> Vec<Row> {
    let bare = Ours { name: "without a journal", journal: false, ..Ours::PLAIN };
    let idle = Ours { name: "with a policy", policy: Some(NO_MATCH), ..Ours::PLAIN };
    let two = Ours { name: "--threads 2", arguments: &["--threads", "2"], ..Ours::PLAIN };
    // Two workers and the client need a core each to show what they can do.
    let gain = if cores >= 3 { 1.5 } else { 1.0 };
    vec![
        Row {
            rival: Rival::Ourselves(bare, POLLS),
            ..Row::new(
                Rows::Journal,
                "null, reads, depth 32, client polls: journal",
                Drive::Null,
                POLLS,
                0.95,
            )
        },
        Row {
            ours: two,
            rival: Rival::Ourselves(Ours { name: "one queue", ..Ours::PLAIN }, EVENTS),
            pinned: false,
            ..Row::new(
                Rows::Queues,
                "null, reads, 4 queues, depth 32 each, any CPU",
                Drive::Null,
                Load { queues: 4, ..EVENTS },
                gain,
            )
        },
        Row {
            ours: idle,
            rival: Rival::Ourselves(Ours { name: "without a policy", ..Ours::PLAIN }, POLLS),
            ..Row::new(Rows::Policy, "null, reads, depth 32, client polls: policy", Drive::Null, POLLS, 0.95)
        },
    ]
}

/// The storage daemon's ways to serve a drive: the best one counts.
pub fn ways(drive: Drive) -> Vec<Theirs> {
    let way = |aio, direct| Theirs { aio, direct, poll_ns_max: None };
    match drive {
        Drive::Null => vec![way(None, false)],
        // Linux' own asynchronous input and output is asynchronous without the page cache alone, and needs that said.
        Drive::Tmpfs => {
            vec![way(Some("threads"), false), way(Some("io_uring"), false), way(Some("native"), true)]
        }
        Drive::Disk => ["threads", "io_uring", "native"].map(|aio| way(Some(aio), true)).to_vec(),
    }
}

/// The same with its thread polling for a millisecond before it sleeps, for rows in which `blkstayd` polls longer than
/// it does by itself: to see, and not counted.
pub fn polling_way(row: &Row) -> Option<Theirs> {
    let polls = row.ours.arguments.iter().any(|argument| argument.contains("poll"));
    polls.then_some(Theirs { aio: None, direct: false, poll_ns_max: Some(1_000_000) })
}
