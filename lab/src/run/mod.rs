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
mod judge;
mod process;
mod progress;
mod table;

use crate::cli::Run;
use crate::kernel::{self, Cache, Kernel};
use anyhow::{Context, Result};
use blkstay_engine::journal::Outcome;
use case::Case;
use document::{Document, KernelResult};
use guest::Guest;
use progress::Progress;
use std::path::PathBuf;
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
        // Dropping the run ends its processes and removes its files.
        tokio::select! {
            done = run_case(args) => done,
            _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
            _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
        }
    });
    // A download that was interrupted is not waited for: it ends with this process.
    runtime.shutdown_background();
    done
}

async fn run_case(args: &Run) -> Result<ExitCode> {
    let case = Case::find(&args.case)?;
    let progress = Progress::new();
    let cache = Cache::from_env()?;
    let kernels = find_kernels(args, &cache, &progress).await?;
    let mut document = Document::new(&case.name);
    for kernel in kernels {
        document.kernels.push(run_kernel(args, &case, &kernel, &cache, &progress).await?);
    }
    progress.finish();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        print!("{}", table::draw(&case, &document));
    }
    let undecided = |result: &KernelResult| matches!(result.verdict, Outcome::Lost | Outcome::Missed);
    Ok(if document.kernels.iter().any(undecided) { ExitCode::from(UNDECIDED) } else { ExitCode::SUCCESS })
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
    args: &Run,
    case: &Case,
    kernel: &Kernel,
    cache: &Cache,
    progress: &Progress,
) -> Result<KernelResult> {
    let keep = args.keep.as_ref().map(|keep| keep_for(keep, kernel));
    let started = std::time::Instant::now();
    let guest = Guest::start(case, kernel, cache, keep.as_deref(), progress).await?;
    let accel = guest.accel();
    let run = experiment::run(guest, case, args.times, progress).await?;
    if let Some(keep) = &keep {
        document::write_attempts(keep, &run)?;
    }
    Ok(KernelResult::new(case, kernel, accel, args.times, &run, started.elapsed()))
}

/// Each kernel's files are in a directory of their own.
fn keep_for(keep: &std::path::Path, kernel: &Kernel) -> PathBuf {
    let name = kernel.release.as_deref().unwrap_or(&kernel.spec);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
    keep.join(name.chars().map(plain).collect::<String>())
}
