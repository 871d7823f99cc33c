//! A verified load that goes on and on: guests come and go, policies too, and in between somebody talks nonsense. The daemon's
//! memory and descriptors stay what they were.
//!
//! `BLKSTAY_SOAK_SECONDS` says how long; `make soak` has it last half an hour.

use blkstay_engine::control::Command;
use blkstay_tests::client::Setup;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::load::{Load, Shape};
use blkstay_tests::random::Random;
use blkstay_tests::request::{OK, Request};
use blkstay_tests::{number, wait_for};
use nix::sys::signal::Signal;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const SECTORS: u64 = (64 << 20) / 512;

/// Requests of a guest before the next one comes.
const REQUESTS: u64 = 5000;

/// What memory of its own may grow by while the load is the same, in KiB: allocators keep some of what they once had.
const GROWTH_KB_MAX: u64 = 4 << 10;

/// Concerns some of the requests: they go through the engine.
const POLICY: &str = r#"
[[rule]]
op    = "write"
every = 16
gate  = "complete"
delay = "100us"
"#;

/// One guest's life: how many requests of it are through.
fn live(daemon: &Daemon, random: &mut Random) -> u64 {
    let setup = Setup { queues: 4, queue_size: 512, memory_bytes: 64 << 20, ..Setup::default() };
    let lasts_max = Duration::from_secs(7200);
    let mut client = daemon.connect_with(Setup { lasts_max, ..setup.keeping_inflight() });
    assert_eq!(client.ask(&Request::write_zeroes(0, SECTORS as u32, 1)).status, OK);
    let shape = Shape { depth: random.pick(&[1, 8, 32, 64]), sectors_max: 64 };
    let mut load = Load::new(&mut client, random.number(), SECTORS, shape);
    load.run(&mut client, REQUESTS);
    load.drain(&mut client);
    load.completed
}

/// Somebody connects and says anything.
fn babble(daemon: &Daemon, random: &mut Random) {
    let length = 12 + random.below(200) as usize;
    let mut stream = UnixStream::connect(&daemon.socket).expect("connect");
    let _ = stream.write_all(&random.bytes(length));
}

/// Memory of its own in KiB, and open files, when no guest is there.
fn size(daemon: &Daemon) -> (u64, usize) {
    daemon.wait_until_guest_is_gone();
    (daemon.status("RssAnon"), daemon.open_files())
}

#[test]
fn a_load_that_goes_on_takes_neither_memory_nor_descriptors() {
    let (seconds, seed) = (number("BLKSTAY_SOAK_SECONDS", 6), number("BLKSTAY_SEED", 1));
    let length = Duration::from_secs(seconds);
    let journal = tempfile::tempdir().expect("a directory");
    let path = journal.path().join("journal").display().to_string();
    // Not the recipe's own: half an hour of it is more than is fed back in a moment.
    let recipe =
        Recipe::new().no_journal().argument("--journal").argument(&path).argument("--threads").argument("2");
    let mut daemon = recipe.blank(SECTORS * 512).start();
    let (started, mut random) = (Instant::now(), Random::new(seed));
    let (mut guests, mut requests, mut at_first, mut told) = (0, 0, None, Duration::ZERO);
    while started.elapsed() < length || at_first.is_none() {
        requests += live(&daemon, &mut random);
        guests += 1;
        babble(&daemon, &mut random);
        let policy = if guests % 2 == 0 { POLICY } else { "" };
        daemon.control().tell(Command::load("soak", policy, true));
        if at_first.is_none() && guests >= 4 && started.elapsed() > length / 10 {
            at_first = Some(size(&daemon));
        }
        if started.elapsed() > told + Duration::from_secs(60) {
            told = started.elapsed();
            println!("{told:?}: {guests} guests, {requests} requests, (KiB, files) {:?}", size(&daemon));
        }
    }
    let ((memory, files), (memory_at_last, files_at_last)) =
        (at_first.expect("a tenth of it"), size(&daemon));
    println!(
        "RESULT {:?}: {guests} guests, {requests} requests; memory {memory} -> {memory_at_last} KiB, files {files} -> {files_at_last}",
        started.elapsed()
    );
    assert!(memory_at_last < memory + GROWTH_KB_MAX, "{memory} -> {memory_at_last} KiB");
    // Who babbled last may be a guest still, and the connection that asked is closed soon.
    let closed = || (daemon.open_files() <= files).then_some(());
    wait_for(&format!("no more than {files} files, of {files_at_last}"), closed);
    daemon.end(Signal::SIGTERM);
}
