//! From a descriptor chain of an untrusted guest to a request, and back to a completion.
//!
//! A request is another type at each stage of its life: [`Arrived`], [`Submitted`], [`Finished`].
//! Each stage consumes the one before, completing consumes the last, so nothing completes twice.

use blkstay_engine::request::{ByteRange, Op, SECTOR, Status};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_queue::DescriptorChain;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{
    ByteValued, Bytes, GuestAddress, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryLoadGuard,
    GuestMemoryMmap,
};

/// The guest's memory as it was when a request arrived; stays mapped as long as anybody holds it.
pub type Memory = GuestMemoryLoadGuard<GuestMemoryMmap>;

/// Where the current map of the guest's memory is found.
pub type MemoryMap = GuestMemoryAtomic<GuestMemoryMmap>;

/// Most data segments in a request; what `SEG_MAX` tells the guest (virtio 1.3, section 5.2.4).
pub const SEGMENTS_MAX: u32 = 254;

/// Most bytes in a data segment; what `SIZE_MAX` tells the guest.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 20;

/// The request header (virtio 1.3, section 5.2.6), little endian.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Header {
    kind: u32,
    reserved: u32,
    sector: u64,
}

// SAFETY: four plain integers without padding; any bytes are a valid value.
unsafe impl ByteValued for Header {}

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
    #[error("the available ring or the used ring is outside memory, or an index jumps ahead")]
    Rings,
    /// More is in flight than there are descriptors, so some must be in use twice.
    #[error("more requests are in flight than the ring has descriptors")]
    TooMany,
}

/// Where in guest memory a request has its data and wants its status.
#[derive(Debug)]
struct Body {
    head: u16,
    memory: Memory,
    segments: Vec<(GuestAddress, usize)>,
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
    pub op: Op,
    /// Where on the disk.
    pub range: ByteRange,
    body: Body,
}

/// A request that the drive has.
#[derive(Debug)]
pub struct Submitted(Arrived);

/// A request that the drive has finished.
#[derive(Debug)]
pub struct Finished {
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

/// Reads a chain. Nothing is taken on trust: lengths, addresses, flags and sectors are checked here.
pub fn parse(chain: DescriptorChain<Memory>, memory: Memory, disk_bytes: u64, read_only: bool) -> Parsed {
    let head = chain.head_index();
    let descriptors: Vec<Descriptor> = chain.collect();
    let body = match body(head, memory, &descriptors) {
        Ok(body) => body,
        Err(broken) => return Parsed::Broken(broken),
    };
    match request(&descriptors, &body, disk_bytes, read_only) {
        Ok((op, range)) => Parsed::Request(Arrived { op, range, body }),
        Err((status, why)) => Parsed::Refused(Finished { body, written: 0 }, status, why),
    }
}

fn body(head: u16, memory: Memory, descriptors: &[Descriptor]) -> Result<Body, Broken> {
    let last = descriptors.last().ok_or(Broken::NoList)?;
    if last.has_next() {
        return Err(Broken::NoList);
    }
    if !last.is_write_only() || last.len() == 0 || descriptors.len() < 2 {
        return Err(Broken::NoStatus);
    }
    let status_at = last.addr().0.checked_add(u64::from(last.len()) - 1).map(GuestAddress);
    let status_at = status_at.filter(|at| memory.check_range(*at, 1)).ok_or(Broken::StatusOutside)?;
    Ok(Body { head, memory, segments: segments(&descriptors[1..]), status_at, ended: false })
}

/// The data of a chain that ends with its status; nothing is kept of a chain that will be refused for
/// its length, so that a ring full of them does not fill memory.
fn segments(descriptors: &[Descriptor]) -> Vec<(GuestAddress, usize)> {
    if descriptors.len() > SEGMENTS_MAX as usize + 1 {
        return Vec::new();
    }
    let data = descriptors.iter().map(|descriptor| (descriptor.addr(), descriptor.len() as usize));
    let mut segments: Vec<_> = data.collect();
    // The status is the last byte of the last descriptor; data may come before it there.
    if let Some(last) = segments.last_mut() {
        last.1 -= 1;
    }
    segments.retain(|(_, length)| *length > 0);
    segments
}

type Refusal = (Status, String);

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err((Status::IoError, why.into()))
}

fn request(
    descriptors: &[Descriptor],
    body: &Body,
    disk_bytes: u64,
    read_only: bool,
) -> Result<(Op, ByteRange), Refusal> {
    let header = header(&descriptors[0], &body.memory)?;
    let data = &descriptors[1..];
    if data.len() > SEGMENTS_MAX as usize + 1 {
        return refuse(format!("{} segments, more than SEG_MAX, {SEGMENTS_MAX}", data.len() - 1));
    }
    if let Some((at, length)) =
        body.segments.iter().find(|(at, length)| !body.memory.check_range(*at, *length))
    {
        return refuse(format!("a data segment of {length} bytes at {:#x} is outside memory", at.0));
    }
    let length: u64 = body.segments.iter().map(|(_, length)| *length as u64).sum();
    let op = match u32::from_le(header.kind) {
        VIRTIO_BLK_T_IN => Op::Read,
        VIRTIO_BLK_T_OUT => Op::Write,
        VIRTIO_BLK_T_FLUSH => Op::Flush,
        VIRTIO_BLK_T_GET_ID => Op::GetId,
        other => return Err((Status::Unsupported, format!("request type {other} is not offered"))),
    };
    match op {
        Op::Flush => return Ok((op, ByteRange::default())),
        Op::GetId if length < u64::from(VIRTIO_BLK_ID_BYTES) => {
            return refuse(format!("{length} bytes for a serial number of {VIRTIO_BLK_ID_BYTES}"));
        }
        Op::GetId => return check_direction(op, data).map(|()| (op, ByteRange::default())),
        Op::Write if read_only => return refuse("a write to a read-only disk"),
        Op::Discard | Op::WriteZeroes => return Err((Status::Unsupported, format!("{op} is not offered"))),
        Op::Read | Op::Write => {}
    }
    check_direction(op, data)?;
    check_range(u64::from_le(header.sector), length, disk_bytes).map(|range| (op, range))
}

fn header(descriptor: &Descriptor, memory: &Memory) -> Result<Header, Refusal> {
    if descriptor.is_write_only() {
        return refuse("the header is in memory that only the device writes");
    }
    if (descriptor.len() as usize) != size_of::<Header>() {
        return refuse(format!("a header of {} bytes instead of {}", descriptor.len(), size_of::<Header>()));
    }
    memory.read_obj(descriptor.addr()).or_else(|_| refuse("the header is outside memory"))
}

/// The device reads what is written and writes what is read (virtio 1.3, section 5.2.6.1).
fn check_direction(op: Op, data: &[Descriptor]) -> Result<(), Refusal> {
    let segments = data.iter().take(data.len() - 1).chain(data.last().filter(|last| last.len() > 1));
    let mut wrong = segments.filter(|segment| segment.is_write_only() != (op != Op::Write));
    match wrong.next() {
        None => Ok(()),
        Some(_) => refuse(format!("a {op} has a data segment of the wrong direction")),
    }
}

fn check_range(sector: u64, length: u64, disk_bytes: u64) -> Result<ByteRange, Refusal> {
    if length == 0 || !length.is_multiple_of(SECTOR) {
        return refuse(format!("a length of {length} bytes is not a positive multiple of {SECTOR}"));
    }
    let range = sector.checked_mul(SECTOR).map(|offset| ByteRange { offset, length });
    match range {
        Some(range) if range.offset.checked_add(length).is_some_and(|end| end <= disk_bytes) => Ok(range),
        _ => refuse(format!("{length} bytes at sector {sector} reach past the end of the disk")),
    }
}

impl Arrived {
    /// The drive gets it.
    pub fn submit(self) -> Submitted {
        Submitted(self)
    }

    /// It ends before the drive saw it.
    pub fn refuse(self) -> Finished {
        Finished { body: self.body, written: 0 }
    }

    /// Gives it up before the drive saw it.
    pub fn abandon(mut self) {
        self.body.ended = true;
    }
}

impl Submitted {
    /// What it asks for.
    pub fn op(&self) -> Op {
        self.0.op
    }

    /// Where on the disk.
    pub fn range(&self) -> ByteRange {
        self.0.range
    }

    /// The guest's memory.
    pub fn memory(&self) -> &Memory {
        &self.0.body.memory
    }

    /// Where its data is in guest memory; checked to lie within when it arrived.
    pub fn segments(&self) -> &[(GuestAddress, usize)] {
        &self.0.body.segments
    }

    /// The drive is through with it, having put `written` bytes into the guest's memory.
    pub fn finish(self, written: u32) -> Finished {
        Finished { body: self.0.body, written }
    }
}

impl Finished {
    /// Writes the status; returns the chain's head and the bytes written, for the used ring.
    /// `None`: the status byte cannot be written any more, the ring is broken.
    pub fn complete(mut self, status: Status) -> Option<(u16, u32)> {
        self.body.ended = true;
        let code = code(status);
        self.body.memory.write_obj(code, self.body.status_at).ok()?;
        Some((self.body.head, self.written.saturating_add(1)))
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
