//! Which cases run on which kernels, and how often: as the command line says, or as a file has it, for tables that are
//! run again and again.

use crate::cli::Run;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where named tables are.
const DIRECTORY: &str = "tables";

/// The kernel if none is named.
const KERNEL: &str = "debian:6.12";

/// Attempts in each arm if nobody says how many.
const TIMES: u64 = 10;

/// Most attempts.
const TIMES_MAX: u64 = 1_000_000;

/// Cases of which each runs on every kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Paths or names of cases.
    pub cases: Vec<PathBuf>,
    /// Kernels, as after `--kernel`.
    pub kernels: Vec<String>,
    /// Kernels that are left out, with the reason, where they are not to be had.
    pub optional: Vec<String>,
    /// Attempts in each arm.
    pub times: u64,
}

/// A table's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "times")]
    times: u64,
    block: Vec<WrittenBlock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBlock {
    cases: Vec<PathBuf>,
    #[serde(default)]
    kernels: Vec<String>,
    #[serde(default)]
    optional: Vec<String>,
    times: Option<u64>,
}

const fn times() -> u64 {
    TIMES
}

/// What is to be run.
///
/// # Errors
/// The table cannot be read or has a mistake.
pub fn blocks(args: &Run) -> Result<Vec<Block>> {
    let Some(table) = &args.table else {
        let kernels = if args.kernels.is_empty() { vec![KERNEL.to_owned()] } else { args.kernels.clone() };
        let (cases, times) = (args.cases.clone(), args.times.unwrap_or(TIMES));
        return Ok(vec![Block { cases, kernels, optional: Vec::new(), times }]);
    };
    let path = find(table)?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    read(&text, args.times).with_context(|| path.display().to_string())
}

/// A table by its path, or by its name in `tables/`.
fn find(wanted: &Path) -> Result<PathBuf> {
    if wanted.is_file() {
        return Ok(wanted.to_owned());
    }
    let named = Path::new(DIRECTORY).join(wanted).with_extension("toml");
    if wanted.components().count() == 1 && named.is_file() {
        return Ok(named);
    }
    bail!("{}: no such table, nor is there {}", wanted.display(), named.display())
}

/// Reads a table; `times` replaces all that it says of how often.
fn read(text: &str, times: Option<u64>) -> Result<Vec<Block>> {
    let written: Written = toml::from_str(text)
        .context("a table has `times` and `[[block]]` with `cases`, `kernels`, `optional` and `times`")?;
    let most = written.times;
    let block = |(index, block): (usize, WrittenBlock)| {
        let WrittenBlock { cases, kernels, optional, times: own } = block;
        let block = Block { cases, kernels, optional, times: times.or(own).unwrap_or(most) };
        block.check().with_context(|| format!("block {}", index + 1))?;
        Ok(block)
    };
    written.block.into_iter().enumerate().map(block).collect()
}

impl Block {
    /// Every kernel, and whether it may be left out.
    pub fn kernels(&self) -> impl Iterator<Item = (&str, bool)> {
        let must = self.kernels.iter().map(|spec| (spec.as_str(), false));
        must.chain(self.optional.iter().map(|spec| (spec.as_str(), true)))
    }

    fn check(&self) -> Result<()> {
        if self.cases.is_empty() {
            bail!("it has no `cases`");
        }
        if self.kernels.is_empty() && self.optional.is_empty() {
            bail!("it has neither `kernels` nor `optional` ones");
        }
        if !(1..=TIMES_MAX).contains(&self.times) {
            bail!("`times` is 1 to {TIMES_MAX}, not {}", self.times);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        times = 20
        [[block]]
        cases    = ["a", "b"]
        kernels  = ["debian:7.3"]
        optional = ["variant:fix@debian:6.18"]
        [[block]]
        cases   = ["cost"]
        kernels = ["debian:7.3"]
        times   = 5
    "#;

    #[test]
    fn a_block_says_how_often_or_the_table_does_or_the_command_line() {
        let of = |times| -> Vec<u64> {
            read(TABLE, times).expect("a table").iter().map(|block| block.times).collect()
        };
        assert_eq!((of(None), of(Some(3))), (vec![20, 5], vec![3, 3]));
        let first = &read(TABLE, None).expect("a table")[0];
        assert_eq!(first.cases, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(first.optional, ["variant:fix@debian:6.18"]);
    }

    /// File names in a directory of the repository, without `.toml`.
    fn names(directory: &str) -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
        let names = std::fs::read_dir(path).expect("a directory").flatten().map(|entry| entry.file_name());
        names.filter_map(|name| Some(name.to_str()?.strip_suffix(".toml")?.to_owned())).collect()
    }

    #[test]
    fn the_table_of_the_thread_has_every_case_and_every_variant() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tables/the-thread.toml");
        let blocks = read(&std::fs::read_to_string(path).expect("the table"), None).expect("a table");
        let cases: Vec<&PathBuf> = blocks.iter().flat_map(|block| &block.cases).collect();
        let specs: Vec<&str> = blocks.iter().flat_map(Block::kernels).map(|(spec, _)| spec).collect();
        for name in names("policies").iter().filter(|name| name.starts_with("ext4-dio-")) {
            assert!(cases.iter().any(|case| case.as_path() == Path::new(name)), "{name}");
        }
        for name in names("variants") {
            assert!(specs.contains(&format!("variant:{name}").as_str()), "{name}");
        }
    }

    #[test]
    fn a_mistake_is_said_with_its_place() {
        let said = |text: &str| format!("{:#}", read(text, None).expect_err("a mistake"));
        assert_eq!(said("[[block]]\ncases = []\nkernels = [\"k\"]"), "block 1: it has no `cases`");
        let none = "[[block]]\ncases = [\"a\"]";
        assert_eq!(said(none), "block 1: it has neither `kernels` nor `optional` ones");
        let never = "times = 0\n[[block]]\ncases = [\"a\"]\nkernels = [\"k\"]";
        assert_eq!(said(never), "block 1: `times` is 1 to 1000000, not 0");
        let unknown = said("[[block]]\ncase = [\"a\"]");
        assert!(unknown.contains("line 2") && unknown.contains("unknown field `case`"), "{unknown}");
    }
}
