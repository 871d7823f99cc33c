//! A raw file or a block device, by calls that block.

use super::align::{Alignment, Bounce};
use super::{Media, Patience, clear, would_block};
use crate::drive::{end_of, ends_early};
use crate::image::{Image, size};
use crate::segments::with_buffer;
use crate::{Segments, media::align};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// `TMPFS_MAGIC` (statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// The longest buffer that unaligned data goes through.
const BOUNCE: u64 = 1 << 20;

/// Which way data goes, and how (`RWF_…`, preadv2(2)).
#[derive(Clone, Copy)]
enum Way {
    In(i32),
    Out(i32),
}

/// A file, or a device, that holds a disk.
pub struct Raw {
    /// The open file.
    pub file: File,
    /// What it demands, if it was opened to go past the page cache.
    pub direct: Option<Alignment>,
    bytes: AtomicU64,
    is_device: bool,
    is_swift: bool,
    /// Whether its filesystem can say that a read would block.
    can_say: AtomicBool,
}

impl Raw {
    /// The medium of an open image.
    ///
    /// # Errors
    /// `direct` and the file does not work past the page cache.
    pub fn new(image: Image, direct: bool) -> io::Result<Raw> {
        let direct = if direct { Some(align::ask(&image.file)?) } else { None };
        Ok(Raw {
            is_swift: is_tmpfs(&image.file),
            file: image.file,
            direct,
            bytes: AtomicU64::new(image.bytes),
            is_device: image.is_device,
            can_say: AtomicBool::new(true),
        })
    }

    /// Whether data may go to the file from where it is.
    pub fn fits(&self, segments: &Segments, offset: u64) -> bool {
        self.direct.is_none_or(|direct| {
            offset.is_multiple_of(direct.offset as u64)
                && segments.bytes().is_multiple_of(direct.offset as u64)
                && segments.aligned(direct.memory)
        })
    }

    /// Moves all segments; `offset` is where the first is in the file.
    fn transfer(&self, segments: &mut Segments, mut offset: u64, way: Way) -> io::Result<()> {
        while segments.bytes() > 0 {
            match self.call(segments.vectors(), offset, way) {
                moved @ 1.. => {
                    offset += moved as u64;
                    segments.advance(moved as u64);
                    if segments.bytes() > 0 && !self.fits(segments, offset) {
                        return Err(ends_early());
                    }
                }
                0 => return Err(ends_early()),
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// One call for as much as it moves; a single piece has calls of its own, which are cheaper.
    fn call(&self, vectors: &[libc::iovec], offset: u64, way: Way) -> isize {
        let (file, at, offset) = (self.file.as_raw_fd(), vectors.as_ptr(), offset as libc::off_t);
        let count = vectors.len() as i32;
        // SAFETY: the vectors are valid memory (`Segments::push`), which the kernel, like the guest, may change at
        // any time without breaking a Rust value.
        unsafe {
            match (way, vectors) {
                (Way::In(0), [one]) => libc::pread(file, one.iov_base, one.iov_len, offset),
                (Way::Out(0), [one]) => libc::pwrite(file, one.iov_base, one.iov_len, offset),
                (Way::In(flags), _) => libc::preadv2(file, at, count, offset, flags),
                (Way::Out(flags), _) => libc::pwritev2(file, at, count, offset, flags),
            }
        }
    }

    /// Reads if the page cache has everything.
    fn read_cached(&self, into: &mut Segments, offset: u64) -> io::Result<()> {
        if self.direct.is_some() || !self.can_say.load(Ordering::Relaxed) {
            return Err(would_block());
        }
        let wanted = into.bytes();
        let moved = self.call(into.vectors(), offset, Way::In(libc::RWF_NOWAIT));
        if moved == wanted as isize {
            return Ok(());
        }
        let refused = [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL].map(Some);
        if moved < 0 && refused.contains(&io::Error::last_os_error().raw_os_error()) {
            self.can_say.store(false, Ordering::Relaxed);
        }
        Err(would_block())
    }

    /// Reads what direct I/O cannot put where it is wanted.
    fn read_bounced(&self, into: &mut Segments, mut offset: u64, align: Alignment) -> io::Result<()> {
        let unit = align.offset as u64;
        while into.bytes() > 0 {
            let before = offset % unit;
            let wanted = into.bytes().min(BOUNCE);
            let length = (before + wanted).next_multiple_of(unit);
            let mut bounce = Bounce::new(length as usize);
            with_buffer(bounce.bytes(), |all| self.transfer(all, offset - before, Way::In(0)))?;
            into.fill_from(&bounce.bytes()[before as usize..][..wanted as usize]);
            offset += wanted;
        }
        Ok(())
    }

    /// Writes what direct I/O cannot take from where it is.
    fn write_bounced(&self, from: &mut Segments, mut offset: u64, unit: u64, flags: i32) -> io::Result<()> {
        if !offset.is_multiple_of(unit) || !from.bytes().is_multiple_of(unit) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        while from.bytes() > 0 {
            let mut bounce = Bounce::new(from.bytes().min(BOUNCE) as usize);
            from.drain_into(bounce.bytes());
            let length = bounce.bytes().len() as u64;
            with_buffer(bounce.bytes(), |all| self.transfer(all, offset, Way::Out(flags)))?;
            offset += length;
        }
        Ok(())
    }
}

impl Media for Raw {
    fn is_swift(&self) -> bool {
        self.is_swift
    }

    fn read(&self, into: &mut Segments, offset: u64, patience: Patience) -> io::Result<()> {
        if patience == Patience::Now && !self.is_swift {
            return self.read_cached(into, offset);
        }
        match self.direct {
            Some(align) if !self.fits(into, offset) => self.read_bounced(into, offset, align),
            _ => self.transfer(into, offset, Way::In(0)),
        }
    }

    fn write(&self, from: &mut Segments, offset: u64, durable: bool, patience: Patience) -> io::Result<()> {
        if patience == Patience::Now && !self.is_swift {
            return Err(would_block());
        }
        let flags = if durable { libc::RWF_DSYNC } else { 0 };
        match self.direct {
            Some(align) if !self.fits(from, offset) => {
                self.write_bounced(from, offset, align.offset as u64, flags)
            }
            _ => self.transfer(from, offset, Way::Out(flags)),
        }
    }

    fn flush(&self, patience: Patience) -> io::Result<()> {
        if patience == Patience::Now && !self.is_swift {
            return Err(would_block());
        }
        self.file.sync_data()
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        clear::discard(&self.file, range, self.is_device)
    }

    fn zero(&self, range: Range<u64>, unmap: bool, durable: bool) -> io::Result<()> {
        if clear::zero(&self.file, &range, unmap)? {
            return if durable { self.file.sync_data() } else { Ok(()) };
        }
        let mut offset = range.start;
        while offset < range.end {
            let mut zeros = Segments::zeros(range.end - offset);
            let length = zeros.bytes();
            self.write(&mut zeros, offset, durable, Patience::Blocks)?;
            offset += length;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        if self.is_device {
            if size(&self.file)? != bytes {
                let why = "a block device has the size that it has; change it by its own means first";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        } else {
            self.file.set_len(bytes)?;
        }
        self.bytes.store(bytes, Ordering::Release);
        Ok(())
    }
}

fn is_tmpfs(file: &File) -> bool {
    nix::sys::statfs::fstatfs(file).is_ok_and(|found| found.filesystem_type().0 as u64 == TMPFS)
}

/// Fills a buffer from a medium; blocks.
pub fn read_at(media: &(impl Media + ?Sized), offset: u64, into: &mut [u8]) -> io::Result<()> {
    if end_of(offset, into.len() as u64) > media.bytes() {
        return Err(ends_early());
    }
    with_buffer(into, |all| media.read(all, offset, Patience::Blocks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn raw(file: File) -> Raw {
        let bytes = size(&file).unwrap();
        Raw::new(Image { file, bytes, is_device: false }, false).unwrap()
    }

    /// Zeroes a part of a file in some way and expects zeros there and nothing else changed.
    fn assert_zeroes(zero: impl Fn(&Raw, Range<u64>) -> io::Result<()>) {
        for (offset, length) in [(0, 512), (512, 4096), (4096, 8192), (1 << 20, 1 << 20), (0, 9 << 20)] {
            let raw = raw(tempfile::tempfile().unwrap());
            let mut content = vec![7; 9 << 20];
            raw.file.write_all_at(&content, 0).unwrap();
            zero(&raw, offset..offset + length).unwrap();
            content[offset as usize..][..length as usize].fill(0);
            let mut seen = vec![1; content.len()];
            raw.file.read_exact_at(&mut seen, 0).unwrap();
            assert!(seen == content, "{length} bytes at {offset}");
            assert_eq!(raw.file.metadata().unwrap().len(), content.len() as u64);
        }
    }

    #[test]
    fn zeros_are_zeros_in_every_way() {
        assert_zeroes(|raw, range| raw.zero(range, true, false));
        assert_zeroes(|raw, range| raw.zero(range, false, true));
        assert_zeroes(|raw, range| raw.discard(range));
        assert_zeroes(|raw, range| {
            let mut zeros = 0;
            while zeros < range.end - range.start {
                let mut some = Segments::zeros(range.end - range.start - zeros);
                let length = some.bytes();
                raw.write(&mut some, range.start + zeros, false, Patience::Blocks)?;
                zeros += length;
            }
            Ok(())
        });
    }

    #[test]
    fn a_file_that_does_not_work_is_an_error() {
        raw(File::create("/dev/full").unwrap()).discard(0..512).unwrap_err();
        let read_only = tempfile::NamedTempFile::new().unwrap();
        raw(File::open(read_only.path()).unwrap()).discard(0..512).unwrap_err();
    }

    #[test]
    fn unaligned_data_goes_through_a_buffer_of_ours() {
        let raw = Raw {
            direct: Some(Alignment { memory: 4096, offset: 512 }),
            ..raw(tempfile::tempfile().unwrap())
        };
        let content: Vec<u8> = (0..3 << 20).map(|n: usize| (n % 251) as u8).collect();
        let mut copy = [&[0][..], &content].concat();
        with_buffer(&mut copy[1..], |all| raw.write(all, 512, true, Patience::Blocks)).unwrap();
        let mut seen = vec![0; content.len() - 9];
        with_buffer(&mut seen, |all| raw.read(all, 512 + 5, Patience::Blocks)).unwrap();
        assert!(seen == content[5..content.len() - 4]);
        let odd =
            with_buffer(&mut copy[..512], |all| raw.write(all, 100, false, Patience::Blocks)).unwrap_err();
        assert_eq!(odd.raw_os_error(), Some(libc::EINVAL));
    }
}
