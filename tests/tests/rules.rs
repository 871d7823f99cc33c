//! What rules do with requests, as a guest sees it and as the journal tells it.

use blkstay_engine::control::Command;
use blkstay_engine::journal::{Cause, Record};
use blkstay_engine::request::{Nanos, Status};
use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::request::{IO_ERROR, OK, Pending, Request, UNSUPPORTED};
use blkstay_tests::{journal, wait_for};

fn daemon(policy: &str) -> Daemon {
    Recipe::new().policy(policy).start()
}

/// Starts requests, each once the one before stands.
#[track_caller]
fn start_standing(daemon: &Daemon, client: &mut Client, requests: &[Request]) -> Vec<Pending> {
    let mut control = daemon.control();
    let mut start = |(before, request): (usize, &Request)| {
        wait_for("the one before to stand", || (control.held().len() == before).then_some(()));
        client.start(request)
    };
    requests.iter().enumerate().map(&mut start).collect()
}

/// The order in which the device has used requests, as positions in `pending`.
fn order(client: &Client, from: u16, pending: &[Pending]) -> Vec<usize> {
    let position = |head| pending.iter().position(|one| one.head == head).expect("one of them");
    client.queues[0].used_since(from).into_iter().map(position).collect()
}

/// Reads that stand until there are as many as the rule collects; the order in which they complete.
#[track_caller]
fn collected(rule: &str, sectors: &[u64], arguments: &[&str]) -> Vec<usize> {
    let recipe = Recipe::new().policy(&format!("rule = [{{ gate = \"complete\", op = \"read\", {rule} }}]"));
    let daemon = arguments.iter().fold(recipe, |recipe, argument| recipe.argument(argument)).start();
    let mut client = daemon.connect();
    let reads: Vec<Request> = sectors.iter().map(|sector| Request::read(*sector, 512)).collect();
    let pending = start_standing(&daemon, &mut client, &reads);
    for read in &pending {
        assert_eq!(client.wait(read).status, OK);
    }
    order(&client, 0, &pending)
}

#[test]
fn failed_at_submit_it_is_not_on_the_image() {
    let daemon = daemon("rule = [{ gate = \"submit\", op = \"write\", fail = \"io-error\" }]");
    let mut client = daemon.connect();
    let before = daemon.content();
    let done = client.ask(&Request::write(3, &[7; 1024]));
    assert_eq!((done.status, done.written), (IO_ERROR, 1));
    assert_eq!(client.read(3, 1024), before[3 * 512..][..1024]);
    assert!(daemon.content() == before);
    let lives = journal::lives(&journal::lines(&daemon.journal));
    let write = lives.values().next().expect("a write");
    assert!(write.submitted.is_none() && write.completed.is_some(), "{write:?}");
}

#[test]
fn failed_at_complete_it_is_on_the_image() {
    let daemon = daemon("rule = [{ gate = \"complete\", op = \"write\", fail = \"write-fault\" }]");
    let mut client = daemon.connect();
    assert_eq!(client.ask(&Request::write(3, &[7; 512])).status, IO_ERROR);
    assert_eq!(daemon.content()[3 * 512..][..512], [7; 512]);
    let statuses: Vec<Status> = daemon.records().iter().filter_map(status).collect();
    assert_eq!(
        statuses,
        [Status::Ok, Status::WriteFault],
        "what the drive said, and what the guest was told"
    );
}

fn status(record: &Record) -> Option<Status> {
    match record {
        Record::Done { status, .. } | Record::Completed { status, .. } => Some(*status),
        _ => None,
    }
}

#[test]
fn every_status_is_one_that_virtio_knows() {
    let daemon = Daemon::start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    for status in &Status::ALL[1..] {
        for (gate, request) in [("submit", Request::write(0, &[7; 512])), ("complete", Request::read(0, 512))]
        {
            let policy = format!("rule = [{{ gate = \"{gate}\", fail = \"{status}\" }}]");
            control.tell(Command::load("fail.toml", policy, true));
            let expected = if *status == Status::Unsupported { UNSUPPORTED } else { IO_ERROR };
            assert_eq!(client.ask(&request).status, expected, "{status} at {gate}");
        }
    }
}

#[test]
fn the_first_rule_that_decides_is_the_only_one() {
    let daemon = daemon(
        r#"
        [[rule]]
        gate  = "submit"
        place = { sector = 0, sectors = 1 }
        pass  = true

        [[rule]]
        gate = "submit"
        op   = "write"
        fail = "io-error"
        "#,
    );
    let mut client = daemon.connect();
    client.write(0, &[7; 512]);
    assert_eq!(client.ask(&Request::write(1, &[7; 512])).status, IO_ERROR);
}

#[test]
fn a_delay_is_never_short_however_many_there_are() {
    let delay: Nanos = 100_000_000;
    let daemon = daemon("rule = [{ gate = \"complete\", delay = \"100ms\" }]");
    let mut client = daemon.connect();
    let reads: Vec<Pending> = (0..16).map(|n| client.start(&Request::read(n, 512))).collect();
    for read in &reads {
        assert_eq!(client.wait(read).status, OK);
    }
    let lines = journal::lines(&daemon.journal);
    let lives = journal::lives(&lines);
    for (decided, id, rule, wait) in journal::decided(&lines) {
        assert_eq!((rule, wait), ("rule-1", Some(delay)));
        let completed = lives[&id].completed.expect("it is through");
        assert!(completed >= decided + delay, "{id} was delayed for {} ns", completed - decided);
    }
    let (first, last) =
        (lives.values().map(|life| life.arrived).min(), lives.values().map(|life| life.completed).max());
    let all = last.flatten().zip(first.flatten()).map(|(last, first)| last - first);
    assert!(all.is_some_and(|all| all < 16 * delay), "they waited for each other: {all:?}");
}

#[test]
fn requests_are_reordered() {
    assert_eq!(collected("reorder = \"last-first\", window = 3", &[0, 1, 2], &[]), [2, 1, 0]);
    assert_eq!(collected("reorder = \"by-sector\", window = 4", &[8, 2, 5, 0], &[]), [3, 1, 2, 0]);
    assert_eq!(collected("reorder = [3, 1, 2]", &[0, 0, 0], &[]), [2, 0, 1]);
}

#[test]
fn a_seed_is_an_order() {
    let drawn = |seed| collected("reorder = \"random\", window = 8", &[0; 8], &[seed]);
    let (one, again, two) = (drawn("--seed=1"), drawn("--seed=1"), drawn("--seed=2"));
    assert_eq!(one, again);
    assert_ne!(one, two);
    assert_ne!(one, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_window_that_does_not_fill_is_closed_in_time() {
    let order = collected("reorder = \"last-first\", window = 9, within = \"500ms\"", &[0, 1], &[]);
    assert_eq!(order, [1, 0]);
}

#[test]
fn requests_are_collected_until_something_happens() {
    let daemon = daemon(
        r#"
        event = { go = "control" }
        rule  = [{ gate = "complete", reorder = "last-first", until = "control.go" }]
        "#,
    );
    let mut client = daemon.connect();
    let reads = vec![Request::read(0, 512); 4];
    let pending = start_standing(&daemon, &mut client, &reads);
    wait_for("all to stand", || (daemon.control().held().len() == 4).then_some(()));
    daemon.control().emit("go");
    assert_eq!(order(&client, 0, &pending), [3, 2, 1, 0]);
    client.read(0, 512);
}

#[test]
fn a_limit_lets_requests_through_at_its_rate() {
    let share: Nanos = 10_000_000;
    let daemon = daemon("rule = [{ gate = \"submit\", limit = { iops = 100 } }]");
    let mut client = daemon.connect();
    let reads: Vec<Pending> = (0..10).map(|n| client.offer(0, &Request::read(n, 512))).collect();
    client.queues[0].kick();
    for read in &reads {
        assert_eq!(client.wait(read).status, OK);
    }
    let lines = journal::lines(&daemon.journal);
    let lives = journal::lives(&lines);
    let decided = journal::decided(&lines);
    let first = decided[0].0;
    for (number, (_, id, _, _)) in (0..).zip(&decided) {
        let submitted = lives[id].submitted.expect("it was");
        assert!(
            submitted >= first + number * share,
            "number {number} went {} ns after the first",
            submitted - first
        );
    }
    assert_eq!((decided.len(), decided[0].3), (10, Some(0)));
}

#[test]
fn a_stalled_disk_goes_on_by_itself() {
    let daemon = daemon("rule = [{ gate = \"submit\", stall = { every = \"100ms\", for = \"99ms\" } }]");
    let mut client = daemon.connect();
    let stalled = || {
        daemon.records().iter().any(|record| matches!(record, Record::Released { cause: Cause::Stall, .. }))
    };
    wait_for("a request in a stall", || {
        client.read(0, 512);
        stalled().then_some(())
    });
}

#[test]
fn a_person_pauses_the_disk_and_lets_it_go_on() {
    let daemon = Daemon::start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    control.tell(Command::Pause { queue: None, watchdog_ns: None });
    let read = client.start(&Request::read(0, 512));
    let held = wait_for("it to stand", || control.held().pop());
    assert_eq!(held.until, "resumed");
    assert!(!client.is_done(&read));
    control.tell(Command::Resume);
    assert_eq!(client.wait(&read).status, OK);
}

#[test]
fn a_rule_pauses_the_disk_until_something_happens() {
    let daemon = daemon(
        r#"
        event = { go = "control" }
        rule  = [{ gate = "complete", op = "flush", pause = "disk", until = "control.go" }]
        "#,
    );
    let mut client = daemon.connect_with(Setup { queues: 2, ..Setup::default() });
    client.read(0, 512);
    let flush = client.start(&Request::flush());
    wait_for("the flush to stand", || daemon.control().held().pop());
    let read = client.start_on(1, &Request::read(0, 512));
    wait_for("the read to stand too", || (daemon.control().held().len() == 2).then_some(()));
    assert!(!client.is_done(&flush) && !client.is_done(&read));
    daemon.control().emit("go");
    assert_eq!((client.wait(&flush).status, client.wait(&read).status), (OK, OK));
}

#[test]
fn a_ring_stops_and_the_others_go_on() {
    let daemon = daemon("rule = [{ gate = \"submit\", op = \"flush\", pause = \"ring\" }]");
    let mut client = daemon.connect_with(Setup { queues: 2, ..Setup::default() });
    let flush = client.start_on(1, &Request::flush());
    wait_for("the flush to stand", || daemon.control().held().pop());
    let stuck = client.start_on(1, &Request::read(0, 512));
    wait_for("what comes after it to stand", || (daemon.control().held().len() == 2).then_some(()));
    for _ in 0..4 {
        client.read(0, 512);
    }
    assert!(!client.is_done(&flush) && !client.is_done(&stuck));
    client.stop_queue(1);
    assert_eq!(
        (client.wait(&flush).status, client.wait(&stuck).status),
        (OK, OK),
        "a ring that is reset goes on"
    );
}
