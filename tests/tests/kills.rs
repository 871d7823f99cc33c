//! The daemon is killed in the middle of work, again and again: the guest notices nothing but the time.
//!
//! `BLKSTAY_KILLS` says how often, `BLKSTAY_SEED` when.

use blkstay_tests::client::Setup;
use blkstay_tests::daemon::Recipe;
use blkstay_tests::load::{Load, Shape};
use blkstay_tests::random::Random;
use blkstay_tests::{journal, number};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const DISK_BYTES: u64 = 16 << 20;

/// Most kills for each that is asked for.
const KILLS_MAX: u64 = 20;

/// Rules, so that requests are the engine's: some wait before the drive, some after.
const DELAYS: &str = r#"
[[rule]]
op    = "write"
gate  = "submit"
delay = "300us"

[[rule]]
op    = "read"
gate  = "complete"
delay = "200us"
"#;

/// Kills the daemon under a verified load; every request has to be used once, and the disk has to hold what it should.
fn kill_often(recipe: Recipe, queues: usize, depth: usize) {
    let (kills, seed) = (number("BLKSTAY_KILLS", 50), number("BLKSTAY_SEED", 1));
    println!("BLKSTAY_SEED={seed}");
    let mut daemon = recipe.blank(DISK_BYTES).start();
    let setup = Setup { queues, queue_size: 512, memory_bytes: 128 << 20, ..Setup::default() };
    let mut client = daemon.connect_with(setup.keeping_inflight());
    let shape = Shape { depth, sectors_max: 128 };
    let mut load = Load::new(&mut client, seed, DISK_BYTES / 512, shape);
    let mut random = Random::new(seed);
    let (started, mut in_flight, mut killed) = (Instant::now(), 0, 0);
    // A kill proves something if requests are under way.
    while killed < kills || in_flight as u64 <= kills / 2 {
        assert!(killed < KILLS_MAX * kills, "{killed} kills, and too little was under way to prove anything");
        killed += 1;
        load.run(&mut client, 1 + random.below(4 * depth as u64));
        load.fill(&mut client);
        let until = Instant::now() + Duration::from_micros(random.below(400));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        // The guest goes on as long as its rings have room.
        load.collect(&mut client);
        in_flight += load.under_way();
        load.fill(&mut client);
        daemon.start_again();
        client.reconnect(&daemon.socket);
    }
    load.run(&mut client, 1000);
    load.drain(&mut client);
    println!(
        "{killed} kills in {:?}: {} requests, {in_flight} under way when it was killed, {} sectors compared",
        started.elapsed(),
        load.completed,
        load.compared
    );
    daemon.end(Signal::SIGTERM);
    load.assert_holds(&daemon.image);
    journal::read(&daemon.journal);
}

#[test]
fn one_queue_one_request_at_a_time_survives_the_daemons_death() {
    kill_often(Recipe::new(), 1, 2);
}

#[test]
fn one_queue_survives_the_daemons_death() {
    kill_often(Recipe::new(), 1, 128);
}

#[test]
fn four_queues_survive_the_daemons_death() {
    kill_often(Recipe::new(), 4, 32);
}

#[test]
fn requests_that_rules_delay_survive_the_daemons_death() {
    kill_often(Recipe::new().policy(DELAYS), 4, 32);
}

#[test]
fn requests_that_threads_carry_out_survive_the_daemons_death() {
    kill_often(Recipe::new().argument("--aio").argument("threads"), 4, 32);
}
