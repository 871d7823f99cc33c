//! Chains that no driver would send: each gets a status or stops its ring, whoever sent it can start
//! its ring again, the next guest is served, and the image is as it was.

use blkstay_tests::client::{Client, HEADER_BYTES, Setup};
use blkstay_tests::daemon::{Daemon, IMAGE_BYTES};
use blkstay_tests::fate::{self, Fate};
use blkstay_tests::memory::BASE;
use blkstay_tests::queue::{Descriptor, NEXT, link};
use blkstay_tests::request::{IO_ERROR, UNSUPPORTED};
use blkstay_tests::{journal, wait_for};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};

/// Puts something wrong into queue 0; returns where its status would be.
type Offer = Box<dyn Fn(&mut Client) -> u64>;

/// Something wrong, and what the journal has to say of it.
type Case = (&'static str, Offer, &'static str);

/// Sends each case through a guest of its own.
fn check(fate: Fate, cases: Vec<Case>) {
    let daemon = Daemon::start();
    let before = daemon.content();
    for (name, offer, why) in cases {
        let mut client = daemon.connect();
        let verdict = fate::of(&daemon, &mut client, |client| Some(offer(client)));
        assert_eq!(verdict.fate, fate, "{name}: {}", verdict.why);
        assert!(verdict.why.contains(why), "{name}: the journal says: {}", verdict.why);
        assert_eq!(client.stop_queue(0), 1, "{name}");
        client.queues[0].reset();
        client.start_queue(0);
        assert_eq!(client.read(0, 512), before[..512], "{name}: its own ring, started again");
        drop(client);
        daemon.assert_serves();
    }
    assert!(daemon.content() == before, "the image has changed");
}

/// A request of `kind` for `sector` whose descriptors between header and status are `data`.
fn chain(client: &mut Client, kind: u32, sector: u64, data: Vec<Descriptor>) -> (Vec<Descriptor>, u64) {
    let header = Descriptor::readable(client.header(kind, sector), HEADER_BYTES);
    let status = client.status();
    ([vec![header], data, vec![Descriptor::writable(status, 1)]].concat(), status)
}

/// Offers such a request whose data is in segments of these lengths, as the operation wants it.
fn request(kind: u32, sector: u64, lengths: &'static [u32]) -> Offer {
    Box::new(move |client| {
        let at = client.allocate(lengths.iter().sum::<u32>() as usize);
        let segment = |length: &u32| match kind {
            VIRTIO_BLK_T_OUT => Descriptor::readable(at, *length),
            _ => Descriptor::writable(at, *length),
        };
        let (chain, status) = chain(client, kind, sector, lengths.iter().map(segment).collect());
        client.queues[0].offer(chain);
        status
    })
}

/// Offers a request to sector 0 with one data descriptor, which `make` gets the end of memory for.
fn data(kind: u32, make: fn(end: u64) -> Descriptor) -> Offer {
    Box::new(move |client| {
        let descriptor = make(client.memory.end());
        let (chain, status) = chain(client, kind, 0, vec![descriptor]);
        client.queues[0].offer(chain);
        status
    })
}

/// Offers a good read after `spoil` has changed its descriptors: header, data, status.
fn spoilt(spoil: fn(&mut Vec<Descriptor>, end: u64)) -> Offer {
    Box::new(move |client| {
        let at = client.allocate(512);
        let data = vec![Descriptor::writable(at, 512)];
        let (mut chain, status) = chain(client, VIRTIO_BLK_T_IN, 0, data);
        spoil(&mut chain, client.memory.end());
        client.queues[0].offer(chain);
        status
    })
}

/// The same with its descriptors in a table, whose own descriptor is spoilt.
fn spoilt_table(spoil: fn(&mut Descriptor, end: u64)) -> Offer {
    Box::new(move |client| {
        let at = client.allocate(512);
        let data = vec![Descriptor::writable(at, 512)];
        let (chain, status) = chain(client, VIRTIO_BLK_T_IN, 0, data);
        let mut table = client.table(chain);
        spoil(&mut table, client.memory.end());
        client.queues[0].offer(vec![table]);
        status
    })
}

/// The same with the descriptors inside the table spoilt, after they were linked.
fn spoilt_in_table(spoil: fn(&mut Vec<Descriptor>)) -> Offer {
    Box::new(move |client| {
        let at = client.allocate(512);
        let data = vec![Descriptor::writable(at, 512)];
        let (chain, status) = chain(client, VIRTIO_BLK_T_IN, 0, data);
        let mut linked = link(chain, &[0, 1, 2]);
        spoil(&mut linked);
        let table = client.raw_table(&linked);
        client.queues[0].offer(vec![table]);
        status
    })
}

/// Writes descriptors 0, 1, … as they are and makes `head` available.
fn raw(head: u16, make: fn(u64, u64) -> Vec<Descriptor>) -> Offer {
    Box::new(move |client| {
        let header = client.header(VIRTIO_BLK_T_IN, 0);
        let status = client.status();
        for (index, descriptor) in make(header, status).into_iter().enumerate() {
            client.queues[0].set_descriptor(index as u16, descriptor);
        }
        client.queues[0].offer_head(head);
        status
    })
}

const IN: u32 = VIRTIO_BLK_T_IN;
const OUT: u32 = VIRTIO_BLK_T_OUT;
const LAST: u64 = IMAGE_BYTES / 512 - 1;

#[test]
fn a_request_the_disk_has_no_room_for_is_an_io_error() {
    check(
        Fate::Status(IO_ERROR),
        vec![
            ("a sector past the end", request(OUT, LAST + 1, &[512]), "past the end"),
            ("the last sector and more", request(OUT, LAST, &[1024]), "past the end"),
            ("the same in segments", request(OUT, LAST, &[512, 512]), "past the end"),
            ("a read past the end", request(IN, LAST, &[1024]), "past the end"),
            ("the largest sector", request(OUT, u64::MAX, &[512]), "past the end"),
            ("a byte offset that overflows", request(OUT, 1 << 55, &[512]), "past the end"),
            ("an end that overflows", request(OUT, u64::MAX >> 9, &[1024]), "past the end"),
            ("a negative offset", request(OUT, 1 << 54, &[512]), "past the end"),
            ("no data to write", request(OUT, 0, &[]), "a length of 0 bytes"),
            ("no room to read", request(IN, 0, &[]), "a length of 0 bytes"),
            ("an empty segment", request(OUT, 0, &[0]), "a length of 0 bytes"),
            ("less than a sector", request(OUT, 0, &[511]), "a length of 511 bytes"),
            ("more than a sector", request(IN, 0, &[512, 1]), "a length of 513 bytes"),
        ],
    );
}

#[test]
fn data_outside_memory_is_an_io_error() {
    check(
        Fate::Status(IO_ERROR),
        vec![
            ("below memory", data(OUT, |_| Descriptor::readable(0, 512)), "outside memory"),
            ("just below memory", data(IN, |_| Descriptor::writable(BASE - 512, 512)), "outside memory"),
            ("into memory from below", data(IN, |_| Descriptor::writable(BASE - 256, 512)), "outside memory"),
            ("behind memory", data(OUT, |end| Descriptor::readable(end, 512)), "outside memory"),
            ("over the end", data(IN, |end| Descriptor::writable(end - 256, 512)), "outside memory"),
            (
                "over the end by a byte",
                data(OUT, |end| Descriptor::readable(end - 511, 512)),
                "outside memory",
            ),
            (
                "an end that overflows",
                data(IN, |_| Descriptor::writable(u64::MAX - 511, 512)),
                "outside memory",
            ),
            ("the last address", data(OUT, |_| Descriptor::readable(u64::MAX, 512)), "outside memory"),
            ("more than there is", data(IN, |_| Descriptor::writable(BASE, 1 << 31)), "outside memory"),
        ],
    );
}

#[test]
fn data_of_the_wrong_direction_is_an_io_error() {
    check(
        Fate::Status(IO_ERROR),
        vec![
            (
                "a write from memory for the device",
                data(OUT, |end| Descriptor::writable(end - 512, 512)),
                "direction",
            ),
            (
                "a read into memory for the driver",
                data(IN, |end| Descriptor::readable(end - 512, 512)),
                "direction",
            ),
            (
                "a serial number into memory for the driver",
                data(VIRTIO_BLK_T_GET_ID, |end| Descriptor::readable(end - 512, 20)),
                "direction",
            ),
            (
                "a serial number into too little memory",
                data(VIRTIO_BLK_T_GET_ID, |end| Descriptor::writable(end - 512, 19)),
                "19 bytes for a serial number",
            ),
        ],
    );
}

#[test]
fn a_bad_header_is_an_io_error() {
    check(
        Fate::Status(IO_ERROR),
        vec![
            ("none to speak of", spoilt(|chain, _| chain[0].length = 0), "a header of 0 bytes"),
            ("half a header", spoilt(|chain, _| chain[0].length = 8), "a header of 8 bytes"),
            ("one for the device to write", spoilt(|chain, _| chain[0].flags = 2), "only the device writes"),
            ("one outside memory", spoilt(|chain, _| chain[0].at = 0), "the header is outside memory"),
            ("one over the end", spoilt(|chain, end| chain[0].at = end - 8), "the header is outside memory"),
            (
                "one that overflows",
                spoilt(|chain, _| chain[0].at = u64::MAX - 7),
                "the header is outside memory",
            ),
        ],
    );
}

#[test]
fn an_unknown_type_is_unsupported() {
    let secure_erase = 14;
    check(
        Fate::Status(UNSUPPORTED),
        vec![
            (
                "secure erase, which is not offered",
                request(secure_erase, 0, &[512]),
                "request type 14 is not offered",
            ),
            ("nothing in any specification", request(99, 0, &[512]), "request type 99"),
            ("the largest", request(u32::MAX, 0, &[512]), "request type 4294967295"),
            ("one without data", request(7, 0, &[]), "request type 7"),
        ],
    );
}

#[test]
fn more_segments_than_seg_max_are_an_io_error() {
    let segments = |count: usize| -> Offer {
        Box::new(move |client| {
            let at = client.allocate(512);
            let (chain, status) = chain(client, IN, 0, vec![Descriptor::writable(at, 512); count]);
            let table = client.table(chain);
            client.queues[0].offer(vec![table]);
            status
        })
    };
    check(
        Fate::Status(IO_ERROR),
        vec![
            ("one too many", segments(255), "255 segments, more than SEG_MAX, 254"),
            ("a full table", segments(65_000), "65000 segments"),
        ],
    );
}

#[test]
fn a_chain_without_a_status_stops_the_ring() {
    let only_header = |header, _| vec![Descriptor::readable(header, HEADER_BYTES)];
    let only_status = |_, status| vec![Descriptor::writable(status, 1)];
    check(
        Fate::Stopped,
        vec![
            ("only a header", raw(0, only_header), "no byte for the status"),
            ("only a status", raw(0, only_status), "no byte for the status"),
            ("no status", spoilt(|chain, _| *chain = vec![chain[0]; 2]), "no byte for the status"),
            ("a status to read", spoilt(|chain, _| chain[2].flags = 0), "no byte for the status"),
            ("an empty status", spoilt(|chain, _| chain[2].length = 0), "no byte for the status"),
            (
                "a status outside memory",
                spoilt(|chain, _| chain[2].at = 0),
                "status byte of a chain is outside",
            ),
            (
                "a status behind memory",
                spoilt(|chain, end| chain[2].at = end),
                "status byte of a chain is outside",
            ),
            (
                "a status over the end",
                spoilt(|chain, end| chain[2] = Descriptor::writable(end - 512, 513)),
                "status byte of a chain is outside",
            ),
            (
                "a status that overflows",
                spoilt(|chain, _| chain[2] = Descriptor::writable(u64::MAX, 2)),
                "status byte of a chain is outside",
            ),
        ],
    );
}

#[test]
fn a_chain_that_is_no_list_stops_the_ring() {
    check(
        Fate::Stopped,
        vec![
            ("a descriptor that is its own next", raw(0, |h, _| vec![to(h, 0)]), "form no list"),
            ("a loop", raw(0, |h, s| vec![to(h, 1), to(s, 2), to(s, 1)]), "form no list"),
            ("a next outside the table", raw(0, |h, _| vec![to(h, 64)]), "form no list"),
            ("a next far outside", raw(0, |h, _| vec![to(h, u16::MAX)]), "form no list"),
            ("a head outside the table", raw(64, |_, _| vec![]), "form no list"),
            ("a head far outside", raw(u16::MAX, |_, _| vec![]), "form no list"),
            (
                "more than four gigabytes",
                raw(0, |h, s| vec![to(h, 1), huge(s, 2), huge(s, 3), to(s, 4)]),
                "form no list",
            ),
        ],
    );
}

#[test]
fn a_bad_table_stops_the_ring() {
    check(
        Fate::Stopped,
        vec![
            ("one outside memory", spoilt_table(|table, _| table.at = 0), "form no list"),
            ("one behind memory", spoilt_table(|table, end| table.at = end), "form no list"),
            ("one over the end", spoilt_table(|table, end| table.at = end - 8), "form no list"),
            ("one that overflows", spoilt_table(|table, _| table.at = u64::MAX - 15), "form no list"),
            ("an empty one", spoilt_table(|table, _| table.length = 0), "form no list"),
            ("half a descriptor more", spoilt_table(|table, _| table.length += 8), "form no list"),
            ("less than a descriptor", spoilt_table(|table, _| table.length = 8), "form no list"),
            (
                "one that ends before the chain does",
                spoilt_table(|table, _| table.length = 32),
                "form no list",
            ),
            ("a huge one", spoilt_table(|table, _| table.length = u32::MAX - 15), "form no list"),
            ("a loop in it", spoilt_in_table(|chain| chain[2] = to(chain[2].at, 0)), "form no list"),
            ("a next outside it", spoilt_in_table(|chain| chain[1].next = 3), "form no list"),
            ("a table in it", spoilt_in_table(|chain| chain[1].flags |= 4), "form no list"),
            ("a table first in it", spoilt_in_table(|chain| chain[0].flags |= 4), "form no list"),
        ],
    );
}

/// A descriptor of one byte that goes on at `next`.
fn to(at: u64, next: u16) -> Descriptor {
    Descriptor { at, length: 1, flags: NEXT, next }
}

/// The same with as many bytes as can be said.
fn huge(at: u64, next: u16) -> Descriptor {
    Descriptor { length: u32::MAX, ..to(at, next) }
}

#[test]
fn a_ring_full_of_endless_chains_does_not_fill_memory() {
    let daemon = Daemon::start();
    let mut client = daemon.connect_with(Setup { queue_size: 128, ..Setup::default() });
    let before = daemon.status("VmRSS");
    let (chain, _) = chain(&mut client, IN, 0, vec![Descriptor::writable(BASE, 1); 65_000]);
    let table = client.table(chain);
    for _ in 0..128 {
        client.queues[0].offer(vec![table]);
    }
    client.queues[0].kick();
    wait_for("all of them", || (client.queues[0].used_index() == 128).then_some(()));
    let grown = daemon.status("VmHWM") - before;
    // What the client has written is in the daemon's memory too.
    assert!(grown < 32 << 10, "it took {grown} KiB");
    assert_eq!(journal::bad_requests(&daemon.records()).len(), 128);
}
