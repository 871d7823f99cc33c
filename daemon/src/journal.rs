//! Writes the journal: one line of JSON a record, a whole step of the engine in one write.

use anyhow::{Context, Result};
use blkstay_engine::journal::{Line, Record};
use blkstay_engine::request::Nanos;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The journal of a daemon; one without a file swallows what it gets.
#[derive(Debug, Default)]
pub struct Journal {
    file: Option<File>,
    lines: Vec<u8>,
}

impl Journal {
    /// Appends to the journal at `path`, or begins it.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub fn open(path: &Path) -> Result<Journal> {
        let open = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            end_torn_line(&mut file)?;
            Ok(file)
        };
        let file = open().with_context(|| format!("journal {}: cannot open it", path.display()))?;
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
