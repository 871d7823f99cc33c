//! Which requests rules and points are for.

use blkstay_engine::control::Command;
use blkstay_engine::request::Op;
use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::request::{IO_ERROR, OK, Pending, Request};
use blkstay_tests::{journal, wait_for};

/// A daemon that fails what matches at a gate.
fn failing(gate: &str, keys: &str) -> Daemon {
    Recipe::new().policy(&format!("rule = [{{ gate = \"{gate}\", {keys}, fail = \"io-error\" }}]")).start()
}

/// Whether each of these requests fails, one after the other.
fn fails(client: &mut Client, requests: &[Request]) -> Vec<bool> {
    requests.iter().map(|request| client.ask(request).status == IO_ERROR).collect()
}

/// Bytes with some at an offset.
fn with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut data = vec![1; 8192];
    data[offset..][..bytes.len()].copy_from_slice(bytes);
    data
}

#[test]
fn a_write_is_known_by_its_payload_before_the_drive_has_it() {
    let daemon = failing("submit", r#"op = "write", payload = { offset = 4094, text = "MAGIC" }"#);
    let mut client = daemon.connect();
    let before = daemon.content();
    let magic = Request::write(0, &with(4094, b"MAGIC"));
    let elsewhere = Request::write(32, &with(4095, b"MAGIC"));
    let short = Request::write(64, &with(4094, b"MAGIC")[..4096]);
    assert_eq!(fails(&mut client, &[magic.clone(), elsewhere, short]), [true, false, false]);
    assert_eq!(fails(&mut client, &[magic.clone().segments(7), magic.segments(3).indirect()]), [true, true]);
    assert!(daemon.content()[..8192] == before[..8192], "a write that failed at submit is on the image");
}

#[test]
fn a_read_is_known_by_what_it_brought() {
    let daemon = failing("complete", r#"op = "read", payload = { offset = "512", bytes = "c0 3b 39 98" }"#);
    let mut client = daemon.connect();
    client.write(8, &with(512, b"\xc0\x3b\x39\x98"));
    let reads = [
        Request::read(8, 1024),
        Request::read(8, 1024).segments(3),
        Request::read(9, 1024),
        Request::read(8, 512),
    ];
    assert_eq!(fails(&mut client, &reads), [true, true, false, false]);
}

#[test]
fn zeros_are_known() {
    let daemon = failing("complete", "payload = \"zero\"");
    let mut client = daemon.connect();
    let mut almost = vec![0; 8192];
    almost[8191] = 1;
    let writes = [
        Request::write(0, &[0; 8192]),
        Request::write(32, &almost),
        Request::write(64, &[0; 8192]).segments(5),
    ];
    assert_eq!(fails(&mut client, &writes), [true, false, true]);
    assert_eq!(
        fails(&mut client, &[Request::read(0, 8192), Request::read(32, 8192), Request::flush()]),
        [true, false, false]
    );
}

#[test]
fn requests_are_told_apart_by_queue_and_length() {
    let daemon = failing("submit", "queue = 1, length = { min = \"1k\", max = \"4k\" }");
    let mut client = daemon.connect_with(Setup { queues: 2, ..Setup::default() });
    for (queue, bytes, fails) in
        [(0, 2048, false), (1, 512, false), (1, 1024, true), (1, 4096, true), (1, 4608, false)]
    {
        let read = client.start_on(queue, &Request::read(0, bytes));
        assert_eq!(client.wait(&read).status == IO_ERROR, fails, "{bytes} bytes on queue {queue}");
    }
}

#[test]
fn requests_are_counted() {
    let daemon = failing("submit", "op = \"read\", from = 2, every = 3, count = 2");
    let mut client = daemon.connect();
    client.write(0, &[7; 512]);
    let reads = vec![Request::read(0, 512); 10];
    let failed = fails(&mut client, &reads);
    assert_eq!(failed, [false, true, false, false, true, false, false, false, false, false]);
}

#[test]
fn discards_and_zeros_obey_rules_too() {
    let daemon =
        failing("submit", "op = [\"discard\", \"write-zeroes\"], place = { sector = 8, sectors = 8 }");
    let mut client = daemon.connect();
    let before = daemon.content();
    let requests = [Request::discard(0, 9), Request::write_zeroes(15, 1, 1)];
    assert_eq!(fails(&mut client, &requests), [true, true]);
    assert!(daemon.content() == before);
    assert_eq!(fails(&mut client, &[Request::write_zeroes(16, 8, 0)]), [false]);
    let ops: Vec<_> =
        journal::arrived(&daemon.records()).iter().map(|seen| (seen.op, seen.range.offset)).collect();
    assert_eq!(ops, [(Op::Discard, 0), (Op::WriteZeroes, 15 * 512), (Op::WriteZeroes, 16 * 512)]);
}

#[test]
fn a_rule_waits_for_a_depth() {
    let daemon = Recipe::new()
        .policy("rule = [{ gate = \"submit\", op = \"read\", until = \"in-flight >= 3\" }]")
        .start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let mut reads: Vec<Pending> = (0..2).map(|n| client.start(&Request::read(n, 512))).collect();
    wait_for("both to stand", || (control.held().len() == 2).then_some(()));
    assert!(reads.iter().all(|read| !client.is_done(read)));
    reads.push(client.start(&Request::read(2, 512)));
    for read in &reads {
        assert_eq!(client.wait(read).status, OK);
    }
}

/// As many as three rings of the greatest size hold.
#[test]
fn a_hundred_thousand_requests_stand_at_once() {
    const REQUESTS: u64 = 3 * 32768;
    let policy = format!("rule = [{{ gate = \"submit\", until = \"in-flight >= {REQUESTS}\" }}]");
    let daemon = Recipe::new().policy(&policy).start();
    let setup = Setup { queues: 3, queue_size: 32768, memory_bytes: 128 << 20, ..Setup::default() };
    let mut client = daemon.connect_with(setup);
    let start = |n: u64| client.start_on(n as usize % 3, &Request::read(n % 64, 512).indirect());
    let reads: Vec<Pending> = (0..REQUESTS).map(start).collect();
    for read in &reads {
        assert_eq!(client.wait(read).status, OK);
    }
}

#[test]
fn a_write_that_a_flush_follows_is_known_in_retrospect() {
    let daemon = Recipe::new().policy("point = { last = { op = \"write\", flush-follows = true } }").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    client.write(0, &[1; 512]);
    client.write(1, &[2; 512]);
    assert_eq!(client.ask(&Request::flush()).status, OK);
    control.wait_for("last.completed");
    let report = control.report(Command::Status);
    let second = journal::arrived(&daemon.records())[1].id;
    assert_eq!(report.points["last"].request, Some(second));
}

#[test]
fn a_write_is_failed_because_a_flush_follows_it() {
    let daemon = failing("complete", "op = \"write\", flush-follows = true");
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    client.write(0, &[1; 512]);
    control.tell(Command::Pause { queue: None, watchdog_ns: None });
    let write = client.start(&Request::write(1, &[2; 512]));
    let flush = client.start(&Request::flush());
    wait_for("both to stand", || (control.held().len() == 2).then_some(()));
    control.tell(Command::Resume);
    assert_eq!((client.wait(&write).status, client.wait(&flush).status), (IO_ERROR, OK));
}

#[test]
fn rules_turn_states_on_and_off_and_make_events_happen() {
    let daemon = Recipe::new()
        .policy(
            r#"
            state = { degraded = false }
            event = { failing = "policy" }

            [[rule]]
            gate = "submit"
            op   = "flush"
            set  = "degraded"
            emit = "failing"

            [[rule]]
            gate  = "submit"
            op    = "get-id"
            clear = "degraded"

            [[rule]]
            gate = "submit"
            op   = "write"
            when = "state.degraded"
            fail = "not-ready"
            "#,
        )
        .start();
    let mut client = daemon.connect();
    let write = Request::write(0, &[7; 512]);
    assert_eq!(
        fails(&mut client, &[write.clone(), Request::flush(), write.clone(), write.clone()]),
        [false, false, true, true]
    );
    daemon.control().wait_for("policy.failing");
    assert_eq!(fails(&mut client, &[Request::id(), write]), [false, false]);
}
