//! The image behind the disk: opened, checked and locked before anything is served.

mod locks;

use anyhow::{Context, Result, bail, ensure};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// How an image is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To be read, beside other readers.
    Read,
    /// To be read and written, by nobody else.
    Write,
}

/// A raw image that nobody else writes while it is open.
#[derive(Debug)]
pub struct Image {
    /// The open file.
    pub file: File,
    /// Its size in bytes, a multiple of the block asked for.
    pub bytes: u64,
    /// It is a block device.
    pub is_device: bool,
}

impl Image {
    /// Opens and locks an image whose size is a multiple of `block_bytes`; `direct`: past the page cache.
    ///
    /// # Errors
    /// It is missing, unreadable, empty, no whole number of blocks, no raw image, or in use by somebody else.
    pub fn open(path: &Path, mode: Mode, direct: bool, block_bytes: u32) -> Result<Image> {
        let shown = path.display();
        // Before it is opened: opening a pipe may wait for ever.
        if let Ok(found) = path.metadata() {
            ensure!(
                found.is_file() || found.file_type().is_block_device(),
                "image {shown}: neither a file nor a block device; give a raw disk image"
            );
        }
        let file = open_file(path, mode, direct)
            .with_context(|| format!("image {shown}: cannot open it{}", advice(path, mode, direct)))?;
        let is_device = file.metadata().is_ok_and(|found| found.file_type().is_block_device());
        let bytes = size(&file).with_context(|| format!("image {shown}: cannot tell its size"))?;
        ensure!(bytes > 0, "image {shown}: it is empty; make one with `truncate -s 1G {shown}`");
        if !bytes.is_multiple_of(block_bytes.into()) {
            bail!("image {shown}: {}", odd_size(bytes, block_bytes, is_device, &shown.to_string()));
        }
        ensure!(
            !is_qcow2(path),
            "image {shown}: it is a qcow2 image; convert it with `qemu-img convert -O raw`"
        );
        locks::lock(&file, mode).with_context(|| format!("image {shown}"))?;
        Ok(Image { file, bytes, is_device })
    }
}

fn open_file(path: &Path, mode: Mode, direct: bool) -> io::Result<File> {
    let flags = if direct { libc::O_DIRECT } else { 0 };
    let mut options = OpenOptions::new();
    options.read(true).write(mode == Mode::Write);
    // Its owner may leave it unsaid when it was read; to note that costs something at every read.
    match options.custom_flags(flags | libc::O_NOATIME).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => options.custom_flags(flags).open(path),
        opened => opened,
    }
}

fn advice(path: &Path, mode: Mode, direct: bool) -> &'static str {
    if !path.exists() {
        "; make one with `truncate -s 1G IMAGE`"
    } else if direct && open_file(path, mode, false).is_ok() {
        " past the page cache (O_DIRECT): its filesystem does not know how; serve it without --direct"
    } else if mode == Mode::Write {
        " for reading and writing; --read-only serves it without writing"
    } else {
        ""
    }
}

fn odd_size(bytes: u64, block_bytes: u32, is_device: bool, shown: &str) -> String {
    let problem = format!("its size, {bytes} bytes, is not a multiple of {block_bytes}");
    if is_device {
        format!("{problem}; serve it with smaller blocks")
    } else {
        format!("{problem}; grow it with `truncate -s %{block_bytes} {shown}`")
    }
}

/// The size of a file or of a block device, in bytes.
pub(crate) fn size(mut file: &File) -> io::Result<u64> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::End(0))
}

/// Looks through a descriptor of its own: four bytes cannot be read past the page cache.
fn is_qcow2(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut magic, 0));
    read.is_ok() && &magic == b"QFI\xfb"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(path: &Path, mode: Mode) -> String {
        format!("{:#}", Image::open(path, mode, false, 512).unwrap_err())
    }

    #[test]
    fn bad_images_are_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        assert!(message(&path, Mode::Write).contains("make one with"));
        assert!(message(dir.path(), Mode::Read).contains("neither a file nor"));
        std::fs::write(&path, b"").unwrap();
        assert!(message(&path, Mode::Write).contains("it is empty"));
        std::fs::write(&path, [0; 1000]).unwrap();
        assert!(message(&path, Mode::Write).contains("not a multiple of 512"));
        std::fs::write(&path, [0; 1536]).unwrap();
        let large_blocks = Image::open(&path, Mode::Write, false, 4096).unwrap_err();
        assert!(format!("{large_blocks:#}").contains("grow it with `truncate -s %4096"));
        std::fs::write(&path, [&b"QFI\xfb"[..], &[0; 508]].concat()).unwrap();
        assert!(message(&path, Mode::Write).contains("qemu-img convert"));
    }

    #[test]
    fn one_writer_or_many_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, [0; 1024]).unwrap();
        let open = |mode| Image::open(&path, mode, false, 512).unwrap();
        let writer = open(Mode::Write);
        assert!(message(&path, Mode::Write).contains("in use by another"));
        assert!(message(&path, Mode::Read).contains("in use by another"));
        drop(writer);
        let _one = open(Mode::Read);
        let _two = open(Mode::Read);
        assert!(message(&path, Mode::Write).contains("in use by another"));
    }
}
