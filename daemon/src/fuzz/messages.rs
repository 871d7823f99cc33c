//! vhost-user messages by the million, on the real connection, handler and workers, with requests in the rings: nothing
//! panics, hangs or leaks, nothing is written where no request may write, and a guest that is sane gets each of its
//! requests answered once.

use super::{Random, Watch, number};
use crate::connection;
use crate::core::Core;
use crate::patience::Polling;
use blkstay_drives::{Drive, ImageSpec, Spec};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use std::fs::File;
use std::io::IoSlice;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Messages when nobody asks for more.
const MESSAGES: u64 = 40_000;

const DISK: usize = 64 << 10;
/// Sectors that no request writes.
const UNWRITABLE: usize = DISK / 2;

/// The guest's memory, and where it is for the guest and for its QEMU.
const MEMORY: u64 = 256 << 10;
const GUEST: u64 = 0x4000_0000;
const QEMU: u64 = 0x7f00_0000_0000;

/// The rings, each with so many requests that are available from the start.
const QUEUES: u64 = 2;
const SIZE: u64 = 64;
const REQUESTS: u64 = 16;
/// Bytes of a ring: table, available ring, used ring, each at its offset.
const RING: u64 = 8192;
const AVAILABLE_AT: u64 = 2048;
const USED_AT: u64 = 4096;
/// Header, status and data of each request.
const BODY: u64 = 2048;
const BODIES: u64 = QUEUES * RING;

/// Messages by their numbers ("Front-end message types").
const GET_FEATURES: u32 = 1;
const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
const RESET_OWNER: u32 = 4;
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const SET_VRING_ERR: u32 = 14;
const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_PROTOCOL_FEATURES: u32 = 16;
const GET_QUEUE_NUM: u32 = 17;
const SET_VRING_ENABLE: u32 = 18;
const SET_BACKEND_REQ_FD: u32 = 21;
const GET_CONFIG: u32 = 24;
const SET_CONFIG: u32 = 25;
const GET_INFLIGHT_FD: u32 = 31;
const SET_INFLIGHT_FD: u32 = 32;

/// Wants an answer, beside the version.
const FLAGS: [u32; 2] = [1, 1 | 8];

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn halves(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| (*number as u32).to_le_bytes()).collect()
}

/// A number that is right, or seldom nearly, or not at all.
fn odd(random: &mut Random, right: u64) -> u64 {
    match random.below(24) {
        0 => random.next(),
        1 => right.wrapping_add(random.below(5)).wrapping_sub(2),
        2 => random.pick(&[0, 1, 255, 256, u64::from(u32::MAX), u64::MAX]),
        _ => right,
    }
}

/// What a guest has, and descriptors of other kinds.
struct Guest {
    memory: File,
    inflight: File,
    kicks: Vec<EventFd>,
    call: EventFd,
    others: Vec<OwnedFd>,
}

impl Guest {
    fn new() -> Guest {
        let file = |bytes| {
            let file = File::from(memfd_create("fuzz", MFdFlags::MFD_CLOEXEC).expect("memfd"));
            file.set_len(bytes).expect("its size");
            file
        };
        let event = || EventFd::new(EFD_NONBLOCK).expect("eventfd");
        let (read, write) = nix::unistd::pipe().expect("a pipe");
        let zero = File::open("/dev/zero").expect("/dev/zero");
        let (one, other) = UnixStream::pair().expect("a pair of sockets");
        let small = file(100);
        Guest {
            memory: file(MEMORY),
            inflight: file(8192),
            kicks: (0..QUEUES).map(|_| event()).collect(),
            call: event(),
            others: vec![read, write, zero.into(), one.into(), other.into(), small.into()],
        }
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, at).expect("its memory");
    }

    /// Fills the rings anew: reads of everything, writes to the second half.
    fn fill(&self, random: &mut Random) {
        for queue in 0..QUEUES {
            let ring = queue * RING;
            self.put(ring + AVAILABLE_AT, &[0; 4096]);
            for request in 0..REQUESTS {
                let body = BODIES + (queue * REQUESTS + request) * BODY;
                let write = random.one_in(2);
                let sector = if write { 64 + random.below(62) } else { random.below(126) };
                self.put(body, &words(&[u64::from(write), sector]));
                self.put(body + 16, &[0xff]);
                let (first, data) = (3 * request, if write { 1 } else { 3 });
                let descriptors = [(body, 16, 1), (body + 512, 1024, data), (body + 16, 1, 2)];
                for (number, (at, length, flags)) in (first..).zip(descriptors) {
                    let link = u64::from(length as u32) | flags << 32 | (number + 1) << 48;
                    self.put(ring + 16 * number, &words(&[GUEST + at, link]));
                }
                self.put(ring + AVAILABLE_AT + 4 + 2 * request, &(first as u16).to_le_bytes());
            }
            self.put(ring + AVAILABLE_AT + 2, &(REQUESTS as u16).to_le_bytes());
        }
    }

    /// Whether every request was used once and is fine.
    fn is_served(&self) -> bool {
        let byte = |at| {
            let mut bytes = [0; 2];
            self.memory.read_exact_at(&mut bytes, at).expect("its memory");
            u16::from_le_bytes(bytes)
        };
        (0..QUEUES).all(|queue| {
            let used = queue * RING + USED_AT;
            let mut heads: Vec<_> = (0..REQUESTS).map(|request| byte(used + 4 + 8 * request)).collect();
            heads.sort_unstable();
            let each_once = heads.iter().zip(0..).all(|(head, request)| *head == 3 * request);
            let status = |request| byte(BODIES + (queue * REQUESTS + request) * BODY + 16) & 0xff;
            u64::from(byte(used + 2)) == REQUESTS
                && each_once
                && (0..REQUESTS).all(|request| status(request) == 0)
        })
    }

    fn any_descriptor(&self, random: &mut Random) -> RawFd {
        match random.below(12) {
            0 => random.pick(&self.others.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>()),
            1..5 => self.memory.as_raw_fd(),
            5 => self.inflight.as_raw_fd(),
            6 => self.call.as_raw_fd(),
            _ => self.kicks[0].as_raw_fd(),
        }
    }
}

/// One end of a connection, and how long each message is that was sent on it.
struct Sender {
    stream: UnixStream,
    lengths: Vec<usize>,
}

impl Sender {
    fn send(&mut self, request: u32, flags: u32, payload: &[u8], descriptors: &[RawFd]) {
        self.send_as_long(request, flags, payload.len() as u32, payload, descriptors);
    }

    fn send_as_long(&mut self, request: u32, flags: u32, length: u32, payload: &[u8], descriptors: &[RawFd]) {
        let bytes = [&halves(&[request.into(), flags.into(), length.into()])[..], payload].concat();
        let rights = [ControlMessage::ScmRights(descriptors)];
        let rights = if descriptors.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        // What has no more room in the socket is not sent, and not counted.
        if sendmsg::<()>(self.stream.as_raw_fd(), &[IoSlice::new(&bytes)], rights, flags, None).is_ok() {
            self.lengths.push(bytes.len());
        }
    }
}

/// The messages that set a device up as QEMU does it, but for something odd if `is_sane` is not.
fn greet(to: &mut Sender, guest: &Guest, core: &Core, random: &mut Random, is_sane: bool) {
    let mut odd = |right| if is_sane { right } else { odd(random, right) };
    let features = core.device().features() & !(1 << 29);
    to.send(SET_OWNER, 1, &[], &[]);
    to.send(GET_FEATURES, 1, &[], &[]);
    to.send(SET_PROTOCOL_FEATURES, 1, &words(&[odd(core.device().protocol_features().bits())]), &[]);
    to.send(SET_FEATURES, 1, &words(&[odd(features)]), &[]);
    let inflight = [words(&[odd(8192), odd(0)]), vec![QUEUES as u8, 0, SIZE as u8, 0, 0, 0, 0, 0]].concat();
    to.send(SET_INFLIGHT_FD, 1, &inflight, &[guest.inflight.as_raw_fd()]);
    let region = [odd(GUEST), odd(MEMORY), odd(QEMU), odd(0)];
    let table = [halves(&[odd(1), 0]), words(&region)].concat();
    to.send(SET_MEM_TABLE, 1, &table, &[guest.memory.as_raw_fd()]);
    for queue in 0..QUEUES {
        let ring = QEMU + queue * RING;
        to.send(SET_VRING_NUM, 1, &halves(&[queue, odd(SIZE)]), &[]);
        to.send(SET_VRING_BASE, 1, &halves(&[queue, odd(0)]), &[]);
        let parts = [odd(ring), odd(ring + USED_AT), odd(ring + AVAILABLE_AT), 0];
        to.send(SET_VRING_ADDR, 1, &[halves(&[queue, 0]), words(&parts)].concat(), &[]);
        to.send(SET_VRING_CALL, 1, &words(&[queue]), &[guest.call.as_raw_fd()]);
        to.send(SET_VRING_KICK, 1, &words(&[odd(queue)]), &[guest.kicks[queue as usize].as_raw_fd()]);
        to.send(SET_VRING_ENABLE, 1, &halves(&[queue, 1]), &[]);
    }
}

/// A message that has the right form, and seldom something wrong in it.
fn babble(to: &mut Sender, guest: &Guest, core: &Core, random: &mut Random) {
    let queue = odd(random, random.0 % QUEUES);
    let flags = random.pick(&FLAGS);
    let fd = [guest.any_descriptor(random)];
    let some = if random.one_in(12) { &fd[..0] } else { &fd[..] };
    let ring = QEMU + (queue % QUEUES) * RING;
    match random.below(19) {
        0 => to.send(SET_VRING_NUM, flags, &halves(&[queue, odd(random, SIZE)]), &[]),
        1 => to.send(SET_VRING_BASE, flags, &halves(&[queue, random.below(40)]), &[]),
        2 => {
            let parts = [ring, ring + USED_AT, ring + AVAILABLE_AT, 0].map(|at| odd(random, at));
            to.send(SET_VRING_ADDR, flags, &[halves(&[queue, 0]), words(&parts)].concat(), &[]);
        }
        3 | 4 => to.send(GET_VRING_BASE, 1, &halves(&[queue, 0]), &[]),
        5 | 6 => to.send(SET_VRING_KICK, flags, &words(&[queue]), some),
        7 => to.send(SET_VRING_CALL, flags, &words(&[queue]), some),
        8 => to.send(SET_VRING_ERR, flags, &words(&[queue]), some),
        9 => to.send(SET_VRING_ENABLE, flags, &halves(&[queue, random.below(2)]), &[]),
        10 => to.send(SET_BACKEND_REQ_FD, flags, &[], &vec![fd[0]; random.pick(&[0, 1, 1, 1, 2, 9, 40])]),
        11 => {
            let place = [odd(random, 32), odd(random, 1), 0];
            to.send(SET_CONFIG, flags, &[halves(&place), vec![random.below(3) as u8]].concat(), &[]);
        }
        12 => {
            let (at, length) = (odd(random, random.0 % 60), odd(random, 8));
            let payload = [halves(&[at, length, 0]), vec![0; length.min(300) as usize]].concat();
            to.send(GET_CONFIG, 1, &payload, &[]);
        }
        13 => {
            let asked = [
                words(&[odd(random, 8192), odd(random, 0)]),
                vec![odd(random, QUEUES) as u8, 0, 64, 0, 0, 0, 0, 0],
            ];
            to.send(random.pick(&[GET_INFLIGHT_FD, SET_INFLIGHT_FD]), 1, &asked.concat(), some);
        }
        14 => {
            let regions = 1 + random.below(3);
            let region =
                |number: u64| [GUEST, MEMORY / regions, QEMU, 0].map(|at| at + number * MEMORY / regions);
            let regions: Vec<u64> = (0..regions).flat_map(region).map(|at| odd(random, at)).collect();
            let count = regions.len() as u64 / 4;
            let payload = [halves(&[odd(random, count), 0]), words(&regions)].concat();
            to.send(
                SET_MEM_TABLE,
                flags,
                &payload,
                &vec![guest.memory.as_raw_fd(); odd(random, count).min(9) as usize],
            );
        }
        15 => to.send(SET_FEATURES, flags, &words(&[odd(random, core.device().features())]), &[]),
        16 => to.send(
            random.pick(&[GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_FEATURES, RESET_OWNER]),
            1,
            &[],
            &[],
        ),
        17 => guest.fill(random),
        _ => {
            let payload: Vec<u8> = (0..random.below(80)).map(|_| random.next() as u8).collect();
            let length = odd(random, payload.len() as u64) as u32;
            let (request, flags) = (random.below(48) as u32, odd(random, 1) as u32);
            to.send_as_long(request, flags, length, &payload, &fd.repeat(random.below(3) as usize));
        }
    }
}

/// A connection in which everything was said before it is listened to; how many messages were taken.
fn converse(core: &Arc<Core>, guest: &Guest, random: &mut Random) -> u64 {
    let (own, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut sender = Sender { stream: own, lengths: Vec::new() };
    guest.fill(random);
    greet(&mut sender, guest, core, random, !random.0.is_multiple_of(4));
    for _ in 0..random.below(40) {
        babble(&mut sender, guest, core, random);
    }
    sender.stream.shutdown(Shutdown::Write).expect("shutdown");
    let rest = theirs.try_clone().expect("clone");
    // Anything may end it.
    let _ = connection::serve_guest(core, theirs, Polling::UpTo(0));
    let mut left = 0;
    let mut buffer = [0; 4096];
    while let Ok(read) = recv(rest.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)
        && read > 0
    {
        left += read;
    }
    let (mut unread, mut count) = (left, sender.lengths.len());
    while let Some(length) = sender.lengths[..count].last()
        && unread >= *length
    {
        (unread, count) = (unread - length, count - 1);
    }
    count as u64
}

/// A guest that does everything right: each of its requests is answered once.
fn assert_serves(core: &Arc<Core>, guest: &Guest, random: &mut Random) {
    let (own, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut sender = Sender { stream: own, lengths: Vec::new() };
    guest.fill(random);
    guest.inflight.write_all_at(&[0; 8192], 0).expect("what is in flight");
    guest.kicks.iter().for_each(|kick| kick.write(1).expect("kick"));
    greet(&mut sender, guest, core, random, true);
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| connection::serve_guest(core, theirs, Polling::UpTo(0)));
        let since = Instant::now();
        while !guest.is_served() && since.elapsed() < super::HANG {
            std::thread::yield_now();
        }
        assert!(guest.is_served(), "a guest that does everything right is not served");
        drop(sender);
        // Answers that nobody read may end it with an error.
        let _ = serving.join().expect("it does not panic");
    });
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Panics of workers, which nobody waits for.
fn count_panics() -> Arc<AtomicU64> {
    let panics = Arc::<AtomicU64>::default();
    let (seen, tell) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_some_and(|name| name.starts_with("worker")) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        tell(panic);
    }));
    panics
}

#[test]
fn any_message_is_survived_and_a_sane_guest_is_served_after_it() {
    let (runs, seed) = (number("FUZZ_RUNS", MESSAGES), number("FUZZ_SEED", 1));
    println!("messages: FUZZ_SEED={seed}");
    let (panics, taken) = (count_panics(), Arc::<AtomicU64>::default());
    let _watch = Watch::new("messages", &taken);
    let opened = blkstay_drives::open(&Spec::new(ImageSpec::Memory(DISK as u64))).expect("a drive");
    let drive: Arc<dyn Drive<_>> = opened.drive.into();
    let (core, guest, mut random) = (super::core(drive.clone(), ""), Guest::new(), Random(seed));
    let (started, mut connections, mut files) = (Instant::now(), 0_u64, None);
    while taken.load(Ordering::Relaxed) < runs {
        taken.fetch_add(converse(&core, &guest, &mut random), Ordering::Relaxed);
        connections += 1;
        assert_eq!(panics.load(Ordering::Relaxed), 0, "a worker panicked");
        if connections % 64 == 0 {
            assert_serves(&core, &guest, &mut random);
            let mut unwritable = [0; UNWRITABLE];
            drive.read_at(0, &mut unwritable).expect("the disk");
            assert!(unwritable.iter().all(|byte| *byte == 0), "something was written where nothing may be");
            // Other tests of this program have files of their own.
            assert!(open_files() <= *files.get_or_insert(open_files()) + 200, "files are left open");
        }
    }
    let taken = taken.load(Ordering::Relaxed);
    println!(
        "RESULT messages: {taken} in {connections} connections, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(taken / connections > 8, "connections end before anything is said");
}
