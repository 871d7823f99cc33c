//! The command line of `blkstayd`: what it prints, what it refuses, and that a refusal leaves nothing
//! behind and harms nobody.

use blkstay_tests::binary::{self, Ended};
use blkstay_tests::daemon::{Daemon, Recipe};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A directory with a good image, to start a daemon in that will not start.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"));
        std::fs::write(place.path("disk"), vec![7; 4096]).expect("the image");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Text with the directory's path in place of `DIR`.
    fn text(&self, text: &str) -> String {
        text.replace("DIR", &self.0.path().display().to_string())
    }

    /// Starts a daemon; in the arguments `DIR` is the directory.
    #[track_caller]
    fn start(&self, arguments: &str) -> Ended {
        let arguments: Vec<String> = arguments.split(' ').map(|argument| self.text(argument)).collect();
        binary::run("blkstayd", &arguments)
    }

    /// The same, and expects exit status 1, this on standard error, and that no socket is there.
    #[track_caller]
    fn refused(&self, arguments: &str, message: &str) {
        let ended = self.start(arguments);
        assert_eq!(ended.err, self.text(message));
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
        self.assert_no_sockets();
    }

    #[track_caller]
    fn assert_no_sockets(&self) {
        for name in ["blk.sock", "ctl", "ctl.guest"] {
            assert!(!self.path(name).exists(), "{name} was left behind");
        }
    }
}

const GOOD: &str = "--socket DIR/blk.sock --image DIR/disk --control DIR/ctl";

#[test]
fn prints_the_arguments_that_qemu_needs_and_then_that_it_is_ready() {
    let daemon = Daemon::start();
    let directory = daemon.directory().display().to_string();
    let printed = daemon.announcement.join("\n").replace(&directory, "DIR");
    // As many as there are CPUs, of the 16 that are offered.
    let queues = std::thread::available_parallelism().expect("CPUs").get().min(16);
    let printed = printed.replace(&format!("num-queues={queues}"), "num-queues=N");
    assert_eq!(
        printed,
        "attach it to QEMU with these arguments (the memory's size is the guest's, -m):
  -m 1G -object memory-backend-memfd,id=blkstay-mem,size=1G,share=on \\
  -machine memory-backend=blkstay-mem \\
  -chardev socket,id=blkstay-blk,path=DIR/blk.sock,reconnect-ms=1000 \\
  -device vhost-user-blk-pci,chardev=blkstay-blk,num-queues=N,queue-size=256 \\
  -chardev socket,id=blkstay-blk-port,path=DIR/ctl.guest,reconnect-ms=1000 \\
  -device virtio-serial-pci -device virtserialport,chardev=blkstay-blk-port,name=blkstay
or to virtme-ng with these (docs/own-guests.md):
  --memory 1G --numa 1G --qemu-opts='-chardev socket,id=blkstay-blk,path=DIR/blk.sock,reconnect-ms=1000 -device \
         vhost-user-blk-pci,chardev=blkstay-blk,num-queues=N,queue-size=256 -chardev \
         socket,id=blkstay-blk-port,path=DIR/ctl.guest,reconnect-ms=1000 -device virtio-serial-pci -device \
         virtserialport,chardev=blkstay-blk-port,name=blkstay'
ready: serving DIR/disk at DIR/blk.sock"
    );
}

#[test]
fn images_that_cannot_be_served_are_refused() {
    let place = Place::new();
    std::fs::write(place.path("empty"), "").expect("write");
    std::fs::write(place.path("odd"), [0; 1000]).expect("write");
    std::fs::write(place.path("qcow2"), [b"QFI\xfb".to_vec(), vec![0; 508]].concat()).expect("write");
    nix::unistd::mkfifo(&place.path("pipe"), Mode::S_IRWXU).expect("mkfifo");
    for (image, message) in [
        (
            "missing",
            "cannot open it; make one with `truncate -s 1G IMAGE`: No such file or directory (os error 2)",
        ),
        ("", "neither a file nor a block device; give a raw disk image"),
        ("pipe", "neither a file nor a block device; give a raw disk image"),
        ("empty", "it is empty; make one with `truncate -s 1G DIR/empty`"),
        ("odd", "its size, 1000 bytes, is not a multiple of 512; grow it with `truncate -s %512 DIR/odd`"),
        ("qcow2", "it is a qcow2 image; convert it with `qemu-img convert -O raw`"),
    ] {
        for extra in ["", " --read-only"] {
            let message = format!("blkstayd: image DIR/{image}: {message}\n");
            place.refused(
                &format!("--socket DIR/blk.sock --control DIR/ctl --image DIR/{image}{extra}"),
                &message,
            );
        }
    }
}

#[test]
fn an_image_that_a_user_may_not_write_is_only_served_read_only() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("skipped: root may open everything");
        return;
    }
    let place = Place::new();
    let mut permissions = place.path("disk").metadata().expect("metadata").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(place.path("disk"), permissions).expect("chmod");
    place.refused(
        GOOD,
        "blkstayd: image DIR/disk: cannot open it for reading and writing; --read-only serves it without \
         writing: Permission denied (os error 13)\n",
    );
}

#[test]
fn an_image_that_another_daemon_serves_is_refused() {
    let daemon = Daemon::start();
    let place = Place::new();
    for extra in ["", " --read-only"] {
        let image = daemon.image.display();
        place.refused(
            &format!("--socket DIR/blk.sock --control DIR/ctl --image {image}{extra}"),
            &format!(
                "blkstayd: image {image}: it is in use by another daemon or virtual machine; end that, or \
                 serve a copy\n"
            ),
        );
    }
    daemon.assert_serves();
}

#[test]
fn two_daemons_may_serve_an_image_that_neither_writes() {
    let daemon = Recipe::new().argument("--read-only").start();
    let beside = Recipe::new().argument("--read-only");
    let beside = beside.image(&daemon.image).start();
    daemon.assert_serves();
    beside.assert_serves();
}

#[test]
fn qemu_and_the_daemon_do_not_write_the_same_image() {
    let read = |daemon: &Daemon| {
        Command::new("qemu-io").args(["-f", "raw", "-c", "read 0 512"]).arg(&daemon.image).output()
    };
    let mut daemon = Daemon::start();
    let Ok(locked) = read(&daemon) else {
        eprintln!("skipped: there is no qemu-io");
        return;
    };
    let message = String::from_utf8_lossy(&locked.stderr);
    assert!(!locked.status.success() && message.contains("lock"), "{message}");
    daemon.end(Signal::SIGTERM);
    assert!(read(&daemon).expect("qemu-io").status.success(), "the lock outlived the daemon");
}

#[test]
fn a_dead_socket_is_replaced() {
    let mut daemon = Daemon::start();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert!(daemon.socket.exists() && daemon.control.exists() && daemon.guest.exists());
    daemon.start_again();
    daemon.assert_serves();
    daemon.end(Signal::SIGTERM);
}

#[test]
fn a_live_socket_is_left_to_its_daemon() {
    let daemon = Daemon::start();
    let place = Place::new();
    let (socket, control) = (daemon.socket.display(), daemon.control.display());
    let lives = "somebody listens there; end that daemon or choose another path";
    place.refused(
        &format!("--socket {socket} --image DIR/disk --control DIR/ctl"),
        &format!("blkstayd: --socket {socket}: {lives}\n"),
    );
    place.refused(
        &format!("--socket DIR/blk.sock --image DIR/disk --control {control}"),
        &format!("blkstayd: --control {control}: {lives}\n"),
    );
    daemon.assert_serves();
}

#[test]
fn a_guest_is_not_disturbed_by_a_daemon_that_wants_its_socket() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let place = Place::new();
    let socket = daemon.socket.display();
    assert_eq!(place.start(&format!("--socket {socket} --image DIR/disk")).code, Some(1));
    client.write(0, &[7; 512]);
    drop(client);
    daemon.assert_serves();
}

#[test]
fn what_is_not_a_socket_is_kept() {
    let place = Place::new();
    std::fs::write(place.path("precious"), "precious").expect("write");
    std::fs::create_dir(place.path("directory")).expect("mkdir");
    symlink(place.path("precious"), place.path("link")).expect("symlink");
    for name in ["precious", "directory", "link"] {
        let kept = "something that is not a socket is there; remove it or choose another path";
        place.refused(
            &format!("--socket DIR/{name} --image DIR/disk --control DIR/ctl"),
            &format!("blkstayd: --socket DIR/{name}: {kept}\n"),
        );
        place.refused(
            &format!("--socket DIR/blk.sock --image DIR/disk --control DIR/{name}"),
            &format!("blkstayd: --control DIR/{name}: {kept}\n"),
        );
    }
    assert_eq!(std::fs::read(place.path("precious")).expect("read"), b"precious");
}

#[test]
fn the_guests_socket_may_be_in_the_way_too() {
    let place = Place::new();
    let _live = UnixListener::bind(place.path("ctl.guest")).expect("bind");
    let ended = place.start(GOOD);
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.err,
        place.text("blkstayd: --control DIR/ctl.guest: somebody listens there; end that daemon or choose another path\n")
    );
    assert!(!place.path("ctl").exists() && !place.path("blk.sock").exists());
}

#[test]
fn paths_that_no_socket_can_have_are_refused() {
    let place = Place::new();
    let long = place.path(&"x".repeat(120)).display().to_string();
    let length = long.len();
    place.refused(
        &format!("--socket {long} --image DIR/disk --control DIR/ctl"),
        &format!("blkstayd: --socket {long}: the path has {length} bytes, a socket's can have 107; use a shorter one\n"),
    );
    place.refused(
        "--socket DIR/nowhere/blk.sock --image DIR/disk --control DIR/ctl",
        "blkstayd: --socket DIR/nowhere/blk.sock: cannot listen there; does the directory exist?: No such \
         file or directory (os error 2)\n",
    );
}

#[test]
fn a_physical_block_that_is_less_than_a_logical_one_is_refused() {
    Place::new().refused(
        &format!("{GOOD} --block-size 4096 --physical-block-size 512"),
        "blkstayd: --physical-block-size is less than --block-size, 4096; a physical block has one logical block \
         at least\n",
    );
}

#[test]
fn one_path_for_two_sockets_is_refused() {
    let place = Place::new();
    let ended = place.start("--socket DIR/ctl --image DIR/disk --control DIR/ctl");
    assert_eq!(ended.code, Some(1));
    place.assert_no_sockets();
}

#[test]
fn journals_that_cannot_be_written_are_refused() {
    let place = Place::new();
    place.refused(
        &format!("{GOOD} --journal DIR/nowhere/journal"),
        "blkstayd: journal DIR/nowhere/journal: cannot open it: No such file or directory (os error 2)\n",
    );
    place.refused(
        &format!("{GOOD} --journal DIR"),
        "blkstayd: journal DIR: cannot open it: Is a directory (os error 21)\n",
    );
    place.refused(
        &format!("{GOOD} --journal /dev/full"),
        "blkstayd: journal /dev/full: it is no regular file, which a journal has to be; choose one\n",
    );
    for (name, content, why) in [
        ("image", "a disk", "it is there and is no journal; choose another file"),
        (
            "lines",
            "{\"t\":0,\"what\":\"stopped\"}\n",
            "it is one of JSON lines, which are not written any more (`blkstay log` reads it); choose another file",
        ),
        ("damaged", "\u{0}", "it is there and is no journal; choose another file"),
    ] {
        std::fs::write(place.path(name), content).expect("a file");
        let path = format!("DIR/{name}");
        place.refused(&format!("{GOOD} --journal {path}"), &format!("blkstayd: journal {path}: {why}\n"));
        assert_eq!(std::fs::read(place.path(name)).expect("the file"), content.as_bytes(), "it was changed");
    }
}

#[test]
fn a_wrong_command_line_is_exit_status_2() {
    let place = Place::new();
    for (arguments, part) in [
        ("--image DIR/disk", "--socket <PATH>"),
        ("--socket DIR/blk.sock", "--image <IMAGE>"),
        ("--socket DIR/blk.sock --image DIR/disk --num-queues 0", "0 is not in 1..=16"),
        ("--socket DIR/blk.sock --image DIR/disk --num-queues 17", "17 is not in 1..=16"),
        ("--socket DIR/blk.sock --image DIR/disk --num-queues many", "invalid value 'many'"),
        ("--socket DIR/blk.sock --image DIR/disk --jornal DIR/j", "a similar argument exists: '--journal'"),
        ("--socket DIR/blk.sock --image DIR/disk --socket DIR/b", "cannot be used multiple times"),
        ("--socket DIR/blk.sock --image DIR/disk --policy DIR/p --set op", "write NAME=VALUE"),
        ("--socket DIR/blk.sock --image DIR/disk --policy DIR/p --seed -1", "unexpected argument"),
        ("--socket DIR/blk.sock --image DIR/disk --set op=read", "--policy <PATH>"),
        ("--socket DIR/blk.sock --image DIR/disk --seed 1", "--policy <PATH>"),
    ] {
        let ended = place.start(arguments);
        assert_eq!(ended.code, Some(2), "{arguments}");
        assert!(ended.err.contains(part), "{arguments}: {}", ended.err);
    }
    place.assert_no_sockets();
}

#[test]
fn help_names_every_option_of_the_contract() {
    let help = binary::run("blkstayd", &["--help"]);
    assert_eq!(help.code, Some(0));
    for option in [
        "--socket",
        "--image",
        "--policy",
        "--set",
        "--seed",
        "--journal",
        "--control",
        "--classes",
        "--read-only",
        "--num-queues",
    ] {
        assert!(help.out.contains(option), "{option} is missing:\n{}", help.out);
    }
}

#[test]
fn a_policy_with_a_mistake_is_refused_with_line_and_caret() {
    let place = Place::new();
    std::fs::write(place.path("bad.toml"), "[place]\nhere = \"gest\"\n").expect("write");
    let arguments = format!("{GOOD} --policy DIR/bad.toml --journal DIR/journal");
    place.refused(
        &arguments,
        "blkstayd: the policy has mistakes; nothing was served
error: unknown place `gest`
 --> DIR/bad.toml:2:8
  |
2 | here = \"gest\"
  |        ^^^^^^
  |
  = help: did you mean `guest`?
",
    );
    assert!(!place.path("journal").exists(), "a journal of nothing");
    place.refused(
        &format!("{GOOD} --policy DIR/missing.toml"),
        "blkstayd: policy DIR/missing.toml: cannot read it: No such file or directory (os error 2)\n",
    );
}

#[test]
fn a_parameter_that_is_wrong_is_shown_as_it_was_given() {
    let place = Place::new();
    std::fs::write(
        place.path("p.toml"),
        "parameter = { victim = \"read\" }\n[[rule]]\ngate = \"submit\"\nop = \"$victim\"\nfail = \"io-error\"",
    )
    .expect("write");
    place.refused(
        &format!("{GOOD} --policy DIR/p.toml --set=vicitm=write"),
        "blkstayd: the policy has mistakes; nothing was served
error: unknown parameter `vicitm`
 --> --set:1:1
  |
1 | vicitm=write
  | ^^^^^^
  |
  = help: did you mean `victim`?
",
    );
}

#[test]
fn a_file_that_is_included_and_cannot_be_read_is_shown() {
    let place = Place::new();
    std::fs::write(place.path("p.toml"), "include = [\"part.toml\"]").expect("write");
    place.refused(
        &format!("{GOOD} --policy DIR/p.toml"),
        "blkstayd: the policy has mistakes; nothing was served
error: cannot read `DIR/part.toml`: No such file or directory (os error 2)
 --> DIR/p.toml:1:12
  |
1 | include = [\"part.toml\"]
  |            ^^^^^^^^^^^
",
    );
}

#[test]
fn what_is_doubtful_about_a_policy_is_told_and_it_is_served() {
    let daemon = Recipe::new().policy("parameter = { unused = 1 }").start();
    assert!(daemon.errors().starts_with("warning: "), "{}", daemon.errors());
    assert!(daemon.errors().contains("parameter = { unused = 1 }"), "{}", daemon.errors());
    daemon.assert_serves();
}
