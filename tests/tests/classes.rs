//! What requests' blocks are to the filesystem: in the journal, and for rules.

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::control::Command;
use blkstay_engine::request::Op;
use blkstay_tests::client::Client;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::journal;
use blkstay_tests::request::{IO_ERROR, OK, Request};
use blkstay_tests::wait_for;
use std::path::PathBuf;
use std::process::Command as Program;
use tempfile::TempDir;

/// Bytes of a block.
const BLOCK: usize = 4096;

/// An ext4 filesystem that a file was put into, and what it was before.
struct Filesystem {
    directory: TempDir,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Filesystem {
    /// Both with a file `old` of one block; in what comes after there is `new`, of two.
    fn new() -> Filesystem {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("one"), vec![b'o'; BLOCK]).expect("write");
        std::fs::write(path("two"), vec![b'n'; 2 * BLOCK]).expect("write");
        std::fs::File::create(path("disk")).and_then(|file| file.set_len(8 << 20)).expect("an image");
        let disk = path("disk").display().to_string();
        run("mkfs.ext4", &["-q", "-F", "-b", "4096", "-O", "^metadata_csum", &disk]);
        run("debugfs", &["-w", "-R", &format!("write {} old", path("one").display()), &disk]);
        let before = std::fs::read(&disk).expect("the image");
        run("debugfs", &["-w", "-R", &format!("write {} new", path("two").display()), &disk]);
        let after = std::fs::read(&disk).expect("the image");
        std::fs::write(&disk, &before).expect("the image");
        Filesystem { directory, before, after }
    }

    fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// The first block that is full of a byte in what comes after.
    fn block_of(&self, byte: u8) -> u64 {
        let is_full = |block: &[u8]| block.iter().all(|one| *one == byte);
        self.after.chunks(BLOCK).position(is_full).expect("a block of the file") as u64
    }

    /// The blocks that are changed by the new file, in order of address.
    fn changed(&self) -> Vec<(u64, &[u8])> {
        let blocks = self.before.chunks(BLOCK).zip(self.after.chunks(BLOCK)).enumerate();
        let changed = blocks.filter(|(_, (before, after))| before != after);
        changed.map(|(number, (_, after))| (number as u64, after)).collect()
    }

    /// The block of the inode table that has the file's inode.
    fn inode_block(&self) -> u64 {
        let text = run("debugfs", &["-R", "imap <12>", &self.disk().display().to_string()]);
        let (_, rest) = text.split_once("located at block ").expect("where the inode is");
        rest.split(',').next().and_then(|number| number.parse().ok()).expect("a number")
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Program::new(program).args(arguments).env("PATH", path).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (e2fsprogs): {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(block: u64, data: &[u8]) -> Request {
    Request::write(block * BLOCK as u64 / 512, data)
}

/// Reads a block; what it is by the journal.
#[track_caller]
fn class_of(daemon: &Daemon, client: &mut Client, block: u64) -> ClassSet {
    client.read(block * BLOCK as u64 / 512, BLOCK);
    journal::arrived(&daemon.records()).last().expect("the read").class
}

#[track_caller]
fn assert_class(daemon: &Daemon, client: &mut Client, block: u64, class: Class) {
    assert_eq!(class_of(daemon, client, block), ClassSet::of(&[class]), "block {block}");
}

#[test]
fn the_journal_says_what_requests_are() {
    let filesystem = Filesystem::new();
    let daemon = Recipe::new().image(&filesystem.disk()).argument("--classes").start();
    let mut client = daemon.connect();
    assert_class(&daemon, &mut client, 0, Class::Superblock);
    assert_class(&daemon, &mut client, 1, Class::GroupDescriptor);
    assert_class(&daemon, &mut client, filesystem.inode_block(), Class::InodeTable);
    assert_class(&daemon, &mut client, filesystem.block_of(b'o'), Class::FileData);
    assert_class(&daemon, &mut client, filesystem.block_of(b'n'), Class::Unknown);
    client.read(0, 4 * BLOCK);
    let first = journal::arrived(&daemon.records()).last().expect("the read").class;
    assert!(first.contains(ClassSet::of(&[Class::Superblock, Class::GroupDescriptor])), "{first}");
    assert_eq!(client.ask(&Request::flush()).status, OK);
    assert!(journal::arrived(&daemon.records()).last().is_some_and(|flush| flush.class.is_empty()));
}

#[test]
fn nobody_asks_and_nobody_looks() {
    let filesystem = Filesystem::new();
    let daemon = Recipe::new().image(&filesystem.disk()).start();
    let mut client = daemon.connect();
    assert!(class_of(&daemon, &mut client, 0).is_empty());
}

#[test]
fn a_file_that_the_guest_makes_is_known_from_then_on() {
    let filesystem = Filesystem::new();
    let daemon = Recipe::new().image(&filesystem.disk()).argument("--classes").start();
    let mut client = daemon.connect();
    for (block, data) in filesystem.changed() {
        assert_eq!(client.ask(&write(block, data)).status, OK);
    }
    assert_class(&daemon, &mut client, filesystem.block_of(b'n'), Class::FileData);
    let zeros = Request::write_zeroes(filesystem.inode_block() * BLOCK as u64 / 512, 8, 1);
    assert_eq!(client.ask(&zeros).status, OK);
    assert_class(&daemon, &mut client, filesystem.block_of(b'n'), Class::Unknown);
}

#[test]
fn a_rule_for_a_class_holds_from_when_it_is_loaded() {
    let filesystem = Filesystem::new();
    let daemon = Recipe::new().image(&filesystem.disk()).start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let table = filesystem.inode_block();
    let content = filesystem.before[table as usize * BLOCK..][..BLOCK].to_vec();
    assert_eq!(client.ask(&write(table, &content)).status, OK);
    let rule = "rule = [{ gate = \"submit\", op = \"write\", class = \"inode-table\", fail = \"io-error\" }]";
    control.tell(Command::load("table.toml", rule, true));
    assert_eq!(client.ask(&write(table, &content)).status, IO_ERROR);
    assert_eq!(client.ask(&write(filesystem.block_of(b'o'), &content)).status, OK);
    control.tell(Command::load("none.toml", "", true));
    assert_eq!(client.ask(&write(table, &content)).status, OK);
    assert!(journal::arrived(&daemon.records()).last().is_some_and(|write| write.class.is_empty()));
}

#[test]
fn what_a_failed_write_said_does_not_count() {
    let filesystem = Filesystem::new();
    let rule = "rule = [{ gate = \"submit\", class = \"inode-table\", op = \"write\", fail = \"io-error\" }]";
    let daemon = Recipe::new().image(&filesystem.disk()).policy(rule).start();
    let mut client = daemon.connect();
    let failed = filesystem
        .changed()
        .into_iter()
        .filter(|(block, data)| client.ask(&write(*block, data)).status != OK);
    assert_eq!(failed.map(|(block, _)| block).collect::<Vec<_>>(), [filesystem.inode_block()]);
    assert_class(&daemon, &mut client, filesystem.block_of(b'n'), Class::Unknown);
}

#[test]
fn what_stands_before_the_drive_counts_already() {
    let filesystem = Filesystem::new();
    let rule = "event = { go = \"control\" }\nrule = [{ gate = \"submit\", op = \"write\", until = \"control.go\" }]";
    let daemon = Recipe::new().image(&filesystem.disk()).policy(rule).argument("--classes").start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let changed = filesystem.changed();
    let writes: Vec<_> = changed.iter().map(|(block, data)| client.start(&write(*block, data))).collect();
    assert_class(&daemon, &mut client, filesystem.block_of(b'n'), Class::FileData);
    assert_eq!(control.held().len(), writes.len());
    control.emit("go");
    assert!(writes.iter().all(|write| client.wait(write).status == OK));
    assert_class(&daemon, &mut client, filesystem.block_of(b'n'), Class::FileData);
}

#[test]
fn writes_that_were_under_way_when_a_policy_was_loaded_count_when_they_are_through() {
    let filesystem = Filesystem::new();
    let hold = "event = { go = \"control\" }\nrule = [{ gate = \"submit\", op = \"write\", until = \"control.go\" }]";
    let daemon = Recipe::new().image(&filesystem.disk()).policy(hold).start();
    let (mut client, mut control) = (daemon.connect(), daemon.control());
    let changed = filesystem.changed();
    let writes: Vec<_> = changed.iter().map(|(block, data)| client.start(&write(*block, data))).collect();
    wait_for("all of them to be held", || (control.held().len() == writes.len()).then_some(()));
    let note =
        "state = { seen = false }\nrule = [{ gate = \"submit\", class = \"journal\", set = \"seen\" }]";
    control.tell(Command::load("note.toml", note, true));
    assert!(writes.iter().all(|write| client.wait(write).status == OK));
    assert_class(&daemon, &mut client, filesystem.block_of(b'n'), Class::FileData);
    assert!(
        journal::arrived(&daemon.records())
            .iter()
            .filter(|seen| seen.op == Op::Write)
            .all(|seen| seen.class.is_empty())
    );
}
