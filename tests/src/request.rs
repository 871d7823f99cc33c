//! Requests of a well-behaved driver.

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_WRITE_ZEROES,
};

/// Status of a request that did what was asked.
pub const OK: u8 = 0;
/// Status of a request that could not be done.
pub const IO_ERROR: u8 = 1;
/// Status of a request that the device does not know.
pub const UNSUPPORTED: u8 = 2;
/// What a status byte holds before the device writes it.
pub const UNWRITTEN: u8 = 0xff;

/// What a driver asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The type field.
    pub kind: u32,
    /// The sector field.
    pub sector: u64,
    /// What the device gets.
    pub data: Vec<u8>,
    /// How many bytes the device gives.
    pub wanted: usize,
    /// How many segments the data is in.
    pub segments: usize,
    /// Whether the descriptors are in a table of their own.
    pub indirect: bool,
}

impl Request {
    fn new(kind: u32, sector: u64, data: &[u8], wanted: usize) -> Request {
        Request { kind, sector, data: data.to_vec(), wanted, segments: 1, indirect: false }
    }

    /// Writes `data` from a sector on.
    pub fn write(sector: u64, data: &[u8]) -> Request {
        Request::new(VIRTIO_BLK_T_OUT, sector, data, 0)
    }

    /// Reads bytes from a sector on.
    pub fn read(sector: u64, bytes: usize) -> Request {
        Request::new(VIRTIO_BLK_T_IN, sector, &[], bytes)
    }

    /// Says that some sectors are not needed any more.
    pub fn discard(sector: u64, sectors: u32) -> Request {
        Request::clear(VIRTIO_BLK_T_DISCARD, sector, sectors, 0)
    }

    /// Makes some sectors read as zeros; `flags` has 1 if their room may be given back.
    pub fn write_zeroes(sector: u64, sectors: u32, flags: u32) -> Request {
        Request::clear(VIRTIO_BLK_T_WRITE_ZEROES, sector, sectors, flags)
    }

    /// A request whose data is one range (virtio 1.3, section 5.2.6).
    pub fn clear(kind: u32, sector: u64, sectors: u32, flags: u32) -> Request {
        let range = [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat();
        Request::new(kind, 0, &range, 0)
    }

    /// Makes what was written durable.
    pub fn flush() -> Request {
        Request::new(VIRTIO_BLK_T_FLUSH, 0, &[], 0)
    }

    /// Asks for the serial number.
    pub fn id() -> Request {
        Request::new(VIRTIO_BLK_T_GET_ID, 0, &[], 20)
    }

    /// The same with its data in `n` segments.
    pub fn segments(mut self, n: usize) -> Request {
        self.segments = n;
        self
    }

    /// The same with its descriptors in a table of their own.
    pub fn indirect(mut self) -> Request {
        self.indirect = true;
        self
    }
}

/// A request that the device has.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its queue.
    pub queue: usize,
    /// Its head.
    pub head: u16,
    /// How many descriptors of the ring it has.
    pub descriptors: usize,
    /// Where the data is.
    pub data_at: u64,
    /// How many bytes the device gives.
    pub wanted: usize,
    /// Where the status is.
    pub status_at: u64,
}

/// A request that is through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its status.
    pub status: u8,
    /// What was read.
    pub data: Vec<u8>,
    /// Bytes that the device says it wrote into memory.
    pub written: u32,
}
