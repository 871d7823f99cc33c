//! From what a person asks for to a drive that does it.

use crate::engine::{null::Null, threads::Threads, uring::Uring};
use crate::image::{Image, Mode};
use crate::media::{Media, memory::Memory, overlay, raw::Raw};
use crate::spec::{Aio, End, ImageSpec, Overlay, Spec};
use crate::{Drive, Request};
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A drive that is ready, and what a front end tells a guest about it.
pub struct Opened<R> {
    /// The drive.
    pub drive: Box<dyn Drive<R>>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Something for a person to know, if anything is not as asked for or as fast as it could be.
    pub note: Option<String>,
    /// What was written is lost in a power cut unless it was flushed or durable: the guest has to flush.
    pub writes_are_cached: bool,
    /// Discards give room back in units of so many bytes.
    pub discard_bytes: u32,
}

/// Opens what a spec says.
///
/// # Errors
/// The image cannot be served like that; the message says what to do instead.
pub fn open<R: Request>(spec: &Spec) -> Result<Opened<R>> {
    let block = spec.block_bytes;
    ensure!(block == 512 || block == 4096, "a disk has blocks of 512 or of 4096 bytes, not of {block}");
    check(spec)?;
    match &spec.image {
        ImageSpec::Null(bytes) => {
            let drive = Box::new(Null::new(sized(spec, *bytes)?));
            Ok(Opened { drive, bytes: *bytes, note: None, writes_are_cached: false, discard_bytes: block })
        }
        ImageSpec::Memory(bytes) => {
            let memory = Memory::new(sized(spec, *bytes)?).with_context(|| {
                format!("{}: there are no addresses for so much memory; ask for less", spec.image)
            })?;
            served(Threads::new(memory, spec.lanes).context("cannot start the drive")?, None, false, PAGE)
        }
        ImageSpec::File(path) => match &spec.overlay {
            Some(overlay) => open_overlay(spec, path, overlay),
            None => open_raw(spec, path),
        },
    }
}

/// The unit of memory, and of most filesystems.
const PAGE: u32 = 4096;

fn check(spec: &Spec) -> Result<()> {
    let shown = &spec.image;
    let is_file = matches!(shown, ImageSpec::File(_));
    ensure!(
        is_file || spec.overlay.is_none(),
        "{shown}: an overlay lies over a file; over memory it is of no use"
    );
    ensure!(
        is_file || !spec.direct,
        "{shown}: --direct goes past the page cache of a file; leave it out here"
    );
    ensure!(
        spec.overlay.is_none() || !spec.read_only,
        "image {shown}: an overlay is for what is written; serve it either read-only or with one"
    );
    ensure!(
        spec.overlay.is_some() || spec.end == End::Drop,
        "image {shown}: only an overlay can be committed; without one every write goes to the image at once"
    );
    Ok(())
}

fn sized(spec: &Spec, bytes: u64) -> Result<u64> {
    let (shown, block) = (&spec.image, u64::from(spec.block_bytes));
    ensure!(bytes > 0, "{shown}: a disk has at least one block of {block} bytes");
    ensure!(
        bytes.is_multiple_of(block),
        "{shown}: the size is not a multiple of {block} bytes; make it {}",
        bytes.next_multiple_of(block)
    );
    Ok(bytes)
}

fn served<R: Request, M: Media>(
    threads: Threads<R, M>,
    note: Option<String>,
    writes_are_cached: bool,
    discard_bytes: u32,
) -> Result<Opened<R>> {
    let bytes = threads.media().bytes();
    Ok(Opened { drive: Box::new(threads), bytes, note, writes_are_cached, discard_bytes })
}

fn open_file(spec: &Spec, path: &Path, mode: Mode) -> Result<Raw> {
    let shown = path.display();
    let image = Image::open(path, mode, spec.direct, spec.block_bytes)?;
    let raw = Raw::new(image, spec.direct).with_context(|| {
        format!("image {shown}: it cannot be read past the page cache; serve it without --direct")
    })?;
    if let Some(align) = raw.direct
        && align.offset > spec.block_bytes as usize
    {
        bail!(
            "image {shown}: past the page cache it is read in blocks of {} bytes, more than the disk's {}; \
             give the disk such blocks, or serve it without --direct",
            align.offset,
            spec.block_bytes
        );
    }
    Ok(raw)
}

fn open_raw<R: Request>(spec: &Spec, path: &Path) -> Result<Opened<R>> {
    let raw = open_file(spec, path, if spec.read_only { Mode::Read } else { Mode::Write })?;
    let (bytes, discard_bytes) = (raw.bytes(), discard_unit(&raw.file).max(spec.block_bytes));
    let cached = !spec.read_only;
    let is_swift = raw.is_swift();
    let threads = Threads::new(raw, spec.lanes).context("cannot start the drive")?;
    if spec.aio == Aio::Threads || (is_swift && spec.aio == Aio::Auto) {
        return served(threads, None, cached, discard_bytes);
    }
    match Uring::new(threads, spec.lanes) {
        Ok(drive) => {
            Ok(Opened { drive: Box::new(drive), bytes, note: None, writes_are_cached: cached, discard_bytes })
        }
        Err((_, error)) if spec.aio == Aio::Uring => Err(error).context(
            "this system refuses io_uring (see /proc/sys/kernel/io_uring_disabled, or a container's seccomp \
             profile); allow it, or serve the image by threads",
        ),
        Err((threads, error)) => {
            let note =
                format!("io_uring is refused here ({error}): threads serve the image, which is slower");
            served(threads, Some(note), cached, discard_bytes)
        }
    }
}

fn open_overlay<R: Request>(spec: &Spec, path: &Path, kept: &Overlay) -> Result<Opened<R>> {
    let base = open_file(spec, path, if spec.end == End::Commit { Mode::Write } else { Mode::Read })?;
    let bytes = base.bytes();
    let top: Box<dyn Media> = match kept {
        Overlay::Memory => {
            Box::new(Memory::new(bytes).context("an overlay in memory: no addresses are left")?)
        }
        Overlay::File(at) => {
            let file = unnamed(at, bytes).with_context(|| {
                format!(
                    "overlay {}: cannot make it there; give a directory, or a path where nothing is",
                    at.display()
                )
            })?;
            let image = Image { file, bytes, is_device: false };
            Box::new(Raw::new(image, false).context("cannot start the overlay")?)
        }
    };
    let overlay = overlay::Overlay::new(base, top, spec.end)
        .with_context(|| format!("image {}: cannot read its end", path.display()))?;
    let note =
        (spec.aio == Aio::Uring).then(|| "an overlay is served by threads, not by io_uring".to_owned());
    served(Threads::new(overlay, spec.lanes).context("cannot start the drive")?, note, false, PAGE)
}

/// A sparse file whose name is gone already.
fn unnamed(at: &Path, bytes: u64) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let file = if at.is_dir() {
        options.custom_flags(libc::O_TMPFILE).open(at)?
    } else {
        let file = options.create_new(true).open(at)?;
        std::fs::remove_file(at)?;
        file
    };
    file.set_len(bytes)?;
    Ok(file)
}

/// What a file or a device gives back at once.
fn discard_unit(file: &File) -> u32 {
    let Ok(found) = file.metadata() else { return PAGE };
    let unit = if found.is_file() {
        u32::try_from(found.blksize()).ok()
    } else {
        let (major, minor) = (libc::major(found.rdev()), libc::minor(found.rdev()));
        let path = format!("/sys/dev/block/{major}:{minor}/queue/discard_granularity");
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok())
    };
    unit.filter(|bytes| bytes.is_power_of_two()).unwrap_or(PAGE)
}
