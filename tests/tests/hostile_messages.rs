//! Messages that no QEMU would send: the guest is hung up on or refused, and the next one is served.

use blkstay_engine::control::Command;
use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::memory::{BASE, Memory, USER_BASE};
use blkstay_tests::random::Random;
use blkstay_tests::request::Request;
use blkstay_tests::{journal, wait_for};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use vhost::vhost_user::VhostUserFrontend;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo};

#[test]
fn who_comes_and_goes_a_hundred_times_leaves_nothing_behind() {
    let daemon = Daemon::start();
    daemon.assert_serves();
    // What one guest takes may come or go while this is counted.
    let files = daemon.open_files() + 20;
    let threads = daemon.status("Threads") + 5;
    for _ in 0..100 {
        drop(UnixStream::connect(&daemon.socket).expect("connect"));
    }
    daemon.assert_serves();
    wait_for("all files to be closed and all threads to end", || {
        (daemon.open_files() <= files && daemon.status("Threads") <= threads).then_some(())
    });
}

#[test]
fn garbage_is_hung_up_on() {
    let daemon = Daemon::start();
    let mut random = Random::new(3);
    for length in [1, 11, 12, 13, 64, 4096, 100_000] {
        let mut stream = UnixStream::connect(&daemon.socket).expect("connect");
        let _ = stream.write_all(&random.bytes(length));
        drop(stream);
        daemon.assert_serves();
    }
}

#[test]
fn any_message_with_any_payload_is_survived() {
    let daemon = Daemon::start();
    let mut random = Random::new(4);
    for request in 0..60 {
        for length in [0, 8, 12, 40, 300] {
            let mut client = Client::negotiate(&daemon.socket, Setup::default());
            client.send_message(request, &random.bytes(length));
            client.send_message(request, &vec![0; length]);
            client.send_message(request, &vec![0xff; length]);
        }
    }
    daemon.assert_serves();
}

#[test]
fn messages_cut_short_are_survived() {
    let daemon = Daemon::start();
    for sent in [
        &[5, 0, 0, 0][..],
        &[5, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255],
        &[8, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1],
    ] {
        let mut stream = UnixStream::connect(&daemon.socket).expect("connect");
        stream.write_all(sent).expect("send");
        drop(stream);
        daemon.assert_serves();
    }
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let daemon = Daemon::start();
    let memory = Memory::new(1 << 20);
    let good = memory.region();
    let past_the_end = VhostUserMemoryRegionInfo { memory_size: 1 << 30, ..good };
    let offset_past_the_end = VhostUserMemoryRegionInfo { mmap_offset: 1 << 30, ..good };
    let odd_offset = VhostUserMemoryRegionInfo { mmap_offset: 5, memory_size: 4096, ..good };
    let huge = VhostUserMemoryRegionInfo { memory_size: u64::MAX, ..good };
    let wraps = VhostUserMemoryRegionInfo { guest_phys_addr: u64::MAX - 4096, ..good };
    let user_wraps = VhostUserMemoryRegionInfo { userspace_addr: u64::MAX - 4096, ..good };
    let lists = [
        vec![past_the_end],
        vec![offset_past_the_end],
        vec![odd_offset],
        vec![huge],
        vec![wraps],
        vec![user_wraps],
        vec![good, good],
        vec![good, VhostUserMemoryRegionInfo { guest_phys_addr: BASE + 4096, ..good }],
    ];
    for (number, regions) in lists.iter().enumerate() {
        let client = Client::negotiate(&daemon.socket, Setup::default());
        assert!(client.frontend.set_mem_table(regions).is_err(), "number {number} was accepted");
        drop(client);
        daemon.assert_serves();
    }
}

#[test]
fn a_request_may_cross_from_one_region_into_the_next() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let half = client.memory.region().memory_size / 2;
    let first = VhostUserMemoryRegionInfo { memory_size: half, ..client.memory.region() };
    let second = VhostUserMemoryRegionInfo {
        guest_phys_addr: BASE + half,
        memory_size: half,
        userspace_addr: USER_BASE + half,
        mmap_offset: half,
        ..first
    };
    client.frontend.set_mem_table(&[first, second]).expect("two regions");
    client.allocate_from(BASE + half - 700);
    let data = Random::new(5).bytes(4096);
    client.write(0, &data);
    assert!(daemon.content()[..4096] == data);
}

#[test]
fn settings_that_make_no_sense_are_survived() {
    let daemon = Daemon::start();
    type Setting = fn(&mut Client) -> bool;
    let settings: [(&str, Setting, bool); 10] = [
        ("a feature that is not offered", |c| c.frontend.set_features(c.offered | 1 << 60).is_ok(), false),
        ("a second owner", |c| c.frontend.set_owner().is_ok(), false),
        ("no owner at all", |c| c.frontend.reset_owner().is_ok(), true),
        ("a queue that is not there", |c| c.frontend.set_vring_num(99, 8).is_ok(), false),
        ("the base of one", |c| c.frontend.get_vring_base(16).is_ok(), false),
        ("the kick of one", |c| c.frontend.set_vring_kick(16, &c.queues[0].kick).is_ok(), false),
        ("enabling one", |c| c.frontend.set_vring_enable(16, true).is_ok(), false),
        ("configuration nobody has", |c| c.frontend.get_config(4000, 200, FLAGS, &[0; 200]).is_ok(), false),
        ("configuration to write", |c| c.frontend.set_config(0, FLAGS, &[9; 8]).is_ok(), false),
        ("a queue's base, any", |c| c.frontend.set_vring_base(0, u16::MAX).is_ok(), true),
    ];
    for (name, set, accepted) in settings {
        let mut client = Client::negotiate(&daemon.socket, Setup::default());
        client.share_memory();
        assert_eq!(set(&mut client), accepted, "{name}");
        drop(client);
        daemon.assert_serves();
    }
    let capacity = daemon.connect().config(0, 8);
    assert_eq!(capacity, (blkstay_tests::daemon::IMAGE_BYTES / 512).to_le_bytes());
}

const FLAGS: VhostUserConfigFlags = VhostUserConfigFlags::empty();

#[test]
fn a_guest_that_is_hung_up_on_has_its_requests_abandoned() {
    let daemon = Recipe::new()
        .policy("event = { go = \"guest\" }\npoint = { A = { op = \"write\" } }\nhold = [{ gate = \"A.complete\", until = \"guest.go\" }]")
        .start();
    let mut client = daemon.connect();
    client.start(&Request::write(0, &[7; 512]));
    daemon.control().wait_for("A.done");
    client.send_message(9999, &[0; 4]);
    daemon.wait_for_record("what is given up", |records| journal::abandoned(records).pop());
    daemon.assert_serves();
}

#[test]
fn a_second_guest_waits_for_the_first_to_go() {
    let daemon = Daemon::start();
    let mut first = daemon.connect();
    let socket = daemon.socket.clone();
    let second = std::thread::spawn(move || Client::connect(&socket, Setup::default()).read(0, 512));
    for sector in 0..50 {
        first.write(sector, &[7; 512]);
    }
    drop(first);
    assert_eq!(second.join().expect("the second guest"), [7; 512]);
}

/// Takes `O_NONBLOCK` away, which belongs to the daemon's descriptor of the same file as well.
#[track_caller]
fn make_wait(descriptor: impl AsFd) {
    let flags = OFlag::from_bits_retain(fcntl(&descriptor, FcntlArg::F_GETFL).expect("F_GETFL"));
    fcntl(&descriptor, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK)).expect("F_SETFL");
}

#[test]
fn a_descriptor_for_calls_that_is_full_and_made_to_wait_stops_its_ring_and_nothing_else() {
    for policy in ["", "[[rule]]\nop = \"any\"\ngate = \"complete\"\ndelay = \"10us\"\n"] {
        let recipe = Recipe::new();
        let mut daemon = if policy.is_empty() { recipe } else { recipe.policy(policy) }.start();
        let mut client = Client::connect(&daemon.socket, Setup::default().without_event_idx());
        client.write(0, &[7; 512]);
        let call = &client.queues[0].call;
        // What was counted so far would be in the way.
        let _ = call.read();
        call.write(u64::MAX - 1).expect("an eventfd that is full");
        // SAFETY: the queue has it open.
        make_wait(unsafe { BorrowedFd::borrow_raw(call.as_raw_fd()) });
        client.start(&Request::read(0, 512));
        wait_for("the ring to be stopped", || {
            daemon.errors().contains("its descriptor for calls was made to wait").then_some(())
        });
        // The client is still there, and so is its descriptor.
        daemon.control().tell(Command::Ping);
        let second = std::thread::spawn({
            let socket = daemon.socket.clone();
            move || Client::connect(&socket, Setup::default()).read(0, 512)
        });
        drop(client);
        assert_eq!(second.join().expect("the second guest"), [7; 512]);
        daemon.end(Signal::SIGTERM);
    }
}

#[test]
fn a_socket_for_the_devices_requests_that_is_full_and_made_to_wait_holds_nobody_up() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let (mine, its) = UnixStream::pair().expect("two sockets");
    its.set_nonblocking(true).expect("nonblocking");
    while (&its).write(&[0; 4096]).is_ok() {}
    let protocol = VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::BACKEND_REQ;
    client.frontend.set_protocol_features(protocol).expect("SET_PROTOCOL_FEATURES");
    client.frontend.set_backend_request_fd(&its).expect("SET_BACKEND_REQ_FD");
    // It has dealt with that when it answers the next.
    client.frontend.get_features().expect("GET_FEATURES");
    make_wait(&its);
    daemon.control().tell(Command::Resize { bytes: 2 << 20 });
    assert!(daemon.errors().contains("QEMU could not be told of the disk's new size"), "{}", daemon.errors());
    drop((client, mine, its));
    daemon.assert_serves();
    daemon.end(Signal::SIGTERM);
}
