//! Exercises a disk as it is: many requests at once, past the page cache, each sector with a stamp.
//!
//! Requests that touch the same sectors wait for each other, so what the disk holds at the end follows from the seed alone.

use super::SAYS;
use super::settings::Settings;
use crate::random::Random;
use crate::stamp::{self, SECTOR};
use io_uring::{IoUring, opcode, types};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Ends an exercise that would go on for ever.
pub const STOP: &str = "/run/stop";

/// How often the outside hears that it goes on, in requests of the first thread.
const TOLD_EVERY: u64 = 200;

const PAGE: usize = 4096;

/// Memory that direct I/O takes.
#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; PAGE]);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Read,
    Write { stamp: u64 },
    Zero,
    Flush,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    kind: Kind,
    first: u64,
    count: u64,
}

impl Job {
    fn overlaps(&self, other: &Job) -> bool {
        self.first < other.first + other.count && other.first < self.first + self.count
    }
}

/// Exercises a disk of zeros. `requests` 0: until [`STOP`] is there.
#[track_caller]
pub fn run(path: &Path, settings: &Settings) {
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DIRECT).open(path).expect("open the disk")
    };
    let sectors = open().seek(SeekFrom::End(0)).expect("its size") / SECTOR as u64;
    let threads = settings.get("threads", 1);
    let part = sectors / threads / 8 * 8;
    let (completed, compared) = std::thread::scope(|scope| {
        let start = |thread| {
            let share = thread * part..(thread + 1) * part;
            let mut worker = Worker::new(open(), share.start, share.end, thread, settings);
            scope.spawn(move || worker.work())
        };
        let started: Vec<_> = (0..threads).map(start).collect();
        let join = |(c, r), worker: std::thread::ScopedJoinHandle<'_, (u64, u64)>| {
            let (more, compared) = worker.join().expect("a worker that found everything right");
            (c + more, r + compared)
        };
        started.into_iter().fold((0, 0), join)
    });
    println!("{SAYS} exercised {completed} requests, compared {compared} sectors");
}

struct Worker {
    file: File,
    ring: IoUring,
    random: Random,
    thread: u64,
    /// First sector, and the stamp of each from there.
    first: u64,
    stamps: Vec<u64>,
    /// Sectors of a block, and most of a request.
    block: u64,
    sectors_max: u64,
    slots: Vec<Option<Job>>,
    buffers: Vec<Vec<Page>>,
    requests: u64,
    completed: u64,
    compared: u64,
}

impl Worker {
    fn new(file: File, first: u64, end: u64, thread: u64, settings: &Settings) -> Worker {
        let depth = settings.get("depth", 32) as usize;
        let sectors_max = settings.get("sectors", 128);
        let pages = (sectors_max as usize * SECTOR).div_ceil(PAGE);
        Worker {
            file,
            ring: IoUring::new(depth.next_power_of_two() as u32).expect("io_uring"),
            random: Random::new(settings.get("seed", 1) + 1000 * thread),
            thread,
            first,
            stamps: vec![0; (end - first) as usize],
            block: settings.get("block", SECTOR as u64) / SECTOR as u64,
            sectors_max,
            slots: vec![None; depth],
            buffers: vec![vec![Page([0; PAGE]); pages]; depth],
            requests: settings.get("requests", 0),
            completed: 0,
            compared: 0,
        }
    }

    fn work(&mut self) -> (u64, u64) {
        let mut chosen = 0;
        while if self.requests > 0 { chosen < self.requests } else { !Path::new(STOP).exists() } {
            chosen += 1;
            let job = self.choose(chosen);
            let slot = self.room_for(&job);
            self.submit(slot, job);
        }
        while self.slots.iter().any(Option::is_some) {
            self.reap();
        }
        self.compare_all();
        (self.completed, self.compared)
    }

    fn choose(&mut self, number: u64) -> Job {
        let blocks = 1 + self.random.below(self.sectors_max / self.block);
        let at = self.random.below(self.stamps.len() as u64 / self.block - blocks + 1);
        let (first, count) = (self.first + at * self.block, blocks * self.block);
        let kind = match self.random.below(100) {
            0..2 => return Job { kind: Kind::Flush, first: 0, count: 0 },
            2..6 => Kind::Zero,
            6..50 => Kind::Read,
            _ => Kind::Write { stamp: number << 8 | self.thread },
        };
        Job { kind, first, count }
    }

    /// A free slot, when nothing that is under way is about the same sectors.
    fn room_for(&mut self, job: &Job) -> usize {
        loop {
            let conflicts = self.slots.iter().flatten().any(|other| other.overlaps(job));
            if let Some(free) = self.slots.iter().position(Option::is_none).filter(|_| !conflicts) {
                return free;
            }
            self.reap();
        }
    }

    fn bytes(&mut self, slot: usize, length: usize) -> &mut [u8] {
        let pages = &mut self.buffers[slot];
        assert!(length <= pages.len() * PAGE);
        // SAFETY: the pages are contiguous, plain bytes, and as many as asserted.
        unsafe { std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), length) }
    }

    fn submit(&mut self, slot: usize, job: Job) {
        let (fd, length) = (types::Fd(self.file.as_raw_fd()), job.count as usize * SECTOR);
        let offset = job.first * SECTOR as u64;
        if let Kind::Write { stamp } = job.kind {
            self.bytes(slot, length).copy_from_slice(&stamp::sectors(job.first, job.count, stamp));
        }
        let buffer = self.bytes(slot, length).as_mut_ptr();
        let entry = match job.kind {
            Kind::Read => opcode::Read::new(fd, buffer, length as u32).offset(offset).build(),
            Kind::Write { .. } => opcode::Write::new(fd, buffer, length as u32).offset(offset).build(),
            Kind::Zero => {
                let mode = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
                opcode::Fallocate::new(fd, length as u64).offset(offset).mode(mode).build()
            }
            Kind::Flush => opcode::Fsync::new(fd).build(),
        };
        // SAFETY: the buffer lives in a slot that is not used again before the request is reaped.
        unsafe { self.ring.submission().push(&entry.user_data(slot as u64)) }.expect("room in the ring");
        self.ring.submit().expect("submit");
        self.slots[slot] = Some(job);
    }

    /// Waits for a request at least, and checks what is through.
    fn reap(&mut self) {
        self.ring.submit_and_wait(1).expect("wait");
        let ended: Vec<_> =
            self.ring.completion().map(|end| (end.user_data() as usize, end.result())).collect();
        for (slot, result) in ended {
            let job = self.slots[slot].take().expect("a request that was under way, once");
            let length = job.count as usize * SECTOR;
            let wanted = if matches!(job.kind, Kind::Read | Kind::Write { .. }) { length as i32 } else { 0 };
            assert_eq!(result, wanted, "{job:?}");
            let range = (job.first - self.first.min(job.first)) as usize;
            let range = range..range + job.count as usize;
            match job.kind {
                Kind::Read => {
                    let found = self.bytes(slot, length).to_vec();
                    stamp::assert_are(job.first, &self.stamps[range], &found);
                    self.compared += job.count;
                }
                Kind::Write { stamp } => self.stamps[range].fill(stamp),
                Kind::Zero => self.stamps[range].fill(0),
                Kind::Flush => {}
            }
            self.completed += 1;
            if self.thread == 0 && self.completed.is_multiple_of(TOLD_EVERY) {
                println!("{SAYS} progress {}", self.completed);
            }
        }
    }

    fn compare_all(&mut self) {
        for at in (0..self.stamps.len() as u64).step_by(self.sectors_max as usize) {
            let count = self.sectors_max.min(self.stamps.len() as u64 - at);
            self.submit(0, Job { kind: Kind::Read, first: self.first + at, count });
            self.reap();
        }
    }
}
