//! I/O that goes on while the script does something else, and is reaped by name.
//!
//! A background process owns the request and listens on a Unix socket named after it. Whoever connects gets the
//! result as soon as there is one: waiting needs no polling, and after a process that died nobody answers.

use super::aio::Context;
use super::direct::Prepared;
use super::errno::{Outcome, words};
use crate::client::Client;
use crate::detach::{self, Side};
use crate::failure::Failure;
use blkstay_engine::control::Command;
use std::fs;
use std::io::{self, ErrorKind, PipeWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// What somebody who wants the result says first.
const REAP: &[u8; 4] = b"reap";

/// When the command that starts it returns to the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// After submission has returned. With some filesystems that is when the I/O is done.
    AfterSubmission,
    /// At once: the request may not have been submitted yet.
    AtOnce,
}

/// I/O to do in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What `stay reap` calls it.
    pub name: String,
    /// When the script goes on.
    pub until: Return,
    /// Whether it runs before every process that has no such wish, when both can run: who waits for a lock may lose it to
    /// somebody who is running.
    pub goes_first: bool,
    /// A guest event to emit when the result has come, before it can be reaped.
    pub event: Option<String>,
}

/// Starts a job. The result, also of a failed submission, waits for [`reap`].
pub fn start(job: Job, transfer: Prepared) -> Result<(), Failure> {
    if job.goes_first {
        detach::go_first()?;
    }
    let path = socket_of(&job.name)?;
    let listener = listen(&job.name, &path)?;
    let (mut submission, submitted) = io::pipe().map_err(|error| Failure::of("cannot make a pipe", error))?;
    if detach::into_background(detach::Streams::Close)? == Side::Background {
        drop(submission);
        // For `stay blocked` alone; without it the transfer goes on all the same.
        let _written = fs::write(pid_of(&path), std::process::id().to_string());
        let result = run(transfer, submitted);
        let told = job.event.map_or(Ok(()), emit);
        // Nobody is left to tell if this fails: whoever reaps sees that there is no result.
        let _handed = hand_over(&listener, &path, &result, told);
        std::process::exit(0);
    }
    drop(submitted);
    if job.until == Return::AfterSubmission {
        // The background process closes its end when the request is submitted, or by dying.
        submission.read_to_end(&mut Vec::new()).map_err(|error| Failure::of("cannot read a pipe", error))?;
    }
    Ok(())
}

/// Waits for a job's result and takes it: `ok 4096`, `error EIO`.
pub fn reap(name: &str) -> Result<String, Failure> {
    let died = || Failure::Refused(format!("{name}: its process died, the result is lost"));
    let path = socket_of(name)?;
    let mut stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::Refused(format!("{name}: no such I/O, or it has been reaped")),
        ErrorKind::ConnectionRefused => died(),
        _ => Failure::of(name, error),
    })?;
    stream.write_all(REAP).map_err(|_| died())?;
    let mut result = String::new();
    stream.read_to_string(&mut result).map_err(|_| died())?;
    match result.split_once('\n') {
        Some((words, "")) => Ok(words.to_owned()),
        Some((words, trouble)) => {
            Err(Failure::Refused(format!("{name}: {words}, but {}", trouble.trim_end())))
        }
        None => Err(died()),
    }
}

/// The process that has a transfer in hand, by its name.
pub fn process(name: &str) -> Result<u32, Failure> {
    let text = fs::read_to_string(pid_of(&socket_of(name)?)).ok();
    let pid = text.and_then(|text| text.parse().ok());
    pid.ok_or_else(|| Failure::Refused(format!("{name}: no such I/O")))
}

/// Beside a transfer's socket; no transfer's name has a dot.
fn pid_of(socket: &Path) -> PathBuf {
    socket.with_extension("pid")
}

fn socket_of(name: &str) -> Result<PathBuf, Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(Failure::Usage(format!("`{name}` is no name: use letters, digits, `-` and `_`")));
    }
    let directory = std::env::var_os("STAY_DIR").map_or_else(|| PathBuf::from("/run/stay"), PathBuf::from);
    Ok(directory.join(name))
}

fn listen(name: &str, path: &Path) -> Result<UnixListener, Failure> {
    let about = |error: io::Error| Failure::of(path.display(), error);
    match UnixStream::connect(path) {
        Ok(_) => {
            return Err(Failure::Refused(format!("{name} has not been reaped: `stay reap {name}` first")));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path)).map_err(about)?;
        }
        // Its process has died.
        Err(_) => fs::remove_file(path).map_err(about)?,
    }
    UnixListener::bind(path).map_err(about)
}

/// Does the transfer; closes `submitted` as soon as it has been submitted, and the file when it is done.
fn run(mut transfer: Prepared, submitted: PipeWriter) -> String {
    let length = transfer.length();
    words(perform(&mut transfer, submitted), length)
}

fn perform(transfer: &mut Prepared, submitted: PipeWriter) -> Outcome {
    let context = Context::new(1)?;
    let mut request = transfer.iocb();
    // SAFETY: `transfer`, which owns the buffer, is not touched again in here and outlives the wait.
    unsafe { context.submit(&mut request) }?;
    drop(submitted);
    context.wait()
}

/// Makes a guest event happen.
pub fn emit(event: String) -> Result<(), Failure> {
    Client::connect()?.call(Command::Emit { event, detail: None }).map(drop)
}

/// Gives the result to the first who wants it; the name is free again before that one goes on.
fn hand_over(
    listener: &UnixListener,
    path: &Path,
    result: &str,
    told: Result<(), Failure>,
) -> io::Result<()> {
    let mut stream = loop {
        let (mut stream, _) = listener.accept()?;
        if wants_it(&mut stream).unwrap_or(false) {
            break stream;
        }
    };
    let _gone = fs::remove_file(pid_of(path));
    fs::remove_file(path)?;
    match told {
        Ok(()) => writeln!(stream, "{result}"),
        Err(failure) => writeln!(stream, "{result}\nits event was not emitted: {failure}"),
    }
}

/// Whether this is somebody who reaps and is still there. Others only look whether the name is taken.
fn wants_it(stream: &mut UnixStream) -> io::Result<bool> {
    let mut word = [0; REAP.len()];
    stream.read_exact(&mut word)?;
    stream.set_nonblocking(true)?;
    let is_there = matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false)?;
    Ok(is_there && &word == REAP)
}
