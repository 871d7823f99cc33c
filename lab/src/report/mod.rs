//! `blkstay report`: what runs have shown, as one page or as text.
//!
//! [`input`] finds what runs have left; [`story`] reads a journal, [`scene`] and [`task`] pick what is shown of an attempt;
//! [`axis`] and [`flags`] give it its places, [`lanes`] and [`links`] make it a [`drawing`], [`svg`] and [`page`] write it down, [`text`] does for mails.
//! [`tell`] has what both say.

mod axis;
mod cell;
mod drawing;
mod flags;
mod input;
mod lanes;
mod lines;
mod links;
mod page;
mod rate;
mod reader;
mod result;
mod scene;
mod stand;
mod story;
mod svg;
mod task;
mod tell;
mod text;
mod words;

use crate::cli::Report;
use crate::out;
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Writes the report.
///
/// # Errors
/// What runs have left cannot be read, or the report not be written.
pub fn report(args: &Report) -> Result<ExitCode> {
    let cells = input::cells(&args.paths)?;
    let report = if args.text { text::write(&cells) } else { page::write(&cells) };
    match &args.output {
        Some(path) => {
            std::fs::write(path, report).with_context(|| format!("{}: cannot write it", path.display()))?
        }
        None => out::print(&report)?,
    }
    Ok(ExitCode::SUCCESS)
}
