//! Results of `blkstay run` as they are read back. What they do not say is asked of the journal.

use blkstay_engine::journal::Outcome;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A document: a case on some kernels, or on one.
#[derive(Debug, Deserialize)]
pub struct Document {
    case: String,
    kernels: Option<Vec<KernelResult>>,
    #[serde(flatten)]
    one: KernelResult,
}

/// A case on a kernel; docs/run.md has its fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct KernelResult {
    /// The release.
    pub kernel: String,
    /// As it was written after `--kernel`.
    pub spec: Option<String>,
    /// Package and version.
    pub package: Option<String>,
    /// What it was changed by.
    pub variant: Option<Variant>,
    /// How the guest was run.
    pub accel: Option<Value>,
    /// The verdict.
    pub verdict: Option<Outcome>,
    /// The arm in which nothing is held.
    pub control: BTreeMap<String, Value>,
    /// The arm in which holds hold.
    pub forced: BTreeMap<String, Value>,
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
        let Document { case, kernels, one } = self;
        let kernels = kernels.unwrap_or_else(|| vec![one]);
        kernels.into_iter().map(move |kernel| (case.clone(), kernel))
    }
}

/// A case's name is that of its policy's file.
pub fn case_name(origin: &str) -> String {
    Path::new(origin).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
