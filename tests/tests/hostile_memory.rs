//! Whoever owns the guest's memory cuts its file short under the daemon: the guest is hung up on, or its requests fail, and
//! the next one is served.

use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::memory::BASE;
use blkstay_tests::request::{OK, Pending, Request};
use blkstay_tests::wait_for;
use std::io::Read;
use vhost::VhostBackend;

/// Ways to the disk that touch the guest's memory in ways of their own: copies, system calls, a policy that looks.
fn ways() -> [Recipe; 4] {
    let looks = "[[rule]]\nop = \"write\"\npayload = \"zero\"\ngate = \"submit\"\ndelay = \"10us\"\n";
    [
        Recipe::new().image_spec("memory:1M"),
        Recipe::new(),
        Recipe::new().argument("--aio").argument("threads"),
        Recipe::new().policy(looks),
    ]
}

/// Some requests with data far behind the rings, given to the device and not yet told of.
fn offer(client: &mut Client) -> Vec<Pending> {
    client.allocate_from(BASE + (8 << 20));
    let requests = (0..8).flat_map(|n| [Request::write(n * 8, &[0; 4096]), Request::read(512 + n * 8, 4096)]);
    requests.map(|request| client.offer(0, &request)).collect()
}

fn is_hung_up(client: &Client) -> bool {
    let mut stream = client.stream.try_clone().expect("clone");
    stream.set_nonblocking(true).expect("nonblocking");
    matches!(stream.read(&mut [0; 64]), Ok(0))
}

/// The guest is gone, and the daemon is as good as before.
#[track_caller]
fn assert_hung_up(daemon: &mut Daemon, client: &Client) {
    wait_for("the connection's end", || is_hung_up(client).then_some(()));
    assert!(!daemon.has_ended());
    daemon.assert_serves();
}

#[test]
fn memory_whose_rings_are_gone_ends_the_connection_and_nothing_else() {
    for recipe in ways() {
        let mut daemon = recipe.start();
        for bytes in [0, 4096] {
            let mut client = daemon.connect_with(Setup { queue_size: 256, ..Setup::default() });
            offer(&mut client);
            client.memory.file().set_len(bytes).expect("cut");
            client.queues[0].kick();
            assert_hung_up(&mut daemon, &client);
        }
    }
}

#[test]
fn memory_whose_data_is_gone_ends_the_connection_or_fails_the_requests() {
    for recipe in ways() {
        let mut daemon = recipe.start();
        let mut client = daemon.connect();
        let all = offer(&mut client);
        // Headers and statuses are with the data: what is cut are the last requests.
        client.memory.file().set_len((8 << 20) + 20_000).expect("cut");
        client.queues[0].kick();
        wait_for("an end or an answer", || {
            let through = usize::from(client.queues[0].used_index()) == all.len();
            (through || is_hung_up(&client)).then_some(())
        });
        drop(client);
        assert!(!daemon.has_ended());
        daemon.assert_serves();
    }
}

#[test]
fn memory_for_what_is_in_flight_that_is_gone_ends_the_connection() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect_with(Setup::default().keeping_inflight());
    assert_eq!(client.ask(&Request::read(0, 512)).status, OK);
    client.cut_inflight();
    offer(&mut client);
    client.queues[0].kick();
    assert_hung_up(&mut daemon, &client);
}

#[test]
fn messages_about_memory_that_is_gone_end_the_connection() {
    let mut daemon = Daemon::start();
    let client = daemon.connect();
    client.memory.file().set_len(0).expect("cut");
    let config = client.queues[0].config();
    let _ = client.frontend.set_vring_addr(0, &config);
    assert_hung_up(&mut daemon, &client);
}

#[test]
fn memory_that_is_cut_a_hundred_times_leaves_nothing_behind() {
    let mut daemon = Daemon::start();
    daemon.assert_serves();
    let files = daemon.open_files();
    for number in 0..100 {
        let mut client = daemon.connect_with(Setup::default().keeping_inflight());
        offer(&mut client);
        client.queues[0].kick();
        client.memory.file().set_len(number % 3 * 4096).expect("cut");
        client.queues[0].kick();
    }
    daemon.assert_serves();
    wait_for("files to be closed", || (daemon.open_files() <= files + 2).then_some(()));
    assert!(!daemon.has_ended());
}
