//! Writes the journal: records are stored in pages of its file that are mapped, so they survive this process without a
//! system call for each.

mod lane;
mod mapping;
mod room;
#[cfg(test)]
mod tests;

pub use lane::Lane;

use anyhow::{Context, Result, anyhow, bail, ensure};
use blkstay_engine::journal::chunk::{FORMAT, HEADER_BYTES, Header, MAGIC, NoHeader, PAGE};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use room::Room;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// The journal of a daemon; one without a file swallows what it gets.
#[derive(Debug)]
pub struct Journal {
    room: Option<Arc<Room>>,
}

impl Journal {
    /// One without a file.
    pub fn none() -> Journal {
        Journal { room: None }
    }

    /// Appends to the journal at `path`, or begins it.
    ///
    /// # Errors
    /// It cannot be opened or read, is something else than a journal, or another daemon writes it.
    pub fn open(path: &Path) -> Result<Journal> {
        let shown = path.display();
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.with_context(|| format!("journal {shown}: cannot open it"))?;
        let data = file.metadata().with_context(|| format!("journal {shown}: cannot open it"))?;
        ensure!(
            data.is_file(),
            "journal {shown}: it is no regular file, which a journal has to be; choose one"
        );
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => {
                anyhow!("journal {shown}: another daemon writes it; choose another file")
            }
            other => anyhow!("journal {shown}: cannot lock it: {other}"),
        })?;
        let end = end_of(&file).with_context(|| format!("journal {shown}"))?;
        let room =
            Room::new(file, end).with_context(|| format!("journal {shown}: cannot start its thread"))?;
        Ok(Journal { room: Some(room) })
    }

    /// A lane to write to. The first that is asked for is the one order in which the engine decides, and begins with
    /// the record of what the journal is; the others are merged with it by time.
    pub fn lane(&self) -> Lane {
        let room = self.room.clone();
        room.and_then(|room| Some(Lane::new(room.stream()?, room))).unwrap_or_default()
    }

    /// Ends it where it was gone on with: what is written since is no journal, because its beginning found no room.
    pub fn take_back(&self) {
        if let Some(room) = &self.room {
            room.take_back();
        }
    }

    /// Waits until what was written has reached its media. The kernel does that by itself, and tells only who asks when it
    /// fails.
    ///
    /// # Errors
    /// A part of it did not, since it was opened.
    pub fn sync(&self) -> std::io::Result<()> {
        self.room.as_ref().map_or(Ok(()), |room| room.sync())
    }

    /// Ends it: lanes are ended when they are dropped, and what is behind the last is cut off the file.
    pub fn close(&self) {
        if let Some(room) = &self.room {
            room.close();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// How every line of a journal of JSON lines begins.
const JSON: &[u8] = b"{\"t\":";

/// Where a file may be gone on with, if it is a journal.
fn end_of(file: &File) -> Result<u64> {
    let bytes = file.metadata().context("cannot read it")?.len();
    let mut at = 0;
    while at < bytes {
        let beginning = read_at(file, at).context("cannot read it")?;
        match Header::read(&beginning, at) {
            Ok(header) => {
                at += u64::from(header.bytes);
                ensure!(at <= bytes, "it was cut short, within a chunk; choose another file");
            }
            Err(NoHeader::Format(version)) => bail!(
                "it is of version {version} of the format, and this daemon writes {FORMAT}; choose another file"
            ),
            Err(_) if at == 0 => bail!(strange(&beginning)),
            Err(_) => at += PAGE,
        }
    }
    Ok(bytes.next_multiple_of(PAGE))
}

/// What to do about a file that is not a journal of this format.
fn strange(beginning: &[u8]) -> &'static str {
    if beginning.starts_with(JSON) {
        "it is one of JSON lines, which are not written any more (`blkstay log` reads it); choose another file"
    } else if beginning.starts_with(&MAGIC) {
        "its beginning is damaged; choose another file"
    } else {
        "it is there and is no journal; choose another file"
    }
}

fn read_at(file: &File, at: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_BYTES];
    let mut found = 0;
    while found < bytes.len() {
        match file.read_at(&mut bytes[found..], at + found as u64) {
            Ok(0) => break,
            Ok(more) => found += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(found);
    Ok(bytes)
}
