//! `blkstay kernel`: which kernels there are, and having them here before they are needed.

use super::debian::{self, Listed};
use super::{Cache, Kernel, resolve};
use crate::cli::{KernelBuild, KernelCommand, KernelFetch, KernelList};
use crate::out;
use crate::run::progress::Progress;
use crate::variant::file;
use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

/// Does what was asked for.
///
/// # Errors
/// It cannot be done; the message says what would have been possible.
pub fn kernel(command: &KernelCommand) -> Result<ExitCode> {
    let cache = Cache::from_env()?;
    match command {
        KernelCommand::List(args) => list(args, &cache)?,
        KernelCommand::Fetch(args) => fetch(args, &cache)?,
        KernelCommand::Build(args) => build(args, &cache)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What `blkstay kernel list --json` prints.
#[derive(Serialize)]
struct Lists {
    kernels: Vec<Listed>,
    variants: Vec<ListedVariant>,
}

#[derive(Serialize)]
struct ListedVariant {
    spec: String,
    about: String,
    module: String,
    kernel: String,
}

fn list(args: &KernelList, cache: &Cache) -> Result<()> {
    let progress = Progress::new();
    let kernels = debian::list(cache, &|message| progress.say(message));
    progress.finish();
    let lists = Lists { kernels: kernels?, variants: variants() };
    if args.json {
        return out::print(&format!("{}\n", serde_json::to_string_pretty(&lists)?));
    }
    out::print(&draw(&lists))
}

/// The variants in `variants/` that can be read; the others are told when they are used.
fn variants() -> Vec<ListedVariant> {
    let read = |name: String| {
        let variant = file::read(&Path::new(file::DIRECTORY).join(format!("{name}.toml"))).ok()?;
        let (about, module, kernel) = (variant.about, variant.module, variant.kernel);
        Some(ListedVariant { spec: format!("variant:{name}"), about, module, kernel })
    };
    file::names().into_iter().filter_map(read).collect()
}

fn draw(lists: &Lists) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["--kernel", "release", "to fetch", "in the cache", "from"]);
    for kernel in &lists.kernels {
        let megabytes = |bytes: Option<u64>| {
            bytes.map_or("-".to_owned(), |bytes| format!("{} MB", bytes.div_ceil(1_000_000)))
        };
        let from = match (kernel.download_bytes, kernel.released) {
            (None, _) => "no suite any more",
            (_, true) => "the archive",
            (_, false) => "the security archive",
        };
        table.add_row([
            kernel.spec.clone(),
            kernel.release.clone(),
            megabytes(kernel.download_bytes),
            megabytes(kernel.cached_bytes),
            from.to_owned(),
        ]);
    }
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("{}\n", table.trim_fmt());
    for variant in &lists.variants {
        let _ = write!(
            text,
            "\n {}  ({}, {})\n     {}\n",
            variant.spec, variant.module, variant.kernel, variant.about
        );
    }
    text
}

fn fetch(args: &KernelFetch, cache: &Cache) -> Result<()> {
    for spec in &args.specs {
        told(&prepare(spec, cache)?)?;
    }
    Ok(())
}

fn build(args: &KernelBuild, cache: &Cache) -> Result<()> {
    let variant = args.variant.strip_prefix("variant:").unwrap_or(&args.variant);
    let path = file::find(variant)?;
    let at = args.kernel.as_ref().map_or(String::new(), |kernel| format!("@{kernel}"));
    let kernel = prepare(&format!("{}{at}", path.display()), cache)?;
    told(&kernel)?;
    kernel.replaced.iter().try_for_each(|module| out::print(&format!("{}\n", module.display())))
}

fn prepare(spec: &str, cache: &Cache) -> Result<Kernel> {
    let progress = Progress::new();
    let kernel = resolve(spec, cache, &|message| progress.say(message));
    progress.finish();
    kernel
}

fn told(kernel: &Kernel) -> Result<()> {
    let mut line = format!("{}: {}", kernel.spec, kernel.title());
    if let Some(variant) = &kernel.variant {
        let _ = write!(line, ", {} built by {} as {:.12}", variant.module, variant.compiler, variant.change);
    }
    out::print(&format!("{line}\n"))
}
