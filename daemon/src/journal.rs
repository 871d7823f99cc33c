//! Writes the journal: one line of JSON a record, a whole step of the engine in one write.

use anyhow::{Context, Result, anyhow, ensure};
use blkstay_engine::journal::{Line, Record};
use blkstay_engine::request::Nanos;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The journal of a daemon; one without a file swallows what it gets.
#[derive(Debug, Default)]
pub struct Journal {
    file: Option<Flock<File>>,
    lines: Vec<u8>,
}

impl Journal {
    /// Appends to the journal at `path`, or begins it.
    ///
    /// # Errors
    /// It cannot be opened or read, is something else than a journal, or another daemon writes it.
    pub fn open(path: &Path) -> Result<Journal> {
        let shown = path.display();
        let open = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = open.with_context(|| format!("journal {shown}: cannot open it"))?;
        let mut file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
                Errno::EWOULDBLOCK => {
                    anyhow!("journal {shown}: another daemon writes it; choose another file")
                }
                other => anyhow!("journal {shown}: cannot lock it: {other}"),
            })?;
        if file.metadata().is_ok_and(|data| data.is_file()) {
            ensure!(
                is_journal(&mut file).with_context(|| format!("journal {shown}: cannot read it"))?,
                "journal {shown}: it is there and is no journal; choose another file"
            );
            end_torn_line(&mut file).with_context(|| format!("journal {shown}: cannot open it"))?;
        }
        Ok(Journal { file: Some(file), lines: Vec::new() })
    }

    /// Keeps a record until the next [`Journal::write`].
    pub fn add(&mut self, t: Nanos, record: Record) {
        if self.file.is_some() {
            // A record has no map with keys that are not strings, nothing else can fail.
            if serde_json::to_writer(&mut self.lines, &Line { t, record }).is_ok() {
                self.lines.push(b'\n');
            }
        }
    }

    /// Hands what was added to the kernel: from here on it survives this process.
    ///
    /// # Errors
    /// The file cannot be written, a full disk say.
    pub fn write(&mut self) -> std::io::Result<()> {
        if let Some(file) = &mut self.file
            && !self.lines.is_empty()
        {
            file.write_all(&self.lines)?;
            self.lines.clear();
        }
        Ok(())
    }
}

/// Whether a file is empty or begins like a journal, rather than like a disk image, say.
fn is_journal(file: &mut File) -> std::io::Result<bool> {
    let mut beginning = Vec::new();
    file.rewind()?;
    file.take(BEGINNING.len() as u64).read_to_end(&mut beginning)?;
    Ok(beginning.is_empty() || beginning == BEGINNING)
}

/// Every line of a journal begins with its time.
const BEGINNING: &[u8] = b"{\"t\":";

/// A daemon that was killed while the disk was full may have left half a line; what follows must
/// not become part of it.
fn end_torn_line(file: &mut File) -> std::io::Result<()> {
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
    }
    Ok(())
}
