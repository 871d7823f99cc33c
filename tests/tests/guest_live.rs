//! What a guest and QEMU may do while requests are held: nothing hangs, and every request is accounted for by the rules of
//! docs/guest.md.

use blkstay_engine::control::Command;
use blkstay_engine::journal::{Abandon, Cause, Record};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::guest::{Boot, Disk, Guest};
use blkstay_tests::{journal, wait_for};
use nix::sys::signal::Signal;
use serde_json::json;

const MB: u64 = 1 << 20;

/// A write to the second megabyte is held until somebody says so.
const HELD: &str = r#"
event = { go = "control" }

[point]
W = { op = "write", place = { sector = 2048, sectors = 8 } }

[[hold]]
gate     = "W.complete"
until    = "control.go"
watchdog = "300s"
"#;

/// The script of a guest that begins by writing what is held.
fn script(then: &str) -> String {
    format!(
        "appear /dev/vda\nwrite() {{ dd if=/init of=/dev/vda bs=4k seek=256 count=1 oflag=direct conv=notrunc; }}\n\
         works() {{ dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct && say works; }}\n\
         write >/dev/null 2>&1 && say written &\n{then}\n"
    )
}

fn start(then: &str, boot: impl Fn(Boot) -> Boot) -> (Daemon, Guest) {
    let daemon = Recipe::new().blank(8 * MB).policy(HELD).start();
    let guest = boot(Boot::new(&script(then))).start(Disk::Served(&daemon.socket));
    daemon.control().wait_for("W.done");
    (daemon, guest)
}

fn released_by(daemon: &Daemon, cause: Cause) -> usize {
    let released = |record: &&Record| matches!(record, Record::Released { cause: by, .. } if *by == cause);
    daemon.records().iter().filter(released).count()
}

/// Everything is over, and every request is accounted for.
#[track_caller]
fn finish(guest: Guest, mut daemon: Daemon) {
    guest.end();
    daemon.end(Signal::SIGTERM);
    daemon.assert_accounted_for();
}

#[test]
fn stopping_the_guest_completes_what_is_held_and_continuing_it_misses_nothing() {
    let (daemon, mut guest) = start("wait\nworks", |boot| boot);
    guest.qmp.ask("stop", json!({}));
    assert_eq!(released_by(&daemon, Cause::RingStop), 1);
    guest.qmp.ask("cont", json!({}));
    guest.expect("written");
    guest.expect("works");
    finish(guest, daemon);
}

#[test]
fn a_guest_that_is_reset_boots_again_from_the_same_disk() {
    let (daemon, mut guest) = start("read again </dev/ttyS0\nwait\nworks", Boot::reboots);
    guest.qmp.ask("system_reset", json!({}));
    // The hold is over in this attempt; the guest that boots again writes, and is not held.
    wait_for("the hold's end", || (released_by(&daemon, Cause::RingStop) == 1).then_some(()));
    guest.expect("written");
    guest.say("again");
    guest.expect("works");
    finish(guest, daemon);
}

#[test]
fn a_driver_that_is_unbound_gets_what_is_held_and_works_when_it_is_bound_again() {
    let then = "d=$(basename $(readlink -f /sys/block/vda/device))\ncd /sys/bus/virtio/drivers/virtio_blk\n\
                say unbinding\necho $d >unbind && say unbound\ncd /sys/bus/virtio/drivers/virtio_blk\n\
                echo $d >bind\nappear /dev/vda\nworks";
    let (daemon, guest) = start(then, |boot| boot);
    // The driver waits for its requests before it lets go, so somebody has to let them go.
    guest.expect("unbinding");
    daemon.control().emit("go");
    guest.expect("unbound");
    guest.expect("works");
    finish(guest, daemon);
}

#[test]
fn a_disk_that_is_unplugged_leaves_nothing_behind_and_may_be_plugged_in_again() {
    let (daemon, mut guest) = start("say pulled\nvanish /dev/vda\nappear /dev/vda\nworks", |boot| boot);
    guest.expect("pulled");
    guest.qmp.ask("device_del", json!({ "id": "vda" }));
    // As when it is unbound: the guest's driver waits for its requests before it lets the slot go.
    daemon.control().emit("go");
    guest.qmp.wait_for("DEVICE_DELETED");
    guest.qmp.ask(
        "device_add",
        json!({
            "driver": "vhost-user-blk-pci", "chardev": "disk", "num-queues": 1, "bus": "port0", "id": "vda",
        }),
    );
    guest.expect("works");
    finish(guest, daemon);
}

#[test]
fn a_kernel_that_boots_another_one_gets_what_is_held_and_the_other_finds_it_written() {
    let second = "appear /dev/vda\nd=$(dd if=/dev/vda bs=4k skip=256 count=1 iflag=direct 2>/dev/null | head -c 9)\n\
                  say second \"$d\"\ndd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct && say works";
    let first = "say leaving\nexercise kexec /kernel /then || say failed";
    let (daemon, guest) = start(first, |boot| boot.then(second));
    guest.expect("leaving");
    assert_eq!(guest.expect("second"), "#!/bin/bu", "what was held is not on the disk");
    guest.expect("works");
    assert_eq!(released_by(&daemon, Cause::RingStop), 1);
    finish(guest, daemon);
}

#[test]
fn a_qemu_that_dies_leaves_what_is_held_abandoned() {
    let (daemon, guest) = start("wait", |boot| boot);
    drop(guest);
    daemon
        .wait_for_record("the guest's end", |records| records.contains(&Record::Disconnected).then_some(()));
    let given_up = journal::abandoned(&daemon.records());
    assert!(given_up.iter().all(|(_, _, why)| *why == Abandon::Disconnect) && given_up.len() == 1);
    daemon.assert_accounted_for();
    daemon.assert_serves();
}

#[test]
fn a_guest_sees_the_disk_grow_and_shrink_and_chooses_its_cache() {
    let script = "appear /dev/vda\nread size </sys/block/vda/size\nsay size $size\n\
        while read order </dev/ttyS0; do case $order in\n\
        end) break ;;\n\
        size) read size </sys/block/vda/size; say size $size ;;\n\
        *) echo \"$order\" >/sys/block/vda/cache_type; read now </sys/block/vda/cache_type; say cache $now ;;\n\
        esac; done\n\
        dmesg | grep -q 'new size: 32768 512-byte' && say told\n";
    let daemon = Recipe::new().blank(8 * MB).start();
    let mut guest = Boot::new(script).start(Disk::Served(&daemon.socket));
    assert_eq!(guest.expect("size"), (8 * MB / 512).to_string());
    for megabytes in [16, 4] {
        daemon.control().tell(Command::Resize { bytes: megabytes * MB });
        let sectors = (megabytes * MB / 512).to_string();
        wait_for("the guest to see the new size", || {
            guest.say("size");
            (guest.expect("size") == sectors).then_some(())
        });
        assert_eq!(std::fs::metadata(&daemon.image).expect("the image").len(), megabytes * MB);
    }
    for mode in ["write through", "write back"] {
        guest.say(mode);
        assert_eq!(guest.expect("cache"), mode);
    }
    guest.say("end");
    guest.expect("told");
    finish(guest, daemon);
}

#[test]
fn a_guest_cannot_write_a_read_only_disk() {
    let script = "appear /dev/vda\nread ro </sys/block/vda/ro\nsay ro $ro\n\
                  dd if=/init of=/dev/vda bs=4k count=1 oflag=direct conv=notrunc 2>/dev/null && say wrote || say refused\n";
    let daemon = Recipe::new().argument("--read-only").start();
    let before = daemon.content();
    let guest = Boot::new(script).start(Disk::Served(&daemon.socket));
    assert_eq!(guest.expect("ro"), "1");
    guest.expect("refused");
    finish_unchanged(guest, &daemon, &before);
}

#[track_caller]
fn finish_unchanged(guest: Guest, daemon: &Daemon, before: &[u8]) {
    guest.end();
    assert!(daemon.content() == before);
}
