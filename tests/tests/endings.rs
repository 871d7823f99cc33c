//! However it ends, every request is accounted for.

use blkstay_engine::journal::{Abandon, Cause, Piece, Record, Stage, Trouble, What};
use blkstay_engine::request::{Op, RequestId};
use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::journal;
use blkstay_tests::request::{OK, Pending, Request};
use nix::sys::signal::Signal;

/// Holds the first write at submit and the first read at complete.
const TWO_HOLDS: &str = r#"
event = { go = "control" }

[point]
W = { op = "write" }
R = { op = "read" }

[[hold]]
gate  = "W.submit"
until = "control.go"

[[hold]]
gate  = "R.complete"
until = "control.go"
"#;

/// A daemon that holds a write at submit and a read at complete, and the guest that sent them.
fn with_two_held() -> (Daemon, Client, [Pending; 2]) {
    let daemon = Recipe::new().policy(TWO_HOLDS).start();
    let mut client = daemon.connect_with(Setup { queues: 2, ..Setup::default() });
    let write = client.start_on(0, &Request::write(0, &[7; 512]));
    let read = client.start_on(1, &Request::read(8, 512));
    daemon.control().wait_for("W.arrived");
    daemon.control().wait_for("R.done");
    (daemon, client, [write, read])
}

/// What has to be given up of these two.
fn both_abandoned(records: &[Record], why: Abandon) -> Vec<(RequestId, Stage, Abandon)> {
    let write = (journal::only(records, Op::Write), Stage::HeldAtSubmit, why);
    let read = (journal::only(records, Op::Read), Stage::HeldAtComplete, why);
    let mut both = vec![write, read];
    both.sort_by_key(|(id, ..)| *id);
    both
}

#[test]
fn a_guest_that_goes_leaves_its_held_requests_abandoned_and_the_next_is_served() {
    let (daemon, client, _) = with_two_held();
    let before = daemon.content();
    drop(client);
    let gone = |records: &[Record]| records.contains(&Record::Disconnected).then_some(());
    daemon.wait_for_record("the guest's end", gone);
    let records = daemon.records();
    assert_eq!(journal::abandoned(&records), both_abandoned(&records, Abandon::Disconnect));
    journal::assert_accounted_for(&records);
    assert!(daemon.content() == before, "a write that was given up before the drive is on the image");
    assert_eq!(daemon.control().held(), []);
    daemon.assert_serves();
}

#[test]
fn sigterm_sigint_and_sighup_end_it_with_every_held_request_in_the_journal() {
    // Who runs the tests with nohup has the daemon ignore it, too.
    // SAFETY: no handler is set.
    unsafe { nix::sys::signal::signal(Signal::SIGHUP, nix::sys::signal::SigHandler::SigDfl) }
        .expect("a signal");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let (mut daemon, _client, _) = with_two_held();
        daemon.end(signal);
        let records = journal::read(&daemon.journal);
        assert_eq!(journal::abandoned(&records), both_abandoned(&records, Abandon::Shutdown));
        journal::assert_accounted_for(&records);
        journal::assert_stopped(&records);
    }
}

#[test]
fn it_ends_cleanly_without_a_guest_and_with_an_idle_one() {
    for connect in [false, true] {
        let mut daemon = Daemon::start();
        let _client = connect.then(|| daemon.connect());
        daemon.end(Signal::SIGTERM);
        journal::assert_stopped(&journal::read(&daemon.journal));
        assert_eq!(daemon.errors(), "");
    }
}

#[test]
fn it_ends_cleanly_in_the_middle_of_work() {
    for round in 0..10 {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect_with(Setup { queue_size: 256, ..Setup::default() });
        for sector in 0..50 + round {
            client.start(&Request::write(sector, &[7; 4096]));
        }
        daemon.end(Signal::SIGTERM);
        let records = journal::read(&daemon.journal);
        journal::assert_accounted_for(&records);
        journal::assert_stopped(&records);
    }
}

#[test]
fn sigkill_loses_no_request_that_the_guest_saw_complete() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect_with(Setup { queue_size: 256, ..Setup::default() });
    let mut pending: Vec<Pending> = (0..60).map(|n| client.offer(0, &Request::write(n, &[7; 512]))).collect();
    client.queues[0].kick();
    client.wait(&pending.remove(30));
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let seen = 1 + pending.iter().filter(|request| client.is_done(request)).count();
    let completed = journal::completed(&journal::read(&daemon.journal));
    assert!(completed >= seen, "{completed} of the {seen} that the guest saw are in the journal");
}

#[test]
fn stopping_a_ring_completes_what_is_held_before_the_answer() {
    let (daemon, mut client, [write, read]) = with_two_held();
    client.stop_queue(0);
    assert!(client.is_done(&write), "GET_VRING_BASE was answered before the request was complete");
    assert!(!client.is_done(&read), "the other queue's request is none of its business");
    assert_eq!(client.wait(&write).status, OK);
    assert_eq!(daemon.content()[..512], [7; 512]);
    client.stop_queue(1);
    assert!(client.is_done(&read));
    let stopped = |record: &&Record| matches!(record, Record::Released { cause: Cause::RingStop, .. });
    assert_eq!(daemon.records().iter().filter(stopped).count(), 2);
}

#[test]
fn a_stopped_ring_can_be_started_again_from_scratch() {
    let (daemon, mut client, _) = with_two_held();
    for queue in 0..2 {
        client.stop_queue(queue);
        client.queues[queue].reset();
        client.start_queue(queue);
    }
    client.write(0, &[9; 512]);
    assert_eq!(client.read(0, 512), [9; 512]);
    daemon.assert_accounted_for();
}

#[test]
fn a_journal_goes_on_where_an_earlier_daemon_left_it() {
    let mut daemon = Daemon::start();
    daemon.assert_serves();
    daemon.end(Signal::SIGTERM);
    let before = std::fs::read(&daemon.journal).expect("the journal");
    daemon.start_again();
    daemon.assert_serves();
    daemon.end(Signal::SIGTERM);
    assert!(std::fs::read(&daemon.journal).expect("the journal").starts_with(&before));
    let records = journal::read(&daemon.journal);
    assert_eq!(records.iter().filter(|record| **record == Record::Stopped).count(), 2);
}

#[test]
fn a_journal_goes_on_after_a_daemon_that_was_killed() {
    let mut daemon = Daemon::start();
    daemon.assert_serves();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let before = journal::lines(&daemon.journal);
    daemon.start_again();
    daemon.end(Signal::SIGTERM);
    let after = journal::read(&daemon.journal);
    let daemons = after.iter().filter(|record| matches!(record, Record::Journal { .. }));
    assert_eq!(daemons.count(), 2);
    assert!(after.iter().take(before.len()).eq(before.iter().map(|line| &line.record)));
    journal::assert_stopped(&after);
}

#[test]
fn a_journal_is_cut_to_what_it_has_when_its_daemon_ends() {
    let mut daemon = Daemon::start();
    daemon.assert_serves();
    daemon.end(Signal::SIGTERM);
    // The engine's lane keeps its first chunk; that of the lane that served comes after it, and is cut.
    assert_eq!(std::fs::metadata(&daemon.journal).expect("the journal").len(), 65536 + 4096);
}

#[test]
fn what_an_earlier_daemon_did_not_write_stays_alone() {
    let mut daemon = Daemon::start();
    daemon.end(Signal::SIGTERM);
    let mut spoilt = std::fs::read(&daemon.journal).expect("the journal");
    let (first, end) = (journal::lines(&daemon.journal).len(), spoilt.len() as u64);
    spoilt.extend(b"something");
    daemon.spoil_journal(&spoilt);
    daemon.start_again();
    daemon.end(Signal::SIGTERM);
    let pieces = journal::pieces(&daemon.journal);
    let trouble = Trouble { at: end, what: What::NoChunk { bytes: 4096 } };
    assert_eq!(pieces[0], Piece::Trouble(trouble));
    assert_eq!(pieces.len(), 1 + 2 * first);
}

#[test]
fn a_guest_that_goes_in_the_middle_of_work_leaves_nothing_open() {
    let daemon = Daemon::start();
    for round in 1..=10 {
        let mut client = daemon.connect_with(Setup { queue_size: 256, ..Setup::default() });
        for sector in 0..50 {
            client.start(&Request::write(sector, &[round; 4096]));
        }
        drop(client);
        daemon.wait_until_guest_is_gone();
        journal::assert_accounted_for(&daemon.records());
    }
    daemon.assert_serves();
}

#[test]
fn a_journal_that_is_full_ends_the_run_loudly_and_nothing_is_served_after_that() {
    let mut daemon = Recipe::new().file_blocks_max(136).start();
    let seen = daemon.read_until_it_ends();
    assert_eq!(daemon.wait().code(), Some(1));
    assert!(daemon.errors().contains("the journal cannot be written: File too large"), "{}", daemon.errors());
    let completed = journal::completed(&daemon.records());
    assert!(0 < seen && seen <= completed, "{seen} seen, {completed} in the journal");
    assert!(!daemon.socket.exists());
}
