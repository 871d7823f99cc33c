//! `blkstay bisect`: the release in which a case's verdict changed.
//!
//! [`candidates`] puts the kernels in order, [`search`] says which to try next, [`show`] shows the two sides of the
//! change beside each other.

mod candidates;
mod search;
mod show;

use crate::cli::Bisect;
use crate::kernel::{self, Kernel};
use crate::out;
use crate::run::case::Case;
use crate::run::document::Cell;
use crate::run::lab::Lab;
use crate::run::schedule::Times;
use crate::run::store::Store;
use crate::run::{interruptible, run_one, subject};
use anyhow::{Context, Result};
use candidates::Candidates;
use search::{Next, Search, Side};
use show::{Found, Status};
use std::process::ExitCode;

/// Searches, and prints what was found.
///
/// # Errors
/// It could not be run: a bad policy, kernels that cannot be put in order, no QEMU.
pub fn bisect(args: &Bisect) -> Result<ExitCode> {
    interruptible(run(args))
}

async fn run(args: &Bisect) -> Result<ExitCode> {
    let case = Case::find(&args.case, &args.with.settings())?;
    let mut store = args.results.as_deref().map(Store::open).transpose()?;
    let lab = Lab::new()?;
    let candidates = candidates(args, &lab).await?;
    let mut search = Search::new(candidates.specs.len(), candidates.first);
    let mut cells: Vec<Option<Cell>> = vec![None; candidates.specs.len()];
    let times = Times { each: args.times, natural: false };
    let end = loop {
        match search.next() {
            Next::Try(index) => {
                let cell = run_one(&case, &candidates.specs[index], times, &mut store, &lab).await?;
                search.told(index, Side::of(cell.verdict));
                let title = cell.title();
                let left = match search.tries_left() {
                    0 => String::new(),
                    left => format!("; about {left} more to try"),
                };
                lab.progress.tell(&format!("{title}: {}{left}", cell.verdict));
                cells[index] = Some(cell);
            }
            end => break end,
        }
    };
    lab.progress.finish();
    let found = Found::new(&case.name, args, &candidates, cells, &end);
    out::print(&if args.json {
        format!("{}\n", serde_json::to_string_pretty(&found)?)
    } else {
        found.draw()
    })?;
    Ok(ExitCode::from(match found.status {
        Status::Found => 0,
        Status::Narrowed | Status::Undecided => 3,
        Status::Contradicted => 4,
    }))
}

/// The kernels in order: the user's own, or Debian's.
async fn candidates(args: &Bisect, lab: &Lab) -> Result<Candidates> {
    if !args.kernels.is_empty() {
        let candidates = Candidates::of_list(&args.kernels, &args.good, &args.bad)?;
        [&args.good, &args.bad].into_iter().try_for_each(|spec| kernel::check_spec(spec))?;
        candidates.disorder().iter().for_each(|words| lab.progress.tell(words));
        return Ok(candidates);
    }
    let find = async |spec: &str| -> Result<Kernel> {
        kernel::check_spec(spec)?;
        subject::find(spec, lab).await
    };
    let (good, bad) = (find(&args.good).await?, find(&args.bad).await?);
    let (cache, told) = (lab.cache.clone(), lab.progress.clone());
    let list = move || kernel::list(&cache, &|message| told.say(message));
    let listed = tokio::task::spawn_blocking(list).await.context("listing kernels was cut short")??;
    Candidates::of_debian(&listed, &good, &bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[tokio::test]
    async fn a_kernel_that_is_not_there_does_not_end_the_search_unless_it_is_an_end() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let there = concat!(env!("CARGO_MANIFEST_DIR"), "/src/main.rs");
        let words = |kernels: [&str; 3]| {
            let options = ["--good", kernels[0], "--bad", kernels[2], "--kernels"];
            let words = ["blkstay", "bisect", "race"].into_iter().chain(options).chain(kernels);
            let crate::cli::Command::Bisect(args) = crate::cli::Cli::parse_from(words).command else {
                panic!("not a bisection")
            };
            args
        };
        let lab = Lab::new().expect("a lab");
        let between = candidates(&words([here, "/no/such/bzImage", there]), &lab).await;
        assert_eq!(between.expect("candidates").specs.len(), 3);
        assert!(candidates(&words([here, there, "/no/such/bzImage"]), &lab).await.is_err());
    }
}
