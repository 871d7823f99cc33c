//! fsync, and what it says.

use super::errno::Outcome;
use crate::failure::Failure;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::fsync;
use std::fs::File;
use std::path::Path;

/// Opens a file and flushes it. It does not see errors that were seen before it was opened.
pub fn path(path: &Path) -> Result<Outcome, Failure> {
    let file = File::open(path).map_err(|error| Failure::of(path.display(), error))?;
    Ok(open_file(&file))
}

/// Flushes a file that is open.
pub fn open_file(file: &File) -> Outcome {
    fsync(file).map(|()| 0)
}

/// Flushes a file that the shell has open under a number.
pub fn inherited(number: i32) -> Result<Outcome, Failure> {
    // SAFETY: fsync takes no pointers; a number under which nothing is open gives EBADF.
    match Errno::result(unsafe { libc::fsync(number) }) {
        Err(Errno::EBADF) => Err(Failure::Refused(format!("no file is open as descriptor {number}"))),
        result => Ok(result.map(|_| 0)),
    }
}

/// `ok` or `error EIO`.
pub fn words(outcome: Outcome) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(errno) => format!("error {errno:?}"),
    }
}
