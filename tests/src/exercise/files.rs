//! Exercises a file: reads, writes, mappings, truncations and holes, each compared with a model in memory.

use super::settings::Settings;
use super::{SAYS, digest};
use crate::random::Random;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap};
use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of the file.
const BYTES_MAX: u64 = 1 << 20;

/// Most bytes of an operation.
const LENGTH_MAX: u64 = 96 << 10;

/// What direct I/O is a multiple of.
const ALIGNMENT: u64 = 4096;

/// How often the whole file is compared, in operations.
const COMPARED_EVERY: u64 = 2000;

/// Exercises a file that is not there yet, and says what it holds at the end.
#[track_caller]
pub fn run(path: &Path, settings: &Settings) {
    let mut file = Exercised::new(path, settings.get("seed", 1));
    let operations = settings.get("operations", 10_000);
    for number in 1..=operations {
        file.step();
        if number % COMPARED_EVERY == 0 {
            file.compare();
            println!("{SAYS} progress {number}");
        }
    }
    file.buffered.sync_all().expect("fsync");
    // What was cached is not what is asked about now.
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
    file.compare();
    println!(
        "{SAYS} exercised {operations} operations, {:016x} in {} bytes",
        digest(&file.model),
        file.model.len()
    );
}

struct Exercised {
    path: PathBuf,
    buffered: File,
    direct: File,
    model: Vec<u8>,
    random: Random,
}

fn open(path: &Path, flags: i32) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(flags);
    options.open(path).expect("open the file")
}

/// Memory at an address that direct I/O takes.
fn aligned(length: usize) -> (Vec<u8>, usize) {
    let buffer = vec![0; length + ALIGNMENT as usize];
    let at = buffer.as_ptr().align_offset(ALIGNMENT as usize);
    (buffer, at)
}

impl Exercised {
    fn new(path: &Path, seed: u64) -> Exercised {
        Exercised {
            path: path.to_owned(),
            buffered: open(path, 0),
            direct: open(path, libc::O_DIRECT),
            model: Vec::new(),
            random: Random::new(seed),
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..20 => self.read(),
            20..45 => self.write(),
            45..55 => self.read_directly(),
            55..70 => self.write_directly(),
            70..76 => self.truncate(),
            76..82 => self.clear(FallocateFlags::FALLOC_FL_PUNCH_HOLE),
            82..86 => self.clear(FallocateFlags::FALLOC_FL_ZERO_RANGE),
            86..93 => self.map(false),
            93..98 => self.map(true),
            98 => self.buffered.sync_data().expect("fdatasync"),
            _ => self.reopen(),
        }
    }

    fn length(&self) -> u64 {
        self.model.len() as u64
    }

    /// A range that may begin anywhere and end anywhere.
    fn any_range(&mut self) -> (usize, usize) {
        let at = self.random.below(BYTES_MAX - LENGTH_MAX);
        (at as usize, 1 + self.random.below(LENGTH_MAX) as usize)
    }

    /// A range of the file; none if it is empty.
    fn range_within(&mut self) -> Option<(usize, usize)> {
        let length = self.length();
        (length > 0).then(|| {
            let at = self.random.below(length);
            (at as usize, 1 + self.random.below((length - at).min(LENGTH_MAX)) as usize)
        })
    }

    /// The same for direct I/O.
    fn aligned_range(&mut self, end: u64) -> Option<(usize, usize)> {
        let pages = end / ALIGNMENT;
        (pages > 0).then(|| {
            let at = self.random.below(pages);
            let count = 1 + self.random.below((pages - at).min(LENGTH_MAX / ALIGNMENT));
            ((at * ALIGNMENT) as usize, (count * ALIGNMENT) as usize)
        })
    }

    /// Bytes like no others, without a number drawn for each.
    fn content(&mut self, length: usize) -> Vec<u8> {
        let mut word = self.random.number();
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            bytes.extend(word.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn note(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.model.len() {
            self.model.resize(end, 0);
        }
        self.model[at..end].copy_from_slice(bytes);
    }

    fn read(&mut self) {
        let Some((at, length)) = self.range_within() else { return };
        let mut found = vec![0; length];
        self.buffered.read_exact_at(&mut found, at as u64).expect("read");
        assert!(found == self.model[at..at + length], "{length} bytes at {at} are not what was written");
    }

    fn write(&mut self) {
        let (at, length) = self.any_range();
        let bytes = self.content(length);
        self.buffered.write_all_at(&bytes, at as u64).expect("write");
        self.note(at, &bytes);
    }

    fn read_directly(&mut self) {
        let Some((at, length)) = self.aligned_range(self.length()) else { return };
        let (mut buffer, from) = aligned(length);
        self.direct.read_exact_at(&mut buffer[from..from + length], at as u64).expect("direct read");
        let found = &buffer[from..from + length];
        assert!(
            found == &self.model[at..at + length],
            "{length} bytes at {at} are not what was written, directly"
        );
    }

    fn write_directly(&mut self) {
        let Some((at, length)) = self.aligned_range(BYTES_MAX) else { return };
        let bytes = self.content(length);
        let (mut buffer, from) = aligned(length);
        buffer[from..from + length].copy_from_slice(&bytes);
        self.direct.write_all_at(&buffer[from..from + length], at as u64).expect("direct write");
        self.note(at, &bytes);
    }

    fn truncate(&mut self) {
        let length = self.random.below(BYTES_MAX);
        self.buffered.set_len(length).expect("truncate");
        self.model.resize(length as usize, 0);
    }

    fn clear(&mut self, how: FallocateFlags) {
        let Some((at, length)) = self.range_within() else { return };
        let how = how | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&self.buffered, how, at as i64, length as i64).expect("fallocate");
        self.model[at..at + length].fill(0);
    }

    /// Reads or writes a range through a mapping of the whole file.
    fn map(&mut self, write: bool) {
        let Some((at, length)) = self.range_within() else { return };
        let bytes = NonZeroUsize::new(self.model.len()).expect("it has bytes");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping of a file that nobody else changes.
        let map =
            unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, &self.buffered, 0) }.expect("mmap");
        // SAFETY: the range lies in the mapping.
        let place = unsafe { std::slice::from_raw_parts_mut(map.as_ptr().cast::<u8>().add(at), length) };
        if write {
            let content = self.content(length);
            place.copy_from_slice(&content);
            self.note(at, &content);
        } else {
            assert!(
                place == &self.model[at..at + length],
                "{length} bytes mapped at {at} are not what was written"
            );
        }
        // SAFETY: it is this one's own, and `place` is not used any more.
        unsafe { msync(map, bytes.get(), MsFlags::MS_SYNC).and_then(|()| munmap(map, bytes.get())) }
            .expect("munmap");
    }

    fn reopen(&mut self) {
        (self.buffered, self.direct) = (open(&self.path, 0), open(&self.path, libc::O_DIRECT));
        assert_eq!(self.buffered.metadata().expect("its size").len(), self.length());
    }

    fn compare(&mut self) {
        assert!(
            std::fs::read(&self.path).expect("read all") == self.model,
            "the file is not what was written"
        );
    }
}
