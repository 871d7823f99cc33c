//! `blkstay run`: cases on kernels, from policy files to verdicts.
//!
//! [`table`] says what is wanted, and [`plan`] which cells there are: a case on a kernel each. [`pool`] takes from [`store`] those that are there, and
//! runs the others: [`guest`] boots one guest on a disk of its own, or has it go on from one that several cells have in common ([`booted`]), [`experiment`] runs every attempt in it in the order
//! of [`schedule`], [`judge`] says what each showed, [`arms`] and [`document`] count, [`expect`] compares, and
//! [`format`] shows it.

pub(crate) mod accel;
mod arms;
mod booted;
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
mod kept;
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
mod table;
pub(crate) mod temporary;
pub(crate) mod traffic;
pub(crate) mod word;

pub(crate) use disk::find_program;
pub use expect::Expectation;
pub use format::Format;
pub(crate) use lab::Lab;

use crate::cli::Run;
use crate::out;
use anyhow::{Context, Result, anyhow, bail};
use case::Case;
use document::{Cell, Document, LeftOut};
use guest::Guest;
use plan::{Planned, Product};
use schedule::Times;
use std::collections::{HashMap, HashSet};
use std::process::ExitCode;
use std::time::Instant;
use store::Store;
use subject::Subject;
use table::Block;
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
    let blocks = table::blocks(args)?;
    let find = |block: &Block| block.cases.iter().map(|case| Case::find(case, &settings)).collect();
    let cases = blocks.iter().map(find).collect::<Result<Vec<Vec<Case>>>>()?;
    check(args, &blocks, &cases)?;
    let outputs = out::Files::open(&args.output)?;
    let mut store = args.results.as_deref().map(Store::open).transpose()?;
    let mut lab = Lab::new()?;
    (lab.cpus, lab.resumes) = (args.cpus, store.is_some());
    let (planned, left_out) = plan_all(args, &blocks, &cases, &lab).await?;
    let (cells, stored) = run_planned(&planned, jobs(args.jobs), &mut store, &lab).await;
    lab.progress.finish();
    let cells = cells.into_iter().map(|cell| cell.expecting(&args.expect)).collect();
    let document = Document { left_out, ..Document::new(&cases.concat(), cells) };
    let written = outputs.write(|path| Format::of_file(path).write(&document));
    // What could not be run is told as what it is when it is all that there is to tell.
    if let Some(cell) =
        document.cells.first().filter(|_| document.cells.iter().all(|cell| cell.error.is_some()))
    {
        return Err(anyhow!("{}", cell.error.as_deref().unwrap_or_default()));
    }
    out::print(&args.format().write(&document)?)?;
    written?;
    stored?;
    Ok(ExitCode::from(expect::status(&document.cells)))
}

/// Every cell of every block, and what is left out of them.
async fn plan_all<'c>(
    args: &'c Run,
    blocks: &'c [Block],
    cases: &'c [Vec<Case>],
    lab: &Lab,
) -> Result<(Vec<Planned<'c>>, Vec<LeftOut>)> {
    let several = cases.iter().map(Vec::len).sum::<usize>() > 1;
    let (mut planned, mut taken) = (Vec::new(), HashSet::new());
    for (block, cases) in blocks.iter().zip(cases) {
        let times = Times { each: block.times, natural: args.natural };
        let keep = args.keep.as_deref().map(|keep| (keep, several));
        let kernels = block.kernels().collect();
        planned.extend(plan::plan(Product { cases, kernels, times, keep }, &mut taken, lab).await?);
    }
    let left_out = planned.iter().filter_map(Planned::left_out).collect();
    planned.retain(|cell| cell.left_out().is_none());
    Ok((planned, left_out))
}

/// What can be wrong is told before anything is booted.
fn check(args: &Run, blocks: &[Block], cases: &[Vec<Case>]) -> Result<()> {
    for cases in cases {
        let twice =
            |(index, case): &(usize, &Case)| cases[..*index].iter().any(|other| other.name == case.name);
        if let Some((_, case)) = cases.iter().enumerate().find(twice) {
            bail!("two cases are called `{}`: their results could not be told apart", case.name);
        }
    }
    let names: Vec<String> = cases.iter().flatten().map(|case| case.name.clone()).collect();
    let specs: Vec<String> =
        blocks.iter().flat_map(Block::kernels).map(|(spec, _)| spec.to_owned()).collect();
    Ok(expect::check(&args.expect, &names, &specs)?)
}

/// As many guests as were asked for; else three for two processors: emulation keeps one busy, but for a guest whose hold
/// waits for its watchdog.
pub(crate) fn jobs(asked: Option<u16>) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.map_or_else(|| (processors() * 3 / 2).max(1), usize::from)
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
    let cases = [case.clone()];
    let product = Product { cases: &cases, kernels: vec![(spec, false)], times, keep: None };
    let planned = match plan::plan(product, &mut HashSet::new(), lab).await {
        Ok(planned) => planned,
        Err(error) => return Ok(Cell::broken(case, spec, None, times, format!("{error:#}"))),
    };
    let (cells, stored) = run_planned(&planned, 1, store, lab).await;
    stored?;
    cells.into_iter().next().context("one kernel has one result")
}

/// Runs what the store does not have.
async fn run_planned(
    planned: &[Planned<'_>],
    jobs: usize,
    store: &mut Option<Store>,
    lab: &Lab,
) -> (Vec<Cell>, Result<()>) {
    let keys: Vec<_> = planned.iter().map(Planned::key).collect();
    let kept = |key: &Option<_>| {
        store.as_ref().zip(key.as_ref()).is_some_and(|(store, key)| store.find(key).is_some())
    };
    let missing: Vec<_> =
        planned.iter().zip(&keys).filter(|(_, key)| !kept(key)).map(|(cell, _)| cell).collect();
    lab.progress.count(missing.iter().map(|cell| cell.times.total()).sum());
    missing
        .iter()
        .filter_map(|cell| cell.subject.as_ref().ok())
        .for_each(|subject| lab.boots.announce(subject));
    let turns = turns(planned, jobs);
    let run = async |index: usize| run_cell(&planned[index], lab).await;
    let (cells, stored) = pool::run(&keys, jobs, |index| turns[index], store, run).await;
    let spec = |(cell, planned): (Cell, &Planned)| Cell { spec: planned.spec.to_owned(), ..cell };
    (cells.into_iter().zip(planned).map(spec).collect(), stored)
}

/// From so many guests at a time on, they are of two kernels: while one boots for its cells, or its guests wait for a
/// watchdog, the other's have the processors.
const JOBS_OF_TWO_KERNELS: usize = 4;

/// When each cell is run: kernel by kernel, for what a guest of it has booted is then kept for a short time only. The lowest
/// come first.
fn turns(planned: &[Planned<'_>], jobs: usize) -> Vec<(usize, usize)> {
    let together = if jobs >= JOBS_OF_TWO_KERNELS { 2 } else { 1 };
    let mut kernels: HashMap<Option<&str>, (usize, usize)> = HashMap::new();
    let mut turns = Vec::new();
    for cell in planned {
        let next = kernels.len();
        let digest = cell.subject.as_ref().ok().map(|subject| subject.digest.as_str());
        let (kernel, cells) = kernels.entry(digest).or_insert((next, 0));
        *cells += 1;
        turns.push((*kernel / together, *cells));
    }
    turns
}

/// Runs a case on a kernel; whatever goes wrong makes it lost, and is said.
pub(crate) async fn run_cell(planned: &Planned<'_>, lab: &Lab) -> Cell {
    let (started, times) = (Instant::now(), planned.times);
    let ran = match &planned.subject {
        Ok(subject) => {
            let ran = run_guest(planned, subject, lab, started).await.map_err(|error| format!("{error:#}"));
            lab.boots.finished(subject);
            ran
        }
        Err(error) => Err(error.clone()),
    };
    ran.unwrap_or_else(|error| {
        lab.progress.skip(times.total());
        Cell::broken(planned.case, planned.spec, planned.kernel.as_ref(), times, error)
    })
}

async fn run_guest(planned: &Planned<'_>, subject: &Subject, lab: &Lab, started: Instant) -> Result<Cell> {
    let (case, keep, times) = (planned.case, planned.keep.as_deref(), planned.times);
    let guest = Guest::start(case, subject, lab, keep).await?;
    let (accel, shared_boot) = (guest.accel(), guest.has_shared_boot());
    let run = experiment::run(guest, case, times, &lab.progress).await?;
    if let Some(keep) = keep {
        document::write_attempts(keep, &run)?;
    }
    let cell = Cell::new(case, &subject.kernel, accel, times, &run, started.elapsed());
    let cell = Cell { shared_boot, cpus: Some(lab.cpus), ..cell };
    if let Some(keep) = keep {
        document::write_result(keep, case, &cell)?;
    }
    Ok(cell)
}
