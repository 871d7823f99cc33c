//! `blkstay fstests`: a checkout of fstests, run in guests whose TEST_DEV and SCRATCH_DEV are blkstay disks.
//!
//! [`tree`], [`root`] and [`modules`] make the images that guests boot with, [`plan`] says what they are to do,
//! [`guest`] boots one on two disks, [`session`] takes it from test to test and boots another where one was lost,
//! [`verdict`] says what each attempt showed, [`document`] counts, and [`form`] shows it.

mod document;
mod form;
mod guest;
mod image;
mod modules;
mod plan;
mod root;
mod session;
mod tree;
mod verdict;

pub use plan::{PolicyOf, parse_env};

use crate::cli::Fstests;
use crate::out;
use crate::run::{self, Lab, expect, jobs};
use anyhow::{Result, anyhow};
use document::{Document, KernelRun};
use futures_util::stream::{self, StreamExt};
use plan::Plan;
use std::process::ExitCode;

/// Runs tests and prints what they showed.
///
/// # Errors
/// They could not be run at all: no checkout, or it is not built, no kernel that is to be had, no root image.
pub fn fstests(args: &Fstests) -> Result<ExitCode> {
    run::interruptible(run_all(args))
}

async fn run_all(args: &Fstests) -> Result<ExitCode> {
    tree::check(&args.tree)?;
    let outputs = out::Files::open(&args.output)?;
    let lab = Lab::new()?;
    let plan = Plan::new(args, &lab).await?;
    let each = args.kernels.iter().enumerate().map(|(index, spec)| {
        let (plan, lab) = (&plan, &lab);
        async move { (index, run_kernel(plan, spec, lab).await) }
    });
    let mut runs: Vec<_> = stream::iter(each).buffer_unordered(jobs(args.jobs).max(1)).collect().await;
    lab.progress.finish();
    runs.sort_by_key(|(index, _)| *index);
    let runs: Vec<KernelRun> = runs.into_iter().map(|(_, run)| run).collect();
    // What could not be run is told as what it is when it is all that there is to tell.
    if let Some(run) = runs.first().filter(|_| runs.iter().all(|run| run.error.is_some())) {
        return Err(anyhow!("{}", run.error.as_deref().unwrap_or_default()));
    }
    let document = Document::new(args, &runs)?;
    out::print(&form::write(args.format(), &document)?)?;
    outputs.write(|path| form::write(run::Format::of_file(path), &document))?;
    let verdicts = document.results.iter().map(|result| (result.verdict, result.as_expected));
    Ok(ExitCode::from(expect::status_of(verdicts)))
}

/// Runs all tests on a kernel; whatever goes wrong is said.
async fn run_kernel(plan: &Plan, spec: &str, lab: &Lab) -> KernelRun {
    let ran = async {
        let subject = run::subject::read(&run::subject::find(spec, lab).await?, "ext4").await?;
        let modules = modules::image(&subject, &plan.scratch, lab).await?;
        let boot = session::Boot { plan, subject: &subject, modules: modules.as_deref() };
        session::run(&boot, lab).await
    };
    match ran.await {
        Ok(run) => KernelRun { spec: spec.to_owned(), ..run },
        Err(error) => KernelRun::broken(spec, format!("{error:#}")),
    }
}
