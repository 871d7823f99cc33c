//! One read or write of a file, past the page cache unless asked otherwise.

use super::aio::Iocb;
use super::errno::{Outcome, outcome};
use crate::failure::Failure;
use nix::libc;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Alignment of buffers: enough for any device's direct I/O.
const ALIGN: usize = 4096;

/// Longest I/O in bytes, so that a slip of the pen does not take all of the guest's memory.
const LENGTH_MAX: u64 = 256 << 20;

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the disk.
    Read,
    /// To the disk.
    Write,
}

/// What to read or write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// The file.
    pub path: PathBuf,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// What is written, repeated to the length.
    pub fill: Vec<u8>,
    /// Go through the page cache.
    pub is_buffered: bool,
    /// Create the file if there is none.
    pub may_create: bool,
}

/// A transfer whose file is open and whose buffer is filled.
pub struct Prepared {
    direction: Direction,
    file: File,
    offset: u64,
    length: usize,
    /// Longer than needed, so that some part of it is aligned.
    memory: Vec<u8>,
}

impl Transfer {
    /// Opens the file and fills the buffer.
    pub fn prepare(&self) -> Result<Prepared, Failure> {
        if self.length == 0 || self.length > LENGTH_MAX {
            let length = self.length;
            return Err(Failure::Usage(format!("LEN is {length}; it must be between 1 and {LENGTH_MAX}")));
        }
        let file = self.open(&self.path).map_err(|error| Failure::of(self.path.display(), error))?;
        let length = self.length as usize;
        let memory = vec![0; length + ALIGN];
        let mut prepared = Prepared { direction: self.direction, file, offset: self.offset, length, memory };
        for (byte, fill) in prepared.buffer().iter_mut().zip(self.fill.iter().cycle()) {
            *byte = *fill;
        }
        Ok(prepared)
    }

    fn open(&self, path: &Path) -> std::io::Result<File> {
        OpenOptions::new()
            .read(self.direction == Direction::Read)
            .write(self.direction == Direction::Write)
            .create(self.may_create)
            .custom_flags(if self.is_buffered { 0 } else { libc::O_DIRECT })
            .open(path)
    }
}

impl Prepared {
    /// Does it, and waits until it is done.
    pub fn perform(&mut self) -> Outcome {
        let start = self.memory.as_ptr().align_offset(ALIGN);
        let buffer = &mut self.memory[start..start + self.length];
        outcome(match self.direction {
            Direction::Read => self.file.read_at(buffer, self.offset),
            Direction::Write => self.file.write_at(buffer, self.offset),
        })
    }

    /// Number of bytes asked for.
    pub fn length(&self) -> u64 {
        self.length as u64
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The control block that asks the kernel to do it asynchronously.
    pub fn iocb(&mut self) -> Iocb {
        self.iocb_at(self.offset, 0)
    }

    /// The same for another place in the file; its completion has the tag.
    pub fn iocb_at(&mut self, offset: u64, tag: u64) -> Iocb {
        let (direction, length) = (self.direction, self.length);
        let address = self.buffer().as_mut_ptr();
        Iocb::new(direction, &self.file, address, length, offset, tag)
    }

    fn buffer(&mut self) -> &mut [u8] {
        let start = self.memory.as_ptr().align_offset(ALIGN);
        &mut self.memory[start..start + self.length]
    }
}
