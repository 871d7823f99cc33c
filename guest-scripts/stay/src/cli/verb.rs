//! The commands: their usage, their help, and what their words mean.

use super::words::{Opt, Words};
use super::{Flushed, Request, Sleeper, Until};
use crate::failure::Failure;
use crate::io::background::{Job, Return};
use crate::io::direct::{Direction, Transfer};
use crate::io::load::{DEPTH_MAX, Load};
use crate::size;
use blkstay_engine::control::{Command, ExprText};

/// What `stay --help` begins with.
pub const HELP: &str = "\
The guest's side of blkstay: events, places and direct I/O for scripts.

`stay A then B` does one after the other in one process, which under emulation saves some 10 ms, and stops at the first
that fails. Exit status: 0 done; 1 failed, refused, or the I/O had an error; 2 wrong usage; 3 no agent, or it went away.
Sizes and offsets are in bytes, or with a suffix: 4k, 1M, 2G. STAY_SOCKET moves the agent's socket from
/run/stay.sock, STAY_DIR the sockets of background I/O from /run/stay.

";

/// The command that has another one in it.
pub const REPORT_AS: &str = "report-as";

/// One command.
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// What follows the name.
    pub usage: &'static str,
    /// What it does.
    pub about: &'static str,
    /// The options it knows.
    pub options: &'static [Opt],
    /// Makes sense of its words.
    pub build: fn(&mut Words) -> Result<Request, Failure>,
}

impl Verb {
    /// The command with this name.
    pub fn named(name: &str) -> Option<&'static Verb> {
        VERBS.iter().find(|verb| verb.name == name)
    }

    /// The text of `stay NAME --help`.
    pub fn help(&self) -> String {
        format!("{}\n\nusage: stay {} {}\n", self.about, self.name, self.usage)
    }
}

const HELP_FLAG: Opt = Opt::Flag("help");

const TRANSFER_OPTIONS: &[Opt] = &[
    HELP_FLAG,
    Opt::Value("name"),
    Opt::Flag("async"),
    Opt::Flag("background"),
    Opt::Flag("first"),
    Opt::Value("emit"),
    Opt::Value("fill"),
    Opt::Flag("buffered"),
    Opt::Flag("create"),
    Opt::Flag("fsync"),
];

/// Every command, in the order of the help.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "agent",
        usage: "[--port PATH] [--foreground]",
        about: "Own the virtio-serial port `blkstay` and lend it to the other commands; returns when the daemon has answered.",
        options: &[HELP_FLAG, Opt::Value("port"), Opt::Flag("foreground")],
        build: agent,
    },
    Verb {
        name: "ping",
        usage: "",
        about: "Ask the daemon for an answer.",
        options: &[HELP_FLAG],
        build: |_| Ok(Request::Call(vec![Command::Ping])),
    },
    Verb {
        name: "next-attempt",
        usage: "[--after N] [--finish STATUS]",
        about: "Wait until an attempt above N (0) has begun; print its number and arm: `7 forced`. With --finish, record \
                the kernel's log and say that the script of this attempt has ended before that.",
        options: &[HELP_FLAG, Opt::Value("after"), Opt::Value("finish")],
        build: |words| {
            let after = words.number("after")?.unwrap_or(0);
            Ok(Request::NextAttempt { after, finish: words.number("finish")? })
        },
    },
    Verb {
        name: "emit",
        usage: "NAME [--detail TEXT]",
        about: "Make the event guest.NAME happen.",
        options: &[HELP_FLAG, Opt::Value("detail")],
        build: emit,
    },
    Verb {
        name: "await",
        usage: "EVENT | --any EVENT… | --all EVENT…",
        about: "Wait for an event, `A.done` say, or for any or all of several.",
        options: &[HELP_FLAG, Opt::Flag("any"), Opt::Flag("all")],
        build: wait_for,
    },
    Verb {
        name: "report",
        usage: "NAME VALUE [NAME VALUE…]",
        about: "Record observations, by which the signs of a case are judged.",
        options: &[HELP_FLAG],
        build: report,
    },
    Verb {
        name: REPORT_AS,
        usage: "NAME COMMAND…",
        about: "Do what the command says, and report as NAME what it would print; a bad result of I/O is no failure then.",
        options: &[HELP_FLAG],
        build: |_| Err(Failure::Usage("a command is missing".to_owned())),
    },
    Verb {
        name: "kernel-log",
        usage: "",
        about: "Record what the kernel has logged since the last time, warnings and worse.",
        options: &[HELP_FLAG],
        build: |_| Ok(Request::KernelLog),
    },
    Verb {
        name: "finish",
        usage: "STATUS",
        about: "Say that the attempt's script has ended, and with what status.",
        options: &[HELP_FLAG],
        build: |words| Ok(Request::Call(vec![Command::Finish { exit: words.next_number("STATUS")? }])),
    },
    Verb {
        name: "place",
        usage: "NAME FILE OFFSET LEN",
        about: "Bind a place to bytes of a file, which must be in one piece on the disk; print where: `OFFSET LEN`, \
                and `unwritten` if the blocks are allocated but hold no data yet.",
        options: &[HELP_FLAG],
        build: |words| place(words, true),
    },
    Verb {
        name: "place-map",
        usage: "NAME FILE OFFSET",
        about: "Bind a place to the indirect block that maps the byte at OFFSET of a file without extents (ext2, ext3, ext4).",
        options: &[HELP_FLAG],
        build: |words| place(words, false),
    },
    Verb {
        name: "write",
        usage: "[--name A --async|--background [--first]] [--emit EVENT] [--fill TEXT] [--create] [--buffered] [--fsync] FILE OFFSET LEN",
        about: "Write with O_DIRECT and print `ok N`, `short N` or `error EIO`; with --fsync, flush the same open file and \
                print that on a second line. --async returns when it has been submitted, --background at once; both leave \
                the result for `stay reap A`; with --first it runs before all others that can. EVENT is emitted when the result has come, of both if there are two.",
        options: TRANSFER_OPTIONS,
        build: |words| transfer(words, Direction::Write),
    },
    Verb {
        name: "read",
        usage: "[--name A --async|--background [--first]] [--emit EVENT] [--buffered] FILE OFFSET LEN",
        about: "Read with O_DIRECT; everything else as for `write`.",
        options: TRANSFER_OPTIONS,
        build: |words| transfer(words, Direction::Read),
    },
    Verb {
        name: "reap",
        usage: "A",
        about: "Wait for the background I/O named A and print its result.",
        options: &[HELP_FLAG],
        build: |words| Ok(Request::Reap(words.next_text("A")?)),
    },
    Verb {
        name: "fsync",
        usage: "FILE | --fd N",
        about: "Flush a file, or the one that the shell has open as N; print `ok` or `error EIO`.",
        options: &[HELP_FLAG, Opt::Value("fd")],
        build: fsync,
    },
    Verb {
        name: "direct-io",
        usage: "FILE",
        about: "Print `direct MEMORY OFFSET` (the alignments that direct I/O on FILE needs), `page-cache` where the \
                filesystem has none, or `unknown`.",
        options: &[HELP_FLAG],
        build: |words| Ok(Request::DirectIo(words.next("FILE")?.into())),
    },
    Verb {
        name: "blocked",
        usage: "[--until FUNCTION --while PID] PID | A",
        about: "Print the state of a process, or of the one that has the background I/O named A in hand, and the top of \
                its kernel stack. With --until, wait in silence until it sleeps in FUNCTION, or process PID has ended.",
        options: &[HELP_FLAG, Opt::Value("until"), Opt::Value("while")],
        build: blocked,
    },
    Verb {
        name: "cached",
        usage: "FILE OFFSET LEN",
        about: "Print what the page cache has of a range: `cached 1 dirty 1 writeback 0 of 1 pages`, or `unknown` \
                where the kernel does not tell.",
        options: &[HELP_FLAG],
        build: |words| {
            let file = words.next("FILE")?.into();
            Ok(Request::Cached { file, offset: bytes(words, "OFFSET")?, length: bytes(words, "LEN")? })
        },
    },
    Verb {
        name: "load",
        usage: "--times N [--step BYTES] [--depth N] [--fill TEXT] [--create] [--buffered] FILE OFFSET LEN",
        about: "Write N times with O_DIRECT and Linux AIO, each LEN bytes, BYTES (LEN) further on, `depth` (1) of them in \
                flight; print `ok N` with the sum of bytes.",
        options: &[
            HELP_FLAG,
            Opt::Value("times"),
            Opt::Value("step"),
            Opt::Value("depth"),
            Opt::Value("fill"),
            Opt::Flag("create"),
            Opt::Flag("buffered"),
        ],
        build: load,
    },
    Verb {
        name: "remove-extents",
        usage: "FILE",
        about: "Make ext4 map a file by blocks, as ext3 did; only for one extent within the first twelve blocks.",
        options: &[HELP_FLAG],
        build: |words| Ok(Request::RemoveExtents(words.next("FILE")?.into())),
    },
    Verb {
        name: "appear",
        usage: "PATH [--seconds N]",
        about: "Wait until PATH, a device, exists, for 10 seconds or N.",
        options: &[HELP_FLAG, Opt::Value("seconds")],
        build: appear,
    },
];

fn agent(words: &mut Words) -> Result<Request, Failure> {
    let port = words.option("port")?.map(Into::into);
    Ok(Request::Agent { port, in_foreground: words.flag("foreground") })
}

fn emit(words: &mut Words) -> Result<Request, Failure> {
    let detail = words.option("detail")?;
    Ok(Request::Call(vec![Command::Emit { event: words.next_text("NAME")?, detail }]))
}

fn wait_for(words: &mut Words) -> Result<Request, Failure> {
    let mut events = vec![ExprText::Event(words.next_text("EVENT")?)];
    while words.has_more() {
        events.push(ExprText::Event(words.next_text("EVENT")?));
    }
    let until = match (words.flag("any"), words.flag("all")) {
        (true, false) => ExprText::Any { any: events },
        (false, true) => ExprText::All { all: events },
        (false, false) if events.len() == 1 => events.remove(0),
        _ => return Err(Failure::Usage("several events need either --any or --all".to_owned())),
    };
    Ok(Request::Call(vec![Command::Await { until }]))
}

fn report(words: &mut Words) -> Result<Request, Failure> {
    let mut reports = Vec::new();
    while reports.is_empty() || words.has_more() {
        let name = words.next_text("NAME")?;
        let value = words.next_text(&format!("the VALUE of `{name}`"))?;
        reports.push(Command::Report { name, value });
    }
    Ok(Request::Call(reports))
}

fn bytes(words: &mut Words, what: &str) -> Result<u64, Failure> {
    let text = words.next_text(what)?;
    size::parse(&text).map_err(|why| Failure::Usage(format!("{what}: {why}")))
}

fn place(words: &mut Words, has_length: bool) -> Result<Request, Failure> {
    Ok(Request::Place {
        name: words.next_text("NAME")?,
        file: words.next("FILE")?.into(),
        offset: bytes(words, "OFFSET")?,
        length: if has_length { Some(bytes(words, "LEN")?) } else { None },
    })
}

fn blocked(words: &mut Words) -> Result<Request, Failure> {
    let until = match (words.option("until")?, words.number("while")?) {
        (Some(function), Some(process)) => Some(Until { function, process }),
        (None, None) => None,
        _ => return Err(Failure::Usage("--until and --while go together".to_owned())),
    };
    let word = words.next_text("PID")?;
    let sleeper = word.parse().map_or(Sleeper::Job(word), Sleeper::Process);
    Ok(Request::Blocked { sleeper, until })
}

fn load(words: &mut Words) -> Result<Request, Failure> {
    let times: Option<u64> = words.number("times")?;
    let step = words.option("step")?.map(|text| size::parse(&text)).transpose();
    let step = step.map_err(|why| Failure::Usage(format!("--step: {why}")))?;
    let depth = words.number("depth")?.unwrap_or(1);
    if !(1..=DEPTH_MAX).contains(&depth) {
        return Err(Failure::Usage(format!("--depth is {depth}; it must be between 1 and {DEPTH_MAX}")));
    }
    let times = times.ok_or_else(|| Failure::Usage("--times is missing".to_owned()))?;
    let transfer = range(words, Direction::Write)?;
    let step = step.unwrap_or(transfer.length);
    Ok(Request::Load(Load { transfer, times, step, depth }))
}

fn transfer(words: &mut Words, direction: Direction) -> Result<Request, Failure> {
    let event = words.option("emit")?;
    let job = job(words, &event)?;
    let transfer = range(words, direction)?;
    match (job, words.flag("fsync")) {
        (None, and_fsync) => Ok(Request::Transfer { transfer, and_fsync, event }),
        (Some(job), false) => Ok(Request::Start { transfer, job }),
        (Some(_), true) => Err(Failure::Usage("--fsync is for I/O that is waited for".to_owned())),
    }
}

/// What to read or write, without how.
fn range(words: &mut Words, direction: Direction) -> Result<Transfer, Failure> {
    let fill = words.option("fill")?;
    if fill.as_deref() == Some("") {
        return Err(Failure::Usage("--fill needs at least one character".to_owned()));
    }
    let has_fill = fill.is_some();
    let transfer = Transfer {
        direction,
        path: words.next("FILE")?.into(),
        offset: bytes(words, "OFFSET")?,
        length: bytes(words, "LEN")?,
        fill: fill.unwrap_or_else(|| "stay".to_owned()).into_bytes(),
        is_buffered: words.flag("buffered"),
        may_create: words.flag("create"),
    };
    if direction == Direction::Read && (has_fill || transfer.may_create) {
        return Err(Failure::Usage("--fill and --create are for writing".to_owned()));
    }
    Ok(transfer)
}

fn job(words: &mut Words, event: &Option<String>) -> Result<Option<Job>, Failure> {
    let name = words.option("name")?;
    let until = match (words.flag("async"), words.flag("background")) {
        (true, false) => Some(Return::AfterSubmission),
        (false, true) => Some(Return::AtOnce),
        (false, false) => None,
        (true, true) => return Err(Failure::Usage("it is either --async or --background".to_owned())),
    };
    let goes_first = words.flag("first");
    match (until, name) {
        (Some(until), Some(name)) => Ok(Some(Job { name, until, goes_first, event: event.clone() })),
        (None, _) if goes_first => Err(Failure::Usage("--first is for --async and --background".to_owned())),
        (Some(_), None) => Err(Failure::Usage("background I/O needs a --name to be reaped by".to_owned())),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::Usage("--name is for --async and --background".to_owned())),
    }
}

fn fsync(words: &mut Words) -> Result<Request, Failure> {
    Ok(Request::Fsync(match words.number("fd")? {
        Some(descriptor) => Flushed::Descriptor(descriptor),
        None => Flushed::Path(words.next("FILE")?.into()),
    }))
}

fn appear(words: &mut Words) -> Result<Request, Failure> {
    let seconds = words.number("seconds")?.unwrap_or(10);
    Ok(Request::Appear { path: words.next("PATH")?.into(), seconds })
}
