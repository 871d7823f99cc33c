//! A disk in memory.

use super::{Media, Patience};
use crate::Segments;
use crate::drive::{end_of, ends_early};
use crate::segments::clear_memory;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Room for growing is reserved up to this; addresses are all that it takes.
const RESERVED: u64 = 1 << 44;

/// What the kernel gives and takes back.
const PAGE: u64 = 4096;

/// The lines of the processor's cache that are fetched ahead of a request.
#[cfg(target_arch = "x86_64")]
const FETCHED: usize = 4;

/// Anonymous memory of the process: nothing is behind it that could fail under an access.
pub struct Memory {
    start: *mut u8,
    reserved: u64,
    /// All below is readable and writable, and stays so. Under the lock: only growing changes it.
    usable: Mutex<u64>,
    /// The size; never more than what is usable.
    bytes: AtomicU64,
}

// SAFETY: `start` is a mapping that lives as long as the value; any thread may access it, by copies that nothing else
// depends on.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Memory of so many zeros.
    ///
    /// # Errors
    /// The process has no such range of addresses left.
    pub fn new(bytes: u64) -> io::Result<Memory> {
        let (start, reserved) = match reserve(bytes.max(RESERVED)) {
            Ok(start) => (start, bytes.max(RESERVED)),
            Err(_) => (reserve(pages(bytes)?)?, pages(bytes)?),
        };
        let memory = Memory { start, reserved, usable: Mutex::new(0), bytes: AtomicU64::new(0) };
        memory.resize(bytes)?;
        Ok(memory)
    }

    /// Where a range is, if the disk has it.
    fn place(&self, range: &Range<u64>) -> io::Result<*mut u8> {
        if range.start > range.end || range.end > self.bytes() {
            return Err(ends_early());
        }
        Ok(self.start.wrapping_add(range.start as usize))
    }

    /// Gives back the pages of a range that starts and ends with a page.
    fn give_back(&self, range: Range<u64>) -> io::Result<()> {
        let at = self.start.wrapping_add(range.start as usize);
        // SAFETY: the range lies within the mapping, as the callers have checked; its pages become zeros, which is
        // another content of the same memory.
        match unsafe { libc::madvise(at.cast(), (range.end - range.start) as usize, libc::MADV_DONTNEED) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn pages(bytes: u64) -> io::Result<u64> {
    bytes.checked_next_multiple_of(PAGE).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

fn reserve(bytes: u64) -> io::Result<*mut u8> {
    let length = usize::try_from(bytes).map_err(io::Error::other)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, wherever there is room.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a reference into it.
        unsafe { libc::munmap(self.start.cast(), self.reserved as usize) };
    }
}

impl Media for Memory {
    fn is_swift(&self) -> bool {
        true
    }

    /// Fetches the first bytes, and with them the way to their page: of a copy from memory that is not in the cache
    /// more than a quarter goes into waiting for these.
    fn soon(&self, offset: u64) {
        #[cfg(target_arch = "x86_64")]
        if offset < self.bytes() {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            for line in 0..FETCHED {
                let at = self.start.wrapping_add(offset as usize + line * 64);
                // SAFETY: a prefetch of any address is harmless.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast_const().cast()) };
            }
        }
    }

    fn read(&self, into: &mut Segments, offset: u64, _: Patience) -> io::Result<()> {
        let place = self.place(&(offset..end_of(offset, into.bytes())))?;
        // SAFETY: the range is within what is usable. A request that writes to it meanwhile mixes bytes of both, as on
        // any disk.
        unsafe { into.fill(place) };
        Ok(())
    }

    fn write(&self, from: &mut Segments, offset: u64, _: bool, _: Patience) -> io::Result<()> {
        let place = self.place(&(offset..end_of(offset, from.bytes())))?;
        // SAFETY: as in `read`.
        unsafe { from.drain(place) };
        Ok(())
    }

    fn flush(&self, _: Patience) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        self.place(&range)?;
        let inner = range.start.next_multiple_of(PAGE)..range.end / PAGE * PAGE;
        if inner.is_empty() { Ok(()) } else { self.give_back(inner) }
    }

    fn zero(&self, range: Range<u64>, unmap: bool, _: bool) -> io::Result<()> {
        let place = self.place(&range)?;
        let inner = range.start.next_multiple_of(PAGE)..range.end / PAGE * PAGE;
        if !unmap || inner.is_empty() || self.give_back(inner.clone()).is_err() {
            // SAFETY: the range is within what is usable.
            unsafe { clear_memory(place, (range.end - range.start) as usize) };
            return Ok(());
        }
        // SAFETY: both are parts of the range.
        unsafe {
            clear_memory(place, (inner.start - range.start) as usize);
            clear_memory(self.start.wrapping_add(inner.end as usize), (range.end - inner.end) as usize);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let mut usable = self.usable.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, needed) = (self.bytes(), pages(bytes)?);
        if needed > self.reserved {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses are left for so large a memory",
            ));
        }
        if needed > *usable {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: it lies within the mapping, and nothing is taken away.
            if unsafe { libc::mprotect(self.start.cast(), needed as usize, access) } != 0 {
                return Err(io::Error::last_os_error());
            }
            *usable = needed;
        }
        if bytes < before {
            self.zero(bytes..before, true, false)?;
        }
        self.bytes.store(bytes, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::raw::read_at;
    use crate::segments::with_buffer;

    fn write(memory: &Memory, offset: u64, mut bytes: Vec<u8>) -> io::Result<()> {
        with_buffer(&mut bytes, |all| memory.write(all, offset, false, Patience::Now))
    }

    #[test]
    fn it_grows_with_zeros_and_forgets_what_is_cut_off() {
        let memory = Memory::new(8192).unwrap();
        write(&memory, 4096, vec![7; 4096]).unwrap();
        write(&memory, 4097, vec![7; 4096]).unwrap_err();
        memory.resize(5000).unwrap();
        read_at(&memory, 4096, &mut [0; 905]).unwrap_err();
        memory.resize(1 << 20).unwrap();
        let mut seen = vec![1; (1 << 20) - 4096];
        read_at(&memory, 4096, &mut seen).unwrap();
        assert_eq!(seen.iter().position(|byte| *byte != 7), Some(904));
        assert!(seen[904..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn pages_that_are_not_needed_are_given_back() {
        let memory = Memory::new(1 << 20).unwrap();
        let resident = || {
            let mut pages = vec![0u8; 256];
            // SAFETY: the mapping is 256 pages, with a byte for each.
            assert_eq!(unsafe { libc::mincore(memory.start.cast(), 1 << 20, pages.as_mut_ptr()) }, 0);
            pages.iter().filter(|page| **page & 1 == 1).count()
        };
        write(&memory, 0, vec![7; 1 << 20]).unwrap();
        assert_eq!(resident(), 256);
        memory.discard(100..(1 << 20)).unwrap();
        assert_eq!(resident(), 1);
        memory.zero(0..4096, true, false).unwrap();
        assert_eq!(resident(), 0);
    }
}
