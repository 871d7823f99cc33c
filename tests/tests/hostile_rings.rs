//! Rings that no driver would set up or use so: at worst the ring is stopped or the guest is hung up
//! on, and the next one is served.

use blkstay_engine::control::Command;
use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::fate::{self, Fate};
use blkstay_tests::memory::{BASE, Memory, user};
use blkstay_tests::request::{OK, Request};
use blkstay_tests::{journal, wait_for};
use std::sync::atomic::{AtomicBool, Ordering};
use vhost::{VhostBackend, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Has `offer` do something wrong with queue 0, which has to stop the ring for that reason.
fn assert_stopped(daemon: &Daemon, client: &mut Client, why: &str, offer: impl FnOnce(&mut Client)) {
    let verdict = fate::of(daemon, client, |client| {
        offer(client);
        None
    });
    assert_eq!(verdict.fate, Fate::Stopped, "{}", verdict.why);
    assert!(verdict.why.contains(why), "{}", verdict.why);
}

#[test]
fn an_available_index_that_jumps_stops_the_ring() {
    let daemon = Daemon::start();
    for jump in [65, 1000, u16::MAX] {
        let mut client = daemon.connect();
        client.read(0, 512);
        assert_stopped(&daemon, &mut client, "an index jumps", |client| {
            let available = client.queues[0].available;
            client.queues[0].set_available(available.wrapping_add(jump));
        });
        client.stop_queue(0);
        client.queues[0].reset();
        client.start_queue(0);
        client.read(0, 512);
    }
    daemon.assert_serves();
}

#[test]
fn kicks_without_requests_do_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for _ in 0..1000 {
        client.queues[0].kick();
    }
    client.read(0, 512);
    assert_eq!(journal::arrived(&daemon.records()).len(), 1);
}

#[test]
fn a_ring_that_is_not_enabled_is_left_alone_until_it_is() {
    let daemon = Daemon::start();
    let mut client = Client::negotiate(&daemon.socket, Setup { queues: 2, ..Setup::default() });
    client.share_memory();
    client.describe_queue(0, 0);
    client.start_queue(1);
    let waiting = client.start_on(0, &Request::read(0, 512));
    let other = client.start_on(1, &Request::read(0, 512));
    assert_eq!(client.wait(&other).status, OK);
    assert!(!client.is_done(&waiting));
    client.enable_queue(0);
    assert_eq!(client.wait(&waiting).status, OK);
}

#[test]
fn a_held_request_survives_its_ring_being_disabled() {
    let daemon = Recipe::new().policy(HOLD).start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let held = client.start(&Request::write(0, &[7; 512]));
    control.wait_for("A.done");
    vhost::vhost_user::VhostUserFrontend::set_vring_enable(&mut client.frontend, 0, false).expect("disable");
    control.emit("go");
    client.enable_queue(0);
    assert_eq!(client.wait(&held).status, OK);
}

#[test]
fn rings_outside_memory_are_refused() {
    let daemon = Daemon::start();
    let spoils: [fn(&mut VringConfigData, u64); 9] = [
        |config, _| config.desc_table_addr = 0,
        |config, _| config.avail_ring_addr = 0,
        |config, _| config.used_ring_addr = 0,
        |config, end| config.desc_table_addr = end,
        |config, end| config.avail_ring_addr = end,
        |config, end| config.used_ring_addr = end,
        |config, _| config.desc_table_addr = u64::MAX - 15,
        |config, _| config.avail_ring_addr += 1,
        |config, _| config.used_ring_addr += 2,
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let mut client = Client::negotiate(&daemon.socket, Setup::default());
        client.share_memory();
        let mut config = client.queues[0].config();
        spoil(&mut config, user(client.memory.end()));
        assert!(client.frontend.set_vring_addr(0, &config).is_err(), "number {number} was accepted");
        client.send_message(4, &[]);
        drop(client);
        daemon.assert_serves();
    }
}

/// A guest one part of whose queue 0 begins just before the end of memory; the queue is not enabled.
fn over_the_end(daemon: &Daemon, spoil: fn(&mut VringConfigData, u64)) -> Client {
    let client = Client::negotiate(&daemon.socket, Setup::default());
    client.share_memory();
    client.describe_queue(0, 0);
    let mut config = client.queues[0].config();
    spoil(&mut config, user(client.memory.end()));
    client.frontend.set_vring_addr(0, &config).expect("its beginning is in memory");
    client
}

#[test]
fn rings_over_the_end_of_memory_stop() {
    let daemon = Daemon::start();
    let mut client = over_the_end(&daemon, |config, end| config.desc_table_addr = end - 16);
    assert_stopped(&daemon, &mut client, "the descriptor table", |client| {
        client.queues[0].offer_head(1);
        client.enable_queue(0);
    });
    drop(client);
    let mut client = over_the_end(&daemon, |config, end| config.avail_ring_addr = end - 4);
    assert_stopped(&daemon, &mut client, "the available ring or the used ring", |client| {
        client.memory.write_u16(client.memory.end() - 2, 1);
        client.enable_queue(0);
    });
    drop(client);
    let mut client = over_the_end(&daemon, |config, end| config.used_ring_addr = end - 4);
    assert_stopped(&daemon, &mut client, "the available ring or the used ring", |client| {
        client.offer(0, &Request::read(0, 512));
        client.enable_queue(0);
    });
    drop(client);
    daemon.assert_serves();
}

#[test]
fn odd_queue_sizes_harm_nobody() {
    let daemon = Daemon::start();
    for size in [0, 1, 3, 100, 1023, 1025, 32767, 32768, 32769, u16::MAX] {
        let client = Client::negotiate(&daemon.socket, Setup::default());
        client.share_memory();
        let accepted = client.frontend.set_vring_num(0, size).is_ok();
        assert!(
            accepted == (size.is_power_of_two() && size <= 32768),
            "a queue of {size}, accepted: {accepted}"
        );
        drop(client);
        daemon.assert_serves();
    }
}

#[test]
fn a_queue_of_one_and_a_queue_of_the_most_descriptors_work() {
    let daemon = Daemon::start();
    for queue_size in [1, 1024, 32768] {
        let mut client = daemon.connect_with(Setup { queue_size, ..Setup::default() });
        for sector in 0..4 {
            let write = Request::write(sector, &[queue_size as u8; 512]).indirect();
            assert_eq!(client.ask(&write).status, OK);
        }
    }
}

/// Holds the first write at complete.
const HOLD: &str = r#"
event = { go = "control" }
point = { A = { op = "write" } }
hold  = [{ gate = "A.complete", until = "control.go" }]
"#;

#[test]
fn more_in_flight_than_descriptors_stops_the_ring() {
    let daemon = Recipe::new().policy(HOLD).start();
    let mut client = daemon.connect_with(Setup { queue_size: 8, ..Setup::default() });
    let held = client.start(&Request::write(0, &[7; 512]).indirect());
    daemon.control().wait_for("A.done");
    assert_stopped(&daemon, &mut client, "more requests are in flight", |client| {
        for _ in 0..8 {
            client.queues[0].offer_head(held.head);
        }
    });
    daemon.control().emit("go");
    assert!(!client.is_done(&held), "a stopped ring is left alone");
    drop(client);
    daemon.assert_serves();
    daemon.assert_accounted_for();
}

/// Does something in the end, also when the test fails.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[test]
fn a_guest_that_never_stops_offering_is_stopped() {
    let daemon = Daemon::start();
    let mut client = daemon.connect_with(Setup { queue_size: 1024, ..Setup::default() });
    client.queues[0].offer_head(0);
    let enough = AtomicBool::new(false);
    let (memory, index) = (client.memory.clone(), client.queues[0].available_at() + 2);
    std::thread::scope(|scope| {
        let (enough, mut offered) = (&enough, 1_u16);
        scope.spawn(move || {
            while !enough.load(Ordering::Relaxed) {
                offered = offered.wrapping_add(64);
                memory.write_u16(index, offered);
            }
        });
        client.queues[0].kick();
        let _done = Finally(|| enough.store(true, Ordering::Relaxed));
        wait_for("the ring to be stopped", || journal::bad_requests(&daemon.records()).pop());
    });
    drop(client);
    daemon.assert_serves();
}

#[test]
fn memory_may_be_replaced_while_a_request_is_held() {
    let daemon = Recipe::new().policy(HOLD).start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let held = client.start(&Request::write(0, &[7; 512]));
    control.wait_for("A.done");
    let old = std::mem::replace(&mut client.memory, Memory::new(64 << 20));
    client.share_memory();
    // Its answer says that the message before it has been dealt with.
    client.frontend.get_features().expect("GET_FEATURES");
    control.emit("go");
    assert_eq!(old.read(held.status_at, 1), [OK], "the status belongs where the request came from");
    let used_at = client.queues[0].used_at();
    assert_eq!(client.memory.read_u16(used_at + 2), 1, "the ring is in the memory of today");
    drop(client);
    daemon.assert_serves();
}

#[test]
fn memory_may_go_away_under_a_ring_and_a_held_request() {
    let daemon = Recipe::new().policy(HOLD).start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    client.start(&Request::write(0, &[7; 512]));
    control.wait_for("A.done");
    let elsewhere = Memory::new(1 << 20);
    let mut region = elsewhere.region();
    (region.guest_phys_addr, region.userspace_addr) = (1 << 40, 1 << 41);
    client.frontend.set_mem_table(&[region]).expect("SET_MEM_TABLE");
    control.emit("go");
    client.queues[0].kick();
    client.stop_queue(0);
    assert_eq!(elsewhere.read(BASE, 1 << 20), vec![0; 1 << 20]);
    control.tell(Command::Ping);
    drop(client);
    daemon.assert_serves();
    daemon.assert_accounted_for();
}

#[test]
fn a_kick_that_is_replaced_while_the_ring_runs_still_works() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.read(0, 512);
    let old = std::mem::replace(&mut client.queues[0].kick, EventFd::new(EFD_NONBLOCK).expect("eventfd"));
    client.frontend.set_vring_kick(0, &client.queues[0].kick).expect("SET_VRING_KICK");
    old.write(1).expect("an old kick");
    drop(client);
    daemon.assert_serves();
}
