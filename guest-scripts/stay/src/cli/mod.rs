//! The command line.

mod verb;
mod words;

use crate::failure::Failure;
use crate::io::background::Job;
use crate::io::direct::Transfer;
use crate::io::load::Load;
use blkstay_engine::control::Command;
use std::ffi::OsString;
use std::path::PathBuf;
use verb::{HELP, REPORT_AS, VERBS, Verb};
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
        /// Status of the script of the attempt that ends before, if one does.
        finish: Option<i32>,
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
        /// A guest event to emit when all that is done.
        event: Option<String>,
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
    /// Tell where a process is blocked, or wait until it is somewhere.
    Blocked {
        /// The process.
        sleeper: Sleeper,
        /// What is waited for, if anything is.
        until: Option<Until>,
    },
    /// Tell what the page cache has of a range.
    Cached {
        /// The file.
        file: PathBuf,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// Make a file one without extents.
    RemoveExtents(PathBuf),
    /// Do this, and report what it would print under a name.
    ReportAs {
        /// The name.
        name: String,
        /// What to do.
        request: Box<Request>,
    },
    /// Write many times.
    Load(Load),
    /// Wait until a path exists.
    Appear {
        /// The path.
        path: PathBuf,
        /// How long.
        seconds: u64,
    },
}

/// Until when a process is watched.
#[derive(Debug, PartialEq)]
pub struct Until {
    /// The kernel's function in which it is to sleep, or the beginning of its name.
    pub function: String,
    /// A process with whose end the watching ends as well.
    pub process: u32,
}

/// Which process.
#[derive(Debug, PartialEq)]
pub enum Sleeper {
    /// By its number.
    Process(u32),
    /// The one that has this background I/O in hand.
    Job(String),
}

/// Which file to flush.
#[derive(Debug, PartialEq)]
pub enum Flushed {
    /// One that is opened for it.
    Path(PathBuf),
    /// One that the shell has open.
    Descriptor(i32),
}

/// What stands between commands that one process does one after the other.
const THEN: &str = "then";

/// Reads the command line: commands with `then` between them. A mistake in one of them is one before any is done.
pub fn read_all(words: impl IntoIterator<Item = OsString>) -> Result<Vec<Request>, Failure> {
    let words: Vec<OsString> = words.into_iter().collect();
    words.split(|word| word == THEN).map(|words| read(lexopt::Parser::from_args(words))).collect()
}

/// Reads a command.
fn read(mut parser: lexopt::Parser) -> Result<Request, Failure> {
    let name = match parser.next().map_err(|error| Failure::Usage(error.to_string()))? {
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => return Ok(Request::Help(help())),
        Some(lexopt::Arg::Value(name)) => name.to_string_lossy().into_owned(),
        Some(other) => return Err(Failure::Usage(other.unexpected().to_string())),
        None => return Err(Failure::Usage("no command; `stay --help` lists them".to_owned())),
    };
    if name == REPORT_AS {
        return report_as(parser);
    }
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

/// `report-as NAME COMMAND…`
fn report_as(mut parser: lexopt::Parser) -> Result<Request, Failure> {
    let usage =
        || Failure::Usage(format!("a name and a command are missing\nusage: stay {REPORT_AS} NAME COMMAND…"));
    let name = match parser.next().map_err(|error| Failure::Usage(error.to_string()))? {
        Some(lexopt::Arg::Long("help")) => {
            return Ok(Request::Help(Verb::named(REPORT_AS).map_or_else(String::new, Verb::help)));
        }
        Some(lexopt::Arg::Value(name)) => name.to_string_lossy().into_owned(),
        _ => return Err(usage()),
    };
    let words: Vec<OsString> = parser.raw_args().map_err(|_| usage())?.collect();
    if words.is_empty() {
        return Err(usage());
    }
    Ok(Request::ReportAs { name, request: Box::new(read(lexopt::Parser::from_args(words))?) })
}

/// The text of `stay --help`.
fn help() -> String {
    let mut text = HELP.to_owned();
    for verb in VERBS {
        text.push_str(&format!("  stay {} {}\n      {}\n", verb.name, verb.usage, verb.about));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Flushed, Request, read};
    use crate::io::background::{Job, Return};
    use crate::io::direct::{Direction, Transfer};
    use blkstay_engine::control::{Command, ExprText};

    fn request(line: &str) -> Result<Request, String> {
        read(lexopt::Parser::from_args(line.split_whitespace())).map_err(|failure| failure.to_string())
    }

    fn event(name: &str) -> ExprText {
        ExprText::Event(name.to_owned())
    }

    fn awaited(until: ExprText) -> Result<Request, String> {
        Ok(Request::Call(vec![Command::Await { until }]))
    }

    fn transfer(direction: Direction) -> Transfer {
        Transfer {
            direction,
            path: "f".into(),
            offset: 8192,
            length: 4096,
            fill: b"stay".to_vec(),
            is_buffered: false,
            may_create: false,
        }
    }

    #[test]
    fn one_event_or_several_are_awaited() {
        let both = vec![event("A.done"), event("guest.go")];
        assert_eq!(request("await A.done"), awaited(event("A.done")));
        assert_eq!(request("await --any A.done guest.go"), awaited(ExprText::Any { any: both.clone() }));
        assert_eq!(request("await A.done guest.go --all"), awaited(ExprText::All { all: both }));
        assert!(request("await A.done guest.go").is_err_and(|why| why.contains("--any or --all")));
    }

    #[test]
    fn commands_follow_each_other_and_a_mistake_in_one_is_one_of_all() {
        let all = |line: &str| super::read_all(line.split_whitespace().map(Into::into));
        let both = all("emit go then report-as a reap A").map_err(|failure| failure.to_string());
        let reaped = Request::ReportAs { name: "a".into(), request: Box::new(Request::Reap("A".into())) };
        let emitted = Request::Call(vec![Command::Emit { event: "go".into(), detail: None }]);
        assert_eq!(both, Ok(vec![emitted, reaped]));
        assert!(all("emit go then frob").is_err() && all("emit go then").is_err());
    }

    #[test]
    fn several_reports_are_one_command_line() {
        let report = |name: &str, value: &str| Command::Report { name: name.into(), value: value.into() };
        assert_eq!(request("report a 1 b 2"), Ok(Request::Call(vec![report("a", "1"), report("b", "2")])));
        assert!(request("report a 1 b").is_err_and(|why| why.starts_with("the VALUE of `b` is missing")));
    }

    #[test]
    fn a_transfer_is_waited_for_unless_it_has_a_name() {
        let write = transfer(Direction::Write);
        let waited = Request::Transfer { transfer: write.clone(), and_fsync: true, event: None };
        assert_eq!(request("write --fsync f 8k 4k"), Ok(waited));
        let job = Job { name: "A".into(), until: Return::AtOnce, goes_first: false, event: Some("x".into()) };
        let started = Request::Start { transfer: write, job };
        assert_eq!(request("write --name A --background --emit x f 8192 4096"), Ok(started));
    }

    #[test]
    fn contradictions_are_refused() {
        for (line, why) in [
            ("write --async f 0 4k", "needs a --name"),
            ("write --name A f 0 4k", "--name is for --async and --background"),
            ("blocked --until f 1", "--until and --while go together"),
            ("write --first f 0 4k", "--first is for --async and --background"),
            ("write --name A --async --background f 0 4k", "either --async or --background"),
            ("write --name A --async --fsync f 0 4k", "--fsync is for I/O that is waited for"),
            ("read --create f 0 4k", "--fill and --create are for writing"),
            ("read --fill x f 0 4k", "--fill and --create are for writing"),
            ("write f 0 4x", "LEN: `4x` is no number of bytes"),
            ("write f 0", "LEN is missing"),
            ("finish twice", "STATUS is `twice`"),
            ("ping pong", "`pong` is one word too many"),
            ("place a f 0 --length 4k", "--length"),
        ] {
            let refusal = request(line).expect_err(line);
            assert!(refusal.contains(why), "{line}: {refusal}");
            assert!(refusal.contains("\nusage: stay "), "{line}: {refusal}");
        }
    }

    #[test]
    fn every_command_has_help_and_unknown_ones_are_named() {
        let Ok(Request::Help(all)) = request("--help") else { panic!("no help") };
        for verb in super::VERBS {
            assert!(all.contains(&format!("stay {} ", verb.name)), "{}", verb.name);
            assert!(
                matches!(request(&format!("{} --help", verb.name)), Ok(Request::Help(_))),
                "{}",
                verb.name
            );
        }
        assert_eq!(request("frob"), Err("`frob` is no command; `stay --help` lists them".to_owned()));
    }

    #[test]
    fn a_descriptor_or_a_file_is_flushed() {
        assert_eq!(request("fsync --fd 3"), Ok(Request::Fsync(Flushed::Descriptor(3))));
        assert_eq!(request("fsync f"), Ok(Request::Fsync(Flushed::Path("f".into()))));
        assert!(request("fsync f --fd 3").is_err());
    }
}
