//! Finds and runs the programs under test.

use crate::WATCHDOG;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::SystemTime;

/// Where the programs are, instead of in the target directory that the test itself was built into.
pub const DIRECTORY: &str = "BLKSTAY_BIN_DIR";

/// Path of a program: in `$BLKSTAY_BIN_DIR`, else of the debug and the release build the newer one.
///
/// # Panics
/// It has not been built.
pub fn path(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let path = Path::new(&directory).join(name);
        assert!(path.exists(), "{DIRECTORY}: there is no {}", path.display());
        return path;
    }
    // …/target/PROFILE/deps/TEST-HASH, or …/target/PROFILE/PROGRAM
    let own = std::env::current_exe().expect("the path of the test itself");
    let directory = own.parent().expect("a program is in a directory");
    let depth = if directory.ends_with("deps") { 3 } else { 2 };
    let target = own.ancestors().nth(depth).expect("a test is run from a target directory").to_owned();
    let built = ["release", "debug"].map(|profile| target.join(profile).join(name));
    let newest = built.iter().filter_map(|path| Some((modified(path)?, path))).max();
    let Some((_, path)) = newest else {
        panic!(
            "there is no {name} in {}; build it first: `cargo build --release`, or set {DIRECTORY}",
            target.display()
        )
    };
    path.clone()
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|data| data.modified()).ok()
}

/// Runs a program to its end.
///
/// # Panics
/// It does not end.
#[track_caller]
pub fn run<A: AsRef<OsStr>>(name: &str, arguments: &[A]) -> Ended {
    let mut command = Command::new(path(name));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(WATCHDOG) {
        Ok(output) => Ended::new(output.expect("the program's output")),
        Err(_) => {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            panic!("{name} did not end within {WATCHDOG:?}; it was meant to")
        }
    }
}

/// What a program left.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ended {
    fn new(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("standard output is text"),
            err: String::from_utf8(output.stderr).expect("standard error is text"),
        }
    }
}
