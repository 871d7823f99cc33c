//! A drive that keeps what it gets until it is told to go on, so that what is in a guest's memory can change meanwhile.

use crate::carried::Carried;
use blkstay_drives::{Drive, Ended};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Held {
    pub drive: Box<dyn Drive<Carried>>,
    pub holding: AtomicBool,
    kept: Mutex<Vec<Carried>>,
}

impl Held {
    pub fn new(drive: Box<dyn Drive<Carried>>) -> Held {
        Held { drive, holding: AtomicBool::new(false), kept: Mutex::default() }
    }

    pub fn holds(&self) -> bool {
        self.holding.load(Ordering::Relaxed)
    }
}

impl Drive<Carried> for Held {
    fn submit(&self, lane: usize, requests: &mut Vec<Carried>, ended: &mut Vec<Ended<Carried>>) {
        match self.holds() {
            true => self.kept.lock().expect("what is kept").append(requests),
            false => self.drive.submit(lane, requests, ended),
        }
    }

    fn reap(&self, lane: usize, ended: &mut Vec<Ended<Carried>>) {
        if !self.holds() {
            let mut kept = std::mem::take(&mut *self.kept.lock().expect("what is kept"));
            self.drive.submit(lane, &mut kept, ended);
            self.drive.reap(lane, ended);
        }
    }

    fn ready(&self, lane: usize) -> Option<BorrowedFd<'_>> {
        self.drive.ready(lane)
    }

    fn notify(&self, lane: usize, on: bool) {
        self.drive.notify(lane, on);
    }

    fn woken(&self, lane: usize) {
        self.drive.woken(lane);
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.drive.read_at(offset, into)
    }

    fn bytes(&self) -> u64 {
        self.drive.bytes()
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.drive.resize(bytes)
    }

    fn end(&self) -> io::Result<()> {
        self.drive.end()
    }
}
