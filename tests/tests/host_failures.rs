//! The host fails: its disk is full, the image is cut, the device has errors. The guest gets an error, the journal says
//! what the host said, and everything else goes on.

use blkstay_engine::journal::Record;
use blkstay_engine::request::Status;
use blkstay_tests::binary;
use blkstay_tests::client::Client;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::host::{Loop, SmallFilesystem};
use blkstay_tests::journal;
use blkstay_tests::request::{Done, IO_ERROR, OK, Request};
use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::path::Path;
use std::process;

const MB: u64 = 1 << 20;

/// Ways in which requests go to the image, and whether the engine sees them.
fn ways() -> [Recipe; 3] {
    // Whatever matches makes a request the engine's.
    let seen = "[[rule]]\nop = \"any\"\ngate = \"complete\"\ndelay = \"10us\"\n";
    let threads = Recipe::new().argument("--aio").argument("threads");
    [Recipe::new(), threads, Recipe::new().policy(seen)]
}

/// What the host said to requests that failed, and what a drive would have said.
fn failures(daemon: &Daemon) -> Vec<(Status, String)> {
    let failure = |record: Record| match record {
        Record::Done { status, error: Some(error), .. }
        | Record::Completed { status, error: Some(error), .. } => Some((status, error)),
        _ => None,
    };
    daemon.records().into_iter().filter_map(failure).collect()
}

fn sparse(path: &Path, bytes: u64) {
    OpenOptions::new().create(true).write(true).truncate(true).open(path).unwrap().set_len(bytes).unwrap();
}

#[track_caller]
fn assert_failed(done: &Done) {
    assert_eq!((done.status, done.written), (IO_ERROR, 1));
}

#[test]
fn a_host_disk_that_is_full_is_an_error_for_the_guest_and_not_the_end() {
    for recipe in ways() {
        let Some(small) = SmallFilesystem::mount(MB) else { return };
        let (image, ballast) = (small.path().join("image"), small.path().join("ballast"));
        sparse(&image, 8 * MB);
        std::fs::write(&ballast, vec![1; 512 << 10]).unwrap();
        let daemon = recipe.image(&image).start();
        let mut client = daemon.connect();
        client.write(0, &[7; 65536]);
        let full = (0..16).map(|n| client.ask(&Request::write(1024 + n * 128, &[9; 65536])));
        let full: Vec<Done> = full.filter(|done| done.status != OK).collect();
        assert!(full.len() > 4, "the disk was not full");
        full.iter().for_each(assert_failed);
        let failures = failures(&daemon);
        assert_eq!(failures.len(), full.len());
        for (status, error) in &failures {
            assert_eq!(*status, Status::CapacityExceeded);
            assert!(error.contains("No space left on device"), "{error}");
        }
        assert_eq!(client.read(0, 65536), [7; 65536], "what was written before is still there");
        std::fs::remove_file(&ballast).unwrap();
        client.write(1024 + 15 * 128, &[9; 65536]);
        assert_eq!(client.read(1024 + 15 * 128, 65536), [9; 65536], "it works again when there is room");
        drop(client);
        daemon.assert_serves();
    }
}

#[test]
fn an_image_that_was_cut_is_an_error_where_it_is_missing_and_nowhere_else() {
    for recipe in ways() {
        let daemon = recipe.image_bytes(MB).start();
        let mut client = daemon.connect();
        let before = client.read(0, 4096);
        OpenOptions::new().write(true).open(&daemon.image).unwrap().set_len(MB / 2).unwrap();
        assert_failed(&client.ask(&Request::read(1536, 4096)));
        assert_failed(&client.ask(&Request::read(1020, 4096)));
        assert_eq!(client.read(0, 4096), before);
        for (status, error) in failures(&daemon) {
            assert_eq!(status, Status::UnrecoveredRead);
            assert!(error.contains("was it truncated?"), "{error}");
        }
        assert_eq!(failures(&daemon).len(), 2);
        client.write(1536, &[5; 4096]);
        assert_eq!(client.read(1536, 4096), [5; 4096], "what is written there is there");
        drop(client);
        daemon.assert_serves();
    }
}

/// A loop device before a file that is cut: what is missing is unreadable, as on a bad disk.
fn on_a_bad_device(check: impl Fn(&Daemon, &mut Client, &Path)) {
    for recipe in ways() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        sparse(&file, 4 * MB);
        let Some(device) = Loop::before(&file) else { return };
        let daemon = recipe.image(device.path()).argument("--direct").start();
        let mut client = daemon.connect();
        check(&daemon, &mut client, &file);
        drop(client);
        daemon.assert_serves();
    }
}

#[test]
fn an_error_of_the_device_is_an_error_for_the_guest() {
    on_a_bad_device(|daemon, client, file| {
        client.write(0, &[7; 4096]);
        OpenOptions::new().write(true).open(file).unwrap().set_len(2 * MB).unwrap();
        assert_failed(&client.ask(&Request::read(3 * MB / 512, 4096)));
        assert_eq!(client.read(0, 4096), [7; 4096]);
        let failures = failures(daemon);
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].0, Status::UnrecoveredRead);
        assert!(failures[0].1.contains("Input/output error"), "{failures:?}");
    });
}

#[test]
fn a_flush_says_that_what_was_written_is_lost() {
    let Some(small) = SmallFilesystem::mount(MB) else { return };
    let file = small.path().join("file");
    sparse(&file, 8 * MB);
    let Some(device) = Loop::before(&file) else { return };
    let daemon = Recipe::new().image(device.path()).start();
    let mut client = daemon.connect();
    for n in 0..32 {
        client.write(n * 128, &[9; 65536]);
    }
    assert_failed(&client.ask(&Request::flush()));
    let failures = failures(&daemon);
    assert_eq!(failures.len(), 1, "only the flush failed: {failures:?}");
    drop(client);
    daemon.assert_serves();
}

#[test]
fn a_journal_whose_disk_is_full_ends_the_daemon_which_says_so() {
    let Some(small) = SmallFilesystem::mount(MB) else { return };
    let path = small.path().join("journal");
    let mut daemon =
        Recipe::new().no_journal().argument("--journal").argument(&path.display().to_string()).start();
    let seen = daemon.read_until_it_ends();
    assert_eq!(daemon.wait().code(), Some(1));
    let errors = daemon.errors();
    assert!(errors.contains("the journal cannot be written: No space left on device"), "{errors}");
    let completed = journal::completed(&journal::read(&path));
    assert!(0 < seen && seen <= completed, "{seen} seen, {completed} in the journal");
}

#[test]
fn a_limit_for_files_is_an_error_for_the_guest_and_not_the_end() {
    for aio in ["io_uring", "threads"] {
        // Blocks of 512 bytes: the limit is in the middle of the image.
        let recipe = Recipe::new().image_bytes(MB).file_blocks_max(1024).no_journal();
        let daemon = recipe.argument("--aio").argument(aio).start();
        let mut client = daemon.connect();
        client.write(0, &[7; 4096]);
        assert_failed(&client.ask(&Request::write(1536, &[9; 4096])));
        assert_eq!(client.read(0, 4096), [7; 4096]);
        drop(client);
        daemon.assert_serves();
    }
}

#[test]
fn a_journal_that_finds_no_room_at_the_start_is_refused_and_nothing_of_it_is_left() {
    let Some(small) = SmallFilesystem::mount(64 << 10) else { return };
    let (ballast, journal) = (small.path().join("ballast"), small.path().join("journal"));
    let _ = std::fs::write(&ballast, vec![1; 128 << 10]);
    let shown = journal.display();
    let directory = tempfile::tempdir().unwrap();
    let start = |socket: &str| {
        let socket = directory.path().join(socket).display().to_string();
        let arguments = format!("--image memory:1M --journal {shown} --socket {socket}");
        binary::run("blkstayd", &arguments.split(' ').collect::<Vec<_>>())
    };
    let ended = start("s");
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    let said =
        format!("blkstayd: journal {shown}: it cannot be begun: No space left on device (os error 28)\n");
    assert_eq!(ended.err, said);
    assert_eq!(journal.metadata().unwrap().len(), 0);
    std::fs::remove_file(&ballast).unwrap();
    let ended = start(&"x".repeat(200));
    assert!(ended.err.contains("use a shorter one"), "it is something else that is wrong: {}", ended.err);
}

#[test]
fn an_overlay_is_dropped_unless_the_daemon_ends_as_told() {
    for (blocks, is_committed) in [(None, true), (Some(136), false)] {
        let recipe = Recipe::new().image_bytes(MB).argument("--overlay").argument("memory");
        let recipe = recipe.argument("--overlay-end").argument("commit");
        let recipe = if let Some(blocks) = blocks { recipe.file_blocks_max(blocks) } else { recipe };
        let mut daemon = recipe.start();
        let before = daemon.content();
        daemon.connect().write(8, &[9; 4096]);
        if is_committed {
            daemon.end(Signal::SIGTERM);
        } else {
            // Until its journal is as long as a file may be.
            daemon.read_until_it_ends();
            assert_eq!(daemon.wait().code(), Some(1));
        }
        assert_eq!(daemon.content() != before, is_committed);
    }
}

#[test]
fn a_journal_whose_media_fail_is_said_at_the_end() {
    // A filesystem on a file that has no room left when its blocks are written back.
    let Some(thin) = SmallFilesystem::mount(6 * MB) else { return };
    let file = thin.path().join("file");
    sparse(&file, 64 * MB);
    let Some(device) = Loop::before(&file) else { return };
    let made = process::Command::new("mkfs.ext4")
        .args(["-q", "-F", "-O", "^has_journal"])
        .arg(device.path())
        .status();
    assert!(made.expect("mkfs.ext4").success());
    let Some(filesystem) = SmallFilesystem::ext4(device.path()) else { return };
    let journal = filesystem.path().join("journal");
    let recipe = Recipe::new().no_journal().argument("--journal").argument(&journal.display().to_string());
    nix::unistd::sync();
    let mut daemon = recipe.start();
    let _ = std::fs::write(thin.path().join("ballast"), vec![1; 8 << 20]);
    let mut client = daemon.connect();
    let unused = client.allocate(0);
    for sector in 0..2000 {
        client.allocate_from(unused);
        client.write(sector, &[7; 512]);
    }
    drop(client);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.errors());
    assert!(daemon.errors().contains("the journal cannot be written to its media"), "{}", daemon.errors());
}
