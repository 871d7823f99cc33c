//! Many requests in flight on several lanes at once.

mod common;

use blkstay_drives::{Ended, Operation};
use common::{Asked, Disk, content, kinds, sleep};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::time::Duration;

const SECTOR: u64 = 512;
const SECTORS: usize = 600;
const LANES: usize = 3;
const DEPTH: usize = 40;
const ROUNDS: usize = 400;

/// What a lane knows about its sectors: every third, so that lanes share every block of an overlay.
struct Lane<'a> {
    disk: &'a Disk,
    number: usize,
    /// What each sector is filled with.
    fill: Vec<u8>,
    busy: Vec<bool>,
    random: u64,
}

impl Lane<'_> {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) as usize % below
    }

    fn next(&mut self) -> Option<Asked> {
        let index = self.random(self.fill.len());
        if std::mem::replace(&mut self.busy[index], true) {
            return None;
        }
        let start = (index * LANES + self.number) as u64 * SECTOR;
        let range = start..start + SECTOR;
        let mut asked = match self.random(8) {
            0..3 => Asked::read(range),
            3 => {
                self.fill[index] = 0;
                Asked::new(Operation::WriteZeroes { unmap: true, durable: false }, range)
            }
            fill => {
                self.fill[index] = (fill * 7 + self.random(200)) as u8;
                Asked::write(start, &[self.fill[index]; SECTOR as usize])
            }
        };
        asked.tag = index;
        Some(asked)
    }

    fn check(&mut self, ended: &Ended<Asked>) {
        ended.result.as_ref().unwrap();
        let index = ended.request.tag;
        assert!(self.busy[index], "a request ended twice");
        self.busy[index] = false;
        if ended.request.operation == Operation::Read {
            assert_eq!(
                ended.request.content(),
                [self.fill[index]; SECTOR as usize],
                "sector {index} of a lane"
            );
        }
    }

    /// Polls at times, sleeps at others.
    fn run(&mut self) {
        let (mut requests, mut ended, mut flying) = (Vec::new(), Vec::new(), 0);
        for round in 0..ROUNDS {
            let polls = round / 100 % 2 == 1;
            if round % 100 == 0 {
                self.disk.notify(self.number, !polls);
            }
            requests.extend((0..self.random(DEPTH)).filter_map(|_| self.next()));
            flying += requests.len();
            self.disk.submit(self.number, &mut requests, &mut ended);
            self.disk.reap(self.number, &mut ended);
            while flying - ended.len() > DEPTH {
                if !polls {
                    sleep(self.disk, self.number);
                }
                self.disk.reap(self.number, &mut ended);
            }
            flying -= ended.len();
            ended.drain(..).for_each(|ended| self.check(&ended));
        }
        self.disk.notify(self.number, true);
        self.disk.reap(self.number, &mut ended);
        while ended.len() < flying {
            sleep(self.disk, self.number);
            self.disk.reap(self.number, &mut ended);
        }
        ended.drain(..).for_each(|ended| self.check(&ended));
    }
}

#[test]
fn lanes_do_not_disturb_each_other() {
    for kind in kinds(&vec![0; SECTORS * LANES * SECTOR as usize]) {
        let disk = kind.open();
        let fills: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let start = |number| {
                let (fill, busy) = (vec![0; SECTORS], vec![false; SECTORS]);
                let mut lane = Lane { disk: &disk, number, fill, busy, random: 77 + number as u64 };
                scope.spawn(move || {
                    lane.run();
                    lane.fill
                })
            };
            let lanes: Vec<_> = (0..LANES).map(start).collect();
            lanes.into_iter().map(|lane| lane.join().expect(kind.name)).collect()
        });
        for (sector, bytes) in content(&disk).chunks(SECTOR as usize).enumerate() {
            let fill = fills[sector % LANES][sector / LANES];
            assert!(bytes.iter().all(|byte| *byte == fill), "{}: sector {sector}", kind.name);
        }
    }
}

/// What wakes a thread is not lost, whenever it comes between the switch and the sleep, and whoever looks meanwhile.
#[test]
fn who_is_woken_before_it_sleeps_does_not_sleep() {
    for kind in kinds(&vec![7; 1 << 20]) {
        let (disk, name) = (kind.open(), kind.name);
        let (over, watchdog) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
            disk.adopt(0, wake.as_raw_fd());
            for reaps in [0, 1, 2, 0, 1, 2] {
                disk.notify(0, true);
                wake.write(1).unwrap();
                let mut ended = Vec::new();
                (0..reaps).for_each(|_| disk.reap(0, &mut ended));
                let _ = disk.sleep(0);
                disk.notify(0, false);
                disk.reap(0, &mut ended);
            }
            disk.leave(0);
            over.send(()).unwrap();
        });
        watchdog.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{name}: it sleeps"));
        thread.join().unwrap();
    }
}

/// More at once than a ring has places for, and segments beyond what the kernel takes at once.
#[test]
fn a_crowd_gets_through() {
    for kind in kinds(&vec![7; 1 << 20]) {
        let disk = kind.open();
        let many = (0..3000).map(|at| Asked::read(at % 2048 * SECTOR..(at % 2048 + 1) * SECTOR)).collect();
        let ended = common::carry_out(&disk, 0, many);
        assert!(ended.iter().all(|ended| ended.result.is_ok()), "{}", kind.name);
        if kind.spec.direct {
            continue;
        }
        let lengths = [10; 5000];
        let content: Vec<u8> = (0..50_000u32).map(|at| (at % 241) as u8).collect();
        let write =
            Asked::in_pieces(Operation::Write { durable: true }, 99..50_099, &lengths, 3).holding(&content);
        common::one(&disk, write).0.unwrap();
        let (result, read) = common::one(&disk, Asked::in_pieces(Operation::Read, 99..50_099, &lengths, 1));
        result.unwrap();
        assert!(read.content() == content, "{}", kind.name);
    }
}

/// Requests that are under way when the drive goes do not outlive it.
#[test]
fn dropping_a_drive_waits_for_what_is_under_way() {
    for kind in kinds(&vec![7; 4 << 20]) {
        let disk = kind.open();
        let content = vec![9; 64 << 10];
        let mut many = (0..64).map(|at| Asked::write(at << 16, &content)).collect();
        disk.submit(0, &mut many, &mut Vec::new());
        drop(disk);
        if kind.name != "memory" && kind.spec.overlay.is_none() {
            let written = std::fs::read(kind.base()).unwrap();
            assert!(written.iter().all(|byte| *byte == 9), "{}: a write was lost", kind.name);
        }
    }
}

/// Each lane writes its sector of every block of a fresh overlay, at the same time as the others.
#[test]
fn first_writes_to_a_block_from_several_lanes_all_count() {
    const BLOCKS: u64 = 512;
    for kind in kinds(&vec![7; BLOCKS as usize * 4096]) {
        if kind.spec.overlay.is_none() {
            continue;
        }
        for _ in 0..10 {
            let (disk, start) = (kind.open(), std::sync::Barrier::new(LANES));
            let write = &|lane: usize| {
                start.wait();
                for block in 0..BLOCKS {
                    let asked =
                        Asked::write(block * 4096 + lane as u64 * SECTOR, &[lane as u8; SECTOR as usize]);
                    let ended = common::carry_out(&disk, lane, vec![asked]);
                    ended.into_iter().for_each(|ended| ended.result.unwrap());
                }
            };
            std::thread::scope(|scope| (0..LANES).for_each(|lane| drop(scope.spawn(move || write(lane)))));
            let expected: Vec<u8> =
                [0, 1, 2, 7, 7, 7, 7, 7].into_iter().flat_map(|fill| [fill; 512]).collect();
            for (block, bytes) in content(&disk).chunks(4096).enumerate() {
                assert!(bytes == expected, "{}: block {block}", kind.name);
            }
        }
    }
}
