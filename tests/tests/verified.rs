//! Mixed loads, each sector of which is verified: on every kind of drive, one queue and four, up to 128 under way in each.
//!
//! `BLKSTAY_REQUESTS` says how many of each; the usual number is for a short test.

use blkstay_tests::client::Setup;
use blkstay_tests::daemon::Recipe;
use blkstay_tests::load::{Load, Shape};
use blkstay_tests::number;
use blkstay_tests::request::Request;
use nix::sys::signal::Signal;
use std::time::Instant;

const DISK_BYTES: u64 = 16 << 20;

/// Queues, and requests under way in each.
const SHAPES: [(usize, usize); 6] = [(1, 1), (1, 8), (1, 128), (4, 1), (4, 32), (4, 128)];

fn setup(queues: usize) -> Setup {
    Setup { queues, queue_size: 512, memory_bytes: 128 << 20, ..Setup::default() }
}

/// Runs every shape of load; the image is compared at the end if the daemon writes it.
fn verify(recipe: impl Fn() -> Recipe, is_in_image: bool) {
    let (requests, seed) = (number("BLKSTAY_REQUESTS", 2000), number("BLKSTAY_SEED", 1));
    for (queues, depth) in SHAPES {
        let mut daemon = recipe().blank(DISK_BYTES).start();
        let mut client = daemon.connect_with(setup(queues));
        let mut load = Load::new(&mut client, seed, DISK_BYTES / 512, Shape { depth, sectors_max: 128 });
        let started = Instant::now();
        load.run(&mut client, requests);
        load.drain(&mut client);
        println!("RESULT {queues}×{depth}: {} in {:?}", load.completed, started.elapsed());
        drop(client);
        daemon.end(Signal::SIGTERM);
        if is_in_image {
            load.assert_holds(&daemon.image);
        }
    }
}

#[test]
fn a_file_by_io_uring_holds_what_was_written() {
    verify(Recipe::new, true);
}

#[test]
fn a_file_by_threads_holds_what_was_written() {
    verify(|| Recipe::new().argument("--aio").argument("threads"), true);
}

#[test]
fn an_overlay_holds_what_was_written_and_its_base_is_untouched() {
    let (requests, seed) = (number("BLKSTAY_REQUESTS", 2000), number("BLKSTAY_SEED", 1));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("overlay").display().to_string();
    for overlay in ["memory", &path] {
        for end in ["drop", "commit"] {
            let recipe = Recipe::new().argument("--overlay").argument(overlay);
            let mut daemon = recipe.argument("--overlay-end").argument(end).blank(DISK_BYTES).start();
            let mut client = daemon.connect_with(setup(4));
            let mut load =
                Load::new(&mut client, seed, DISK_BYTES / 512, Shape { depth: 32, sectors_max: 128 });
            load.run(&mut client, requests);
            load.drain(&mut client);
            drop(client);
            assert!(daemon.content().iter().all(|byte| *byte == 0), "{overlay}: the base was written");
            daemon.end(Signal::SIGTERM);
            match end {
                "commit" => load.assert_holds(&daemon.image),
                _ => assert!(daemon.content().iter().all(|byte| *byte == 0), "{overlay}: it was committed"),
            }
        }
    }
}

#[test]
fn a_disk_in_memory_holds_what_was_written() {
    verify(|| Recipe::new().image_spec(&format!("memory:{DISK_BYTES}")), false);
}

#[test]
fn a_disk_that_keeps_nothing_reads_as_zeros() {
    let daemon = Recipe::new().image_spec(&format!("null:{DISK_BYTES}")).start();
    let mut client = daemon.connect();
    client.write(0, &[7; 4096]);
    assert_eq!(client.read(0, 4096), [0; 4096]);
}

#[test]
fn a_queue_is_reset_again_and_again_while_others_go_on() {
    let daemon = Recipe::new().blank(DISK_BYTES).start();
    let mut client = daemon.connect_with(setup(4));
    // The load has the queues before the last, which is reset.
    let sector = DISK_BYTES / 512 - 8;
    let shape = Shape { depth: 32, sectors_max: 64 };
    let mut load = Load::on(&mut client, 3, 5, sector, shape);
    let own = client.allocate(1 << 16);
    let (mut holds, mut taken) = (0, 0);
    for round in 1..=100 {
        load.run(&mut client, 20);
        client.allocate_from(own);
        client.start_on(3, &Request::write(sector, &[round; 4096]));
        let base = client.stop_queue(3);
        assert_eq!(
            base,
            client.queues[3].used_index(),
            "what was taken was not through when the queue stopped"
        );
        if base == client.queues[3].available {
            (holds, taken) = (round, taken + 1);
        }
        client.queues[3].reset();
        client.start_queue(3);
        client.allocate_from(own);
        let read = client.start_on(3, &Request::read(sector, 4096));
        assert_eq!(client.wait(&read).data, [holds; 4096]);
    }
    println!("RESULT {taken} of 100 were taken before the queue stopped");
    load.drain(&mut client);
}
