//! What is wrong with a command line shows by the exit status, also where files have to be read to see it.

use std::process::Command;

const CASE: &str = "[case]\nabout = \"nothing\"\nguest = \"race.sh\"\n\
                    [case.image]\nsize = \"64M\"\nfilesystem = \"ext4\"\n\
                    [parameter]\nslow = \"5ms\"\n\
                    [[rule]]\ngate = \"complete\"\ndelay = \"$slow\"\n";

/// Runs a case: the exit status, and what was complained of.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in [("race.toml", CASE), ("race.sh", "race() { :; }\n")] {
        std::fs::write(directory.path().join(name), text).expect("a file");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_blkstay"));
    command.args(["run", "race.toml", "--kernel", "debian:6.12"]).args(arguments);
    let output = command.current_dir(directory.path()).output().expect("blkstay runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn what_is_expected_of_nothing_that_is_run_is_a_mistake_of_the_command_line() {
    let (code, complaint) = run(&["--expect", "debian:6.1=open"]);
    assert!(complaint.contains("nothing that is run is called `debian:6.1`"), "{complaint}");
    assert_eq!(code, Some(2));
}

#[test]
fn so_is_a_value_that_the_policy_cannot_be_given() {
    let (code, complaint) = run(&["--set", "nope=1"]);
    assert!(complaint.contains("nope") && !complaint.contains("has mistakes"), "{complaint}");
    assert_eq!(code, Some(2));
}
