//! Results of `blkstay run` as they are read back. What they do not say is asked of the journal.

use crate::run::traffic::Traffic;
use blkstay_engine::journal::Outcome;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A document: cases on kernels as `--json` prints them, or a line of a file of results.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Document {
    /// What a run prints.
    Run {
        /// The case, if there is one.
        case: Option<String>,
        /// A cell each.
        kernels: Vec<KernelResult>,
    },
    /// A cell that was finished.
    Line {
        /// What it is the result of.
        #[serde(default)]
        key: Key,
        /// The cell.
        cell: Box<KernelResult>,
    },
}

/// What a finished cell is the result of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Key {
    /// Hash of all that its result hangs on.
    made_of: Option<String>,
}

/// A case on a kernel; docs/run.md has its fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct KernelResult {
    /// Name of the case.
    pub case: Option<String>,
    /// The release.
    pub kernel: String,
    /// As it was written after `--kernel`.
    pub spec: Option<String>,
    /// Package and version.
    pub package: Option<String>,
    /// What it was changed by.
    pub variant: Option<Variant>,
    /// Parameters of the case that do not have their defaults; none where it is not known.
    pub set: Option<BTreeMap<String, String>>,
    /// Hash of all that it hangs on, if that is known.
    pub made_of: Option<String>,
    /// How the guest was run.
    pub accel: Option<Value>,
    /// The verdict.
    pub verdict: Option<Outcome>,
    /// The arm in which nothing is held.
    pub control: BTreeMap<String, Value>,
    /// The arm in which holds hold.
    pub forced: BTreeMap<String, Value>,
    /// The arm in which nothing but chance is at work, if there was one.
    pub natural: Option<BTreeMap<String, Value>>,
    /// What the disk did in each phase of the case, by arm.
    pub traffic: Traffic,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// What a kernel was changed by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// SHA-256 of its changes.
    pub change: String,
}

impl Document {
    /// Its cells, each with its case.
    pub fn cells(self) -> impl Iterator<Item = (String, KernelResult)> {
        let (case, kernels) = match self {
            Document::Run { case, kernels } => (case, kernels),
            Document::Line { key, cell } => (None, vec![KernelResult { made_of: key.made_of, ..*cell }]),
        };
        kernels.into_iter().map(move |kernel| {
            let case = kernel.case.clone().or_else(|| case.clone());
            (case.unwrap_or_else(|| "?".to_owned()), kernel)
        })
    }
}

/// A case's name is that of its policy's file.
pub fn case_name(origin: &str) -> String {
    Path::new(origin).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
