//! The daemon is killed under a guest that works on its disk: QEMU connects again, and the guest notices nothing.

use blkstay_engine::journal::Record;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::guest::{Boot, Disk};
use blkstay_tests::number;
use blkstay_tests::random::Random;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const DISK_BYTES: u64 = 32 << 20;

/// Works on the disk until it is told to stop.
fn exercise(threads: u16, depth: u16) -> String {
    format!(
        "appear /dev/vda\nexercise blocks /dev/vda threads={threads} depth={depth} &\n\
         say started\nread line\ntouch /run/stop\nwait $! && say fine || say failed\n"
    )
}

fn kill_often(recipe: Recipe, cpus: u16, depth: u16) {
    let (kills, seed) = (number("BLKSTAY_KILLS", 50), number("BLKSTAY_SEED", 1));
    let mut daemon: Daemon = recipe.blank(DISK_BYTES).start();
    let boot = Boot::new(&exercise(cpus, depth)).cpus(cpus);
    let mut guest = boot.start(Disk::Served(&daemon.socket));
    guest.expect("started");
    let (started, mut random) = (Instant::now(), Random::new(seed));
    for _ in 0..kills {
        guest.expect("progress");
        let until = Instant::now() + Duration::from_micros(random.below(20_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        daemon.start_again();
    }
    guest.expect("progress");
    guest.say("stop");
    let (which, what) = guest.expect_any(&["exercised", "failed"]);
    assert_eq!(which, 0, "the exercise failed");
    println!("{kills} kills in {:?}: {what}", started.elapsed());
    guest.expect("fine");
    guest.end();
    daemon.end(Signal::SIGTERM);
    let taken_up = |record: &&Record| matches!(record, Record::Arrived { resubmitted: true, .. });
    let taken_up = daemon.records().iter().filter(taken_up).count();
    println!("{taken_up} requests were under way when it was killed");
    assert!(taken_up as u64 > kills / 2, "too little was under way to prove anything");
}

#[test]
fn a_guest_with_one_queue_outlives_fifty_daemons() {
    kill_often(Recipe::new(), 1, 32);
}

#[test]
fn a_guest_with_two_queues_outlives_fifty_daemons() {
    kill_often(Recipe::new(), 2, 128);
}
