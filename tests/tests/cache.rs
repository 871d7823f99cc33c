//! The guest says once how the cache writes, and QEMU does not repeat it: that holds for a daemon that takes over, and for
//! whatever driver comes after a reset, since QEMU shows it what was said.

use blkstay_engine::control::{Answer, Command};
use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::Daemon;
use blkstay_tests::guest::{Boot, Disk};
use nix::sys::signal::Signal;
use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vhost::vhost_user::message::VhostUserConfigFlags;

/// Where in the configuration space the driver says it (virtio 1.3, section 5.2.4).
const WRITEBACK_AT: u32 = 32;

fn writes_through(daemon: &Daemon) -> bool {
    match daemon.control().call(Command::Stats) {
        Answer::Stats(stats) => stats.writes_through,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn choose(client: &mut Client, writes_back: bool) {
    let mode = [u8::from(writes_back)];
    client.frontend.set_config(WRITEBACK_AT, VhostUserConfigFlags::empty(), &mode).expect("SET_CONFIG");
    assert_eq!(client.config(WRITEBACK_AT, 1), mode);
}

fn kill(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    daemon.start_again();
}

#[test]
fn a_daemon_that_takes_over_writes_as_the_guest_told_the_one_before() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect_with(Setup::default().keeping_inflight());
    for writes_back in [false, true, false] {
        choose(&mut client, writes_back);
        for _ in 0..2 {
            kill(&mut daemon);
            assert!(!writes_through(&daemon));
            client.reconnect(&daemon.socket);
            assert_eq!(client.config(WRITEBACK_AT, 1), [u8::from(writes_back)]);
            assert_eq!(writes_through(&daemon), !writes_back);
        }
    }
    client.write(0, &[7; 512]);
}

#[test]
fn what_was_chosen_holds_for_the_next_driver_and_not_for_the_next_qemu() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    choose(&mut client, false);
    client.stop_queue(0);
    client.frontend.set_features(client.offered).expect("SET_FEATURES");
    client.queues[0].reset();
    client.start_queue(0);
    client.write(0, &[7; 512]);
    assert!(writes_through(&daemon));
    drop(client);
    let mut next = Client::negotiate(&daemon.socket, Setup::default());
    assert_eq!(next.config(WRITEBACK_AT, 1), [1]);
}

#[test]
fn a_guest_in_write_through_stays_there_over_the_daemons_death_a_stop_and_another_driver() {
    let script = "appear /dev/vda\ncd /sys/block/vda\necho 'write through' >cache_type\nsay chosen\nread go\n\
                  dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct && say read\nread go\ncd /\n\
                  d=$(basename $(readlink -f /sys/block/vda/device))\ncd /sys/bus/virtio/drivers/virtio_blk\n\
                  echo $d >unbind; echo $d >bind\nappear /dev/vda\nread mode </sys/block/vda/cache_type\n\
                  say now $mode\nread go\n";
    let mut daemon = Daemon::start();
    let mut guest = Boot::new(script).start(Disk::Served(&daemon.socket));
    guest.expect("chosen");
    assert!(writes_through(&daemon));
    kill(&mut daemon);
    guest.say("go");
    guest.expect("read");
    assert!(writes_through(&daemon), "the daemon was killed");
    guest.qmp.ask("stop", serde_json::json!({}));
    guest.qmp.ask("cont", serde_json::json!({}));
    assert!(writes_through(&daemon), "the guest was stopped");
    guest.say("go");
    assert_eq!(guest.expect("now"), "write through", "what QEMU shows");
    assert!(writes_through(&daemon), "there is another driver");
    guest.say("go");
    guest.end();
}
