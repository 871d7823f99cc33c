//! A QEMU that has lost its mind, while requests are in flight: random messages in random order, with descriptors that are
//! something else. The daemon hangs up or goes on; nothing is leaked, nothing outside is written, the next guest is served.
//!
//! `BLKSTAY_SEED` chooses the messages, `BLKSTAY_CONNECTIONS` how many connections there are.

use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::memory::{BASE, Memory, USER_BASE};
use blkstay_tests::queue::Queue;
use blkstay_tests::random::Random;
use blkstay_tests::request::{OK, Request};
use blkstay_tests::{number, wait_for};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;
use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserInflight};

/// Messages by their numbers ("Front-end message types").
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const SET_VRING_ERR: u32 = 14;
const SET_VRING_ENABLE: u32 = 18;
const SET_BACKEND_REQ_FD: u32 = 21;
const SET_CONFIG: u32 = 25;
const GET_INFLIGHT_FD: u32 = 31;
const SET_INFLIGHT_FD: u32 = 32;

/// Sectors at the beginning that no request here writes.
const UNWRITABLE: u64 = 1024;

/// Descriptors of all kinds.
struct Descriptors {
    kept: Vec<OwnedFd>,
    memory: Memory,
}

impl Descriptors {
    fn new(memory: Memory) -> Descriptors {
        let (one, other) = UnixStream::pair().expect("a pair of sockets");
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let empty = Memory::new(0).file().try_clone().expect("clone");
        let small = Memory::new(100).file().try_clone().expect("clone");
        let zero = File::open("/dev/zero").expect("/dev/zero");
        let own = File::open("/proc/self/exe").expect("a file");
        let kept =
            vec![one.into(), other.into(), read, write, empty.into(), small.into(), zero.into(), own.into()];
        Descriptors { kept, memory }
    }

    fn any(&self, random: &mut Random, client: &Client) -> RawFd {
        match random.below(4) {
            0 => self.memory.file().as_raw_fd(),
            1 => client.queues[0].kick.as_raw_fd(),
            2 => client.queues[0].call.as_raw_fd(),
            _ => self.kept[random.below(self.kept.len() as u64) as usize].as_raw_fd(),
        }
    }
}

fn send(client: &Client, request: u32, payload: &[u8], descriptors: &[RawFd]) {
    let header = [request, 1, payload.len() as u32].map(u32::to_le_bytes).concat();
    let bytes = [&header[..], payload].concat();
    let rights = [ControlMessage::ScmRights(descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights };
    // The daemon may have hung up already.
    let _ = sendmsg::<()>(
        client.stream.as_raw_fd(),
        &[IoSlice::new(&bytes)],
        rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
}

/// A number that is right, or nearly, or not at all.
fn odd(random: &mut Random, right: u64) -> u64 {
    match random.below(8) {
        0 => random.number(),
        1 => right.wrapping_add(random.below(5)).wrapping_sub(2),
        2 => random.pick(&[0, 1, 255, 256, u64::from(u32::MAX), u64::MAX]),
        _ => right,
    }
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Sends a message that has the right form, and something wrong in it.
fn one_message(random: &mut Random, client: &mut Client, descriptors: &Descriptors) {
    let queue = odd(random, 0);
    let fd = descriptors.any(random, client);
    let config = client.queues[0].config();
    let value = odd(random, 64);
    let state = |value: u64| [(queue as u32).to_le_bytes(), (value as u32).to_le_bytes()].concat();
    match random.below(14) {
        0 => {
            let region = [odd(random, BASE), odd(random, 64 << 20), odd(random, USER_BASE), odd(random, 0)];
            let regions = random.below(3) as u32;
            let mut payload = [odd(random, regions.into()) as u32, 0].map(u32::to_le_bytes).concat();
            (0..regions).for_each(|_| payload.extend(words(&region)));
            let files = vec![fd; odd(random, regions.into()).min(9) as usize];
            send(client, SET_MEM_TABLE, &payload, &files);
        }
        1 => send(client, SET_VRING_NUM, &state(value), &[]),
        2 => {
            let addresses = [config.desc_table_addr, config.used_ring_addr, config.avail_ring_addr]
                .map(|at| odd(random, at));
            let payload = [state(0), words(&addresses), words(&[0])].concat();
            send(client, SET_VRING_ADDR, &payload, &[]);
        }
        3 => send(client, SET_VRING_BASE, &state(value), &[]),
        4 => send(client, GET_VRING_BASE, &state(0), &[]),
        5 => send(client, SET_VRING_KICK, &words(&[queue]), &[fd][..random.below(2) as usize]),
        6 => send(client, SET_VRING_CALL, &words(&[queue]), &[fd][..random.below(2) as usize]),
        7 => send(client, SET_VRING_ERR, &words(&[queue]), &[fd][..random.below(2) as usize]),
        8 => send(client, SET_VRING_ENABLE, &state(random.below(3)), &[]),
        9 => send(client, SET_BACKEND_REQ_FD, &[], &vec![fd; random.pick(&[0, 1, 1, 2, 9, 40])]),
        10 => {
            let payload = [odd(random, 32) as u32, odd(random, 1) as u32, 0].map(u32::to_le_bytes).concat();
            send(client, SET_CONFIG, &[payload, vec![random.below(3) as u8]].concat(), &[]);
        }
        11 | 12 => {
            let what = random.pick(&[GET_INFLIGHT_FD, SET_INFLIGHT_FD, SET_INFLIGHT_FD]);
            let queues = [odd(random, 1) as u16, odd(random, 64) as u16, 0, 0].map(u16::to_le_bytes).concat();
            let payload = [words(&[odd(random, 4096), odd(random, 0)]), queues].concat();
            send(client, what, &payload, &[fd][..random.below(2) as usize]);
        }
        _ => {
            let length = random.below(64) as usize;
            send(
                client,
                random.below(50) as u32,
                &random.bytes(length),
                &[fd; 3][..random.below(4) as usize],
            );
        }
    }
}

/// A connection that begins well, with the memory for what is in flight filled with anything.
fn torment(random: &mut Random, daemon: &Daemon) {
    let mut client = Client::connect(&daemon.socket, Setup::default().keeping_inflight());
    let descriptors = Descriptors::new(client.memory.clone());
    let arena = client.allocate(1 << 20);
    for _ in 0..1 + random.below(20) {
        client.allocate_from(arena);
        while client.queues[0].free() > 8 {
            let sector = UNWRITABLE + random.below(1000);
            let request = match random.below(3) {
                0 => Request::read(random.below(2000), 4096),
                1 => Request::flush(),
                _ => Request::write(sector, &[7; 512]),
            };
            client.offer(0, &request);
        }
        client.queues[0].kick();
        for _ in 0..random.below(3) {
            one_message(random, &mut client, &descriptors);
        }
        client.queues[0].kick();
    }
}

#[test]
fn random_messages_while_requests_are_in_flight_are_survived() {
    let (connections, seed) = (number("BLKSTAY_CONNECTIONS", 300), number("BLKSTAY_SEED", 1));
    println!("BLKSTAY_SEED={seed}");
    let daemon = Recipe::new().no_journal().start();
    let before = daemon.content();
    let mut random = Random::new(seed);
    let started = Instant::now();
    (0..connections / 10).for_each(|_| torment(&mut random, &daemon));
    daemon.assert_serves();
    let (files, memory, threads) = (daemon.open_files(), daemon.status("VmRSS"), daemon.status("Threads"));
    for connection in 0..connections {
        torment(&mut random, &daemon);
        if connection % 50 == 0 {
            daemon.assert_serves();
        }
    }
    daemon.assert_serves();
    // The last guest's end may be under way.
    wait_for("files and threads to be what they were", || {
        (daemon.open_files() <= files + 2 && daemon.status("Threads") <= threads).then_some(())
    });
    println!(
        "RESULT {connections} connections in {:?}; memory {memory} -> {} KiB, files {files} -> {}",
        started.elapsed(),
        daemon.status("VmRSS"),
        daemon.open_files()
    );
    assert!(daemon.status("VmRSS") < memory + (32 << 10));
    let (after, unwritable) = (daemon.content(), UNWRITABLE as usize * 512);
    assert!(after.len() == before.len() && after[..unwritable] == before[..unwritable]);
}

#[test]
fn descriptors_that_nobody_wants_are_closed() {
    let daemon = Daemon::start();
    daemon.assert_serves();
    let files = daemon.open_files();
    for count in [2, 8, 9, 40, 200] {
        for _ in 0..20 {
            let client = Client::negotiate(&daemon.socket, Setup::default());
            let descriptors = vec![client.queues[0].kick.as_raw_fd(); count];
            send(&client, SET_BACKEND_REQ_FD, &[], &descriptors);
        }
    }
    daemon.assert_serves();
    wait_for("descriptors to be closed", || (daemon.open_files() <= files + 2).then_some(()));
}

#[test]
fn a_ring_that_was_broken_with_requests_in_flight_begins_with_none() {
    let daemon = Daemon::start();
    let mut client = daemon.connect_with(Setup::default().keeping_inflight());
    for _ in 0..20 {
        client.offer(0, &Request::write(UNWRITABLE, &[7; 4096]));
        client.queues[0].offer_head(u16::MAX);
        client.queues[0].kick();
        let broken = |client: &Client| client.queues[0].used_index();
        // Whether or not the write is through: the ring is stopped, and set up anew.
        let fence = broken(&client);
        client.stop_queue(0);
        assert!(broken(&client).wrapping_sub(fence) <= 1);
        client.queues[0].reset();
        client.start_queue(0);
        assert_eq!(client.ask(&Request::read(0, 512)).status, OK);
        assert_eq!(client.queues[0].used_index(), client.queues[0].available, "something old was used");
    }
}

#[test]
fn a_kick_that_is_replaced_does_not_take_up_what_is_in_flight() {
    let policy = "event = { go = \"control\" }\npoint = { A = { op = \"write\" } }\n\
                  hold = [{ gate = \"A.complete\", until = \"control.go\" }]";
    let daemon = Recipe::new().policy(policy).start();
    let mut client = daemon.connect_with(Setup::default().keeping_inflight());
    let held = client.start(&Request::write(UNWRITABLE, &[7; 512]));
    daemon.control().wait_for("A.done");
    client.frontend.set_vring_kick(0, &client.queues[0].kick).expect("SET_VRING_KICK");
    client.read(0, 512);
    daemon.control().emit("go");
    daemon.control().wait_for("A.completed");
    assert_eq!(client.wait(&held).status, OK);
    assert_eq!(client.ask(&Request::read(0, 512)).status, OK);
    assert_eq!(client.queues[0].used_index(), 3, "the write was used twice");
}

#[test]
fn memory_for_what_is_in_flight_that_makes_no_sense_is_refused() {
    let daemon = Daemon::start();
    let file = |bytes: u64, content: &[u8]| {
        let memory = Memory::new(bytes);
        std::os::unix::fs::FileExt::write_all_at(memory.file(), content, 0).expect("write");
        memory
    };
    let wrong = [
        (file(0, &[]), VhostUserInflight::new(4096, 0, 1, 64)),
        (file(4096, &[]), VhostUserInflight::new(4096, 5, 1, 64)),
        (file(4096, &[]), VhostUserInflight::new(64, 0, 1, 64)),
        (file(4096, &[]), VhostUserInflight::new(u64::MAX, 4096, 1, 64)),
        (file(4096, &[]), VhostUserInflight::new(4096, 0, 17, 1)),
        (file(4096, &[]), VhostUserInflight::new(4096, 0, 16, 32768)),
    ];
    for (number, (memory, given)) in wrong.iter().enumerate() {
        let mut client = Client::negotiate(&daemon.socket, Setup::default().keeping_inflight());
        let answer = client.frontend.set_inflight_fd(given, memory.file().as_raw_fd());
        assert!(answer.is_err(), "{number} was taken");
        drop(client);
        daemon.assert_serves();
    }
    // A region of the right size, filled with anything: the ring is refused, or whatever is taken up gets its status.
    let mut random = Random::new(number("BLKSTAY_SEED", 1));
    for _ in 0..200 {
        let mut content = random.bytes(2048);
        if random.once_in(2) {
            content[8..12].copy_from_slice(&[1, 0, 64, 0]);
        }
        let memory = file(4096, &content);
        let mut client = Client::negotiate(&daemon.socket, Setup::default().keeping_inflight());
        let given = VhostUserInflight::new(4096, 0, 1, 64);
        client.frontend.set_inflight_fd(&given, memory.file().as_raw_fd()).expect("SET_INFLIGHT_FD");
        client.share_memory();
        let Queue { size, kick, .. } = &client.queues[0];
        client.frontend.set_vring_num(0, *size).expect("SET_VRING_NUM");
        client.frontend.set_vring_base(0, 0).expect("SET_VRING_BASE");
        client.frontend.set_vring_addr(0, &client.queues[0].config()).expect("SET_VRING_ADDR");
        if client.frontend.set_vring_kick(0, kick).is_ok() {
            let _ = client.frontend.set_vring_enable(0, true);
        }
    }
    daemon.assert_serves();
    let mut client = daemon.connect();
    let flags = VhostUserConfigFlags::empty();
    assert!(client.frontend.set_config(32, flags, &[1]).is_ok(), "the cache's mode may be chosen");
    assert!(
        client.frontend.set_config(32, flags, &[7]).is_ok(),
        "whatever is not 0 is on, as QEMU's own disk has it"
    );
    assert!(client.frontend.set_config(33, flags, &[1]).is_err(), "nothing else may be");
}
