//! A guest's filesystems and its bare disk: what was written is what is read, the filesystem is clean afterwards, and the
//! disk is what it would be on QEMU's own.
//!
//! `BLKSTAY_OPERATIONS` says how many operations on files, `BLKSTAY_REQUESTS` how many requests; the usual numbers are for
//! short tests.

use blkstay_tests::daemon::Recipe;
use blkstay_tests::guest::{Boot, Disk, Guest};
use blkstay_tests::host::skipped;
use blkstay_tests::number;
use nix::sys::signal::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

const DISK_BYTES: u64 = 384 << 20;

/// Whether a program of the host is there; says so if not.
fn have(program: &str) -> bool {
    let found = Command::new(program).arg("-V").output().is_ok();
    if !found {
        skipped(&format!("there is no {program}"));
    }
    found
}

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

/// Exercises a file on a filesystem, on the daemon's disk and on QEMU's own: it ends with the same content.
fn exercise_files(filesystem: &'static str, make: &[&str], check: &[&str]) {
    let (maker, checker) = (make[0], check[0]);
    if !have(maker) || !have(checker) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (operations, seed) = (number("BLKSTAY_OPERATIONS", 1500), number("BLKSTAY_SEED", 1));
    let script = format!(
        "appear /dev/vda\nmount -t {filesystem} /dev/vda /mnt || say failed\n\
         exercise files /mnt/file operations={operations} seed={seed} || say failed\numount /mnt\n"
    );
    let boot = Boot::new(&script).filesystem(filesystem);
    let (ours, theirs) = (blank(directory.path(), "ours"), blank(directory.path(), "theirs"));
    run(maker, &make[1..], &ours);
    std::fs::copy(&ours, &theirs).expect("a copy");
    let mut daemon = Recipe::new().image(&ours).start();
    let on_ours = exercised(boot.start(Disk::Served(&daemon.socket)));
    daemon.end(Signal::SIGTERM);
    run(checker, &check[1..], &ours);
    println!("RESULT {filesystem}: {on_ours}");
    assert_eq!(on_ours, exercised(boot.start(Disk::Raw(&theirs))));
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
    let (requests, seed) = (number("BLKSTAY_REQUESTS", 1000), number("BLKSTAY_SEED", 1));
    let script = format!(
        "appear /dev/vda\nread block </sys/block/vda/queue/logical_block_size\nsay block $block\n\
         exercise blocks /dev/vda threads={cpus} depth={depth} requests={requests} seed={seed} block=$block || \
         say failed\n"
    );
    let boot = Boot::new(&script).cpus(cpus);
    let (ours, theirs) = (blank(directory.path(), "ours"), blank(directory.path(), "theirs"));
    for image in [&ours, &theirs] {
        File::options().write(true).open(image).expect("the image").set_len(32 << 20).expect("its size");
    }
    let recipe = more.iter().fold(Recipe::new().image(&ours), |recipe, argument| recipe.argument(argument));
    let mut daemon = recipe.start();
    let guest = boot.start(Disk::Served(&daemon.socket));
    assert_eq!(guest.expect("block"), block.to_string());
    println!("RESULT {cpus} queues, depth {depth}, block {block}: {}", exercised(guest));
    daemon.end(Signal::SIGTERM);
    exercised(boot.blocks_of(block).start(Disk::Raw(&theirs)));
    let same = std::fs::read(&ours).expect("our image") == std::fs::read(&theirs).expect("QEMU's image");
    assert!(same, "the image is not what it is on QEMU's own disk");
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
fn a_disk_with_blocks_of_4096_bytes_is_what_it_is_on_qemus_own() {
    exercise_blocks(2, 32, &["--block-size", "4096"], 4096);
}
