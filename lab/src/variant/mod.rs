//! Variants of stock kernels: a filesystem's module built anew from the distribution's source, with a change.
//!
//! [`file`] reads what a variant is, [`apply`] puts its changes into the source, [`build`] makes the module, against
//! the headers of the very build whose other modules it is loaded with.
//!
//! | in the cache | what |
//! |---|---|
//! | `sources/RELEASE_VERSION/` | headers and source of a kernel, see [`Source`] |
//! | `variants/tree/RELEASE_VERSION/MODULE/` | where a module of it was built last; its objects are used again |
//! | `variants/KEY/` | modules that have been built, by everything that they are made of |
//! | `variants.lock` | held by the run that builds |

mod apply;
mod build;
mod diff;
pub mod file;
mod place;
mod semantic;
mod toolchain;
mod tree;

use crate::kernel::{Cache, Kernel, Source, modinfo};
use crate::{digest, out};
use anyhow::{Context, Result, anyhow, bail};
use blkstay_engine::diagnostic::{Diagnostic, Diagnostics, File};
use file::{Kind, Variant};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use toolchain::Compiler;
use tree::Tree;

/// What became of the build's rules when they changed: part of every key.
const RULES: &str = "1";

/// What a kernel was changed by, for results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// The module that was built, by its directory in the kernel's source.
    pub module: String,
    /// SHA-256 of its changes, in hexadecimal.
    pub change: String,
    /// The compiler.
    pub compiler: String,
}

/// A variant that has been built.
#[derive(Clone, Debug)]
pub struct Built {
    /// What it is.
    pub record: Record,
    /// The modules to load in place of the kernel's own.
    pub modules: Vec<PathBuf>,
}

/// Builds a variant of a kernel, unless the cache has it.
///
/// # Errors
/// A tool is missing, there is no source, a change does not apply, or the module does not build or would not load.
pub fn build(
    variant: &Variant,
    base: &Kernel,
    source: &mut Source,
    cache: &Cache,
    progress: &dyn Fn(&str),
) -> Result<Built> {
    let stock = stock_modules(variant, base)?;
    let spatch = variant.changes.iter().any(|change| change.kind == Kind::Semantic);
    toolchain::check(spatch)?;
    let compiler = Compiler::for_headers(&source.headers())?;
    let spatch = if spatch { toolchain::spatch_version()? } else { String::new() };
    let record = Record {
        name: variant.name.clone(),
        about: variant.about.clone(),
        module: variant.module.clone(),
        change: change_hash(variant),
        compiler: compiler.version.clone(),
    };
    let key = key(&source.name, &record, &spatch);
    let _lock = cache.lock("variants", progress)?;
    let kept = cache.path(&format!("variants/{key}"));
    if !kept.is_dir() {
        let pristine = source.module(&variant.module, progress)?;
        progress(&format!("building {} with {}", variant.module, variant.name));
        let mut tree = Tree::read(&pristine)?;
        let of = apply::Source { module: &variant.module, kernel: &source.name };
        apply::apply(&variant.changes, &mut tree, &of)?;
        let directory = cache.directory(&format!("variants/tree/{}/{}", source.name, variant.module))?;
        tree.write(&directory)?;
        remove_added(&directory, &tree)?;
        let built = build::make(&source.headers(), &directory, &compiler)?;
        keep(&built, &kept, cache)?;
    }
    let modules = modules_in(&kept)?;
    loadable(&modules, &stock)?;
    Ok(Built { record, modules })
}

/// The stock modules' `vermagic`, which the built ones have to share.
fn stock_modules(variant: &Variant, base: &Kernel) -> Result<String> {
    let name = variant.module.rsplit('/').next().unwrap_or_default();
    let Some(bytes) = base.stock_module(name)? else {
        bail!("{} is no module of its own in {}: it cannot be replaced", variant.module, base.title());
    };
    modinfo::vermagic(&bytes).with_context(|| format!("module {name} of {}", base.title()))
}

/// The kernel would refuse a module of another `vermagic`, in the guest and in few words.
fn loadable(modules: &[PathBuf], stock: &str) -> Result<()> {
    for path in modules {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let built = modinfo::vermagic(&bytes).with_context(|| path.display().to_string())?;
        if built != stock {
            bail!(
                "the module was built for `{built}`, but the kernel is `{stock}`: its headers are of another build"
            );
        }
    }
    Ok(())
}

/// Files that a diff of another variant has added must not be built into this one.
fn remove_added(directory: &Path, tree: &Tree) -> Result<()> {
    for name in Tree::read(directory)?.c_files() {
        if !tree.0.contains_key(name) && !name.ends_with(".mod.c") && !name.contains(".module-common") {
            fs::remove_file(directory.join(name)).with_context(|| format!("cannot remove {name}"))?;
        }
    }
    Ok(())
}

/// Copies what was built to where it is found by its key; the directory appears only when it is complete.
fn keep(built: &[PathBuf], kept: &Path, cache: &Cache) -> Result<()> {
    let scratch = tempfile::tempdir_in(cache.directory("variants")?).context("no place in the cache")?;
    for path in built {
        let name = path.file_name().context("a module has a name")?;
        fs::copy(path, scratch.path().join(name))
            .with_context(|| format!("cannot copy {}", path.display()))?;
    }
    fs::rename(scratch.keep(), kept).with_context(|| format!("cannot make {}", kept.display()))
}

fn modules_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(context)?;
    entries.map(|entry| Ok(entry.with_context(context)?.path())).collect()
}

/// What a variant changes, whatever its name and wherever it lies.
fn change_hash(variant: &Variant) -> String {
    let parts = variant.changes.iter().flat_map(|change| {
        let kind = match change.kind {
            Kind::Semantic => "semantic",
            Kind::Diff => "diff",
        };
        [kind.to_owned(), change.places.to_string(), change.text.clone()]
    });
    digest::of(parts)
}

/// Everything that a module is made of.
fn key(source: &str, record: &Record, spatch: &str) -> String {
    digest::of([RULES, source, &record.module, &record.change, &record.compiler, spatch])
}

/// Mistakes as one error, the first about the file that the others are shown beside.
fn mistake(files: Vec<File>, list: Vec<Diagnostic>) -> anyhow::Error {
    let what = if files.len() == 1 && files[0].origin.ends_with(".toml") {
        "the variant has mistakes"
    } else {
        "the change does not apply"
    };
    anyhow!("{what}\n{}", Diagnostics { files, list }.render(out::colour()))
}

#[cfg(test)]
mod tests;
