//! A request as every part of blkstay sees it, whatever front end it came through.

use crate::class::ClassSet;
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
    /// Say that what a range holds is not needed any more.
    Discard,
    /// Make a range read as zeros.
    WriteZeroes,
    /// Tell the drive's serial number (virtio-blk's `GET_ID`).
    GetId,
}

impl Op {
    /// Every operation, in the order in which help texts list them.
    pub const ALL: [Op; 6] = [Op::Read, Op::Write, Op::Flush, Op::Discard, Op::WriteZeroes, Op::GetId];

    /// The name used in policies and journals.
    pub fn name(self) -> &'static str {
        match self {
            Op::Read => "read",
            Op::Write => "write",
            Op::Flush => "flush",
            Op::Discard => "discard",
            Op::WriteZeroes => "write-zeroes",
            Op::GetId => "get-id",
        }
    }

    /// Whether it addresses a range of the disk.
    pub fn has_range(self) -> bool {
        !matches!(self, Op::Flush | Op::GetId)
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

/// Some operations: what a filter is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpSet(u8);

impl OpSet {
    /// Each of them.
    pub const ANY: OpSet = OpSet((1 << Op::ALL.len()) - 1);

    /// Those.
    pub fn of(ops: &[Op]) -> OpSet {
        OpSet(ops.iter().fold(0, |bits, op| bits | 1 << *op as u8))
    }

    /// Whether it is one of them.
    pub fn has(self, op: Op) -> bool {
        self.0 & 1 << op as u8 != 0
    }

    /// Whether each of `other` is one of them.
    pub fn contains(self, other: OpSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// Each of them, in the order of [`Op::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Op> {
        Op::ALL.into_iter().filter(move |op| self.has(*op))
    }
}

/// How a request ended. Each front end maps it to its own codes in one function.
///
/// Beside the three that virtio-blk knows (virtio 1.3, section 5.2.6) there are statuses of NVMe, with their status
/// code type and status code (NVMe Base Specification, section "Status Field"); a virtio guest sees an I/O error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It did what was asked.
    Ok,
    /// The drive could not do it, or it lies outside the drive.
    IoError,
    /// The drive does not know this operation.
    Unsupported,
    /// Status code type 2, code 80: the media did not take the write.
    WriteFault,
    /// 2/81: the media did not give the data back.
    UnrecoveredRead,
    /// 2/82: the data does not fit its guard.
    GuardCheck,
    /// 2/86: access to the range was denied.
    AccessDenied,
    /// 0/81: there is no room left.
    CapacityExceeded,
    /// 0/82: the namespace is not ready.
    NotReady,
    /// 0/83: somebody else has reserved it.
    ReservationConflict,
    /// 0/06: something in the drive went wrong.
    Internal,
    /// 0/07: the command was aborted.
    Aborted,
}

impl Status {
    /// Every status, in the order in which help texts list them.
    pub const ALL: [Status; 12] = [
        Status::Ok,
        Status::IoError,
        Status::Unsupported,
        Status::WriteFault,
        Status::UnrecoveredRead,
        Status::GuardCheck,
        Status::AccessDenied,
        Status::CapacityExceeded,
        Status::NotReady,
        Status::ReservationConflict,
        Status::Internal,
        Status::Aborted,
    ];

    /// The name used in policies and journals.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::IoError => "io-error",
            Status::Unsupported => "unsupported",
            Status::WriteFault => "write-fault",
            Status::UnrecoveredRead => "unrecovered-read",
            Status::GuardCheck => "guard-check",
            Status::AccessDenied => "access-denied",
            Status::CapacityExceeded => "capacity-exceeded",
            Status::NotReady => "not-ready",
            Status::ReservationConflict => "reservation-conflict",
            Status::Internal => "internal",
            Status::Aborted => "aborted",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
    /// First byte after it; what would lie beyond the last address counts as the last address.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// Whether the two share a byte. An empty range shares none.
    pub fn overlaps(self, other: ByteRange) -> bool {
        self.length > 0 && other.length > 0 && self.offset < other.end() && other.offset < self.end()
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
    /// What its blocks are to the filesystem; empty if no policy asks.
    #[serde(default, skip_serializing_if = "ClassSet::is_empty")]
    pub class: ClassSet,
    /// Which of the policy's payload tests its data passes, by index; of a read it is known when it is done.
    #[serde(default, skip_serializing_if = "Probes::is_empty")]
    pub probes: Probes,
}

/// Outcomes of a policy's payload tests, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Probes(pub u64);

impl Probes {
    /// Most payload tests in a policy.
    pub const MAX: usize = 64;

    /// Whether none was passed.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Whether this one was passed.
    pub fn has(self, index: u8) -> bool {
        self.0 >> (index & 63) & 1 == 1
    }

    /// Notes that this one was passed.
    pub fn insert(&mut self, index: u8) {
        self.0 |= 1 << (index & 63);
    }
}
