//! `blkstay run` in real guests: QEMU, Debian's kernels, ext4. Kernels are fetched once into the cache.

use crate::binary;
use crate::journal;
use blkstay_engine::journal::Record;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A kernel with the race, by its build: newer builds of 6.12 have the fix.
pub const AFFECTED: &str = "debian:6.12.107";

/// A kernel without.
pub const FIXED: &str = "debian:7.3";

/// Far more than any run needs; whoever takes longer is stuck.
pub const WATCHDOG: Duration = Duration::from_secs(600);

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// A policy of the library.
pub fn policy(name: &str) -> PathBuf {
    root().join("policies").join(name).with_extension("toml")
}

/// Starts `blkstay run`.
pub fn start(arguments: &[&str]) -> Child {
    command(arguments).spawn().expect("blkstay runs")
}

/// What starts `blkstay run`.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary::path("blkstay"));
    command.arg("run").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for its end; what it prints is little enough to stay in the pipes until then.
pub fn finish(mut child: Child) -> Output {
    let started = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        assert!(started.elapsed() < WATCHDOG, "blkstay run did not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.wait_with_output().expect("its output")
}

/// Runs `blkstay run` to its end.
pub fn run(arguments: &[&str]) -> Output {
    finish(start(arguments))
}

/// Runs a case and reads its document.
pub fn document(case: &Path, kernels: &[&str], times: &str) -> Value {
    let mut arguments = vec![case.to_str().expect("a path"), "--json", "--times", times];
    arguments.extend(kernels.iter().flat_map(|kernel| ["--kernel", kernel]));
    let output = run(&arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no document: {}", said(&output)))
}

/// What it complained about.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a case on one kernel, and reads its document and its journal.
pub fn journalled(case: &Path, kernel: &str, times: &str, more: &[&str]) -> (Value, Vec<Record>) {
    let directory = tempfile::tempdir().expect("a directory");
    let keep = directory.path().join("kept");
    let mut arguments = vec![case.to_str().expect("a path"), "--json", "--times", times, "--kernel", kernel];
    arguments.extend(["--keep", keep.to_str().expect("a path")]);
    arguments.extend(more);
    let output = run(&arguments);
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no document: {}", said(&output)));
    let kept = files(&keep);
    let path = kept.iter().find(|path| path.ends_with("journal")).expect("a journal is kept");
    (document["kernels"][0].clone(), journal::read(path))
}

/// Every file below a directory; links to directories are not followed.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found
}
