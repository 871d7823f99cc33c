//! I/O in the background, reaped by name.

mod guest;

use blkstay_engine::control::{Answer, Command};
use guest::{Guest, end, said};
use std::fs;

/// Starts a write of 4096 bytes in the background; the page cache will do, and works on any filesystem.
fn start(guest: &Guest, name: &str, how: &[&str]) -> (String, String, i32) {
    let file = guest.path("file").display().to_string();
    let args =
        [&["write", "--buffered", "--create", "--fill", "ab", "--name", name], how, &[&file, "0", "4k"]];
    said(&guest.run(&args.concat()))
}

fn silent() -> (String, String, i32) {
    (String::new(), String::new(), 0)
}

#[test]
fn a_result_waits_until_it_is_reaped_and_is_gone_then() {
    let guest = Guest::start();
    for how in ["--async", "--background"] {
        assert_eq!(start(&guest, "A", &[how]), silent());
        assert_eq!(said(&guest.run(&["reap", "A"])), ("ok 4096\n".to_owned(), String::new(), 0));
        assert_eq!(fs::read(guest.path("file")).expect("the file"), b"ab".repeat(2048));
    }
    let none = "stay: A: no such I/O, or it has been reaped\n".to_owned();
    assert_eq!(said(&guest.run(&["reap", "A"])), (String::new(), none, 1));
}

#[test]
fn a_name_is_taken_until_its_result_is_reaped() {
    let guest = Guest::start();
    assert_eq!(start(&guest, "A", &["--async"]), silent());
    let taken = "stay: A has not been reaped: `stay reap A` first\n".to_owned();
    assert_eq!(start(&guest, "A", &["--async"]), (String::new(), taken, 1));
    assert_eq!(said(&guest.run(&["reap", "A"])).2, 0);
}

#[test]
fn a_submission_that_fails_is_a_result_too() {
    let guest = Guest::start();
    let file = guest.path("file").display().to_string();
    fs::write(&file, "").expect("a file");
    // No file can have bytes there.
    let args = ["write", "--buffered", "--name", "A", "--async", &file, "9223372036854771712", "4k"];
    assert_eq!(said(&guest.run(&args)), silent());
    let (result, why, status) = said(&guest.run(&["reap", "A"]));
    assert!(result == "error EINVAL\n" || result == "error EFBIG\n", "{result}");
    assert_eq!((why, status), (String::new(), 1));
}

#[test]
fn the_event_is_emitted_before_the_result_can_be_reaped() {
    let mut guest = Guest::start();
    assert_eq!(start(&guest, "A", &["--background", "--emit", "a-reaped"]), silent());
    let call = guest.next_call();
    assert_eq!(call.command, Command::Emit { event: "a-reaped".to_owned(), detail: None });
    let mut reap = guest.spawn(&["reap", "A"]);
    assert!(reap.try_wait().expect("its state").is_none());
    guest.answer(call.id, Answer::Done);
    assert_eq!(end(reap), ("ok 4096\n".to_owned(), String::new(), 0));
}

#[test]
fn a_process_that_died_is_told_and_its_name_is_free() {
    let guest = Guest::start();
    fs::create_dir(guest.path("io")).expect("a directory");
    drop(std::os::unix::net::UnixListener::bind(guest.path("io/A")).expect("a socket"));
    let died = "stay: A: its process died, the result is lost\n".to_owned();
    assert_eq!(said(&guest.run(&["reap", "A"])), (String::new(), died, 1));
    assert_eq!(start(&guest, "A", &["--async"]), silent());
    assert_eq!(said(&guest.run(&["reap", "A"])).0, "ok 4096\n");
}

#[test]
fn a_reaper_that_gave_up_does_not_take_the_result_with_it() {
    let mut guest = Guest::start();
    assert_eq!(start(&guest, "A", &["--background", "--emit", "a-reaped"]), silent());
    let call = guest.next_call();
    let mut gave_up = guest.spawn(&["reap", "A"]);
    gave_up.kill().expect("a waiting reaper");
    gave_up.wait().expect("its end");
    guest.answer(call.id, Answer::Done);
    assert_eq!(said(&guest.run(&["reap", "A"])).0, "ok 4096\n");
}
