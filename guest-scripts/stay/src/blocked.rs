//! What a process is doing inside the kernel, as evidence of where it is stopped.

use crate::cli::Until;
use crate::failure::Failure;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many functions of its stack are told.
const FRAMES_MAX: usize = 8;

/// State, place of sleep and top of the kernel stack in one line: `D inode_dio_wait ext4_buffered_write_iter …`.
pub fn describe(pid: u32) -> Result<String, Failure> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let stat = fs::read_to_string(process.join("stat"))
        .map_err(|_| Failure::Refused(format!("there is no process {pid}")))?;
    let state = state_of(&stat).ok_or_else(|| Failure::of(pid, "cannot read its state"))?;
    let functions = stack(&process).unwrap_or_else(|| wchan(&process));
    Ok(std::iter::once(state.to_owned()).chain(functions).collect::<Vec<_>>().join(" "))
}

/// How long a watcher leaves the processor alone between two looks: under emulation a look takes a tenth of that, and other
/// guests want the machine meanwhile.
const BETWEEN: Duration = Duration::from_millis(2);

/// Watches a process, which may not be there yet, until it sleeps where it is to, or the other has ended.
pub fn wait(watched: impl Fn() -> Option<u32>, until: &Until) {
    let sleeps = |pid| describe(pid).is_ok_and(|at| at.starts_with(&format!("D {}", until.function)));
    while !watched().is_some_and(sleeps) && is_running(until.process) {
        std::thread::sleep(BETWEEN);
    }
}

/// Whether a process has not ended; one that has may not have been waited for (`Z`).
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state_of(&stat).is_some_and(|state| state != "Z")
}

/// The letter after the program's name, which is in parentheses and may hold some itself (proc_pid_stat(5)).
fn state_of(stat: &str) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_whitespace().next()
}

/// The functions it is in, innermost first; `None` without root or CONFIG_STACKTRACE.
fn stack(process: &Path) -> Option<Vec<String>> {
    let stack = fs::read_to_string(process.join("stack")).ok()?;
    let functions: Vec<String> =
        stack.lines().take(FRAMES_MAX).filter_map(function_of).map(str::to_owned).collect();
    (!functions.is_empty()).then_some(functions)
}

/// `[<0>] inode_dio_wait+0x9a/0xd0 [ext4]` is in `inode_dio_wait`.
fn function_of(frame: &str) -> Option<&str> {
    let (_, function) = frame.split_once("] ")?;
    function.split(['+', ' ']).next().filter(|name| !name.is_empty())
}

fn wchan(process: &Path) -> Vec<String> {
    let wchan = fs::read_to_string(process.join("wchan")).unwrap_or_default();
    if wchan.is_empty() || wchan == "0" { vec![] } else { vec![wchan] }
}

#[cfg(test)]
mod tests {
    use super::{describe, function_of, state_of, wait};
    use crate::cli::Until;

    #[test]
    fn a_program_name_may_look_like_anything() {
        assert_eq!(state_of("12 (a) R (b)) D 1 12 12 0"), Some("D"));
        assert_eq!(state_of("nonsense"), None);
    }

    #[test]
    fn watching_ends_with_the_process_that_it_is_for() {
        let mut ended = std::process::Command::new("true").spawn().expect("a process");
        wait(|| None, &Until { function: "nowhere".to_owned(), process: ended.id() });
        ended.wait().expect("it ended");
        wait(|| Some(u32::MAX), &Until { function: "nowhere".to_owned(), process: u32::MAX });
    }

    #[test]
    fn a_frame_is_told_by_its_function() {
        assert_eq!(function_of("[<0>] inode_dio_wait+0x9a/0xd0"), Some("inode_dio_wait"));
        assert_eq!(function_of("[<0>] ext4_file_write_iter+0x1/0x2 [ext4]"), Some("ext4_file_write_iter"));
        assert_eq!(function_of(""), None);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert_eq!(describe(u32::MAX).expect_err("a failure").to_string(), "there is no process 4294967295");
    }
}
