//! The disks that are served: none, a file in memory, a file on a drive.

use super::client::Disk;
use super::ring::BLOCK;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where a disk's bytes are.
#[derive(Clone, Debug)]
pub enum Place {
    /// Nowhere: reads return anything, writes are forgotten.
    Null {
        /// Its size.
        bytes: u64,
    },
    /// In a file.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether it is used without the page cache (`O_DIRECT`).
        direct: bool,
    },
}

/// A disk; its file goes away with it.
#[derive(Debug)]
pub struct Image {
    /// Where its bytes are.
    pub place: Place,
    blocks: u64,
    _directory: Option<TempDir>,
}

impl Image {
    /// A drive that is not there.
    pub fn null(bytes: u64) -> Image {
        Image { place: Place::Null { bytes }, blocks: bytes / BLOCK as u64, _directory: None }
    }

    /// A file of whole blocks in a new directory, each full of its own number.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn file(within: &Path, bytes: u64, direct: bool) -> Result<Image> {
        std::fs::create_dir_all(within).with_context(|| format!("cannot make {}", within.display()))?;
        let directory = tempfile::Builder::new().prefix("blkstay-disk-").tempdir_in(within)?;
        let path = directory.path().canonicalize()?.join("disk");
        let blocks = bytes / BLOCK as u64;
        write(&path, blocks).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Image { place: Place::File { path, direct }, blocks, _directory: Some(directory) })
    }

    /// As a client sees it.
    pub fn disk(&self) -> Disk {
        Disk { blocks: self.blocks, stamped: matches!(self.place, Place::File { .. }) }
    }
}

fn write(path: &Path, blocks: u64) -> std::io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for block in 0..blocks {
        file.write_all(&block.to_le_bytes().repeat(BLOCK / 8))?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}
