//! A request as every part of blkstay sees it, whatever front end it came through.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Monotonic time in nanoseconds since an origin that the daemon chooses; never wall-clock time.
pub type Nanos = u64;

/// Bytes in a sector, the unit in which virtio-blk addresses the disk (virtio 1.3, section 5.2.6).
pub const SECTOR: u64 = 512;

/// Serial number of a blkstay disk, by which a guest tells it from others.
pub const SERIAL: &str = "blkstay";

/// Names a request for the life of a daemon. Given out in order of arrival, so it breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a request asks of the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Read a range of the disk.
    Read,
    /// Write a range of the disk.
    Write,
    /// Make every write that was completed before durable.
    Flush,
    /// Tell the drive's serial number (virtio-blk's `GET_ID`).
    GetId,
}

impl Op {
    /// Every operation, in the order in which help texts list them.
    pub const ALL: [Op; 4] = [Op::Read, Op::Write, Op::Flush, Op::GetId];

    /// The name used in policies and journals.
    pub fn name(self) -> &'static str {
        match self {
            Op::Read => "read",
            Op::Write => "write",
            Op::Flush => "flush",
            Op::GetId => "get-id",
        }
    }

    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Op> {
        Op::ALL.into_iter().find(|op| op.name() == name)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a request ended. Each front end maps it to its own codes in one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It did what was asked.
    Ok,
    /// The drive could not do it, or it lies outside the drive.
    IoError,
    /// The drive does not know this operation.
    Unsupported,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Ok => "ok",
            Status::IoError => "io-error",
            Status::Unsupported => "unsupported",
        })
    }
}

/// A range of the disk in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Number of bytes; 0 for a request that addresses no data.
    pub length: u64,
}

impl ByteRange {
    /// Whether the two share a byte. An empty range shares none.
    pub fn overlaps(self, other: ByteRange) -> bool {
        self.length > 0
            && other.length > 0
            && self.offset < other.offset.saturating_add(other.length)
            && other.offset < self.offset.saturating_add(self.length)
    }
}

/// A request that has arrived. Its data stays with the front end; the engine decides on this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// Index of the queue it came through.
    pub queue: u16,
    /// What it asks for.
    pub op: Op,
    /// Where on the disk.
    #[serde(flatten)]
    pub range: ByteRange,
}
