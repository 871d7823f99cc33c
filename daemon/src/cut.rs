//! Memory of a guest whose file is cut short by whoever owns it (QEMU, not the guest): touching what is gone is a bus error
//! (SIGBUS), which ends a process that does not know what to do. This one puts zeros there and hangs up.
//!
//! Nothing else would do: a file can be cut between any look at its size and the access, sealing it (F_SEAL_SHRINK)
//! is not for files of every kind, and copying through system calls, which say EFAULT, costs a call for each index of a ring.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// Most regions that are mapped at once: those of a guest, and of tables before that a request still has.
const PLACES_MAX: usize = 256;

/// Where a region is in this process; both 0 if it is free, the end alone while it is being taken.
struct Place {
    start: AtomicUsize,
    end: AtomicUsize,
}

static PLACES: [Place; PLACES_MAX] =
    [const { Place { start: AtomicUsize::new(0), end: AtomicUsize::new(0) } }; PLACES_MAX];

/// The guest's connection, -1 if there is none.
static CONNECTION: AtomicI32 = AtomicI32::new(-1);

/// A region that may be cut, as long as this lives.
#[derive(Debug)]
pub struct Watched(usize);

impl Watched {
    /// Watches so many bytes from an address on, which have to stay mapped longer than this lives.
    ///
    /// # Errors
    /// Too many are watched.
    pub fn new(start: *mut u8, bytes: usize) -> io::Result<Watched> {
        let take = |place: &Place| {
            place.start.compare_exchange(0, start.addr(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let taken = PLACES.iter().position(take);
        let taken = taken.ok_or_else(|| io::Error::other("too many regions of memory are in use"))?;
        PLACES[taken].end.store(start.addr() + bytes, Ordering::Release);
        Ok(Watched(taken))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        PLACES[self.0].end.store(0, Ordering::Release);
        PLACES[self.0].start.store(0, Ordering::Release);
    }
}

/// A connection that is hung up on if memory is cut, as long as this lives.
pub struct HungUp(#[expect(dead_code, reason = "the descriptor stays open")] UnixStream);

impl HungUp {
    /// Nobody else is connected.
    pub fn when_cut(stream: UnixStream) -> HungUp {
        CONNECTION.store(stream.as_raw_fd(), Ordering::Release);
        HungUp(stream)
    }
}

impl Drop for HungUp {
    fn drop(&mut self) {
        CONNECTION.store(-1, Ordering::Release);
    }
}

/// From here on a cut is survived.
///
/// # Errors
/// The system does not let signals be handled.
pub fn survive() -> io::Result<()> {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::SigAction(on_bus_error), flags, SigSet::empty());
    // SAFETY: the handler does nothing but what a handler may: atomics, and system calls without locks around them.
    unsafe { sigaction(Signal::SIGBUS, &action) }?;
    Ok(())
}

/// The region that an address is in.
fn region_of(at: usize) -> Option<(usize, usize)> {
    PLACES.iter().find_map(|place| {
        let (end, start) = (place.end.load(Ordering::Acquire), place.start.load(Ordering::Acquire));
        (start != 0 && (start..end).contains(&at)).then_some((start, end))
    })
}

/// The whole region becomes zeros, since one of huge pages has none that are smaller; whoever stumbled goes on.
extern "C" fn on_bus_error(_: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel calls this with information on a bus error, which has an address; `errno` is this thread's.
    let (at, errno) = unsafe { ((*info).si_addr().addr(), *libc::__errno_location()) };
    let is_replaced = region_of(at).is_some_and(|(start, end)| {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: the range is a mapping of ours that stays one (`Watched`); what reads and writes it knows that others
        // do too, so that other content is nothing new.
        let mapped = unsafe {
            libc::mmap(std::ptr::with_exposed_provenance_mut(start), end - start, access, flags, -1, 0)
        };
        mapped != libc::MAP_FAILED
    });
    if is_replaced {
        hang_up(CONNECTION.load(Ordering::Acquire));
    } else {
        // It is something else: the instruction is tried again, and ends the process as it would have.
        // SAFETY: the default action is always allowed.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn hang_up(connection: RawFd) {
    if connection >= 0 {
        // SAFETY: a system call on a descriptor that is open as long as it stands there: its owner waits for all that
        // touch the guest's memory before it closes it.
        unsafe { libc::shutdown(connection, libc::SHUT_RDWR) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::fs::File;
    use std::io::Read;
    use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory};

    #[test]
    fn what_is_cut_reads_as_zeros_and_its_connection_is_hung_up_on() {
        survive().unwrap();
        let file = File::from(memfd_create("cut", MFdFlags::MFD_CLOEXEC).unwrap());
        file.set_len(1 << 16).unwrap();
        let offset = FileOffset::new(file.try_clone().unwrap(), 0);
        let region: MmapRegion = MmapRegion::from_file(offset, 1 << 16).unwrap();
        let _watched = Watched::new(region.as_ptr(), region.size()).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let _hung_up = HungUp::when_cut(ours);
        let slice = region.as_volatile_slice();
        slice.write_obj(7_u32, 8192).unwrap();
        file.set_len(4096).unwrap();
        assert_eq!(slice.read_obj::<u32>(8192).unwrap(), 0);
        slice.write_obj(9_u32, 8192).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_place_is_free_again() {
        for _ in 0..2 * PLACES_MAX {
            Watched::new(std::ptr::without_provenance_mut(4096), 4096).unwrap();
        }
    }
}
