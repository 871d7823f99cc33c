//! fio in a guest, with verification: mixed sizes at random places, one queue and four, up to 128 requests under way.
//!
//! `BLKSTAY_FIO_MB` says how many megabytes each of its jobs writes and verifies; the usual number is for a short test.

use blkstay_tests::daemon::Recipe;
use blkstay_tests::guest::{Boot, Disk};
use blkstay_tests::host::have;
use blkstay_tests::number;
use nix::sys::signal::Signal;

/// Bytes of the disk for each job.
const SHARE_MB: u64 = 64;

/// Blocks are verified while others are written, and all of them again at the end.
fn fio(jobs: u16, depth: u16, megabytes: u64, seed: u64) -> String {
    format!(
        "fio --name=v --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth={depth} --numjobs={jobs} \
         --size={SHARE_MB}m --offset_increment={SHARE_MB}m --io_size={megabytes}m --rw=randwrite --bsrange=512-32k \
         --blockalign=512 --verify=crc32c --verify_backlog=32 --verify_fatal=1 --fsync=50 --randseed={seed} \
         --group_reporting --output=/tmp/said && say verified $(grep issued /tmp/said) || {{ \
         while read -r line; do say \"$line\"; done </tmp/said; say failed; }}\n"
    )
}

fn verify(jobs: u16, depths: &[u16]) {
    if !have("fio") {
        return;
    }
    let (megabytes, seed) = (number("BLKSTAY_FIO_MB", 4), number("BLKSTAY_SEED", 1));
    let runs: String = depths.iter().map(|depth| fio(jobs, *depth, megabytes, seed)).collect();
    let boot = Boot::new(&format!("appear /dev/vda\n{runs}")).cpus(jobs).program("fio");
    let mut daemon = Recipe::new().blank(u64::from(jobs) * (SHARE_MB << 20)).start();
    let guest = boot.start(Disk::Served(&daemon.socket));
    for depth in depths {
        let (which, said) = guest.expect_any(&["verified", "failed"]);
        assert_eq!(which, 0, "fio found something wrong at depth {depth}");
        println!("RESULT {jobs} queues, depth {depth}: {said}");
    }
    guest.end();
    daemon.end(Signal::SIGTERM);
}

#[test]
fn fio_verifies_what_it_wrote_with_one_queue() {
    verify(1, &[1, 8, 32, 128]);
}

#[test]
fn fio_verifies_what_it_wrote_with_four_queues() {
    verify(4, &[1, 32, 128]);
}
