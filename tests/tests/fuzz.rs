//! Twenty thousand chains and more, half of which make no sense; the same ones every time.
//!
//! `BLKSTAY_SEED` chooses others; a failure names the seed. `BLKSTAY_CHAINS` says how many make up the flood.

use blkstay_engine::request::Op;
use blkstay_tests::client::{Client, HEADER_BYTES, Setup};
use blkstay_tests::daemon::{Daemon, IMAGE_BYTES, Recipe};
use blkstay_tests::memory::BASE;
use blkstay_tests::queue::{Descriptor, INDIRECT, NEXT, WRITE};
use blkstay_tests::random::Random;
use blkstay_tests::request::{OK, Request};
use blkstay_tests::{journal, number};
use std::time::{Duration, Instant};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};

/// How many are offered; the daemon sees those that come before one that stops the ring.
const CHAINS: usize = 50_000;
const RING: u16 = 64;
const SECTORS: u64 = IMAGE_BYTES / 512;

/// Where random writes may go, if they are well-formed: the second half of the disk.
const WRITABLE: u64 = SECTORS / 2;

fn seed() -> u64 {
    std::env::var("BLKSTAY_SEED").ok().map_or(1, |seed| seed.parse().expect("BLKSTAY_SEED is a number"))
}

/// Makes chains that are right but for one thing or another.
struct Fuzzer {
    random: Random,
    arena: u64,
}

impl Fuzzer {
    fn sector(&mut self, kind: u32) -> u64 {
        let write = kind == 1;
        match self.random.below(12) {
            0 => self.random.pick(&[SECTORS, SECTORS + 1, u64::MAX, u64::MAX >> 9, 1 << 55, 1 << 54]),
            _ if write => WRITABLE + self.random.below(SECTORS - WRITABLE),
            _ => self.random.below(SECTORS),
        }
    }

    /// An address with something to say, of `length` bytes.
    fn place(&mut self, end: u64, length: u32) -> u64 {
        match self.random.below(40) {
            0 => self.random.pick(&[0, BASE - 1, end - 1, end, u64::MAX, u64::MAX - u64::from(length)]),
            1 => self.random.number(),
            _ => self.arena + self.random.below(1 << 16) * 16,
        }
    }

    fn length(&mut self) -> u32 {
        match self.random.below(12) {
            0 => self.random.pick(&[0, 1, 511, 513, 1 << 31, u32::MAX]),
            _ => 512 * (1 + self.random.below(8) as u32),
        }
    }

    /// Descriptors of a request; what `next` they have is for who places them.
    fn descriptors(&mut self, client: &Client) -> Vec<Descriptor> {
        let end = client.memory.end();
        let kind = self.random.pick(&[0, 0, 0, 1, 1, 1, 4, 8, 11, 13, 77]);
        if let VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES = kind {
            return self.clearing(client, kind);
        }
        let sector = self.sector(kind);
        let header_at = self.arena + self.random.below(1 << 10) * 16;
        let header = [u64::from(kind).to_le_bytes(), sector.to_le_bytes()].concat();
        client.memory.write(header_at, &header);
        let mut chain = vec![Descriptor::readable(header_at, HEADER_BYTES)];
        for _ in 0..self.random.below(5) {
            let length = self.length();
            let flags = if kind == 1 { 0 } else { WRITE };
            chain.push(Descriptor { at: self.place(end, length), length, flags, next: 0 });
        }
        chain.push(Descriptor::writable(self.arena + (1 << 21), 1));
        if self.random.once_in(6) {
            let spoilt = self.random.below(chain.len() as u64) as usize;
            self.spoil(&mut chain[spoilt], end);
        }
        chain
    }

    /// Descriptors of a discard or a write of zeros. Its range is where no other request has its data, so that it is
    /// never another one than is written here.
    fn clearing(&mut self, client: &Client, kind: u32) -> Vec<Descriptor> {
        let header_at = self.clearing_at();
        let range_at = header_at + 16 * (1 + self.random.below(1 << 10));
        let sectors = self.random.pick(&[0, 1, 3, 8, 8, 9, 1 << 12, u32::MAX]);
        let flags = self.random.pick(&[0, 0, 0, 1, 2]);
        let range =
            [&self.sector(1).to_le_bytes()[..], &sectors.to_le_bytes(), &u32::to_le_bytes(flags)].concat();
        client.memory.write(range_at, &range);
        client.memory.write(header_at, &[&kind.to_le_bytes()[..], &[0; 12]].concat());
        let mut data = Descriptor::readable(range_at, 16);
        if self.random.once_in(6) {
            data.flags ^= WRITE;
        }
        vec![
            Descriptor::readable(header_at, HEADER_BYTES),
            data,
            Descriptor::writable(self.arena + (1 << 21), 1),
        ]
    }

    fn clearing_at(&self) -> u64 {
        self.arena + (3 << 21)
    }

    fn spoil(&mut self, descriptor: &mut Descriptor, end: u64) {
        match self.random.below(5) {
            0 => descriptor.flags ^= WRITE,
            1 => descriptor.flags |= INDIRECT,
            2 => descriptor.length = self.length(),
            3 => descriptor.at = self.place(end, descriptor.length),
            _ => descriptor.flags = self.random.number() as u16,
        }
    }

    /// Links descriptors that begin at `first`; seldom wrongly.
    fn link(&mut self, chain: &mut [Descriptor], first: u16) {
        let last = chain.len() - 1;
        for (number, descriptor) in chain.iter_mut().enumerate().take(last) {
            descriptor.flags |= NEXT;
            descriptor.next = first + number as u16 + 1;
        }
        if chain[0].at != self.clearing_at() && self.random.once_in(60) {
            let spoilt = self.random.below(chain.len() as u64) as usize;
            chain[spoilt].next = self.random.pick(&[0, first, RING, u16::MAX]);
            chain[spoilt].flags |= NEXT;
        }
    }

    /// Offers some chains at once; returns how many.
    fn offer(&mut self, client: &mut Client) -> usize {
        let mut first = 0_u16;
        let mut offered = 0;
        loop {
            let mut chain = self.descriptors(client);
            if self.random.once_in(3) {
                self.link(&mut chain, 0);
                let bytes: Vec<u8> = chain.iter().flat_map(Descriptor::bytes).collect();
                let table_at = self.arena + (2 << 21) + 256 * offered as u64;
                client.memory.write(table_at, &bytes);
                chain = vec![Descriptor::table(table_at, bytes.len() as u32)];
            }
            if usize::from(first) + chain.len() > usize::from(RING) {
                return offered;
            }
            self.link(&mut chain, first);
            for (number, descriptor) in chain.iter().enumerate() {
                client.queues[0].set_descriptor(first + number as u16, *descriptor);
            }
            let wrong_head = self.random.once_in(300);
            client.queues[0].offer_head(if wrong_head { self.random.number() as u16 } else { first });
            first += chain.len() as u16;
            offered += 1;
        }
    }
}

/// Sends the chains to a daemon; what it did with them.
fn torment(daemon: &Daemon, seed: u64) {
    println!("BLKSTAY_SEED={seed}");
    let mut client = daemon.connect_with(Setup { queues: 2, queue_size: RING, ..Setup::default() });
    let arena = client.allocate(8 << 20);
    let mut fuzzer = Fuzzer { random: Random::new(seed), arena };
    let mut offered = 0;
    while offered < CHAINS {
        offered += fuzzer.offer(&mut client);
        client.queues[0].kick();
        // The worker looks at one queue after the other: when this is through, it has seen the rest.
        client.allocate_from(arena + (8 << 20));
        let fence = client.start_on(1, &Request::id());
        assert_eq!(client.wait(&fence).status, OK);
        client.stop_queue(0);
        client.queues[0].reset();
        client.start_queue(0);
    }
    assert_eq!(client.ask(&Request::flush()).status, OK);
    drop(client);
    daemon.assert_serves();
}

#[test]
fn any_chain_gets_a_status_or_stops_the_ring_and_the_image_stays_whole() {
    let daemon = Recipe::new().argument("--threads").argument("1").start();
    let before = daemon.content();
    torment(&daemon, seed());
    let after = daemon.content();
    assert_eq!(after.len(), before.len());
    let unwritable = WRITABLE as usize * 512;
    assert!(after[..unwritable] == before[..unwritable], "a write went where none was asked for");
    let records = daemon.records();
    journal::assert_accounted_for(&records);
    let arrived = journal::arrived(&records);
    for request in &arrived {
        let end = request.range.offset + request.range.length;
        assert!(end <= IMAGE_BYTES && request.range.length % 512 == 0, "{request:?} was let in");
    }
    let of = |op| arrived.iter().filter(|request| request.op == op).count();
    let (written, discarded, zeroed) = (of(Op::Write), of(Op::Discard), of(Op::WriteZeroes));
    let bad = journal::bad_requests(&records);
    let stopped = bad.iter().filter(|why| why.ends_with("the ring is stopped")).count();
    println!(
        "{} arrived, {written} of them writes, {discarded} discards, {zeroed} zeros; {} were bad, {stopped} of them stopped the ring",
        arrived.len(),
        bad.len()
    );
    assert!(arrived.len() + bad.len() > 20_000);
    assert!(
        written > 500 && discarded > 100 && zeroed > 100 && bad.len() - stopped > 500 && stopped > 100,
        "too few of a kind to prove anything"
    );
}

#[test]
fn a_read_only_image_stays_as_it_is() {
    let daemon = Recipe::new().argument("--read-only").argument("--threads").argument("1").start();
    let before = daemon.content();
    torment(&daemon, seed().wrapping_add(1));
    assert!(daemon.content() == before);
}

/// Whether a memory of the daemon's has grown, in KiB.
const GROWTH_KB_MAX: u64 = 32 << 10;

#[test]
fn a_flood_of_chains_takes_neither_memory_nor_descriptors_and_stays_in_its_half() {
    let (chains, seed) = (number("BLKSTAY_CHAINS", 20_000), seed().wrapping_add(2));
    println!("BLKSTAY_SEED={seed}");
    let daemon = Recipe::new().no_journal().argument("--threads").argument("1").start();
    let before = daemon.content();
    let setup =
        Setup { queues: 2, queue_size: RING, lasts_max: Duration::from_secs(7200), ..Setup::default() };
    let mut client = daemon.connect_with(setup);
    let arena = client.allocate(8 << 20);
    let mut fuzzer = Fuzzer { random: Random::new(seed), arena };
    let (started, mut seen, mut stopped) = (Instant::now(), 0, 0_u64);
    let mut at_first = None;
    while seen < chains {
        let used = client.queues[0].used_index();
        let offered = fuzzer.offer(&mut client);
        client.queues[0].kick();
        client.allocate_from(arena + (8 << 20));
        let fence = client.start_on(1, &Request::id());
        assert_eq!(client.wait(&fence).status, OK);
        client.stop_queue(0);
        let through = u64::from(client.queues[0].used_index().wrapping_sub(used));
        let is_stopped = through < offered as u64;
        seen += through + u64::from(is_stopped);
        stopped += u64::from(is_stopped);
        client.queues[0].reset();
        client.start_queue(0);
        // What a daemon needs when it works is not what it grows by.
        if at_first.is_none() && seen > chains / 10 {
            at_first = Some((daemon.status("VmRSS"), daemon.open_files()));
        }
    }
    let (memory, files) = at_first.expect("a tenth of them");
    let per_second = seen as f64 / started.elapsed().as_secs_f64();
    println!(
        "RESULT {seen} chains, {stopped} stopped the ring, {per_second:.0}/s; memory {memory} -> {} KiB, files {files} -> {}",
        daemon.status("VmRSS"),
        daemon.open_files()
    );
    assert!(daemon.status("VmRSS") < memory + GROWTH_KB_MAX);
    assert!(daemon.open_files() <= files);
    let (after, unwritable) = (daemon.content(), WRITABLE as usize * 512);
    assert!(after.len() == before.len() && after[..unwritable] == before[..unwritable]);
    drop(client);
    daemon.assert_serves();
}
