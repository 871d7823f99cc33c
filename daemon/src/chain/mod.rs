//! From a descriptor chain of an untrusted guest to a request, and back to a completion.
//!
//! A request is another type at each stage of its life: [`Arrived`], [`Submitted`], [`Finished`].
//! Each stage consumes the one before, completing consumes the last, so nothing completes twice.

mod parse;
mod walk;

use crate::memory::Memory;
use crate::payload::Payload;
use blkstay_engine::request::{ByteRange, Op, Status};
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use virtio_bindings::virtio_blk::{VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

pub use parse::Parser;
pub use walk::Table;

/// What the device takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the disk.
    pub bytes: u64,
    /// Bytes of a logical block: 512 or 4096.
    pub block_bytes: u64,
    /// Writes are refused.
    pub read_only: bool,
    /// Most data segments in a request.
    pub segments_max: u32,
}

/// Why a chain is broken beyond a status: its ring is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It loops, leaves its table, or its table is outside memory.
    #[error(
        "the descriptors of a chain form no list: a loop, an index outside the table, or a table outside memory"
    )]
    NoList,
    /// The status byte is missing.
    #[error("a chain has no byte for the status that the device could write")]
    NoStatus,
    /// The status byte is outside memory.
    #[error("the status byte of a chain is outside memory")]
    StatusOutside,
    /// The rings themselves cannot be used.
    #[error(
        "the descriptor table, the available ring or the used ring is outside memory, or an index jumps ahead"
    )]
    Rings,
    /// More is in flight than there are descriptors, so some must be in use twice.
    #[error("more requests are in flight than the ring has descriptors")]
    TooMany,
}

/// Most sectors in a discard; what `max_discard_sectors` tells the guest.
pub const DISCARD_SECTORS_MAX: u32 = 1 << 21;

/// Most sectors in a write of zeros; what `max_write_zeroes_sectors` tells the guest. Where the image's filesystem
/// cannot make zeros without writing them, a thread of the drive is busy with one for so long.
pub const WRITE_ZEROES_SECTORS_MAX: u32 = 1 << 17;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The operation.
    pub op: Op,
    /// Where on the disk.
    pub range: ByteRange,
    /// For zeros: whether the drive may give the range back rather than write to it.
    pub unmap: bool,
}

/// Pieces of guest memory; most requests have one.
pub type Segments = SmallVec<[(GuestAddress, usize); 2]>;

/// Where in guest memory a request has its data and wants its status.
#[derive(Debug)]
struct Body {
    head: u16,
    memory: Memory,
    segments: Segments,
    status_at: GuestAddress,
    /// Set by completing and by giving up; dropping a request before that is a bug of ours.
    ended: bool,
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.ended && !std::thread::panicking() {
            tracing::error!(head = self.head, "a request was dropped without being completed or given up");
            debug_assert!(self.ended, "a request was dropped without being completed or given up");
        }
    }
}

/// A request out of the ring.
#[derive(Debug)]
pub struct Arrived {
    /// What it asks for.
    pub asked: Asked,
    body: Body,
}

/// A request that the drive has.
#[derive(Debug)]
pub struct Submitted(Arrived);

/// A request that the drive has finished, or that ends without it.
#[derive(Debug)]
pub struct Finished {
    /// What it asked for; `None` if that could not be told.
    pub asked: Option<Asked>,
    body: Body,
    written: u32,
}

/// What a chain turned out to be.
#[derive(Debug)]
pub enum Parsed {
    /// A request.
    Request(Arrived),
    /// Nothing the device can do; it is completed with this status at once.
    Refused(Finished, Status, String),
    /// Nothing that could be answered.
    Broken(Broken),
}

impl Body {
    fn payload(&self) -> Payload {
        Payload::new(self.memory.clone(), self.segments.clone())
    }
}

impl Arrived {
    /// Its data in the guest's memory.
    pub fn payload(&self) -> Payload {
        self.body.payload()
    }

    /// The drive gets it.
    pub fn submit(self) -> Submitted {
        Submitted(self)
    }

    /// It ends before the drive saw it.
    pub fn refuse(self) -> Finished {
        Finished { asked: Some(self.asked), body: self.body, written: 0 }
    }
}

impl Submitted {
    /// What it asks for.
    pub fn asked(&self) -> Asked {
        self.0.asked
    }

    /// Where its data is in this process; checked to lie within guest memory when it arrived.
    pub fn segments(&self, mut each: impl FnMut(*mut u8, usize)) {
        let Body { memory, segments, .. } = &self.0.body;
        for (at, length) in segments {
            for slice in memory.get_slices(*at, *length).flatten() {
                each(slice.ptr_guard_mut().as_ptr(), slice.len());
            }
        }
    }

    /// Puts bytes into the guest's memory, as many as it has room for; says how many.
    pub fn answer(&self, mut bytes: &[u8]) -> u32 {
        let Body { memory, segments, .. } = &self.0.body;
        let mut written = 0;
        for (at, length) in segments {
            let (now, later) = bytes.split_at(bytes.len().min(*length));
            if memory.write_slice(now, *at).is_err() {
                break;
            }
            (bytes, written) = (later, written + now.len() as u32);
        }
        written
    }

    /// It is over, with `written` bytes put into the guest's memory.
    pub fn finish(self, written: u32) -> Finished {
        Finished { asked: Some(self.0.asked), body: self.0.body, written }
    }
}

impl Finished {
    /// Its data in the guest's memory.
    pub fn payload(&self) -> Payload {
        self.body.payload()
    }

    /// Writes the status; returns the chain's head and the bytes written, for the used ring.
    /// `None`: the status byte cannot be written any more, the ring is broken.
    pub fn complete(mut self, status: Status) -> Option<(u16, u32)> {
        self.body.ended = true;
        let code = code(status);
        self.body.memory.store(code, self.body.status_at, Ordering::Relaxed).ok()?;
        Some((self.body.head, self.written.saturating_add(1)))
    }

    /// Looks at what completing will touch.
    pub fn look_ahead(&self) {
        // Whether it can be read does not matter before it has to be written.
        let _: Result<u8, _> = self.body.memory.load(self.body.status_at, Ordering::Relaxed);
    }

    /// Gives it up without telling the guest.
    pub fn abandon(mut self) {
        self.body.ended = true;
    }
}

/// A status as virtio-blk writes it (virtio 1.3, section 5.2.6).
fn code(status: Status) -> u8 {
    (match status {
        Status::Ok => VIRTIO_BLK_S_OK,
        Status::Unsupported => VIRTIO_BLK_S_UNSUPP,
        _ => VIRTIO_BLK_S_IOERR,
    }) as u8
}
