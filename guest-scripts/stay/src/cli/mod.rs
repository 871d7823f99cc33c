//! The command line.

mod verb;
mod words;

use crate::failure::Failure;
use crate::io::background::Job;
use crate::io::direct::Transfer;
use blkstay_engine::control::Command;
use std::path::PathBuf;
use verb::{HELP, VERBS, Verb};
use words::Words;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// Print a text.
    Help(String),
    /// Own the port.
    Agent {
        /// The port, if not the one named `blkstay`.
        port: Option<PathBuf>,
        /// Do not go into the background.
        in_foreground: bool,
    },
    /// Have the daemon do these, one after the other, and print nothing.
    Call(Vec<Command>),
    /// Wait for an attempt and print it.
    NextAttempt {
        /// The last one known.
        after: u64,
    },
    /// Have the kernel's log recorded.
    KernelLog,
    /// Bind a place to a range of a file, or to the block that maps a byte of it.
    Place {
        /// The place.
        name: String,
        /// The file.
        file: PathBuf,
        /// First byte.
        offset: u64,
        /// Number of bytes; `None` for the mapping block.
        length: Option<u64>,
    },
    /// Read or write, and wait.
    Transfer {
        /// What.
        transfer: Transfer,
        /// Flush the same open file afterwards.
        and_fsync: bool,
    },
    /// Read or write in the background.
    Start {
        /// What.
        transfer: Transfer,
        /// Under what name, and how.
        job: Job,
    },
    /// Wait for a background transfer.
    Reap(String),
    /// Flush a file.
    Fsync(Flushed),
    /// Tell whether direct I/O on a file is direct.
    DirectIo(PathBuf),
    /// Tell where a process is blocked.
    Blocked(u32),
    /// Wait until a path exists.
    Appear {
        /// The path.
        path: PathBuf,
        /// How long.
        seconds: u64,
    },
}

/// Which file to flush.
#[derive(Debug, PartialEq)]
pub enum Flushed {
    /// One that is opened for it.
    Path(PathBuf),
    /// One that the shell has open.
    Descriptor(i32),
}

/// Reads the command line.
pub fn read(mut parser: lexopt::Parser) -> Result<Request, Failure> {
    let name = match parser.next().map_err(|error| Failure::Usage(error.to_string()))? {
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => return Ok(Request::Help(help())),
        Some(lexopt::Arg::Value(name)) => name.to_string_lossy().into_owned(),
        Some(other) => return Err(Failure::Usage(other.unexpected().to_string())),
        None => return Err(Failure::Usage("no command; `stay --help` lists them".to_owned())),
    };
    let verb = Verb::named(&name)
        .ok_or_else(|| Failure::Usage(format!("`{name}` is no command; `stay --help` lists them")))?;
    let about = |failure| match failure {
        Failure::Usage(why) => Failure::Usage(format!("{why}\nusage: stay {} {}", verb.name, verb.usage)),
        failure => failure,
    };
    let mut words = Words::read(parser, verb.options).map_err(about)?;
    if words.flag("help") {
        return Ok(Request::Help(verb.help()));
    }
    let request = (verb.build)(&mut words).map_err(about)?;
    words.end().map_err(about)?;
    Ok(request)
}

/// The text of `stay --help`.
fn help() -> String {
    let mut text = HELP.to_owned();
    for verb in VERBS {
        text.push_str(&format!("  stay {} {}\n      {}\n", verb.name, verb.usage, verb.about));
    }
    text
}
