//! `blkstay run`: cases on kernels, from policy files to verdicts.
//!
//! [`plan`] says which cells there are: a case on a kernel each. [`pool`] takes from [`store`] those that are there, and
//! runs the others: [`guest`] boots one guest on a disk of its own, [`experiment`] runs every attempt in it in the order
//! of [`schedule`], [`judge`] says what each showed, [`arms`] and [`document`] count, [`expect`] compares, and
//! [`format`] shows it.

pub(crate) mod accel;
mod arms;
pub(crate) mod case;
pub(crate) mod client;
pub(crate) mod daemon;
mod disk;
pub(crate) mod document;
pub(crate) mod expect;
mod experiment;
pub(crate) mod format;
mod guest;
pub(crate) mod initramfs;
pub(crate) mod judge;
pub(crate) mod lab;
mod plan;
mod pool;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod qemu;
pub(crate) mod rate;
pub(crate) mod schedule;
pub(crate) mod store;
pub(crate) mod subject;
mod traffic;

pub(crate) use disk::find_program;
pub use expect::Expectation;
pub use format::Format;
pub(crate) use lab::Lab;

use crate::cli::Run;
use crate::out;
use anyhow::{Context, Result, anyhow, bail};
use case::Case;
use document::{Cell, Document};
use guest::Guest;
use plan::Planned;
use schedule::Times;
use std::process::ExitCode;
use std::time::Instant;
use store::Store;
use subject::Subject;
use tokio::signal::unix::{SignalKind, signal};

/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Runs cases and prints what they showed.
///
/// # Errors
/// They could not be run at all: a bad policy, no kernel that is to be had, no QEMU.
pub fn run(args: &Run) -> Result<ExitCode> {
    interruptible(run_cases(args))
}

/// Runs something that ends its processes and removes its files when it is dropped, as it is by Ctrl-C.
pub(crate) fn interruptible(run: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let done = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let mut hang_up = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        tokio::select! {
            done = run => done,
            _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
            _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
            _ = hang_up.recv() => Ok(ExitCode::from(INTERRUPTED)),
        }
    });
    // A download that was interrupted is not waited for: it ends with this process.
    runtime.shutdown_background();
    done
}

async fn run_cases(args: &Run) -> Result<ExitCode> {
    let settings = args.with.settings();
    let cases = args.cases.iter().map(|case| Case::find(case, &settings)).collect::<Result<Vec<_>>>()?;
    check(args, &cases)?;
    let mut store = args.results.as_deref().map(Store::open).transpose()?;
    let lab = Lab::new()?;
    let planned = plan::plan(&cases, &args.kernels, args.keep.as_deref(), &lab).await?;
    let times = Times { each: args.times, natural: args.natural };
    let (cells, stored) = run_planned(&planned, times, jobs(args.jobs), &mut store, &lab).await;
    lab.progress.finish();
    // What could not be run is told as what it is when it is all that there is to tell.
    if let Some(error) = cells.iter().all(|cell| cell.error.is_some()).then(|| cells.first()).flatten() {
        return Err(anyhow!("{}", error.error.as_deref().unwrap_or_default()));
    }
    let cells = cells.into_iter().map(|cell| cell.expecting(&args.expect)).collect();
    let document = Document::new(&cases, cells);
    out::print(&args.format().write(&document)?)?;
    for path in &args.output {
        let text = Format::of_file(path).write(&document)?;
        std::fs::write(path, text).with_context(|| format!("{}: cannot write it", path.display()))?;
    }
    stored?;
    Ok(ExitCode::from(expect::status(&document.cells)))
}

/// What can be wrong is told before anything is booted.
fn check(args: &Run, cases: &[Case]) -> Result<()> {
    let names: Vec<String> = cases.iter().map(|case| case.name.clone()).collect();
    if let Some(twice) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        bail!("two cases are called `{}`: their results could not be told apart", twice.1);
    }
    expect::check(&args.expect, &names, &args.kernels)
}

/// As many guests as were asked for; else one for each processor, which emulation keeps busy.
pub(crate) fn jobs(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// Runs a case on one kernel, unless the store has it; one that is not to be had is lost.
///
/// # Errors
/// The result cannot be stored.
pub(crate) async fn run_one(
    case: &Case,
    spec: &str,
    times: Times,
    store: &mut Option<Store>,
    lab: &Lab,
) -> Result<Cell> {
    let (cases, specs) = ([case.clone()], [spec.to_owned()]);
    let planned = match plan::plan(&cases, &specs, None, lab).await {
        Ok(planned) => planned,
        Err(error) => return Ok(Cell::broken(case, spec, None, times, format!("{error:#}"))),
    };
    let (cells, stored) = run_planned(&planned, times, 1, store, lab).await;
    stored?;
    cells.into_iter().next().context("one kernel has one result")
}

/// Runs what the store does not have.
async fn run_planned(
    planned: &[Planned<'_>],
    times: Times,
    jobs: usize,
    store: &mut Option<Store>,
    lab: &Lab,
) -> (Vec<Cell>, Result<()>) {
    let keys: Vec<_> = planned.iter().map(|cell| cell.key(times)).collect();
    let kept = |key: &Option<_>| {
        store.as_ref().zip(key.as_ref()).is_some_and(|(store, key)| store.find(key).is_some())
    };
    let missing = keys.iter().filter(|key| !kept(key)).count() as u64;
    lab.progress.count(missing * times.total());
    let (cells, stored) =
        pool::run(&keys, jobs, store, async |index| run_cell(&planned[index], times, lab).await).await;
    let spec = |(cell, planned): (Cell, &Planned)| Cell { spec: planned.spec.to_owned(), ..cell };
    (cells.into_iter().zip(planned).map(spec).collect(), stored)
}

/// Runs a case on a kernel; whatever goes wrong makes it lost, and is said.
pub(crate) async fn run_cell(planned: &Planned<'_>, times: Times, lab: &Lab) -> Cell {
    let started = Instant::now();
    let ran = match &planned.subject {
        Ok(subject) => {
            run_guest(planned, subject, times, lab, started).await.map_err(|error| format!("{error:#}"))
        }
        Err(error) => Err(error.clone()),
    };
    ran.unwrap_or_else(|error| {
        lab.progress.skip(times.total());
        Cell::broken(planned.case, planned.spec, planned.kernel.as_ref(), times, error)
    })
}

async fn run_guest(
    planned: &Planned<'_>,
    subject: &Subject,
    times: Times,
    lab: &Lab,
    started: Instant,
) -> Result<Cell> {
    let (case, keep) = (planned.case, planned.keep.as_deref());
    let guest = Guest::start(case, subject, lab, keep).await?;
    let accel = guest.accel();
    let run = experiment::run(guest, case, times, &lab.progress).await?;
    if let Some(keep) = keep {
        document::write_attempts(keep, &run)?;
    }
    let cell = Cell::new(case, &subject.kernel, accel, times, &run, started.elapsed());
    if let Some(keep) = keep {
        document::write_result(keep, case, &cell)?;
    }
    Ok(cell)
}
