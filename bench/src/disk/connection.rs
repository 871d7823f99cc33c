//! The words with which a client connects to a server (vhost-user).

use super::client::PATIENCE;
use super::ring::Ring;
use anyhow::{Context, Result, ensure};
use std::os::unix::net::UnixStream;
use std::path::Path;
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VringConfigData};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vmm_sys_util::eventfd::EventFd;

/// Connects, and agrees on features for so many queues.
///
/// # Errors
/// The server offers too little, or does not answer.
pub fn negotiate(socket: &Path, queues: u16) -> Result<Frontend> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE)).context("a timeout for the server's answers")?;
    let mut frontend = Frontend::from_stream(stream, u64::from(queues));
    frontend.set_owner().context("SET_OWNER")?;
    let offered = frontend.get_features().context("GET_FEATURES")?;
    let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
    // As every driver does: to one that cannot flush, each write would have to be durable.
    let flush = 1 << VIRTIO_BLK_F_FLUSH;
    let needed = protocol | 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX;
    ensure!(offered & needed == needed, "the server offers {offered:#x}, which lacks some of {needed:#x}");
    let offered_protocol = frontend.get_protocol_features().context("GET_PROTOCOL_FEATURES")?;
    let wanted = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
    frontend.set_protocol_features(offered_protocol & wanted).context("SET_PROTOCOL_FEATURES")?;
    frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    let several = if queues > 1 { 1 << VIRTIO_BLK_F_MQ } else { 0 };
    frontend.set_features(offered & (needed | several | flush)).context("SET_FEATURES")?;
    Ok(frontend)
}

/// Tells the server where a queue is, and that it may begin.
///
/// # Errors
/// The server refuses.
pub fn start(
    frontend: &mut Frontend,
    index: usize,
    ring: &Ring,
    size: u16,
    kick: &EventFd,
    call: &EventFd,
) -> Result<()> {
    let [desc_table_addr, avail_ring_addr, used_ring_addr] = ring.addresses();
    let place = VringConfigData {
        queue_max_size: size,
        queue_size: size,
        flags: 0,
        desc_table_addr,
        used_ring_addr,
        avail_ring_addr,
        log_addr: None,
    };
    frontend.set_vring_num(index, size).context("SET_VRING_NUM")?;
    frontend.set_vring_addr(index, &place).context("SET_VRING_ADDR")?;
    frontend.set_vring_base(index, 0).context("SET_VRING_BASE")?;
    frontend.set_vring_call(index, call).context("SET_VRING_CALL")?;
    frontend.set_vring_kick(index, kick).context("SET_VRING_KICK")?;
    frontend.set_vring_enable(index, true).context("SET_VRING_ENABLE")
}
