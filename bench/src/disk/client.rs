//! The client: a guest that does nothing but random reads or writes of 4 KiB, so many at a time.

use super::connection::{negotiate, start};
use super::ring::{BLOCK, Op, Ring};
use super::shared::Shared;
use crate::figure::Times;
use anyhow::{Context, Result, bail, ensure};
use blkstay_tests::random::Random;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use vhost::VhostBackend;
use vhost::vhost_user::Frontend;
use vmm_sys_util::eventfd::EventFd;

/// Longest that nothing may happen.
const PATIENCE_MS: u16 = 20_000;
pub const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS as u64);

/// How often a client that polls finds nothing before it looks at the clock.
const POLLS: u64 = 256;

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

/// How often a client looked at its queues.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    all: u64,
    in_vain: u64,
}

impl Turns {
    /// The share of them that were in vain, 0 to 1.
    pub fn in_vain(self) -> f64 {
        self.in_vain as f64 / self.all.max(1) as f64
    }
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
    /// How often it looked at all queues, and how often in vain: near 0, it is the client that limits the throughput.
    pub turns: Turns,
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
        let mut client = Client {
            load,
            disk,
            rings,
            kicks,
            call,
            random,
            blocks,
            offered,
            times,
            turns: Turns::default(),
            _frontend: frontend,
        };
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
        let (mut done, mut last) = (0, started);
        loop {
            let mut now = 0;
            for queue in 0..self.rings.len() {
                now += self.turn(queue)?;
            }
            done += now;
            self.turns.all += 1;
            self.turns.in_vain += u64::from(now == 0);
            if now == 0 && self.load.waits == Waits::Events {
                self.sleep()?;
                continue;
            }
            if now == 0 {
                std::hint::spin_loop();
                if !self.turns.in_vain.is_multiple_of(POLLS) {
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

#[cfg(test)]
mod tests {
    use super::super::image::{Image, Place};
    use super::*;
    use blkstay_tests::daemon::Recipe;

    const LOAD: Load = Load { op: Op::Read, depth: 32, queues: 2, waits: Waits::Events };
    const SHORT: Duration = Duration::from_millis(20);

    fn stamped() -> (Image, std::path::PathBuf) {
        let image = Image::file(&std::env::temp_dir(), 1 << 20, false).expect("an image");
        let Place::File { path, .. } = image.place.clone() else { unreachable!("it is a file") };
        (image, path)
    }

    #[test]
    fn each_block_that_is_read_is_the_one_that_was_asked_for() {
        let (image, path) = stamped();
        let daemon = Recipe::new().image(&path).start();
        for waits in [Waits::Events, Waits::Polls] {
            let mut client =
                Client::connect(&daemon.socket, Load { waits, ..LOAD }, image.disk()).expect("connected");
            assert!(client.work(SHORT).expect("good reads") > 0);
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let (image, path) = stamped();
        let daemon = Recipe::new().image(&path).start();
        for op in [Op::Write, Op::Read] {
            let mut client =
                Client::connect(&daemon.socket, Load { op, ..LOAD }, image.disk()).expect("connected");
            client.work(SHORT).expect("good requests");
        }
    }

    #[test]
    fn a_block_that_is_another_ones_is_noticed() {
        let daemon = Recipe::new().start();
        let disk = Disk { blocks: 256, stamped: true };
        let mut client = Client::connect(&daemon.socket, LOAD, disk).expect("connected");
        let error = client.work(SHORT).expect_err("the disk has random bytes");
        assert!(error.to_string().contains("returned what begins like block"), "{error}");
    }

    #[test]
    fn a_request_that_fails_is_noticed() {
        let daemon = Recipe::new().start();
        let beyond = Disk { blocks: 1 << 30, stamped: false };
        let mut client = Client::connect(&daemon.socket, LOAD, beyond).expect("connected");
        let error = client.work(SHORT).expect_err("the disk has 256 blocks");
        assert!(error.to_string().ends_with("ended with status 1"), "{error}");
    }
}
