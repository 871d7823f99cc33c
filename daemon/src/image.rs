//! The image behind the disk: opened, checked and locked before anything is served.

use anyhow::{Context, Result, bail, ensure};
use blkstay_engine::request::SECTOR;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// A raw image that nobody else writes while it is open.
#[derive(Debug)]
pub struct Image {
    /// The open file.
    pub file: File,
    /// Its size in bytes, a multiple of [`SECTOR`].
    pub bytes: u64,
}

impl Image {
    /// Opens and locks an image.
    ///
    /// # Errors
    /// It is missing, unreadable, empty, no whole number of sectors, or in use by somebody else.
    pub fn open(path: &Path, read_only: bool) -> Result<Image> {
        let shown = path.display();
        // Before it is opened: opening a pipe may wait for ever.
        if let Ok(found) = path.metadata() {
            ensure!(
                found.is_file() || found.file_type().is_block_device(),
                "image {shown}: neither a file nor a block device; give a raw disk image"
            );
        }
        let file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(path)
            .with_context(|| format!("image {shown}: cannot open it{}", advice(path, read_only)))?;
        let bytes = size(&file).with_context(|| format!("image {shown}: cannot tell its size"))?;
        ensure!(bytes > 0, "image {shown}: it is empty; make one with `truncate -s 1G {shown}`");
        ensure!(
            bytes % SECTOR == 0,
            "image {shown}: its size, {bytes} bytes, is not a multiple of {SECTOR}; \
             grow it with `truncate -s %{SECTOR} {shown}`"
        );
        ensure!(
            !is_qcow2(&file),
            "image {shown}: it is a qcow2 image; convert it with `qemu-img convert -O raw`"
        );
        lock(&file, read_only).with_context(|| format!("image {shown}"))?;
        Ok(Image { file, bytes })
    }
}

fn advice(path: &Path, read_only: bool) -> &'static str {
    if !path.exists() {
        "; make one with `truncate -s 1G IMAGE`"
    } else if !read_only {
        " for reading and writing; --read-only serves it without writing"
    } else {
        ""
    }
}

fn size(file: &File) -> std::io::Result<u64> {
    use std::io::{Seek, SeekFrom};
    let mut file = file;
    file.seek(SeekFrom::End(0))
}

fn is_qcow2(file: &File) -> bool {
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).is_ok() && &magic == b"QFI\xfb"
}

/// QEMU locks single bytes of an image: byte `PERM + n` says "I use permission n", byte `SHARED + n`
/// says "I let nobody else use it" (QEMU, `block/file-posix.c`). The same bytes keep QEMU and us apart.
const PERM: i64 = 100;
const SHARED: i64 = 200;
const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

fn lock(file: &File, read_only: bool) -> Result<()> {
    let uses: &[i64] = if read_only { &[READ] } else { &[READ, WRITE] };
    let refuses = [WRITE, RESIZE];
    for byte in uses.iter().map(|n| PERM + n).chain(refuses.iter().map(|n| SHARED + n)) {
        set_lock(file, byte)?;
    }
    for byte in uses.iter().map(|n| SHARED + n).chain(refuses.iter().map(|n| PERM + n)) {
        if is_locked_by_another(file, byte)? {
            bail!("it is in use by another daemon or virtual machine; end that, or serve a copy");
        }
    }
    Ok(())
}

fn one_byte(kind: i32, byte: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}

fn set_lock(file: &File, byte: i64) -> Result<()> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&one_byte(libc::F_RDLCK, byte))) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => bail!("it is locked by another program; end that first"),
        Err(errno) => Err(errno).context("cannot lock it; does its filesystem know file locks?"),
    }
}

fn is_locked_by_another(file: &File, byte: i64) -> Result<bool> {
    let mut found = one_byte(libc::F_WRLCK, byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).context("cannot ask for its locks")?;
    Ok(found.l_type != libc::F_UNLCK as i16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(path: &Path, read_only: bool) -> String {
        format!("{:#}", Image::open(path, read_only).unwrap_err())
    }

    #[test]
    fn bad_images_are_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        assert!(message(&path, false).contains("make one with"));
        assert!(message(dir.path(), true).contains("neither a file nor"));
        std::fs::write(&path, b"").unwrap();
        assert!(message(&path, false).contains("it is empty"));
        std::fs::write(&path, [0; 1000]).unwrap();
        assert!(message(&path, false).contains("not a multiple of 512"));
    }

    #[test]
    fn one_writer_or_many_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, [0; 1024]).unwrap();
        let writer = Image::open(&path, false).unwrap();
        assert!(message(&path, false).contains("in use by another"));
        assert!(message(&path, true).contains("in use by another"));
        drop(writer);
        let _one = Image::open(&path, true).unwrap();
        let _two = Image::open(&path, true).unwrap();
        assert!(message(&path, false).contains("in use by another"));
    }
}
