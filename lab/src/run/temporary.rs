//! Directories that go away with the run that made them. Those of a run that was killed go away with the next one: whoever
//! lives holds a lock in each of its own.

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "blkstay-";

/// The file that is locked while its directory is in use.
const LOCK: &str = "in-use";

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Temporary {
    directory: TempDir,
    _lock: Flock<File>,
}

impl Temporary {
    /// Makes one where the system has its temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> Result<Temporary> {
        Temporary::within(&std::env::temp_dir()).context("no temporary directory")
    }

    fn within(place: &Path) -> Result<Temporary> {
        let directory = TempDir::with_prefix_in(PREFIX, place)?;
        // It has its name only once it is locked: nobody takes this directory for one that was left.
        let unnamed = directory.path().join("in-use.new");
        let lock = Flock::lock(File::create(&unnamed)?, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| errno)?;
        fs::rename(&unnamed, directory.path().join(LOCK))?;
        Ok(Temporary { directory, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes what runs of this user that were killed have left.
pub fn sweep() {
    sweep_within(&std::env::temp_dir());
}

fn sweep_within(place: &Path) {
    let own = nix::unistd::Uid::effective().as_raw();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // A link is none of them.
        let ours = || entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == own);
        if !named || !ours() {
            continue;
        }
        let Ok(file) = File::open(entry.path().join(LOCK)) else { continue };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!("{} cannot be removed: {error}", entry.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else_is() {
        let place = tempfile::tempdir().expect("a directory");
        let living = Temporary::within(place.path()).expect("a directory");
        let Temporary { directory, _lock } = Temporary::within(place.path()).expect("a directory");
        let killed = directory.keep();
        fs::write(killed.join("state"), "56 MB").expect("a file");
        let others = ["blkstay-of-somebody", "something"].map(|name| place.path().join(name));
        others.iter().for_each(|other| fs::create_dir(other).expect("a directory"));
        sweep_within(place.path());
        assert!(killed.exists(), "it is still locked");
        drop(_lock);
        sweep_within(place.path());
        assert!(!killed.exists());
        assert!(living.path().exists() && others.iter().all(|other| other.exists()));
    }
}
