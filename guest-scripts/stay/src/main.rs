//! `stay`, the guest's helper: tells the daemon what happens in the guest, waits for what happens in the device,
//! says where on the disk a file's bytes are, and does direct I/O that a script can leave in flight.

mod agent;
mod blocked;
mod cached;
mod cli;
mod client;
mod detach;
mod direct_io;
mod extents;
mod failure;
mod io;
mod kernel_log;
mod place;
mod size;
mod uevent;
mod wire;

use blkstay_engine::control::{Answer, Command};
use cli::{Flushed, Request, Sleeper};
use client::Client;
use failure::Failure;
use io::direct::Transfer;
use io::{background, errno, flush};
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let done = cli::read_all(std::env::args_os().skip(1)).and_then(|requests| {
        for request in requests {
            let Said { text, good } = run(request)?;
            print!("{text}");
            if !good {
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    });
    done.unwrap_or_else(|failure| {
        eprintln!("stay: {failure}");
        failure.exit_code()
    })
}

/// What came of a request.
struct Said {
    /// Lines to be printed.
    text: String,
    /// Whether all is well: I/O had no error.
    good: bool,
}

impl Said {
    const NOTHING: Said = Said { text: String::new(), good: true };

    fn line(text: impl Display) -> Said {
        Said { text: format!("{text}\n"), good: true }
    }
}

fn run(request: Request) -> Result<Said, Failure> {
    Ok(match request {
        Request::Help(text) => Said { text, good: true },
        Request::Agent { port, in_foreground } => {
            detach::close_inherited_files();
            agent::run(port.as_deref(), in_foreground)?;
            Said::NOTHING
        }
        Request::Call(commands) => {
            Client::connect()?.call_all(commands)?;
            Said::NOTHING
        }
        Request::NextAttempt { after, finish } => Said::line(next_attempt(after, finish)?),
        Request::KernelLog => {
            Client::connect()?.kernel_log()?;
            Said::NOTHING
        }
        Request::Place { name, file, offset, length } => Said::line(place(name, &file, offset, length)?),
        Request::Transfer { transfer, and_fsync, event } => do_transfer(&transfer, and_fsync, event)?,
        Request::Start { transfer, job } => {
            detach::close_inherited_files();
            background::start(job, transfer.prepare()?)?;
            Said::NOTHING
        }
        Request::Reap(name) => tell(&[background::reap(&name)?]),
        Request::Fsync(flushed) => tell(&[flush::words(do_fsync(flushed)?)]),
        Request::DirectIo(path) => Said::line(direct_io::describe(&path)?),
        Request::Blocked { sleeper, until: None } => Said::line(blocked::describe(number_of(&sleeper)?)?),
        Request::Blocked { sleeper, until: Some(until) } => {
            blocked::wait(|| number_of(&sleeper).ok(), &until);
            Said::NOTHING
        }
        Request::Cached { file, offset, length } => Said::line(cached::describe(&file, offset, length)?),
        Request::RemoveExtents(file) => {
            extents::remove(&file)?;
            Said::NOTHING
        }
        Request::ReportAs { name, request } => {
            let value = run(*request)?.text.trim_end().to_owned();
            Client::connect()?.call(Command::Report { name, value })?;
            Said::NOTHING
        }
        Request::Load(load) => tell(&[errno::words(load.run()?, load.length())]),
        Request::Appear { path, seconds } => {
            appear(&path, Duration::from_secs(seconds))?;
            Said::NOTHING
        }
    })
}

fn next_attempt(after: u64, finish: Option<i32>) -> Result<String, Failure> {
    let mut client = Client::connect()?;
    if let Some(exit) = finish {
        end_attempt(&mut client, exit)?;
    }
    match client.call(Command::NextAttempt { after })? {
        Answer::Attempt { attempt, arm } => Ok(format!("{attempt} {arm}")),
        other => Err(Failure::Refused(format!("the daemon answered something else: {other:?}"))),
    }
}

/// The kernel's log belongs to the attempt, so it comes first; that it could not be recorded is a problem of the guest's.
fn end_attempt(client: &mut Client, exit: i32) -> Result<(), Failure> {
    if let Err(failure) = client.kernel_log() {
        let value = format!("the kernel's log could not be recorded: {failure}");
        client.call(Command::Report { name: "problem".to_owned(), value })?;
    }
    client.call(Command::Finish { exit }).map(drop)
}

fn place(name: String, file: &Path, offset: u64, length: Option<u64>) -> Result<String, Failure> {
    let found = match length {
        Some(length) => place::of_data(file, offset, length)?,
        None => place::of_mapping_block(file, offset)?,
    };
    Client::connect()?.call(Command::Bind { place: name, offset: found.offset, length: found.length })?;
    Ok(found.to_string())
}

fn do_transfer(transfer: &Transfer, and_fsync: bool, event: Option<String>) -> Result<Said, Failure> {
    let mut prepared = transfer.prepare()?;
    let mut results = vec![errno::words(prepared.perform(), transfer.length)];
    if and_fsync {
        results.push(flush::words(flush::open_file(prepared.file())));
    }
    event.map_or(Ok(()), background::emit)?;
    Ok(tell(&results))
}

fn number_of(sleeper: &Sleeper) -> Result<u32, Failure> {
    match sleeper {
        Sleeper::Process(pid) => Ok(*pid),
        Sleeper::Job(name) => background::process(name),
    }
}

fn do_fsync(flushed: Flushed) -> Result<errno::Outcome, Failure> {
    match flushed {
        Flushed::Path(path) => flush::path(&path),
        Flushed::Descriptor(number) => flush::inherited(number),
    }
}

/// Results of I/O, a line each, and whether all are good.
fn tell(results: &[String]) -> Said {
    let is_good = |result: &String| result.split(' ').next() == Some("ok");
    let lines = results.iter().map(|result| format!("{result}\n"));
    Said { text: lines.collect(), good: results.iter().all(is_good) }
}

fn appear(path: &Path, limit: Duration) -> Result<(), Failure> {
    uevent::wait_for(limit, || path.exists().then_some(()))
        .map_err(|error| Failure::of("cannot listen for devices", error))?
        .ok_or_else(|| Failure::Refused(format!("{} did not appear in {limit:?}", path.display())))
}
