//! Discards and writes of zeros that no driver would send: each gets its status, and the image is as it was.

use blkstay_tests::client::{Client, HEADER_BYTES};
use blkstay_tests::daemon::{Daemon, IMAGE_BYTES};
use blkstay_tests::fate::{self, Fate};
use blkstay_tests::queue::Descriptor;
use blkstay_tests::request::{IO_ERROR, OK, Request, UNSUPPORTED};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};

const DISCARD: u32 = VIRTIO_BLK_T_DISCARD;
const ZEROES: u32 = VIRTIO_BLK_T_WRITE_ZEROES;
const LAST: u64 = IMAGE_BYTES / 512 - 1;

/// Has something wrong offered, which has to get a status for that reason; the ring goes on.
#[track_caller]
fn assert_refused(
    daemon: &Daemon,
    client: &mut Client,
    status: u8,
    why: &str,
    offer: impl FnOnce(&mut Client) -> u64,
) {
    let before = daemon.content();
    let verdict = fate::of(daemon, client, |client| Some(offer(client)));
    assert_eq!(verdict.fate, Fate::Status(status), "{}", verdict.why);
    assert!(verdict.why.contains(why), "the journal says: {}, not: {why}", verdict.why);
    assert!(daemon.content() == before, "the image has changed: {why}");
}

fn check(status: u8, cases: &[(Request, &str)]) {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for (request, why) in cases {
        assert_refused(&daemon, &mut client, status, why, |client| client.offer(0, request).status_at);
    }
    assert_eq!(client.ask(&Request::discard(LAST, 1)).status, OK);
    drop(client);
    daemon.assert_serves();
}

/// One whose data has been made so long, in some segments.
fn resized(kind: u32, bytes: usize, segments: usize) -> Request {
    let mut request = Request::clear(kind, 0, 1, 0).segments(segments);
    request.data.resize(bytes, 0);
    request
}

#[test]
fn ranges_that_the_disk_has_not_are_io_errors() {
    check(
        IO_ERROR,
        &[
            (Request::clear(DISCARD, LAST + 1, 1, 0), "past the end"),
            (Request::clear(ZEROES, LAST, 2, 0), "past the end"),
            (Request::clear(ZEROES, 1 << 55, 1, 1), "past the end"),
            (Request::clear(DISCARD, u64::MAX, 8, 0), "past the end"),
            (Request::clear(ZEROES, u64::MAX >> 9, 8, 0), "past the end"),
            (Request::clear(DISCARD, 0, 0, 0), "a length of 0 bytes"),
            (Request::clear(ZEROES, 0, 0, 1), "a length of 0 bytes"),
            (Request::clear(DISCARD, 0, (1 << 21) + 1, 0), "2097153 sectors, at most 2097152"),
            (Request::clear(ZEROES, 0, u32::MAX, 0), "at most 131072 are offered"),
        ],
    );
}

#[test]
fn what_is_not_one_range_is_an_io_error() {
    check(
        IO_ERROR,
        &[
            (resized(DISCARD, 32, 1), "32 bytes instead of the 16"),
            (resized(ZEROES, 32, 2), "32 bytes instead of the 16"),
            (resized(ZEROES, 8, 1), "8 bytes instead of the 16"),
            (resized(DISCARD, 0, 1), "0 bytes instead of the 16"),
            (resized(ZEROES, 17, 1), "17 bytes instead of the 16"),
        ],
    );
}

#[test]
fn flags_that_are_not_offered_are_unsupported() {
    check(
        UNSUPPORTED,
        &[
            (Request::clear(DISCARD, 0, 1, 1), "a discard has flags 0x1"),
            (Request::clear(DISCARD, 0, 1, 1 << 31), "a discard has flags 0x80000000"),
            (Request::clear(ZEROES, 0, 1, 2), "a write-zeroes has flags 0x2"),
            (Request::clear(ZEROES, 0, 1, 3), "a write-zeroes has flags 0x3"),
            (Request::clear(ZEROES, u64::MAX, 1, u32::MAX), "a write-zeroes has flags 0xffffffff"),
        ],
    );
}

#[test]
fn a_range_that_cannot_be_read_is_an_io_error() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let end = client.memory.end();
    for (range, why) in [
        (Descriptor::writable(end - 512, 16), "direction"),
        (Descriptor::readable(end - 8, 16), "outside memory"),
        (Descriptor::readable(0, 16), "outside memory"),
    ] {
        assert_refused(&daemon, &mut client, IO_ERROR, why, |client| {
            let header = Descriptor::readable(client.header(ZEROES, 0), HEADER_BYTES);
            let status = client.status();
            client.queues[0].offer(vec![header, range, Descriptor::writable(status, 1)]);
            status
        });
    }
    drop(client);
    daemon.assert_serves();
}
