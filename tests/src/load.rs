//! A load that is verified: every sector is written with a stamp of its own, every sector that is read is compared, and
//! every chain has to be used once.

use crate::WATCHDOG;
use crate::client::Client;
use crate::random::Random;
use crate::request::{OK, Pending, Request};
use crate::stamp::{self, SECTOR};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

/// How much is under way at once, and how large it is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Requests under way in each queue.
    pub depth: usize,
    /// Most sectors of a request.
    pub sectors_max: u64,
}

/// Bytes beside the data that a request needs: header, status, a table of descriptors.
const EXTRA: usize = 512;

/// Most segments of a request.
const SEGMENTS_MAX: u64 = 4;

/// Most descriptors of a request in its ring.
const DESCRIPTORS_MAX: usize = 2 + SEGMENTS_MAX as usize;

/// What a request does to the sectors that it is about.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Read,
    Write { stamp: u64 },
    Zero,
    Flush,
}

#[derive(Debug)]
struct Flight {
    kind: Kind,
    first: u64,
    count: u64,
    slot: u64,
    pending: Pending,
}

/// One queue's part.
#[derive(Debug)]
struct Lane {
    under_way: BTreeMap<u16, Flight>,
    /// Free memory for requests.
    slots: Vec<u64>,
}

/// The load, and what the disk holds because of it.
#[derive(Debug)]
pub struct Load {
    random: Random,
    shape: Shape,
    lanes: Vec<Lane>,
    /// The stamp of each sector.
    stamps: Vec<u64>,
    /// Sectors that a request under way is about: no two are about the same, so that each has one right content.
    busy: Vec<bool>,
    next_stamp: u64,
    /// Requests that are through.
    pub completed: u64,
    /// Sectors that were read and compared.
    pub compared: u64,
}

impl Load {
    /// A load for a disk of zeros.
    #[track_caller]
    pub fn new(client: &mut Client, seed: u64, sectors: u64, shape: Shape) -> Load {
        Load::on(client, client.queues.len(), seed, sectors, shape)
    }

    /// The same on the first queues only.
    #[track_caller]
    pub fn on(client: &mut Client, queues: usize, seed: u64, sectors: u64, shape: Shape) -> Load {
        let slot_bytes = shape.sectors_max as usize * SECTOR + EXTRA;
        let lane = |_| Lane {
            under_way: BTreeMap::new(),
            slots: (0..shape.depth).map(|_| client.allocate(slot_bytes)).collect(),
        };
        let lanes = (0..queues).map(lane).collect();
        let (stamps, busy) = (vec![0; sectors as usize], vec![false; sectors as usize]);
        let random = Random::new(seed);
        Load { random, shape, lanes, stamps, busy, next_stamp: 1, completed: 0, compared: 0 }
    }

    /// Requests under way.
    pub fn under_way(&self) -> usize {
        self.lanes.iter().map(|lane| lane.under_way.len()).sum()
    }

    /// Keeps every queue full until so many more requests are through.
    #[track_caller]
    pub fn run(&mut self, client: &mut Client, requests: u64) {
        let until = self.completed + requests;
        while self.completed < until {
            self.fill(client);
            if self.collect(client) == 0 {
                sleep_until_called(client);
            }
        }
    }

    /// Waits until nothing is under way.
    #[track_caller]
    pub fn drain(&mut self, client: &mut Client) {
        while self.under_way() > 0 {
            if self.collect(client) == 0 {
                sleep_until_called(client);
            }
        }
        for queue in &client.queues {
            assert_eq!(
                queue.used_index(),
                queue.available,
                "queue {}: used otherwise than once",
                queue.index
            );
        }
    }

    /// Offers requests until every queue is full; also when nobody is there to take them.
    #[track_caller]
    pub fn fill(&mut self, client: &mut Client) {
        for queue in 0..self.lanes.len() {
            let before = client.queues[queue].available;
            while client.queues[queue].free() >= DESCRIPTORS_MAX {
                let Some(slot) = self.lanes[queue].slots.pop() else { break };
                self.offer(client, queue, slot);
            }
            if client.queues[queue].available != before {
                client.queues[queue].kick_if_wanted(before);
            }
        }
    }

    fn offer(&mut self, client: &mut Client, queue: usize, slot: u64) {
        let (mut kind, mut first, mut count) = (Kind::Flush, 0, 0);
        if !self.random.once_in(50)
            && let Some((free, sectors)) = self.find_free()
        {
            (first, count) = (free, sectors);
            kind = match self.random.below(20) {
                0 => Kind::Zero,
                1..10 => Kind::Read,
                _ => Kind::Write { stamp: self.next_stamp },
            };
            self.next_stamp += 1;
        }
        let request = match kind {
            Kind::Read => Request::read(first, count as usize * SECTOR),
            Kind::Write { stamp } => Request::write(first, &stamp::sectors(first, count, stamp)),
            Kind::Zero => Request::write_zeroes(first, count as u32, self.random.below(2) as u32),
            Kind::Flush => Request::flush(),
        };
        let segments = match kind {
            Kind::Read | Kind::Write { .. } => 1 + self.random.below(SEGMENTS_MAX) as usize,
            _ => 1,
        };
        let request = if self.random.once_in(2) { request.indirect() } else { request };
        client.allocate_from(slot);
        let pending = client.offer(queue, &request.segments(segments));
        self.mark(first, count, true);
        let flight = Flight { kind, first, count, slot, pending };
        let twice = self.lanes[queue].under_way.insert(flight.pending.head, flight);
        assert!(twice.is_none(), "a head that is under way was free");
    }

    fn mark(&mut self, first: u64, count: u64, busy: bool) {
        self.busy[first as usize..(first + count) as usize].fill(busy);
    }

    /// Some sectors that no request under way is about.
    fn find_free(&mut self) -> Option<(u64, u64)> {
        (0..8).find_map(|_| {
            let count = 1 + self.random.below(self.shape.sectors_max);
            let first = self.random.below(self.stamps.len() as u64 - count + 1);
            let is_free = !self.busy[first as usize..(first + count) as usize].contains(&true);
            is_free.then_some((first, count))
        })
    }

    /// Takes what is through, and checks it; says how many there were.
    #[track_caller]
    pub fn collect(&mut self, client: &mut Client) -> usize {
        let mut taken = 0;
        for queue in 0..self.lanes.len() {
            client.queues[queue].want_call();
            while let Some((head, written)) = client.queues[queue].take_used() {
                let flight = self.lanes[queue].under_way.remove(&head);
                let flight = flight
                    .unwrap_or_else(|| panic!("queue {queue}: head {head} was used and was not under way"));
                self.check(client, &flight, written);
                client.queues[queue].take_back(head, flight.pending.descriptors);
                self.lanes[queue].slots.push(flight.slot);
                self.completed += 1;
                taken += 1;
            }
        }
        taken
    }

    #[track_caller]
    fn check(&mut self, client: &Client, flight: &Flight, written: u32) {
        let Flight { kind, first, count, ref pending, .. } = *flight;
        assert_eq!(client.memory.read(pending.status_at, 1)[0], OK, "{flight:?}");
        assert_eq!(written as usize, pending.wanted + 1, "{flight:?}");
        let sectors = first as usize..(first + count) as usize;
        match kind {
            Kind::Read => {
                let found = client.memory.read(pending.data_at, pending.wanted);
                stamp::assert_are(first, &self.stamps[sectors], &found);
                self.compared += count;
            }
            Kind::Write { stamp } => self.stamps[sectors].fill(stamp),
            Kind::Zero => self.stamps[sectors].fill(0),
            Kind::Flush => {}
        }
        self.mark(first, count, false);
    }

    /// Fails unless an image that nobody writes holds what it should.
    #[track_caller]
    pub fn assert_holds(&self, image: &Path) {
        assert_eq!(self.under_way(), 0);
        stamp::assert_are(0, &self.stamps, &std::fs::read(image).expect("the image"));
    }
}

/// Sleeps until some queue is called, so that a call that is forgotten is found out.
#[track_caller]
fn sleep_until_called(client: &Client) {
    // SAFETY: the descriptors are open as long as `client`.
    let calls = client.queues.iter().map(|queue| unsafe { BorrowedFd::borrow_raw(queue.call.as_raw_fd()) });
    let mut polled: Vec<_> = calls.map(|call| PollFd::new(call, PollFlags::POLLIN)).collect();
    let timeout = PollTimeout::try_from(WATCHDOG / 2).expect("a timeout that fits");
    // Twice: whoever stops everything for a while (SIGSTOP) takes up one of them.
    let called =
        (0..2).map(|_| poll(&mut polled, timeout).expect("poll")).find(|called| *called > 0).unwrap_or(0);
    let indexes = client.queues.iter().map(|queue| (queue.available, queue.used_index()));
    let indexes: Vec<_> = indexes.collect();
    assert!(called > 0, "no call within {WATCHDOG:?}; available and used: {indexes:?}");
    for queue in &client.queues {
        let _ = queue.call.read();
    }
}
