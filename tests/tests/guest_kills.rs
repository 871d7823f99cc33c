//! The daemon is killed under a guest that works on its disk: QEMU connects again, and the guest notices nothing.

use blkstay_engine::journal::Record;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::guest::{Boot, Disk};
use blkstay_tests::number;
use blkstay_tests::random::Random;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const DISK_BYTES: u64 = 32 << 20;

/// Most kills for each that is asked for.
const KILLS_MAX: u64 = 20;

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
    let mut killed = 0;
    // A kill proves something if requests are under way, which a quick drive has but for moments.
    while killed < kills || taken_up(&daemon) <= kills / 2 {
        assert!(killed < KILLS_MAX * kills, "{killed} kills, and too little was under way to prove anything");
        killed += 1;
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
    println!("{killed} kills in {:?}: {what}", started.elapsed());
    guest.expect("fine");
    guest.end();
    daemon.end(Signal::SIGTERM);
    println!("{} requests were under way when it was killed", taken_up(&daemon));
}

/// How many requests were under way when a daemon was killed, as far as the next has taken them up.
fn taken_up(daemon: &Daemon) -> u64 {
    let is_meant = |record: &&Record| matches!(record, Record::Arrived { resubmitted: true, .. });
    daemon.records().iter().filter(is_meant).count() as u64
}

#[test]
fn a_guest_with_one_queue_outlives_fifty_daemons() {
    kill_often(Recipe::new(), 1, 32);
}

#[test]
fn a_guest_with_two_queues_outlives_fifty_daemons() {
    kill_often(Recipe::new(), 2, 128);
}
