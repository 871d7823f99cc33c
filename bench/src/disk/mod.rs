//! `blkstayd` as a disk, beside `qemu-storage-daemon`: same client, same image, by turns.

mod client;
mod connection;
mod contest;
mod contestant;
pub mod guest;
mod image;
mod ring;
mod rows;
mod server;
mod shared;

use crate::figure::{Bound, Figure, Row as Line, Table};
use crate::{Plan, pin};
use anyhow::Result;
use contest::{Entry, Hall, ROUNDS, Score};
use contestant::{Contestant, Programs};
use image::Image;
pub use rows::Rows;
use rows::{Drive, Rival, Row};
use std::path::PathBuf;
use std::time::Duration;

const NULL_BYTES: u64 = 1 << 30;
const TMPFS_BYTES: u64 = 512 << 20;
const DISK_BYTES: u64 = 1 << 30;

/// What to measure, and with what.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "For disk")]
pub struct Choice {
    /// Rows that are measured; all if none is named
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROWS")]
    rows: Vec<Rows>,

    /// Directory on a real drive, for a file of 1 GiB
    #[arg(long, value_name = "PATH", default_value = "target/bench")]
    drive: PathBuf,

    /// The storage daemon to measure beside
    #[arg(long, value_name = "PATH", default_value = "qemu-storage-daemon")]
    storage_daemon: PathBuf,
}

/// The rows that are chosen, and all contestants in detail.
pub fn measure(plan: &Plan) -> Result<Vec<Table>> {
    let choice = plan.disk;
    let programs = Programs::found(&choice.storage_daemon)?;
    let measured = Duration::from_millis(if plan.quick { 500 } else { 2000 });
    let warm_up = measured / 5;
    let hall = Hall { programs: &programs, within: plan.directory, warm_up, measured };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let has = |rows: Rows| choice.rows.is_empty() || choice.rows.contains(&rows);
    let rows: Vec<Row> = rows::all(cores).into_iter().filter(|row| has(row.rows)).collect();
    let (mut lines, mut details) = (Vec::new(), Vec::new());
    pin::to_last_cpu(|| -> Result<()> {
        for drive in [Drive::Null, Drive::Tmpfs, Drive::Disk] {
            let here: Vec<&Row> = rows.iter().filter(|row| row.drive == drive).collect();
            let guests = drive == Drive::Tmpfs && has(Rows::Guest);
            if here.is_empty() && !guests {
                continue;
            }
            let image = image_of(drive, plan)?;
            for row in here {
                eprintln!("disk: {}", row.what);
                let (line, detail) = compare(&hall, &image, row);
                lines.push(line);
                details.extend(detail);
            }
            if guests {
                lines.extend(guest::measure(&hall, &image).unwrap_or_else(|error| {
                    vec![Line::new("in a guest".to_owned(), Vec::new()).note(format!("{error:#}"))]
                }));
            }
        }
        Ok(())
    })?;
    let each = format!("4 KiB at random, medians of {ROUNDS} runs of {measured:?} by turns");
    let title = format!("Disk: blkstayd beside {} ({each})", programs.storage_daemon());
    let details = Table { title: "Disk: each contestant".to_owned(), rows: details };
    let tables = [Table { title, rows: lines }, details];
    Ok(tables.into_iter().filter(|table| !table.rows.is_empty()).collect())
}

fn image_of(drive: Drive, plan: &Plan) -> Result<Image> {
    match drive {
        Drive::Null => Ok(Image::null(NULL_BYTES)),
        Drive::Tmpfs => Image::file(plan.directory, TMPFS_BYTES, false),
        Drive::Disk => Image::file(&plan.disk.drive, DISK_BYTES, true),
    }
}

/// The contestants of a row: ours, those that it is compared with, and how many these are; the rest is to see.
fn entries(row: &Row) -> (Vec<Entry>, usize) {
    let entry = |contestant, load| Entry { contestant, load, pinned: row.pinned };
    let rivals: Vec<Entry> = match row.rival {
        Rival::Ourselves(ours, load) => vec![entry(Contestant::Ours(ours), load)],
        Rival::StorageDaemon => {
            rows::ways(row.drive).into_iter().map(|way| entry(Contestant::Theirs(way), row.load)).collect()
        }
    };
    let counted = rivals.len();
    let to_see = rows::polling_way(row).map(|way| entry(Contestant::Theirs(way), row.load));
    let ours = entry(Contestant::Ours(row.ours), row.load);
    (std::iter::once(ours).chain(rivals).chain(to_see).collect(), counted)
}

fn compare(hall: &Hall, image: &Image, row: &Row) -> (Line, Vec<Line>) {
    let (entries, counted) = entries(row);
    let scores = contest::scores(hall, image, &entries);
    let detail = |(entry, score): (&Entry, &Result<Score, String>)| {
        let what = format!("{}: {}", row.what, entry.contestant);
        match score {
            Ok(score) => Line::new(what, detail(score)),
            Err(reason) => Line::new(what, Vec::new()).note(reason.clone()),
        }
    };
    let details = entries.iter().zip(&scores).map(detail).collect();
    (line(row, &entries, &scores, counted), details)
}

fn line(row: &Row, entries: &[Entry], scores: &[Result<Score, String>], counted: usize) -> Line {
    let rivals = entries.iter().zip(scores).skip(1).take(counted);
    let best = rivals
        .filter_map(|(entry, score)| Some((entry.contestant, score.as_ref().ok()?)))
        .max_by(|(_, one), (_, other)| one.iops.total_cmp(&other.iops));
    let ours = match &scores[0] {
        Ok(ours) => ours,
        Err(reason) => {
            let beside = best.map(|(who, score)| format!("; {who} does {:.0}/s", score.iops));
            let note = format!("{reason}{}", beside.unwrap_or_default());
            return Line::new(row.what.to_owned(), Vec::new()).note(note);
        }
    };
    let Some((who, theirs)) = best else {
        let reason = scores.iter().skip(1).find_map(|score| score.as_ref().err()).cloned();
        let figures = vec![Figure::new("blkstayd", ours.iops, "/s")];
        return Line::new(row.what.to_owned(), figures).note(reason.unwrap_or_default());
    };
    let cpu = Figure::new("ratio of CPU", ours.cpu_ns / theirs.cpu_ns, "");
    let against_us = matches!(row.rival, Rival::Ourselves(..));
    let figures = vec![
        Figure::new("blkstayd", ours.iops, "/s"),
        Figure::new("beside", theirs.iops, "/s"),
        Figure::new("ratio", ours.iops / theirs.iops, "").bound(Bound::AtLeast(row.bound)),
        Figure::new("CPU/request", ours.cpu_ns, "ns"),
        Figure::new("beside", theirs.cpu_ns, "ns"),
        // With itself it is compared for throughput alone: a journal costs what it costs.
        if against_us { cpu } else { cpu.bound(Bound::AtMost(1.0)) },
    ];
    Line::new(row.what.to_owned(), figures).note(format!("beside {who}"))
}

fn detail(score: &Score) -> Vec<Figure> {
    let [slowest, fastest] = score.iops_range;
    let mut figures = vec![
        Figure::new("median", score.iops, "/s"),
        Figure::new("slowest", slowest, "/s"),
        Figure::new("fastest", fastest, "/s"),
        Figure::new("CPU/request", score.cpu_ns, "ns"),
        Figure::new("others' CPUs", score.others, ""),
        Figure::new("client in vain", score.in_vain * 100.0, "%"),
    ];
    if let Some([half, most]) = score.latency_us {
        figures.extend([Figure::new("p50", half, "µs"), Figure::new("p99", most, "µs")]);
    }
    figures
}
