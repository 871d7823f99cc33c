//! Policies that are loaded: from files, with parameters, and again and again under load.

use blkstay_engine::control::Command;
use blkstay_engine::journal::Record;
use blkstay_engine::policy::{Policy, Settings};
use blkstay_tests::client::Client;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::request::{IO_ERROR, OK, Pending, Request, UNSUPPORTED};
use std::collections::BTreeMap;

/// Includes a file that fails requests of one kind, which is a parameter of both.
const MAIN: &str = r#"
include   = [{ path = "parts/fail.toml", set = { op = "$victim" } }]
parameter = { victim = { about = "what fails" } }
"#;
const PART: &str = r#"
parameter = { op = "read" }
rule      = [{ gate = "submit", op = "$op", fail = "io-error" }]
"#;

#[track_caller]
fn assert_fails(client: &mut Client, request: &Request, fails: bool) {
    assert_eq!(client.ask(request).status, if fails { IO_ERROR } else { OK }, "{request:?}");
}

#[track_caller]
fn assert_writes_fail_and_reads_do_not(client: &mut Client) {
    assert_fails(client, &Request::write(0, &[7; 512]), true);
    assert_fails(client, &Request::read(0, 512), false);
}

#[test]
fn files_are_included_from_beside_the_file_that_includes_them() {
    let recipe = Recipe::new().policy(MAIN).file("parts/fail.toml", PART).argument("--set=victim=write");
    let daemon = recipe.start();
    assert_writes_fail_and_reads_do_not(&mut daemon.connect());
    let written = daemon.records().into_iter().find_map(|record| match record {
        Record::Policy { written, .. } => Some(written),
        _ => None,
    });
    let written = written.expect("the policy in the journal");
    assert_eq!((written.included[0].text.as_str(), written.set["victim"].as_str()), (PART, "write"));
}

#[test]
fn a_policy_is_loaded_with_its_files_and_parameters() {
    let daemon = Daemon::start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let set = BTreeMap::from([("victim".to_owned(), "write".to_owned())]);
    let mut include = |path: &str| match path {
        "some/parts/fail.toml" => Ok(PART.to_owned()),
        other => Err(format!("{other} is not there")),
    };
    let settings = Settings { set, seed: Some(7) };
    let checked = Policy::read("some/main.toml", MAIN, &settings, &mut include).expect("a policy");
    control.tell(Command::load_written(checked.policy.written, true));
    assert_writes_fail_and_reads_do_not(&mut client);
    let message = control.refused(Command::load("some/main.toml", MAIN, true));
    assert!(message.contains("cannot read `some/parts/fail.toml`"), "{message}");
    assert_writes_fail_and_reads_do_not(&mut client);
}

#[test]
fn a_policy_is_disarmed_and_armed() {
    let daemon =
        Recipe::new().policy("rule = [{ gate = \"submit\", op = \"write\", fail = \"io-error\" }]").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let write = Request::write(0, &[7; 512]);
    assert_fails(&mut client, &write, true);
    control.tell(Command::Disarm);
    assert_fails(&mut client, &write, false);
    control.tell(Command::Arm);
    assert_fails(&mut client, &write, true);
    control.tell(Command::load("off.toml", "rule = [{ gate = \"submit\", fail = \"io-error\" }]", false));
    assert_fails(&mut client, &write, false);
}

#[test]
fn a_disarmed_policy_lets_go_what_it_holds() {
    let daemon =
        Recipe::new().policy("rule = [{ gate = \"submit\", op = \"write\", delay = \"9s\" }]").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let write = client.start(&Request::write(0, &[7; 512]));
    let delayed = |records: &[Record]| records.iter().any(|record| matches!(record, Record::Decided { .. }));
    daemon.wait_for_record("the delay", |records| delayed(records).then_some(()));
    control.tell(Command::Disarm);
    assert_eq!(client.wait(&write).status, OK);
}

/// Fails writes of one kind, at either gate: what one of the rules leaves is for the other.
fn failing(kind: &str, status: &str) -> Command {
    let rule = |gate: &str, place: &str| {
        format!(
            "[[rule]]\ngate = \"{gate}\"\nplace = \"{place}\"\nfail = \"{status}\"\npayload = {{ offset = 0, text = \"{kind}\" }}\n"
        )
    };
    let places = "[place]\nlow = { sector = 0, sectors = 64 }\nhigh = { sector = 64, sectors = 64 }\n";
    let rules = rule("submit", "low") + &rule("complete", "high");
    Command::load(format!("{kind}.toml"), places.to_owned() + &rules, true)
}

/// The two policies have the same test at the same place, but of other data and for another status, so a request that
/// is decided on by halves of both has a status that neither gives it.
#[test]
fn no_request_sees_halves_of_two_policies() {
    let daemon = Daemon::start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let policies = [failing("AAAA", "io-error"), failing("BBBB", "unsupported")];
    let (mut seen, mut round) = ([[0; 3]; 2], 0);
    while round < 50 || seen[0][1] == 0 || seen[1][2] == 0 {
        let kinds = [b'A', b'B'];
        let offer =
            |(n, kind): (u64, u8)| (kind, client.offer(0, &Request::write(n * 8, &[kind; 4096]).indirect()));
        let writes: Vec<(u8, Pending)> = (0..16).map(|n| (n, kinds[n as usize % 2])).map(offer).collect();
        client.queues[0].kick();
        control.tell(policies[round % 2].clone());
        for (kind, write) in &writes {
            seen[usize::from(kind - b'A')][usize::from(client.wait(write).status)] += 1;
        }
        client.allocate_from(writes[0].1.data_at);
        round += 1;
    }
    let [a, b] = seen;
    assert_eq!((a[usize::from(UNSUPPORTED)], b[usize::from(IO_ERROR)]), (0, 0), "{seen:?}");
}
