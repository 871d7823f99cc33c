//! A guest's side of a drive: requests with memory of their own, and images to put under it.

#![allow(dead_code, reason = "each test uses a part")]

use blkstay_drives::{Aio, Drive, End, Ended, ImageSpec, Operation, Overlay, Request, Segments, Spec, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A piece of memory that a drive may write to while we hold it.
#[derive(Debug)]
struct Piece {
    room: *mut u8,
    skipped: usize,
    length: usize,
}

// SAFETY: it owns its memory.
unsafe impl Send for Piece {}

impl Piece {
    /// A piece that starts so many bytes after a page does.
    fn new(length: usize, skipped: usize) -> Piece {
        // SAFETY: the layout is not empty.
        Piece { room: unsafe { alloc_zeroed(Piece::layout(length, skipped)) }, skipped, length }
    }

    fn layout(length: usize, skipped: usize) -> Layout {
        Layout::from_size_align(length + skipped + 1, 4096).unwrap()
    }

    fn at(&self) -> *mut u8 {
        self.room.wrapping_add(self.skipped)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the tests look only when no drive has the request.
        unsafe { std::slice::from_raw_parts(self.at(), self.length) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.room, Piece::layout(self.length, self.skipped)) };
    }
}

/// A request of a test.
#[derive(Debug)]
pub struct Asked {
    pub operation: Operation,
    pub range: Range<u64>,
    pub tag: usize,
    pieces: Vec<Piece>,
}

impl Asked {
    pub fn new(operation: Operation, range: Range<u64>) -> Asked {
        let lengths = match operation {
            Operation::Read | Operation::Write { .. } => vec![(range.end - range.start) as usize],
            _ => Vec::new(),
        };
        Asked::in_pieces(operation, range, &lengths, 0)
    }

    /// With memory of these lengths, each piece so many bytes after a page.
    pub fn in_pieces(operation: Operation, range: Range<u64>, lengths: &[usize], skipped: usize) -> Asked {
        let pieces = lengths.iter().map(|length| Piece::new(*length, skipped)).collect();
        Asked { operation, range, tag: 0, pieces }
    }

    pub fn read(range: Range<u64>) -> Asked {
        Asked::new(Operation::Read, range)
    }

    pub fn write(offset: u64, content: &[u8]) -> Asked {
        let range = offset..offset + content.len() as u64;
        Asked::new(Operation::Write { durable: false }, range).holding(content)
    }

    /// Puts content into its memory.
    pub fn holding(self, mut content: &[u8]) -> Asked {
        for piece in &self.pieces {
            let (now, later) = content.split_at(piece.length);
            // SAFETY: the piece is as long.
            unsafe { piece.at().copy_from(now.as_ptr(), now.len()) };
            content = later;
        }
        self
    }

    pub fn content(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(Piece::bytes).copied().collect()
    }
}

// SAFETY: the pieces are on the heap and are freed with the request.
unsafe impl Request for Asked {
    fn operation(&self) -> Operation {
        self.operation
    }

    fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    fn segments(&self, into: &mut Segments) {
        for piece in &self.pieces {
            // SAFETY: as above.
            unsafe { into.push(piece.at(), piece.length) };
        }
    }
}

pub type Disk = Box<dyn Drive<Asked>>;

/// Sleeps until a lane has something.
pub fn sleep(disk: &Disk, lane: usize) {
    let ready = disk.ready(lane).expect("what is not through at once says when it is");
    let mut wanted = [PollFd::new(ready, PollFlags::POLLIN)];
    assert_eq!(poll(&mut wanted, PollTimeout::from(20_000u16)), Ok(1), "a request never ended");
    disk.woken(lane);
}

/// Submits all and waits for all.
pub fn carry_out(disk: &Disk, lane: usize, requests: Vec<Asked>) -> Vec<Ended<Asked>> {
    let (count, mut requests, mut ended) = (requests.len(), requests, Vec::new());
    disk.submit(lane, &mut requests, &mut ended);
    while ended.len() < count {
        sleep(disk, lane);
        disk.reap(lane, &mut ended);
    }
    ended
}

/// One request, to its end.
pub fn one(disk: &Disk, request: Asked) -> (io::Result<()>, Asked) {
    let ended = carry_out(disk, 0, vec![request]).remove(0);
    (ended.result, ended.request)
}

/// All that a disk holds.
pub fn content(disk: &Disk) -> Vec<u8> {
    let mut all = vec![0; disk.bytes() as usize];
    disk.read_at(0, &mut all).unwrap();
    all
}

/// A directory on a disk, not in memory.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A directory in memory, where there is one.
pub fn memory_directory() -> Option<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").ok()
}

/// A drive to try, and what has to live as long.
pub struct Kind {
    pub name: &'static str,
    pub spec: Spec,
    /// Offsets and lengths are multiples of it.
    pub unit: u64,
    pub directory: tempfile::TempDir,
}

impl Kind {
    pub fn base(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    pub fn open(&self) -> Disk {
        let opened = open(&self.spec).unwrap_or_else(|error| panic!("{}: {error:#}", self.name));
        assert_eq!(opened.bytes, opened.drive.bytes());
        opened.drive
    }
}

/// Spec of a file with that content.
pub fn file(path: &Path, content: &[u8]) -> Spec {
    std::fs::write(path, content).unwrap();
    Spec::new(ImageSpec::File(path.to_owned()))
}

fn kind(name: &'static str, content: &[u8], change: impl FnOnce(&mut Spec)) -> Kind {
    let directory = if name.contains("tmpfs") { memory_directory().unwrap() } else { directory() };
    let mut spec = file(&directory.path().join("disk"), content);
    spec.lanes = 3;
    change(&mut spec);
    let unit = if spec.direct { 512 } else { 1 };
    Kind { name, spec, unit, directory }
}

/// Every kind of drive that can be had here, over files of that content; memory is for the caller to fill.
pub fn kinds(content: &[u8]) -> Vec<Kind> {
    let bytes = content.len() as u64;
    let mut kinds = vec![
        kind("memory", content, |spec| spec.image = ImageSpec::Memory(bytes)),
        kind("file", content, |_| {}),
        kind("file by io_uring", content, |spec| spec.aio = Aio::Uring),
        kind("file by threads", content, |spec| spec.aio = Aio::Threads),
        kind("overlay in memory", content, |spec| spec.overlay = Some(Overlay::Memory)),
        kind("overlay to be committed", content, |spec| {
            (spec.overlay, spec.end) = (Some(Overlay::Memory), End::Commit);
        }),
    ];
    let mut in_file = kind("overlay in a file", content, |spec| spec.end = End::Commit);
    in_file.spec.overlay = Some(Overlay::File(in_file.directory.path().to_owned()));
    kinds.push(in_file);
    kinds.extend(direct("direct by io_uring", content, Aio::Uring));
    kinds.extend(direct("direct by threads", content, Aio::Threads));
    if memory_directory().is_some() {
        kinds.push(kind("tmpfs", content, |_| {}));
        kinds.push(kind("tmpfs by io_uring", content, |spec| spec.aio = Aio::Uring));
        kinds.push(kind("tmpfs under an overlay", content, |spec| {
            (spec.overlay, spec.end) = (Some(Overlay::Memory), End::Commit);
        }));
    }
    kinds.retain(|kind| kind.spec.aio != Aio::Uring || io_uring::IoUring::new(1).is_ok());
    kinds
}

fn direct(name: &'static str, content: &[u8], aio: Aio) -> Option<Kind> {
    let direct = kind(name, content, |spec| (spec.direct, spec.aio) = (true, aio));
    match open::<Asked>(&direct.spec) {
        Ok(_) => Some(direct),
        Err(error) => {
            eprintln!("skipped: {name}: {error:#}");
            None
        }
    }
}
