//! A guest that does everything right gets a good disk.

use blkstay_engine::control::Command;
use blkstay_tests::client::Setup;
use blkstay_tests::daemon::{Daemon, IMAGE_BYTES, Recipe};
use blkstay_tests::queue::Descriptor;
use blkstay_tests::random::Random;
use blkstay_tests::request::{IO_ERROR, OK, Pending, Request, UNSUPPORTED};
use std::os::unix::fs::MetadataExt;
use virtio_bindings::virtio_blk::*;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

fn offers(offered: u64, bit: u32) -> bool {
    offered & (1 << bit) != 0
}

#[test]
fn offers_the_features_that_are_promised_and_none_that_forbids_reordering() {
    let daemon = Daemon::start();
    let client = daemon.connect();
    for bit in [
        VIRTIO_BLK_F_SEG_MAX,
        VIRTIO_BLK_F_SIZE_MAX,
        VIRTIO_BLK_F_BLK_SIZE,
        VIRTIO_BLK_F_FLUSH,
        VIRTIO_BLK_F_MQ,
        VIRTIO_BLK_F_DISCARD,
        VIRTIO_BLK_F_WRITE_ZEROES,
        VIRTIO_RING_F_INDIRECT_DESC,
        VIRTIO_RING_F_EVENT_IDX,
        VIRTIO_F_VERSION_1,
    ] {
        assert!(offers(client.offered, bit), "feature {bit} is missing");
    }
    let (in_order, packed) = (35, 34);
    for bit in [VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SECURE_ERASE, in_order, packed] {
        assert!(!offers(client.offered, bit), "feature {bit} is offered");
    }
}

#[test]
fn configuration_space_describes_the_disk() {
    let daemon = Recipe::new().argument("--num-queues=3").start();
    let mut client = daemon.connect();
    let config = client.config(0, 60);
    assert_eq!(config[..8], (IMAGE_BYTES / 512).to_le_bytes(), "capacity");
    assert_eq!(config[8..12], (1_u32 << 20).to_le_bytes(), "size_max");
    assert_eq!(config[12..16], 254_u32.to_le_bytes(), "seg_max");
    assert_eq!(config[20..24], 512_u32.to_le_bytes(), "blk_size");
    assert_eq!(config[34..36], 3_u16.to_le_bytes(), "num_queues");
    assert_eq!(config[36..40], (1_u32 << 21).to_le_bytes(), "max_discard_sectors");
    assert_eq!(config[40..44], 1_u32.to_le_bytes(), "max_discard_seg");
    assert_eq!(config[44..48], 8_u32.to_le_bytes(), "discard_sector_alignment");
    assert_eq!(config[48..52], (1_u32 << 17).to_le_bytes(), "max_write_zeroes_sectors");
    assert_eq!(config[52..56], 1_u32.to_le_bytes(), "max_write_zeroes_seg");
    assert_eq!(config[56], 1, "write_zeroes_may_unmap");
}

#[test]
fn what_is_written_is_read_back_and_is_in_the_image() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let before = daemon.content();
    assert_eq!(client.read(3, 4096), before[3 * 512..3 * 512 + 4096]);
    let data = Random::new(2).bytes(8192);
    client.write(100, &data);
    assert_eq!(client.ask(&Request::flush()).status, OK);
    assert_eq!(client.read(100, 8192), data);
    let mut expected = before;
    expected[51_200..59_392].copy_from_slice(&data);
    assert!(daemon.content() == expected, "the image has other changes than the write");
}

#[test]
fn zeros_are_written_whether_room_may_be_given_back_or_not() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut expected = daemon.content();
    for (sector, sectors, unmap) in
        [(0, 1, 0), (8, 8, 1), (33, 7, 0), (65, 130, 1), (IMAGE_BYTES / 512 - 1, 1, 1)]
    {
        let done = client.ask(&Request::write_zeroes(sector, sectors, unmap).segments(2));
        assert_eq!((done.status, done.written), (OK, 1), "{sectors} sectors at {sector}");
        expected[sector as usize * 512..][..sectors as usize * 512].fill(0);
        assert!(daemon.content() == expected, "{sectors} sectors at {sector}");
    }
}

#[test]
fn a_discard_gives_room_back_and_touches_nothing_else() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let before = daemon.content();
    let room = || daemon.image.metadata().expect("the image").blocks();
    let full = room();
    assert_eq!(client.ask(&Request::discard(8, 1024)).status, OK);
    let after = daemon.content();
    let (start, end) = (8 * 512, (8 + 1024) * 512);
    assert!(
        after[..start] == before[..start] && after[end..] == before[end..],
        "more than the range has changed"
    );
    let given_back = room() < full && after[start..end].iter().all(|byte| *byte == 0);
    assert!(given_back || after == before, "it is advice: taken, or not taken");
}

#[test]
fn has_a_serial_number() {
    let done = Daemon::start().connect().ask(&Request::id());
    assert_eq!((done.status, done.written), (OK, 21));
    assert_eq!(done.data, b"blkstay\0\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn data_may_be_in_many_segments_direct_or_indirect() {
    let daemon = Daemon::start();
    let mut client = daemon.connect_with(Setup { queue_size: 256, ..Setup::default() });
    for (segments, indirect) in [(2, false), (7, true), (200, false), (254, true)] {
        let data = Random::new(segments as u64).bytes(254 * 512);
        let mut write = Request::write(segments as u64, &data).segments(segments);
        let mut read = Request::read(segments as u64, data.len()).segments(segments);
        if indirect {
            (write, read) = (write.indirect(), read.indirect());
        }
        assert_eq!(client.ask(&write).status, OK);
        assert!(client.ask(&read).data == data, "{segments} segments, indirect: {indirect}");
        assert!(daemon.content()[segments * 512..][..data.len()] == data);
    }
}

#[test]
fn first_and_last_sector_can_be_written() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.write(0, &[1; 512]);
    client.write(IMAGE_BYTES / 512 - 1, &[2; 512]);
    let content = daemon.content();
    assert_eq!(content.len() as u64, IMAGE_BYTES);
    assert_eq!(
        (content[..512].to_vec(), content[content.len() - 512..].to_vec()),
        (vec![1; 512], vec![2; 512])
    );
}

#[test]
fn every_queue_is_served() {
    let daemon = Daemon::start();
    let mut client = daemon.connect_with(Setup { queues: 16, ..Setup::default() });
    let writes: Vec<_> =
        (0..16).map(|q| client.start_on(q, &Request::write(8 * q as u64, &[q as u8; 4096]))).collect();
    for write in &writes {
        assert_eq!(client.wait(write).status, OK);
    }
    for queue in 0..16 {
        let read = client.start_on(15 - queue, &Request::read(8 * queue as u64, 4096));
        assert_eq!(client.wait(&read).data, [queue as u8; 4096]);
    }
}

#[test]
fn a_full_ring_goes_round_and_round_with_and_without_event_idx() {
    let daemon = Daemon::start();
    for setup in [Setup::default(), Setup::default().without_event_idx()] {
        let mut client = daemon.connect_with(Setup { queue_size: 32, ..setup });
        for round in 0..50_u8 {
            let writes: Vec<_> =
                (0..32).map(|n| client.start(&Request::write(n, &[round; 512]).indirect())).collect();
            for write in writes.iter().rev() {
                assert_eq!(client.wait(write).status, OK);
            }
        }
        assert_eq!(client.read(0, 32 * 512), [49; 32 * 512]);
    }
}

#[test]
fn ring_indexes_wrap_around() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.stop_queue(0);
    client.queues[0].start_at(u16::MAX - 2);
    client.start_queue(0);
    for sector in 0..8 {
        client.write(sector, &[sector as u8; 512]);
        assert_eq!(client.read(sector, 512), [sector as u8; 512]);
    }
}

#[test]
fn one_kick_is_enough_for_many_requests() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let reads: Vec<_> = (0..20).map(|n| client.offer(0, &Request::read(n, 512))).collect();
    client.queues[0].kick();
    let content = daemon.content();
    for (sector, read) in reads.iter().enumerate() {
        assert_eq!(client.wait(read).data, content[sector * 512..][..512]);
    }
}

#[test]
fn a_read_only_disk_says_so_and_refuses_writes() {
    let daemon = Recipe::new().argument("--read-only").start();
    let mut client = daemon.connect();
    assert!(offers(client.offered, VIRTIO_BLK_F_RO));
    assert!(
        !offers(client.offered, VIRTIO_BLK_F_DISCARD) && !offers(client.offered, VIRTIO_BLK_F_WRITE_ZEROES)
    );
    let before = daemon.content();
    assert_eq!(client.ask(&Request::write(0, &[7; 512])).status, IO_ERROR);
    assert_eq!(client.ask(&Request::discard(0, 8)).status, UNSUPPORTED);
    assert_eq!(client.ask(&Request::write_zeroes(0, 8, 0)).status, UNSUPPORTED);
    assert_eq!(client.read(0, 512), before[..512]);
    assert_eq!(client.ask(&Request::flush()).status, OK);
    assert!(daemon.content() == before);
}

#[test]
fn a_guest_may_stop_its_ring_and_go_on_where_it_was() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.write(0, &[1; 512]);
    client.write(1, &[2; 512]);
    let base = client.stop_queue(0);
    assert_eq!(base, 2);
    let waiting = client.start(&Request::read(0, 1024));
    client.describe_queue(0, base);
    client.enable_queue(0);
    assert_eq!(client.wait(&waiting).data, [[1; 512], [2; 512]].concat());
}

#[test]
fn guests_come_and_go() {
    let daemon = Daemon::start();
    for round in 0..20 {
        let mut client = daemon.connect();
        client.write(round, &[round as u8; 512]);
        assert_eq!(client.read(round, 512), [round as u8; 512]);
    }
    let mut client = daemon.connect();
    assert_eq!(client.read(19, 512), [19; 512]);
}

/// Some memory in pieces that end at these places.
fn pieces(whole: Descriptor, ends: &[u32]) -> Vec<Descriptor> {
    let starts = [0].into_iter().chain(ends.iter().copied());
    let ends = ends.iter().copied().chain([whole.length]);
    let piece = |(start, end): (u32, u32)| Descriptor {
        at: whole.at + u64::from(start),
        length: end - start,
        ..whole
    };
    starts.zip(ends).map(piece).collect()
}

#[test]
fn a_header_may_lie_in_any_pieces_and_together_with_data() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let cuts: [&[u32]; 7] = [&[], &[16], &[8], &[4, 12], &[16, 100], &[0, 1, 15, 300], &[20]];
    for (number, ends) in cuts.into_iter().enumerate() {
        let data = vec![number as u8 + 1; 512];
        let at = client.allocate(528);
        let header = [1_u64.to_le_bytes(), 8_u64.to_le_bytes()].concat();
        client.memory.write(at, &[header, data.clone()].concat());
        let status = client.status();
        let mut chain = pieces(Descriptor::readable(at, 528), ends);
        chain.push(Descriptor::writable(status, 1));
        let descriptors = chain.len();
        let head = client.queues[0].offer(chain);
        client.queues[0].kick();
        client.queues[0].wait(head, descriptors);
        assert_eq!(client.memory.read(status, 1), [OK], "in pieces that end at {ends:?}");
        assert!(client.read(8, 512) == data, "in pieces that end at {ends:?}");
    }
}

/// Bytes of a disk that is made smaller, before and after.
const LARGE: u64 = 1 << 20;
const SMALL: u64 = LARGE / 2;

#[test]
fn what_is_held_while_the_disk_gets_smaller_does_not_reach_past_its_new_end() {
    for image in ["", "memory:1M", "null:1M"] {
        let recipe = Recipe::new();
        let daemon =
            if image.is_empty() { recipe.image_bytes(LARGE) } else { recipe.image_spec(image) }.start();
        let mut client = daemon.connect();
        let mut control = daemon.control();
        control.tell(Command::Pause { queue: None, watchdog_ns: None });
        let last = LARGE / 512 - 8;
        let past: Vec<Pending> = [
            Request::write(last, &[9; 4096]),
            Request::write_zeroes(last, 8, 0),
            Request::read(last, 4096),
            Request::discard(last, 8),
            Request::write(SMALL / 512 - 1, &[9; 1024]),
        ]
        .iter()
        .map(|request| client.start(request))
        .collect();
        let within = client.start(&Request::write(SMALL / 512 - 1, &[7; 512]));
        daemon.wait_for_record("all of them", |records| {
            let arrived = |record: &&_| matches!(record, blkstay_engine::journal::Record::Arrived { .. });
            (records.iter().filter(arrived).count() == 6).then_some(())
        });
        control.tell(Command::Resize { bytes: SMALL });
        control.tell(Command::Resume);
        for pending in &past {
            assert_eq!(client.wait(pending).status, IO_ERROR, "{image}: {pending:?}");
        }
        assert_eq!(client.wait(&within).status, OK);
        control.tell(Command::Resize { bytes: LARGE });
        if image.is_empty() {
            let content = daemon.content();
            assert!(content[SMALL as usize - 512..SMALL as usize] == [7; 512], "what lay on it is there");
            assert!(content[SMALL as usize..] == [0; (LARGE - SMALL) as usize], "what is added is zeros");
        }
    }
}

#[test]
fn what_the_drive_has_while_the_disk_gets_smaller_does_not_make_its_file_longer_again() {
    for aio in ["io_uring", "threads"] {
        let recipe = Recipe::new().image_bytes(LARGE).argument("--aio").argument(aio);
        let daemon = recipe.start();
        let mut client = daemon.connect_with(Setup { queue_size: 256, ..Setup::default() });
        let (mut control, unused) = (daemon.control(), client.allocate(0));
        for _ in 0..20 {
            client.allocate_from(unused.next_multiple_of(4096));
            let data = [5; 65536];
            let write = |n: u64| Request::write((LARGE - 65536 * (1 + n % 8)) / 512, &data);
            let pending: Vec<_> = (0..32).map(|n| client.offer(0, &write(n))).collect();
            client.queues[0].kick();
            control.tell(Command::Resize { bytes: SMALL });
            let bytes = || daemon.image.metadata().expect("the image").len();
            assert_eq!(bytes(), SMALL);
            for pending in &pending {
                client.wait(pending);
            }
            assert_eq!(bytes(), SMALL, "what was under way came after the disk had been made smaller");
            control.tell(Command::Resize { bytes: LARGE });
        }
    }
}
