//! `blkstay run`: a case on some kernels, from a policy file to verdicts.
//!
//! For each kernel: [`guest`] boots one guest on a disk of its own, [`experiment`] runs every attempt
//! in it, [`judge`] says what each showed, [`document`] and [`table`] show it.

mod accel;
mod case;
mod client;
mod daemon;
mod disk;
mod document;
mod experiment;
mod guest;
mod initramfs;
pub(crate) mod judge;
mod process;
pub(crate) mod progress;
mod table;
mod traffic;

use crate::cli::Run;
use crate::kernel::{self, Cache, Kernel};
use anyhow::{Context, Result};
use blkstay_engine::journal::Outcome;
use case::Case;
use document::{Document, KernelResult};
use guest::Guest;
use progress::Progress;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Exit status when a kernel got no verdict that says something about it.
const UNDECIDED: u8 = 3;

/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Runs a case and prints what it showed.
///
/// # Errors
/// The case could not be run at all: a bad policy, a kernel that is not to be had, no QEMU.
pub fn run(args: &Run) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let done = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let mut hang_up = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        // Dropping the run ends its processes and removes its files.
        tokio::select! {
            done = run_case(args) => done,
            _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
            _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
            _ = hang_up.recv() => Ok(ExitCode::from(INTERRUPTED)),
        }
    });
    // A download that was interrupted is not waited for: it ends with this process.
    runtime.shutdown_background();
    done
}

async fn run_case(args: &Run) -> Result<ExitCode> {
    let case = Case::find(&args.case, &args.with.settings())?;
    let progress = Progress::new();
    let cache = Cache::from_env()?;
    let kernels = find_kernels(args, &cache, &progress).await?;
    let mut document = Document::new(&case.name);
    let mut failure = None;
    for (index, kernel) in kernels.iter().enumerate() {
        let keep = args.keep.as_ref().map(|keep| keep_for(keep, &kernels[..=index]));
        match run_kernel(args.times, &case, kernel, &cache, keep.as_deref(), &progress).await {
            Ok(result) => document.kernels.push(result),
            // What other kernels have shown is not thrown away.
            Err(error) => {
                failure = Some(error.context(format!("kernel `{}`", kernel.spec)));
                break;
            }
        }
    }
    progress.finish();
    if failure.is_none() || !document.kernels.is_empty() {
        print(args.json, &case, &document)?;
    }
    let undecided = |result: &KernelResult| matches!(result.verdict, Outcome::Lost | Outcome::Missed);
    match failure {
        Some(error) => Err(error),
        None if document.kernels.iter().any(undecided) => Ok(ExitCode::from(UNDECIDED)),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn print(json: bool, case: &Case, document: &Document) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(document)?);
    } else {
        print!("{}", table::draw(case, document));
    }
    Ok(())
}

/// Finds all kernels before the first is booted, so that a wrong one is known at once.
async fn find_kernels(args: &Run, cache: &Cache, progress: &Progress) -> Result<Vec<Kernel>> {
    let mut found = Vec::new();
    for spec in &args.kernels {
        let (spec, cache, told) = (spec.clone(), cache.clone(), progress.clone());
        let resolve = move || kernel::resolve(&spec, &cache, &|message| told.say(message));
        found.push(tokio::task::spawn_blocking(resolve).await.context("finding a kernel was cut short")??);
    }
    Ok(found)
}

async fn run_kernel(
    times: u64,
    case: &Case,
    kernel: &Kernel,
    cache: &Cache,
    keep: Option<&Path>,
    progress: &Progress,
) -> Result<KernelResult> {
    let started = std::time::Instant::now();
    let guest = Guest::start(case, kernel, cache, keep, progress).await?;
    let accel = guest.accel();
    let run = experiment::run(guest, case, times, progress).await?;
    if let Some(keep) = keep {
        document::write_attempts(keep, &run)?;
    }
    let result = KernelResult::new(case, kernel, accel, times, &run, started.elapsed());
    if let Some(keep) = keep {
        document::write_result(keep, case, &result)?;
    }
    Ok(result)
}

/// The last kernel's files are in a directory of its own, by its release; the second of the same
/// release gets `-2`.
fn keep_for(keep: &Path, kernels: &[Kernel]) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
    let name = |kernel: &Kernel| -> String {
        kernel.release.as_deref().unwrap_or(&kernel.spec).chars().map(plain).collect()
    };
    let names: Vec<String> = kernels.iter().map(name).collect();
    let last = names.last().cloned().unwrap_or_default();
    match names.iter().filter(|name| **name == last).count() {
        0 | 1 => keep.join(last),
        nth => keep.join(format!("{last}-{nth}")),
    }
}
