//! What runs in the guest: this very program, with Linux' asynchronous I/O (io_setup(2) and its family) on the disk.

use super::super::ring::{BLOCK, Op};
use anyhow::{Context as _, Result, ensure};
use blkstay_tests::random::Random;
use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Tells this program that it is in a guest; its value is how many milliseconds each load runs.
pub const IN_GUEST: &str = "BLKSTAY_BENCH_GUEST";

/// What its lines on the console begin with.
pub const SAYS: &str = "blkstay-bench:";

/// Requests under way.
const DEPTH: usize = 32;

const DISK: &str = "/dev/vda";

/// Longest that the disk may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);

const IOCB_CMD_PREAD: u16 = 0;
const IOCB_CMD_PWRITE: u16 = 1;

/// `struct iocb` of linux/aio_abi.h, on a little-endian machine.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    slot: u64,
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
#[derive(Clone, Copy, Default)]
struct IoEvent {
    slot: u64,
    iocb: u64,
    result: i64,
    result2: i64,
}

/// Reads, then writes, and prints how many of each a second, and how many in all.
///
/// # Errors
/// There is no disk, or it does not work.
pub fn run(each: Duration) -> Result<()> {
    let mut total = 0;
    for op in [Op::Read, Op::Write] {
        let mut load = Load::new(op)?;
        total += load.work(each / 4)?;
        let started = Instant::now();
        let done = load.work(each)?;
        total += done;
        println!("{SAYS} {op:?} {}", done as f64 / started.elapsed().as_secs_f64());
    }
    println!("{SAYS} Total {total}");
    Ok(())
}

#[repr(C, align(4096))]
#[derive(Clone)]
struct Block([u8; BLOCK]);

struct Load {
    context: libc::c_ulong,
    requests: Vec<Iocb>,
    blocks: u64,
    random: Random,
    _file: File,
    _buffers: Vec<Block>,
}

impl Load {
    fn new(op: Op) -> Result<Load> {
        let since = Instant::now();
        while !Path::new(DISK).exists() {
            ensure!(since.elapsed() < PATIENCE, "no {DISK} after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).custom_flags(libc::O_DIRECT).open(DISK).context(DISK)?;
        let blocks = file.seek(SeekFrom::End(0))? / BLOCK as u64;
        ensure!(blocks > 0, "{DISK} is empty");
        let mut buffers = vec![Block([1; BLOCK]); DEPTH];
        let mut context = 0;
        // SAFETY: the kernel writes the context's number, which lives through the call.
        Errno::result(unsafe { libc::syscall(libc::SYS_io_setup, DEPTH, &raw mut context) })
            .context("io_setup")?;
        let opcode = if op == Op::Read { IOCB_CMD_PREAD } else { IOCB_CMD_PWRITE };
        let request = |(slot, buffer): (usize, &mut Block)| Iocb {
            slot: slot as u64,
            opcode,
            file: file.as_raw_fd() as u32,
            buffer: buffer.0.as_mut_ptr() as u64,
            length: BLOCK as u64,
            ..Iocb::default()
        };
        let requests: Vec<Iocb> = buffers.iter_mut().enumerate().map(request).collect();
        let mut load =
            Load { context, requests, blocks, random: Random::new(1), _file: file, _buffers: buffers };
        load.submit(0..DEPTH)?;
        Ok(load)
    }

    fn submit(&mut self, slots: impl Iterator<Item = usize>) -> Result<()> {
        let mut pointers = [std::ptr::null_mut::<Iocb>(); DEPTH];
        let mut count = 0;
        for (slot, pointer) in slots.zip(&mut pointers) {
            let block = self.random.below(self.blocks);
            let request = self.requests.get_mut(slot).context("a slot that there is not")?;
            request.offset = (block * BLOCK as u64) as i64;
            *pointer = request;
            count += 1;
        }
        let mut rest = &mut pointers[..count];
        while !rest.is_empty() {
            // SAFETY: so many pointers to control blocks, whose buffers are of their length and live as long as the
            // context.
            let result =
                unsafe { libc::syscall(libc::SYS_io_submit, self.context, rest.len(), rest.as_mut_ptr()) };
            let taken = Errno::result(result).context("io_submit")?;
            rest = rest.get_mut(taken as usize..).unwrap_or_default();
        }
        Ok(())
    }

    /// Keeps the disk busy for that long; returns how many requests were through.
    fn work(&mut self, duration: Duration) -> Result<u64> {
        let (started, mut done) = (Instant::now(), 0);
        while started.elapsed() < duration {
            let mut events = [IoEvent::default(); DEPTH];
            let no_limit = std::ptr::null::<libc::timespec>();
            // SAFETY: there is room for as many events as are asked for.
            let result = unsafe {
                libc::syscall(libc::SYS_io_getevents, self.context, 1, DEPTH, events.as_mut_ptr(), no_limit)
            };
            let count = Errno::result(result).context("io_getevents")? as usize;
            let events = events.get(..count).unwrap_or_default();
            for event in events {
                ensure!(event.result == BLOCK as i64, "a request returned {}", event.result);
            }
            self.submit(events.iter().map(|event| event.slot as usize))?;
            done += count as u64;
        }
        Ok(done)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // SAFETY: the number came from io_setup and is not used again; what is under way is waited for.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}
