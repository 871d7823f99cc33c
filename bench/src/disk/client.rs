//! The client: a guest that does nothing but random reads or writes of 4 KiB, so many at a time.

use super::ring::{BLOCK, Op, Ring};
use super::shared::Shared;
use crate::figure::Times;
use anyhow::{Context, Result, bail, ensure};
use blkstay_tests::random::Random;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VringConfigData};
use virtio_bindings::virtio_blk::VIRTIO_BLK_F_MQ;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vmm_sys_util::eventfd::EventFd;

/// Longest that nothing may happen.
const PATIENCE_MS: u16 = 20_000;
const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS as u64);

/// How often a client that polls finds nothing before it looks at the clock.
const POLLS: u32 = 256;

/// How a client learns that a request is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// It sleeps until the device calls, like a guest.
    Events,
    /// It looks at the used ring all the time, like `io_uring` polling or SPDK in a guest.
    Polls,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Reads or writes.
    pub op: Op,
    /// Requests under way in each queue, 1 to 128.
    pub depth: u16,
    /// Queues.
    pub queues: u16,
    /// How it waits.
    pub waits: Waits,
}

/// The disk that a client works on.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// Blocks of 4 KiB.
    pub blocks: u64,
    /// Whether each begins with its own number, which is then checked in all that is read.
    pub stamped: bool,
}

/// A connected client with requests under way.
pub struct Client {
    load: Load,
    disk: Disk,
    rings: Vec<Ring>,
    kicks: Vec<EventFd>,
    call: EventFd,
    random: Random,
    /// The block of each slot's request, and when it was offered if that is of interest.
    blocks: Vec<u64>,
    offered: Vec<Instant>,
    /// How long requests took: of one at a time alone, for the clock costs time itself.
    pub times: Option<Times>,
    _frontend: Frontend,
}

impl Client {
    /// Connects and offers the first requests.
    ///
    /// # Errors
    /// The server does not agree.
    pub fn connect(socket: &Path, load: Load, disk: Disk) -> Result<Client> {
        let size = Ring::size(load.depth);
        let each = Ring::bytes(size, load.depth).next_multiple_of(BLOCK);
        let memory = Rc::new(Shared::new(each * usize::from(load.queues))?);
        let ring =
            |queue: u16| Ring::new(memory.clone(), each * usize::from(queue), size, load.depth, load.op);
        let rings: Vec<Ring> = (0..load.queues).map(ring).collect();
        let call = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).context("eventfd")?;
        let kicks: Vec<EventFd> = rings
            .iter()
            .map(|_| EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC))
            .collect::<Result<_, _>>()
            .context("eventfd")?;
        let mut frontend = negotiate(socket, load.queues)?;
        frontend.set_mem_table(&[memory.region()]).context("SET_MEM_TABLE")?;
        for (index, (ring, kick)) in rings.iter().zip(&kicks).enumerate() {
            start(&mut frontend, index, ring, size, kick, &call)?;
        }
        let slots = rings.len() * usize::from(load.depth);
        let times = (slots == 1).then(Times::new).transpose()?;
        let (blocks, offered) = (vec![0; slots], vec![Instant::now(); slots]);
        let random = Random::new(1);
        let mut client =
            Client { load, disk, rings, kicks, call, random, blocks, offered, times, _frontend: frontend };
        client.begin()?;
        Ok(client)
    }

    fn begin(&mut self) -> Result<()> {
        for queue in 0..self.rings.len() {
            self.rings[queue].want_call(self.load.waits == Waits::Events);
            for slot in 0..self.load.depth {
                self.offer(queue, slot);
            }
            self.kick(queue)?;
        }
        Ok(())
    }

    fn index(&self, queue: usize, slot: u16) -> usize {
        queue * usize::from(self.load.depth) + usize::from(slot)
    }

    fn offer(&mut self, queue: usize, slot: u16) {
        let (index, block) = (self.index(queue, slot), self.random.below(self.disk.blocks));
        self.blocks[index] = block;
        if self.times.is_some() {
            self.offered[index] = Instant::now();
        }
        let ring = &mut self.rings[queue];
        if self.load.op == Op::Write && self.disk.stamped {
            ring.set_stamp(slot, block);
        }
        ring.offer(slot, block * (BLOCK as u64 / 512));
    }

    fn kick(&mut self, queue: usize) -> Result<()> {
        if self.rings[queue].wants_kick() {
            self.kicks[queue].write(1).context("cannot kick")?;
        }
        Ok(())
    }

    /// Keeps the queues full for that long; returns how many requests were through.
    ///
    /// # Errors
    /// A request failed, read what is not its block's, or nothing happened for 20 s.
    pub fn work(&mut self, duration: Duration) -> Result<u64> {
        let started = Instant::now();
        let (mut done, mut idle, mut last) = (0, 0, started);
        loop {
            let mut now = 0;
            for queue in 0..self.rings.len() {
                now += self.turn(queue)?;
            }
            done += now;
            if now == 0 && self.load.waits == Waits::Events {
                self.sleep()?;
                continue;
            }
            if now == 0 {
                std::hint::spin_loop();
                idle += 1;
                if idle % POLLS != 0 {
                    continue;
                }
            }
            let at = Instant::now();
            if now > 0 {
                last = at;
            }
            if at - started >= duration {
                return Ok(done);
            }
            ensure!(at - last < PATIENCE, "nothing was through for {PATIENCE:?}");
        }
    }

    /// Takes what is through in a queue and offers as much again.
    fn turn(&mut self, queue: usize) -> Result<u64> {
        let ready = self.rings[queue].ready();
        ensure!(ready <= self.load.depth, "the server used {ready} requests of {}", self.load.depth);
        for _ in 0..ready {
            let (slot, status) = self.rings[queue].take();
            ensure!(slot < self.load.depth, "the server used slot {slot}, which there is not");
            self.check(queue, slot, status)?;
            self.offer(queue, slot);
        }
        if ready > 0 {
            self.kick(queue)?;
        }
        Ok(u64::from(ready))
    }

    fn check(&mut self, queue: usize, slot: u16, status: u8) -> Result<()> {
        let index = self.index(queue, slot);
        if let Some(times) = &mut self.times {
            times.add(self.offered[index].elapsed().as_nanos() as u64);
        }
        let block = self.blocks[index];
        ensure!(status == 0, "{:?} of block {block} ended with status {status}", self.load.op);
        if self.load.op == Op::Read && self.disk.stamped {
            let stamp = self.rings[queue].stamp(slot);
            ensure!(stamp == block, "a read of block {block} returned what begins like block {stamp}");
        }
        Ok(())
    }

    /// Waits until the device calls, unless something is through already.
    fn sleep(&self) -> Result<()> {
        self.rings.iter().for_each(|ring| ring.want_call(true));
        if self.rings.iter().any(|ring| ring.ready() > 0) {
            return Ok(());
        }
        // SAFETY: the eventfd is open as long as `self`.
        let fd = unsafe { BorrowedFd::borrow_raw(self.call.as_raw_fd()) };
        let called = poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(PATIENCE_MS));
        match called {
            Ok(0) => bail!("the server did not call for {PATIENCE:?}"),
            Ok(_) => self.call.read().map(drop).context("cannot take the call"),
            Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("poll"),
        }
    }
}

fn negotiate(socket: &Path, queues: u16) -> Result<Frontend> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE)).context("a timeout for the server's answers")?;
    let mut frontend = Frontend::from_stream(stream, u64::from(queues));
    frontend.set_owner().context("SET_OWNER")?;
    let offered = frontend.get_features().context("GET_FEATURES")?;
    let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
    let needed = protocol | 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX;
    ensure!(offered & needed == needed, "the server offers {offered:#x}, which lacks some of {needed:#x}");
    let offered_protocol = frontend.get_protocol_features().context("GET_PROTOCOL_FEATURES")?;
    let wanted = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
    frontend.set_protocol_features(offered_protocol & wanted).context("SET_PROTOCOL_FEATURES")?;
    frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    let several = if queues > 1 { 1 << VIRTIO_BLK_F_MQ } else { 0 };
    frontend.set_features(offered & (needed | several)).context("SET_FEATURES")?;
    Ok(frontend)
}

fn start(
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
