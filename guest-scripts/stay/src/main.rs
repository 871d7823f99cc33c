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
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    match cli::read(lexopt::Parser::from_env()).and_then(run) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("stay: {failure}");
            failure.exit_code()
        }
    }
}

fn run(request: Request) -> Result<ExitCode, Failure> {
    match request {
        Request::Help(text) => print!("{text}"),
        Request::Agent { port, in_foreground } => {
            detach::close_inherited_files();
            agent::run(port.as_deref(), in_foreground)?;
        }
        Request::Call(commands) => Client::connect()?.call_all(commands)?,
        Request::NextAttempt { after } => println!("{}", next_attempt(after)?),
        Request::KernelLog => drop(Client::connect()?.kernel_log()?),
        Request::Place { name, file, offset, length } => println!("{}", place(name, &file, offset, length)?),
        Request::Transfer { transfer, and_fsync } => return do_transfer(&transfer, and_fsync),
        Request::Start { transfer, job } => {
            detach::close_inherited_files();
            background::start(job, transfer.prepare()?)?;
        }
        Request::Reap(name) => return Ok(tell(&[background::reap(&name)?])),
        Request::Fsync(flushed) => return Ok(tell(&[flush::words(do_fsync(flushed)?)])),
        Request::DirectIo(path) => println!("{}", direct_io::describe(&path)?),
        Request::Blocked(sleeper) => println!("{}", blocked(sleeper)?),
        Request::Cached { file, offset, length } => println!("{}", cached::describe(&file, offset, length)?),
        Request::RemoveExtents(file) => extents::remove(&file)?,
        Request::Load(load) => return Ok(tell(&[errno::words(load.run()?, load.length())])),
        Request::Appear { path, seconds } => appear(&path, Duration::from_secs(seconds))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn next_attempt(after: u64) -> Result<String, Failure> {
    match Client::connect()?.call(Command::NextAttempt { after })? {
        Answer::Attempt { attempt, arm } => Ok(format!("{attempt} {arm}")),
        other => Err(Failure::Refused(format!("the daemon answered something else: {other:?}"))),
    }
}

fn place(name: String, file: &Path, offset: u64, length: Option<u64>) -> Result<String, Failure> {
    let found = match length {
        Some(length) => place::of_data(file, offset, length)?,
        None => place::of_mapping_block(file, offset)?,
    };
    Client::connect()?.call(Command::Bind { place: name, offset: found.offset, length: found.length })?;
    Ok(found.to_string())
}

fn do_transfer(transfer: &Transfer, and_fsync: bool) -> Result<ExitCode, Failure> {
    let mut prepared = transfer.prepare()?;
    let mut results = vec![errno::words(prepared.perform(), transfer.length)];
    if and_fsync {
        results.push(flush::words(flush::open_file(prepared.file())));
    }
    Ok(tell(&results))
}

fn blocked(sleeper: Sleeper) -> Result<String, Failure> {
    blocked::describe(match sleeper {
        Sleeper::Process(pid) => pid,
        Sleeper::Job(name) => background::process(&name)?,
    })
}

fn do_fsync(flushed: Flushed) -> Result<errno::Outcome, Failure> {
    match flushed {
        Flushed::Path(path) => flush::path(&path),
        Flushed::Descriptor(number) => flush::inherited(number),
    }
}

/// Prints results of I/O, a line each; the exit status says whether all are good.
fn tell(results: &[String]) -> ExitCode {
    for result in results {
        println!("{result}");
    }
    let is_good = |result: &String| result.split(' ').next() == Some("ok");
    if results.iter().all(is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn appear(path: &Path, limit: Duration) -> Result<(), Failure> {
    uevent::wait_for(limit, || path.exists().then_some(()))
        .map_err(|error| Failure::of("cannot listen for devices", error))?
        .ok_or_else(|| Failure::Refused(format!("{} did not appear in {limit:?}", path.display())))
}
