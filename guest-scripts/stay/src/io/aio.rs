//! Linux asynchronous I/O (io_setup(2) and its family), which every kernel since 2.6 has.

use super::direct::Direction;
use super::errno::Outcome;
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::os::fd::AsRawFd;

const IOCB_CMD_PREAD: u16 = 0;
const IOCB_CMD_PWRITE: u16 = 1;

/// `struct iocb` of linux/aio_abi.h, on a little-endian machine.
#[repr(C)]
pub struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    length: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_file: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Default)]
struct IoEvent {
    data: u64,
    iocb: u64,
    result: i64,
    result2: i64,
}

impl Iocb {
    /// A request for `length` bytes at `address`. Making it is safe; submitting it is not.
    pub fn new(
        direction: Direction,
        file: &File,
        address: *mut u8,
        length: usize,
        offset: u64,
        tag: u64,
    ) -> Self {
        Iocb {
            data: tag,
            key: 0,
            rw_flags: 0,
            opcode: match direction {
                Direction::Read => IOCB_CMD_PREAD,
                Direction::Write => IOCB_CMD_PWRITE,
            },
            priority: 0,
            file: file.as_raw_fd() as u32,
            buffer: address as u64,
            length: length as u64,
            offset: offset as i64,
            reserved: 0,
            flags: 0,
            event_file: 0,
        }
    }
}

/// A context for some requests in flight.
pub struct Context(libc::c_ulong);

impl Context {
    /// Sets one up.
    pub fn new(requests: u32) -> nix::Result<Self> {
        let mut context: libc::c_ulong = 0;
        // SAFETY: the kernel writes the context's number, which lives through the call.
        Errno::result(unsafe { libc::syscall(libc::SYS_io_setup, requests, &raw mut context) })?;
        Ok(Context(context))
    }

    /// Hands the request to the kernel. May block until it is done, if the filesystem forces that.
    ///
    /// # Safety
    ///
    /// The request's buffer must stay as it is until [`Context::wait`] has returned.
    pub unsafe fn submit(&self, request: &mut Iocb) -> nix::Result<()> {
        let mut requests = [&raw mut *request];
        // SAFETY: one pointer to one control block; the caller answers for the buffer.
        let submitted =
            Errno::result(unsafe { libc::syscall(libc::SYS_io_submit, self.0, 1, requests.as_mut_ptr()) })?;
        if submitted == 1 { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Waits for the submitted request.
    pub fn wait(&self) -> Outcome {
        self.wait_for_any()?.1
    }

    /// Waits for one of the submitted requests: its tag, and what came of it.
    pub fn wait_for_any(&self) -> nix::Result<(u64, Outcome)> {
        let mut event = IoEvent::default();
        let no_limit = std::ptr::null::<libc::timespec>();
        loop {
            // SAFETY: there is room for the one event that is asked for.
            let result = Errno::result(unsafe {
                libc::syscall(libc::SYS_io_getevents, self.0, 1, 1, &raw mut event, no_limit)
            });
            match result {
                Ok(1) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        let outcome = u64::try_from(event.result);
        Ok((event.data, outcome.map_err(|_| Errno::from_raw(event.result.unsigned_abs() as i32))))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the number came from io_setup and is not used again.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}
