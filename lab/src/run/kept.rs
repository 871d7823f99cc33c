//! The directory that is kept of a cell.

use anyhow::{Context, Result, ensure};
use blkstay_engine::journal::Outcome;
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What a run leaves in it, and what a later one would add to, or take for its own.
const FILES: [&str; 7] =
    ["journal", "console.log", "qemu.log", "daemon.log", "disk.img", "attempts.jsonl", RESULT];

/// What is written last, when the cell is finished.
const RESULT: &str = "result.json";

/// Makes the directory. If an interrupted run is resumed, what it left of a cell that it did not finish, or that was lost,
/// is removed: the cell is run again.
///
/// # Errors
/// It cannot be made, or has an earlier run's files.
pub fn make(path: &Path, resumes: bool) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("{}: cannot make it", path.display()))?;
    if resumes && !is_finished(path) {
        for name in FILES {
            match fs::remove_file(path.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("{}: cannot remove its {name}", path.display()));
                }
                _ => {}
            }
        }
    }
    for name in FILES {
        let old = path.join(name);
        ensure!(!old.exists(), "{}: an earlier run's file is there; choose another directory", old.display());
    }
    Ok(())
}

/// Whether it has a result that says something of the kernel.
fn is_finished(path: &Path) -> bool {
    let result =
        fs::read(path.join(RESULT)).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let verdict = result.as_ref().and_then(|result| result.pointer("/kernels/0/verdict")?.as_str());
    verdict.is_some_and(|verdict| verdict != Outcome::Lost.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_finished_gives_way_when_it_is_run_again_and_what_was_does_not() {
        let result = |verdict: &str| format!(r#"{{"kernels": [{{"verdict": "{verdict}"}}]}}"#);
        for (left, resumes, makes) in [
            (None, false, false),
            (None, true, true),
            (Some(result("lost")), true, true),
            (Some(result("open")), true, false),
        ] {
            let directory = tempfile::tempdir().expect("a directory");
            fs::write(directory.path().join("journal"), "a record").expect("a file");
            if let Some(result) = &left {
                fs::write(directory.path().join(RESULT), result).expect("a file");
            }
            assert_eq!(make(directory.path(), resumes).is_ok(), makes, "{left:?} {resumes}");
            assert_eq!(directory.path().join("journal").exists(), !makes);
        }
    }
}
