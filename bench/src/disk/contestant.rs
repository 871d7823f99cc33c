//! Who is measured: `blkstayd` or the storage daemon, in one of their ways.

use super::image::Place;
use super::server::Start;
use anyhow::{Context, Result, anyhow};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs, as they are on this machine.
#[derive(Debug)]
pub struct Programs {
    blkstayd: PathBuf,
    /// What `blkstayd --help` says: which options this build has.
    help: String,
    storage_daemon: Option<PathBuf>,
}

impl Programs {
    /// Those that are here.
    ///
    /// # Errors
    /// `blkstayd` cannot be run.
    pub fn found(storage_daemon: &Path) -> Result<Programs> {
        let blkstayd = blkstay_tests::binary::path("blkstayd");
        let help = output(&blkstayd, "--help").with_context(|| blkstayd.display().to_string())?;
        let there = output(storage_daemon, "--version").is_ok();
        Ok(Programs { blkstayd, help, storage_daemon: there.then(|| storage_daemon.to_owned()) })
    }

    /// What the storage daemon says that it is.
    pub fn storage_daemon(&self) -> String {
        let version = self.storage_daemon.as_deref().and_then(|path| output(path, "--version").ok());
        version.and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_else(|| "none".to_owned())
    }
}

fn output(program: &Path, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output()?;
    anyhow::ensure!(output.status.success(), "{argument}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One way to serve a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// `blkstayd`.
    Ours(Ours),
    /// `qemu-storage-daemon`.
    Theirs(Theirs),
}

/// How `blkstayd` is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    /// What tells it from others of its row; empty where there is nothing to tell.
    pub name: &'static str,
    /// Whether every request is logged.
    pub journal: bool,
    /// A policy, as it is in a file.
    pub policy: Option<&'static str>,
    /// What else it is told.
    pub arguments: &'static [&'static str],
}

impl Ours {
    /// With a journal and without a policy.
    pub const PLAIN: Ours = Ours { name: "", journal: true, policy: None, arguments: &[] };
}

/// How the storage daemon does its input and output, in a thread for that (`iothread`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theirs {
    /// How it reaches a file; none for a drive that is not there.
    pub aio: Option<&'static str>,
    /// Whether it passes by the page cache.
    pub direct: bool,
    /// Longest that its thread polls before it sleeps; its own default if none is named.
    pub poll_ns_max: Option<u32>,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contestant::Ours(Ours { name: "", .. }) => f.write_str("blkstayd"),
            Contestant::Ours(ours) => write!(f, "blkstayd, {}", ours.name),
            Contestant::Theirs(theirs) => {
                f.write_str(theirs.aio.unwrap_or("null-co"))?;
                if let Some(ns) = theirs.poll_ns_max {
                    write!(f, ", polling {} µs", ns / 1000)?;
                }
                Ok(())
            }
        }
    }
}

/// The disk that is served, to how many queues.
#[derive(Clone, Copy, Debug)]
pub struct Served<'s> {
    /// Where its bytes are.
    pub place: &'s Place,
    /// Queues.
    pub queues: u16,
}

impl Contestant {
    /// What this machine or this build lacks for it.
    pub fn lacks(self, programs: &Programs, place: &Place) -> Option<String> {
        match self {
            Contestant::Theirs(_) => programs
                .storage_daemon
                .is_none()
                .then(|| "no qemu-storage-daemon here, which `make setup-bench` installs".to_owned()),
            Contestant::Ours(ours) => {
                let drive = match place {
                    Place::Null { .. } => Some("null:"),
                    Place::File { direct: true, .. } => Some("--direct"),
                    Place::File { .. } => None,
                };
                let options = ours.arguments.iter().copied().filter(|argument| argument.starts_with("--"));
                let missing =
                    drive.into_iter().chain(options).find(|option| !programs.help.contains(option))?;
                Some(format!("not offered by this build: blkstayd --help does not know {missing}"))
            }
        }
    }

    /// How it is started.
    pub fn start<T>(
        self,
        programs: &Programs,
        served: Served,
        within: &Path,
        pinned: bool,
        run: impl FnOnce(&Start) -> Result<T>,
    ) -> Result<T> {
        match self {
            Contestant::Ours(ours) => run(&Start {
                program: &programs.blkstayd,
                arguments: &|directory, socket| ours.arguments(served, directory, socket),
                is_ready: |line| line.starts_with("ready"),
                within,
                pinned,
            }),
            Contestant::Theirs(theirs) => run(&Start {
                program: programs.storage_daemon.as_deref().ok_or_else(|| anyhow!("no storage daemon"))?,
                arguments: &|_, socket| Ok(theirs.arguments(served, socket)),
                // Its monitor greets once everything else is set up.
                is_ready: |line| line.contains("\"QMP\""),
                within,
                pinned,
            }),
        }
    }
}

impl Ours {
    fn arguments(self, served: Served, directory: &Path, socket: &Path) -> Result<Vec<String>> {
        let mut all = vec!["--socket".to_owned(), shown(socket)];
        match served.place {
            Place::Null { bytes } => all.extend(["--image".to_owned(), format!("null:{bytes}")]),
            Place::File { path, direct } => {
                all.extend(["--image".to_owned(), shown(path)]);
                all.extend(direct.then(|| "--direct".to_owned()));
            }
        }
        all.extend(["--num-queues".to_owned(), served.queues.to_string()]);
        if self.journal {
            all.extend(["--journal".to_owned(), shown(&directory.join("journal"))]);
        }
        if let Some(text) = self.policy {
            let path = directory.join("policy.toml");
            std::fs::write(&path, text).context("cannot write the policy")?;
            all.extend(["--policy".to_owned(), shown(&path)]);
        }
        all.extend(self.arguments.iter().map(|&argument| argument.to_owned()));
        Ok(all)
    }
}

impl Theirs {
    fn arguments(self, served: Served, socket: &Path) -> Vec<String> {
        let drive = match served.place {
            Place::Null { bytes } => format!("driver=null-co,node-name=disk,size={bytes},read-zeroes=off"),
            Place::File { path, .. } => {
                let (aio, direct) = (self.aio.unwrap_or("threads"), if self.direct { "on" } else { "off" });
                let path = shown(path).replace(',', ",,");
                format!("driver=file,node-name=disk,filename={path},aio={aio},cache.direct={direct}")
            }
        };
        let polling = self.poll_ns_max.map(|ns| format!(",poll-max-ns={ns}")).unwrap_or_default();
        let export = format!(
            "type=vhost-user-blk,id=export,node-name=disk,writable=on,iothread=thread,num-queues={},\
             addr.type=unix,addr.path={}",
            served.queues,
            shown(socket)
        );
        let pairs = [
            ("--object", format!("iothread,id=thread{polling}")),
            ("--blockdev", drive),
            ("--export", export),
            ("--chardev", "stdio,id=monitor".to_owned()),
            ("--monitor", "chardev=monitor".to_owned()),
        ];
        pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
