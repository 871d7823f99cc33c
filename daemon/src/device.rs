//! What the device tells the driver about itself (virtio 1.3, section 5.2.3 and 5.2.4).

use crate::chain::{DISCARD_SECTORS_MAX, Limits, WRITE_ZEROES_SECTORS_MAX};
use blkstay_engine::request::SECTOR;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_TOPOLOGY,
    VIRTIO_BLK_F_WRITE_ZEROES,
};
use virtio_bindings::virtio_config::{VIRTIO_F_RING_RESET, VIRTIO_F_VERSION_1};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

/// Most descriptors in a ring; virtio allows no more (virtio 1.3, section 2.7).
pub const QUEUE_SIZE_MAX: u16 = 32768;

/// Most queues.
pub const QUEUES_MAX: u16 = 16;

/// Most bytes of a serial number (virtio 1.3, section 5.2.6).
pub const SERIAL_BYTES_MAX: usize = 20;

/// Where in the configuration space the driver chooses between write-back and write-through.
const WRITEBACK_AT: u32 = 32;

/// What the device is from the start.
#[derive(Clone, Debug)]
pub struct Model {
    /// Whether writes are refused.
    pub read_only: bool,
    /// Most queues that a guest may use, 1 to [`QUEUES_MAX`].
    pub queues: u16,
    /// Bytes of a logical block: 512 or 4096.
    pub block_bytes: u32,
    /// Bytes of a physical block: a power of two, at least a logical one.
    pub physical_block_bytes: u32,
    /// Most data segments in a request.
    pub segments_max: u32,
    /// Most bytes in a segment.
    pub segment_bytes_max: u32,
    /// What discards are best a multiple of, in bytes.
    pub discard_bytes: u32,
    /// Its serial number, at most [`SERIAL_BYTES_MAX`] bytes.
    pub serial: String,
}

/// The device: what it is, and what of that can change.
#[derive(Debug)]
pub struct Device {
    model: Model,
    /// Size of the disk in bytes, a multiple of a block.
    bytes: AtomicU64,
    /// What the driver can do.
    features: AtomicU64,
    /// What the driver has said about the cache: nothing, to write through, to write back.
    chosen: AtomicU8,
    /// Whether writes may stay in a cache until a flush: what follows from both.
    writeback: AtomicBool,
}

const THROUGH: u8 = 1;
const BACK: u8 = 2;

impl Device {
    /// A device of so many bytes; its cache is write-back.
    pub fn new(model: Model, bytes: u64) -> Device {
        Device {
            model,
            bytes: AtomicU64::new(bytes),
            features: AtomicU64::new(u64::MAX),
            chosen: AtomicU8::new(0),
            writeback: AtomicBool::new(true),
        }
    }

    /// What it is from the start.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Its serial number as a guest gets it, filled up with zeros.
    pub fn serial(&self) -> [u8; SERIAL_BYTES_MAX] {
        let mut serial = [0; SERIAL_BYTES_MAX];
        serial.iter_mut().zip(self.model.serial.bytes()).for_each(|(to, from)| *to = from);
        serial
    }

    /// What it takes now.
    pub fn limits(&self) -> Limits {
        Limits {
            bytes: self.bytes.load(Ordering::Acquire),
            block_bytes: u64::from(self.model.block_bytes),
            read_only: self.model.read_only,
            segments_max: self.model.segments_max,
        }
    }

    /// Its size is another from now on.
    pub fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Release);
    }

    /// Whether a write has to be on the media before it completes.
    pub fn writes_through(&self) -> bool {
        !self.writeback.load(Ordering::Relaxed)
    }

    /// Another QEMU is connected: it has said nothing.
    pub fn connected(&self) {
        self.chosen.store(0, Ordering::Relaxed);
        self.accepted(u64::MAX);
    }

    /// What the driver has accepted.
    pub fn accepted(&self, features: u64) {
        self.features.store(features, Ordering::Relaxed);
        self.settle_cache();
    }

    /// What the driver has said about the cache, if anything: whether it writes back. It holds as long as QEMU is
    /// connected, over resets too, for QEMU says it once and shows it to every driver that comes.
    pub fn chosen(&self) -> Option<bool> {
        match self.chosen.load(Ordering::Relaxed) {
            0 => None,
            mode => Some(mode == BACK),
        }
    }

    /// The cache writes back or through from now on.
    pub fn choose(&self, writes_back: bool) {
        self.chosen.store(if writes_back { BACK } else { THROUGH }, Ordering::Relaxed);
        self.settle_cache();
    }

    /// A driver that cannot flush gets a cache that needs no flush (section 5.2.5.2), one that cannot choose one that does.
    fn settle_cache(&self) {
        let features = self.features.load(Ordering::Relaxed);
        let can = |bit: u32| features & 1 << bit != 0;
        let chosen = !can(VIRTIO_BLK_F_CONFIG_WCE) || self.chosen() != Some(false);
        self.writeback.store(can(VIRTIO_BLK_F_FLUSH) && chosen, Ordering::Relaxed);
    }

    /// The driver writes into the configuration space; says whether it may.
    pub fn configure(&self, offset: u32, bytes: &[u8]) -> bool {
        match (offset, bytes) {
            // A driver that writes something else than 0 or 1 means what a C program means by it.
            (WRITEBACK_AT, [mode]) => {
                self.choose(*mode != 0);
                true
            }
            _ => false,
        }
    }

    /// Feature bits that are offered.
    pub fn features(&self) -> u64 {
        let bits = [
            VIRTIO_BLK_F_SIZE_MAX,
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_TOPOLOGY,
            VIRTIO_BLK_F_FLUSH,
            VIRTIO_BLK_F_CONFIG_WCE,
            VIRTIO_BLK_F_MQ,
            VIRTIO_F_VERSION_1,
            VIRTIO_F_RING_RESET,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_RING_F_EVENT_IDX,
        ];
        let writing: &[u32] = match self.model.read_only {
            true => &[VIRTIO_BLK_F_RO],
            false => &[VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES],
        };
        let offered = bits.iter().chain(writing).fold(0, |all, bit| all | 1 << bit);
        offered | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    /// Protocol features that are offered: only what is implemented, since QEMU takes them all.
    pub fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::INFLIGHT_SHMFD
            | VhostUserProtocolFeatures::BACKEND_REQ
    }

    /// The configuration space from `offset`; zeros beyond what is defined here.
    pub fn config(&self, offset: u32, size: u32) -> Vec<u8> {
        let model = &self.model;
        let mut space = Vec::with_capacity(64);
        space.extend((self.bytes.load(Ordering::Acquire) / SECTOR).to_le_bytes()); // capacity, in sectors
        space.extend(model.segment_bytes_max.to_le_bytes());
        space.extend(model.segments_max.to_le_bytes());
        space.extend([0; 4]); // geometry, not offered
        space.extend(model.block_bytes.to_le_bytes());
        space.extend(self.topology());
        space.extend([u8::from(!self.writes_through()), 0]); // write-back cache, padding
        space.extend(model.queues.to_le_bytes());
        let alignment = (model.discard_bytes / SECTOR as u32).max(1);
        let discard = [DISCARD_SECTORS_MAX, 1, alignment];
        let write_zeroes = [WRITE_ZEROES_SECTORS_MAX, 1];
        // Most sectors, most ranges, alignment; most sectors, most ranges.
        space.extend(discard.iter().chain(&write_zeroes).flat_map(|limit| limit.to_le_bytes()));
        space.extend([1, 0, 0, 0]); // a write of zeros may give room back, padding
        let offset = offset as usize;
        space.resize(space.len().max(offset.saturating_add(size as usize).min(4096)), 0);
        space.into_iter().skip(offset).take(size as usize).collect()
    }

    /// Logical blocks in a physical one as a power of two, offset of the first aligned one, least and best size of
    /// a request in blocks.
    fn topology(&self) -> [u8; 8] {
        let Model { block_bytes, physical_block_bytes, .. } = self.model;
        let blocks = (physical_block_bytes / block_bytes).max(1);
        let exponent = blocks.trailing_zeros() as u8;
        let [low, high] = (blocks as u16).to_le_bytes();
        [exponent, 0, low, high, 0, 0, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model {
            read_only: false,
            queues: 3,
            block_bytes: 512,
            physical_block_bytes: 4096,
            segments_max: 100,
            segment_bytes_max: 1 << 16,
            discard_bytes: 4096,
            serial: "blkstay".to_owned(),
        }
    }

    #[test]
    fn configuration_space_has_its_fields_where_the_specification_puts_them() {
        let device = Device::new(model(), 1 << 20);
        assert_eq!(device.config(0, 8), 2048_u64.to_le_bytes());
        assert_eq!(device.config(8, 4), 65536_u32.to_le_bytes());
        assert_eq!(device.config(12, 4), 100_u32.to_le_bytes());
        assert_eq!(device.config(20, 4), 512_u32.to_le_bytes());
        assert_eq!(device.config(24, 4), [3, 0, 8, 0], "eight blocks in a physical one");
        assert_eq!(device.config(32, 1), [1]);
        assert_eq!(device.config(34, 2), 3_u16.to_le_bytes());
        assert_eq!(device.config(36, 4), DISCARD_SECTORS_MAX.to_le_bytes());
        assert_eq!(device.config(40, 4), 1_u32.to_le_bytes());
        assert_eq!(device.config(44, 4), 8_u32.to_le_bytes());
        assert_eq!(device.config(48, 4), WRITE_ZEROES_SECTORS_MAX.to_le_bytes());
        assert_eq!(device.config(52, 4), 1_u32.to_le_bytes());
        assert_eq!(device.config(56, 1), [1]);
        assert_eq!(device.config(0, 96).len(), 96);
        assert_eq!(device.config(u32::MAX, 8).len(), 0);
    }

    #[test]
    fn the_driver_chooses_how_the_cache_writes_and_nothing_else() {
        let device = Device::new(model(), 1 << 20);
        assert!(!device.writes_through());
        assert!(device.configure(WRITEBACK_AT, &[0]));
        assert!(device.writes_through());
        assert_eq!(device.config(WRITEBACK_AT, 1), [0]);
        for (offset, bytes) in [(0, &[0][..]), (WRITEBACK_AT, &[1, 1]), (WRITEBACK_AT, &[])] {
            assert!(!device.configure(offset, bytes), "{bytes:?} at {offset}");
        }
        assert!(device.writes_through());
        assert!(device.configure(WRITEBACK_AT, &[2]), "it is not 0");
        assert_eq!(device.config(WRITEBACK_AT, 1), [1]);
        assert!(device.configure(WRITEBACK_AT, &[0]));
        device.accepted(1 << VIRTIO_BLK_F_FLUSH);
        assert!(!device.writes_through());
        device.accepted(0);
        assert!(device.writes_through(), "a driver that cannot flush needs no cache");
        device.accepted(1 << VIRTIO_BLK_F_FLUSH | 1 << VIRTIO_BLK_F_CONFIG_WCE);
        assert!(device.writes_through(), "what was chosen holds for the next driver, which is shown it");
        device.connected();
        assert!(!device.writes_through() && device.chosen().is_none());
    }

    #[test]
    fn a_disk_of_another_size_says_so() {
        let device = Device::new(model(), 1 << 20);
        device.set_bytes(1 << 21);
        assert_eq!(device.config(0, 8), 4096_u64.to_le_bytes());
        assert_eq!(device.limits().bytes, 1 << 21);
    }
}
