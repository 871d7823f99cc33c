//! QEMU's side of the protocol: what it says about memory and rings (vhost-user, "Front-end message types").

use crate::core::Core;
use crate::crew::Crew;
use crate::cut::Watched;
use crate::device::QUEUE_SIZE_MAX;
use crate::memory::{Memory, MemoryMap};
use crate::ring::{Region, Ring};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVirtioFeatures, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use vhost_user_backend::VringT;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionMmap};

/// What QEMU has said in one connection.
pub struct Handler {
    core: Arc<Core>,
    rings: Vec<Arc<Ring>>,
    crew: Arc<Crew>,
    map: MemoryMap,
    /// Where QEMU has the guest's memory, for it speaks of rings by its own addresses.
    mappings: Vec<Mapping>,
    owned: bool,
    inflight: Option<Region>,
}

/// A region of the guest's memory.
struct Mapping {
    in_qemu: u64,
    bytes: u64,
    in_guest: u64,
}

impl Handler {
    /// Nothing is said yet.
    pub fn new(core: Arc<Core>, rings: Vec<Arc<Ring>>, crew: Arc<Crew>, map: MemoryMap) -> Handler {
        Handler { core, rings, crew, map, mappings: Vec::new(), owned: false, inflight: None }
    }

    fn ring(&self, index: u32) -> Result<&Arc<Ring>> {
        self.rings.get(index as usize).ok_or(Error::InvalidParam)
    }

    /// Where in the guest's memory an address of QEMU's is.
    fn in_guest(&self, address: u64) -> Result<u64> {
        let found = self
            .mappings
            .iter()
            .find(|mapping| address >= mapping.in_qemu && address - mapping.in_qemu < mapping.bytes);
        let found = found.ok_or(Error::InvalidParam)?;
        found.in_guest.checked_add(address - found.in_qemu).ok_or(Error::InvalidParam)
    }

    /// How the cache writes is kept beside what is in flight: QEMU says it once, and a daemon that takes over has to know.
    fn keep_cache_mode(&self) {
        let (device, Some(region)) = (self.core.device(), &self.inflight) else { return };
        match (device.chosen(), region.writes_back()) {
            (Some(writes_back), _) => region.set_writes_back(writes_back),
            (None, Some(writes_back)) => {
                tracing::debug!(writes_back, "the cache writes as the guest told a daemon before this one");
                device.choose(writes_back);
            }
            (None, None) => {}
        }
    }

    /// What is in flight in a ring is kept there, if QEMU has given memory for that.
    fn attach_inflight(&self, ring: &Ring) {
        ring.set_inflight(self.inflight.as_ref().and_then(|region| region.ring(ring.index)));
    }
}

fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::ReqHandlerError(io::Error::other(error))
}

/// What this device does not offer cannot be asked for.
fn not_offered<T>() -> Result<T> {
    Err(Error::InvalidOperation("not offered"))
}

/// A region of memory as a file; refuses what its file does not reach: touching it would end the connection.
fn map_region(region: &VhostUserMemoryRegion, file: File) -> Result<GuestRegionMmap> {
    let there = file.metadata().map_err(Error::ReqHandlerError)?;
    let end = region.mmap_offset.checked_add(region.memory_size);
    if there.is_file() && end.is_none_or(|end| end > there.len()) {
        return Err(refused("a region of memory reaches past the end of its file"));
    }
    GuestRegionMmap::new(region.mmap_region(file)?, GuestAddress(region.guest_phys_addr))
        .ok_or_else(|| refused("a region of memory has no addresses"))
}

/// A descriptor that nobody waits in: neither a reader that finds nothing nor a writer that finds no room.
fn without_waiting(file: Option<File>) -> Result<Option<File>> {
    if let Some(file) = &file {
        let flags = fcntl(file, FcntlArg::F_GETFL).map_err(refused)?;
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        fcntl(file, FcntlArg::F_SETFL(flags)).map_err(refused)?;
    }
    Ok(file)
}

impl VhostUserBackendReqHandlerMut for Handler {
    fn set_owner(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.owned, true) {
            return Err(Error::InvalidOperation("already owned"));
        }
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.owned = false;
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        not_offered()
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.core.device().features())
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        let device = self.core.device();
        if features & !device.features() != 0 {
            let refused = format_args!("{:#x}", features & !device.features());
            tracing::warn!(refused, "the guest wants features that are not offered");
            return Err(Error::InvalidParam);
        }
        tracing::debug!(features = format_args!("{features:#x}"), "the guest has chosen its features");
        device.accepted(features);
        let event_idx = features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        // Without the feature that has messages to enable rings, they are.
        let enabled = features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0;
        for ring in &self.rings {
            ring.with(|vring| {
                vring.set_queue_event_idx(event_idx);
                if enabled {
                    vring.set_enabled(true);
                }
            });
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let mapped = regions.iter().zip(files).map(|(region, file)| map_region(region, file));
        let map = GuestMemoryMmap::from_regions(mapped.collect::<Result<_>>()?).map_err(refused)?;
        self.mappings = regions
            .iter()
            .map(|region| Mapping {
                in_qemu: region.user_addr,
                bytes: region.memory_size,
                in_guest: region.guest_phys_addr,
            })
            .collect();
        let bytes: u64 = self.mappings.iter().map(|mapping| mapping.bytes).sum();
        tracing::debug!(regions = regions.len(), bytes, "the guest's memory is mapped");
        let watch = |region: &GuestRegionMmap| Watched::new(region.as_ptr(), region.size());
        let watched =
            map.iter().map(watch).collect::<io::Result<Arc<[_]>>>().map_err(Error::ReqHandlerError)?;
        let map = Arc::new(map);
        self.map.lock().map_err(|_| refused("the map of memory is lost"))?.replace((*map).clone());
        for ring in &self.rings {
            ring.set_memory(Memory::watched(map.clone(), watched.clone()));
        }
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let size = u16::try_from(num).ok().filter(|size| (1..=QUEUE_SIZE_MAX).contains(size));
        let size = size.filter(|size| size.is_power_of_two()).ok_or(Error::InvalidParam)?;
        self.ring(index)?.with(|vring| vring.set_queue_size(size));
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let (table, available, used) =
            (self.in_guest(descriptor)?, self.in_guest(available)?, self.in_guest(used)?);
        self.ring(index)?.with(|vring| {
            vring.set_queue_info(table, available, used).map_err(|_| Error::InvalidParam)?;
            // The index of the used ring has no message of its own.
            let index = vring.queue_used_idx().map_err(|_| Error::InvalidParam)?;
            vring.set_queue_next_used(index);
            Ok(())
        })
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.ring(index)?.with(|vring| vring.set_queue_next_avail(base));
        Ok(())
    }

    /// Requests of the ring are released and completed before QEMU gets its answer, so that a guest
    /// that is stopped and continued misses none, and one that is reset finds its memory left alone.
    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let ring = self.ring(index)?;
        if let Some(kick) = ring.kick() {
            self.crew.unwatch(ring.index, kick);
        }
        ring.stop();
        self.core.stop_ring(ring.index);
        ring.wait_until_idle();
        tracing::debug!(queue = ring.index, "the guest has stopped a ring");
        Ok(VhostUserVringState::new(index, u32::from(ring.reset())))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let ring = self.ring(u32::from(index))?;
        if let Some(kick) = ring.kick() {
            self.crew.unwatch(ring.index, kick);
        }
        let file = without_waiting(file)?;
        let fd = file.as_ref().map(AsRawFd::as_raw_fd).ok_or(Error::InvalidParam)?;
        ring.with(|vring| vring.set_kick(file));
        // One that runs goes on with another descriptor; what it has in flight is its own.
        if !ring.is_running() {
            self.attach_inflight(ring);
            ring.start().map_err(refused)?;
            tracing::debug!(queue = ring.index, "the guest has started a ring");
        }
        self.crew.watch(ring.index, fd).map_err(Error::ReqHandlerError)
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.ring(u32::from(index))?.set_call(without_waiting(file)?);
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.ring(u32::from(index))?.with(|vring| vring.set_err(file));
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(self.core.device().protocol_features())
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        tracing::debug!(features = format_args!("{features:#x}"), "QEMU has chosen its protocol features");
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.rings.len() as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let ring = self.ring(index)?;
        tracing::debug!(queue = ring.index, enable, "the guest says whether a ring is served");
        ring.with(|vring| vring.set_enabled(enable));
        self.crew.wake(ring.index);
        Ok(())
    }

    fn get_config(&mut self, offset: u32, size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        Ok(self.core.device().config(offset, size))
    }

    fn set_config(&mut self, offset: u32, bytes: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        if !self.core.device().configure(offset, bytes) {
            return Err(Error::InvalidParam);
        }
        self.keep_cache_mode();
        Ok(())
    }

    fn set_gpu_socket(&mut self, _gpu: GpuBackend) -> Result<()> {
        not_offered()
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        not_offered()
    }

    fn get_inflight_fd(&mut self, asked: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        let (queues, size) = (asked.num_queues, asked.queue_size);
        if usize::from(queues) > self.rings.len() || !(1..=QUEUE_SIZE_MAX).contains(&size) {
            return Err(Error::InvalidParam);
        }
        let bytes = Region::bytes(queues, size) as u64;
        let file = Region::create(queues, size).map_err(Error::ReqHandlerError)?;
        Ok((VhostUserInflight::new(bytes, 0, queues, size), file))
    }

    fn set_inflight_fd(&mut self, given: &VhostUserInflight, file: File) -> Result<()> {
        let VhostUserInflight { mmap_size, mmap_offset, num_queues, queue_size } = *given;
        if usize::from(num_queues) > self.rings.len() || !(1..=QUEUE_SIZE_MAX).contains(&queue_size) {
            return Err(Error::InvalidParam);
        }
        let region = Region::map(file, mmap_offset, mmap_size, num_queues, queue_size);
        self.inflight = Some(region.map_err(Error::ReqHandlerError)?);
        self.keep_cache_mode();
        Ok(())
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        not_offered()
    }

    fn add_mem_region(
        &mut self,
        _region: &VhostUserSingleMemoryRegion,
        _file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        not_offered()
    }

    fn remove_mem_region(&mut self, _region: &VhostUserSingleMemoryRegion) -> Result<()> {
        not_offered()
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        not_offered()
    }

    fn check_device_state(&mut self) -> Result<()> {
        not_offered()
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        not_offered()
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        not_offered()
    }
}
