//! A guest's filesystems and its bare disk: what was written is what is read, the filesystem is clean afterwards, and the
//! disk is what it would be on QEMU's own.
//!
//! `BLKSTAY_OPERATIONS` says how many operations on files, `BLKSTAY_REQUESTS` how many requests; the usual numbers are for
//! short tests.

use blkstay_lab::kernel::Need;
use blkstay_tests::daemon::Recipe;
use blkstay_tests::guest::{Boot, Disk, Guest};
use blkstay_tests::host::{Loop, have};
use blkstay_tests::{journal, number};
use nix::sys::signal::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

const DISK_BYTES: u64 = 384 << 20;

#[track_caller]
fn run(program: &str, arguments: &[&str], path: &Path) {
    let output = Command::new(program).args(arguments).arg(path).output().expect("run it");
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
    );
}

fn blank(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    File::create(&path).expect("an image").set_len(DISK_BYTES).expect("its size");
    path
}

/// What the exerciser says at its end.
#[track_caller]
fn exercised(guest: Guest) -> String {
    let (which, what) = guest.expect_any(&["exercised", "failed"]);
    assert_eq!(which, 0, "the exercise failed");
    guest.end();
    what
}

/// What makes `/dev/dm-0` be on two disks at once: whatever is written goes to both, what is read comes from the first.
const MIRROR: &str = "dmsetup create both --table \"0 $(cat /sys/block/vda/size) \
                      mirror core 2 1024 nosync 2 /dev/vda 0 /dev/vdb 0\" || say failed\n";

/// Exercises a file on a filesystem that is on the daemon's disk and on QEMU's own in one and the same run: the filesystem
/// is clean, and the disks are alike byte by byte. Two runs would not be, for their clocks.
fn exercise_files(filesystem: &str, make: &[&str], check: &[&str]) {
    let (maker, checker) = (make[0], check[0]);
    if ![maker, checker, "dmsetup"].into_iter().all(have) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (operations, seed) = (number("BLKSTAY_OPERATIONS", 1500), number("BLKSTAY_SEED", 1));
    let script = format!(
        "appear /dev/vda\nappear /dev/vdb\n{MIRROR}\
         mount -t {filesystem} -o discard /dev/dm-0 /mnt || say failed\n\
         exercise files /mnt/file operations={operations} seed={seed} || say failed\n\
         umount /mnt\ndmsetup remove both || say failed\n"
    );
    let mirror = Need::new("dm_mirror", "CONFIG_DM_MIRROR");
    let (ours, theirs) = (blank(directory.path(), "ours"), blank(directory.path(), "theirs"));
    run(maker, &make[1..], &ours);
    std::fs::copy(&ours, &theirs).expect("a copy");
    let boot = Boot::new(&script).filesystem(filesystem).driver(mirror).program("dmsetup").beside(&theirs);
    let mut daemon = Recipe::new().image(&ours).start();
    let done = exercised(boot.start(Disk::Served(&daemon.socket)));
    daemon.end(Signal::SIGTERM);
    run(checker, &check[1..], &ours);
    assert_alike(&ours, &theirs);
    println!("RESULT {filesystem}: {done}; {} requests", journal::arrived(&daemon.records()).len());
}

#[track_caller]
fn assert_alike(ours: &Path, theirs: &Path) {
    let same = std::fs::read(ours).expect("our image") == std::fs::read(theirs).expect("QEMU's image");
    assert!(same, "the image is not what it is on QEMU's own disk");
}

#[test]
fn a_file_on_ext4_holds_what_was_written_and_the_filesystem_is_clean() {
    exercise_files("ext4", &["mkfs.ext4", "-q", "-F"], &["e2fsck", "-f", "-n"]);
}

#[test]
fn a_file_on_xfs_holds_what_was_written_and_the_filesystem_is_clean() {
    exercise_files("xfs", &["mkfs.xfs", "-q", "-f"], &["xfs_repair", "-n"]);
}

/// Exercises the bare disk, on the daemon and on QEMU's own: the images are the same.
fn exercise_blocks(cpus: u16, depth: u16, more: &[&str], block: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = blank_disks(directory.path());
    compare_blocks(cpus, depth, Recipe::new().image(&ours), more, (&ours, &theirs), block);
}

/// Two images for exercises of the bare disk.
fn blank_disks(directory: &Path) -> (PathBuf, PathBuf) {
    let make = |name| {
        let path = blank(directory, name);
        File::options().write(true).open(&path).expect("the image").set_len(32 << 20).expect("its size");
        path
    };
    (make("ours"), make("theirs"))
}

/// The same for a daemon that serves ours, which has more arguments.
fn compare_blocks(
    cpus: u16,
    depth: u16,
    recipe: Recipe,
    more: &[&str],
    (ours, theirs): (&Path, &Path),
    block: u64,
) {
    let (requests, seed) = (number("BLKSTAY_REQUESTS", 1000), number("BLKSTAY_SEED", 1));
    let script = format!(
        "appear /dev/vda\nread block </sys/block/vda/queue/logical_block_size\nsay block $block\n\
         exercise blocks /dev/vda threads={cpus} depth={depth} requests={requests} seed={seed} block=$block || \
         say failed\n"
    );
    let boot = Boot::new(&script).cpus(cpus);
    let recipe = more.iter().fold(recipe, |recipe, argument| recipe.argument(argument));
    let mut daemon = recipe.start();
    let guest = boot.start(Disk::Served(&daemon.socket));
    assert_eq!(guest.expect("block"), block.to_string());
    println!("RESULT {cpus} queues, depth {depth}, block {block}: {}", exercised(guest));
    daemon.end(Signal::SIGTERM);
    exercised(boot.blocks_of(block).start(Disk::Raw(theirs)));
    assert_alike(ours, theirs);
}

#[test]
fn the_bare_disk_with_one_queue_is_what_it_is_on_qemus_own() {
    exercise_blocks(1, 1, &[], 512);
    exercise_blocks(1, 128, &[], 512);
}

#[test]
fn the_bare_disk_with_four_queues_is_what_it_is_on_qemus_own() {
    exercise_blocks(4, 32, &["--aio", "threads"], 512);
}

#[test]
fn a_block_device_with_sectors_of_4096_bytes_is_what_it_is_on_qemus_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = blank_disks(directory.path());
    let device = Loop::of_sectors(&ours, 4096);
    let recipe = match &device {
        Some(device) => Recipe::new().image(device.path()).argument("--direct"),
        None => Recipe::new().image(&ours),
    };
    compare_blocks(2, 32, recipe, &["--block-size", "4096"], (&ours, &theirs), 4096);
}
