//! What the device tells the driver about itself (virtio 1.3, section 5.2.3 and 5.2.4).

use crate::chain::{DISCARD_SECTORS_MAX, SEGMENT_BYTES_MAX, SEGMENTS_MAX, WRITE_ZEROES_SECTORS_MAX};
use blkstay_engine::request::SECTOR;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO,
    VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_WRITE_ZEROES,
};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

/// Most descriptors in a ring; virtio allows no more (virtio 1.3, section 2.7).
pub const QUEUE_SIZE_MAX: usize = 32768;

/// What discards are best a multiple of, in sectors: a page, which is a block of most filesystems that images are on.
const DISCARD_ALIGNMENT_SECTORS: u32 = 8;

/// Most queues.
pub const QUEUES_MAX: u16 = 16;

/// What the device is.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// Size of the disk in bytes, a multiple of [`SECTOR`].
    pub bytes: u64,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Most queues that a guest may use, 1 to [`QUEUES_MAX`].
    pub queues: u16,
}

impl Device {
    /// Feature bits that are offered.
    pub fn features(&self) -> u64 {
        let bits = [
            VIRTIO_BLK_F_SIZE_MAX,
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_FLUSH,
            VIRTIO_BLK_F_MQ,
            VIRTIO_F_VERSION_1,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_RING_F_EVENT_IDX,
        ];
        let writing: &[u32] = match self.read_only {
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
    }

    /// The configuration space from `offset`; zeros beyond what is defined here.
    pub fn config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut space = Vec::with_capacity(64);
        space.extend((self.bytes / SECTOR).to_le_bytes()); // capacity, in sectors
        space.extend(SEGMENT_BYTES_MAX.to_le_bytes());
        space.extend(SEGMENTS_MAX.to_le_bytes());
        space.extend([0; 4]); // geometry, not offered
        space.extend((SECTOR as u32).to_le_bytes()); // block size
        space.extend([0; 8]); // topology, not offered
        space.extend([1, 0]); // write-back cache, padding
        space.extend(self.queues.to_le_bytes());
        let discard = [DISCARD_SECTORS_MAX, 1, DISCARD_ALIGNMENT_SECTORS];
        let write_zeroes = [WRITE_ZEROES_SECTORS_MAX, 1];
        // Most sectors, most ranges, alignment; most sectors, most ranges.
        space.extend(discard.iter().chain(&write_zeroes).flat_map(|limit| limit.to_le_bytes()));
        space.extend([1, 0, 0, 0]); // a write of zeros may give room back, padding
        let offset = offset as usize;
        space.resize(space.len().max(offset.saturating_add(size as usize).min(4096)), 0);
        space.into_iter().skip(offset).take(size as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_space_has_its_fields_where_the_specification_puts_them() {
        let device = Device { bytes: 1 << 20, read_only: false, queues: 3 };
        assert_eq!(device.config(0, 8), 2048_u64.to_le_bytes());
        assert_eq!(device.config(8, 4), SEGMENT_BYTES_MAX.to_le_bytes());
        assert_eq!(device.config(12, 4), SEGMENTS_MAX.to_le_bytes());
        assert_eq!(device.config(20, 4), 512_u32.to_le_bytes());
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
}
