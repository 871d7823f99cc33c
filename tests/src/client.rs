//! A guest that is not there: a vhost-user client with memory and queues of its own.

use crate::WATCHDOG;
use crate::memory::{BASE, Memory};
use crate::queue::{DESCRIPTOR_BYTES, Descriptor, Queue, link, ring_bytes};
use crate::request::{Done, OK, Pending, Request, UNWRITTEN};
use std::fs::File;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use vhost::VhostBackend;
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserInflight, VhostUserProtocolFeatures,
    VhostUserVirtioFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

/// Bytes that precede the data of a request (virtio 1.3, section 5.2.6).
pub const HEADER_BYTES: u32 = 16;

/// How long a connection may last unless a test says otherwise, long enough for every single wait in it to fail first.
const CONNECTION_MAX: Duration = WATCHDOG.saturating_mul(3);

/// How a client is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many queues.
    pub queues: usize,
    /// Descriptors of each.
    pub queue_size: u16,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Features that are not acknowledged though offered.
    pub without: u64,
    /// How long the connection may last.
    pub lasts_max: Duration,
    /// Whether the client keeps what is in flight, for a daemon that dies.
    pub keeps_inflight: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            queues: 1,
            queue_size: 64,
            memory_bytes: 64 << 20,
            without: 0,
            lasts_max: CONNECTION_MAX,
            keeps_inflight: false,
        }
    }
}

impl Setup {
    /// The same without `EVENT_IDX`.
    pub fn without_event_idx(self) -> Setup {
        Setup { without: 1 << VIRTIO_RING_F_EVENT_IDX, ..self }
    }

    /// The same that keeps what is in flight.
    pub fn keeping_inflight(self) -> Setup {
        Setup { keeps_inflight: true, ..self }
    }
}

/// One connection to a daemon.
pub struct Client {
    /// Speaks vhost-user.
    pub frontend: Frontend,
    /// The same connection, to write anything at all to.
    pub stream: UnixStream,
    /// The guest's memory.
    pub memory: Memory,
    /// The queues.
    pub queues: Vec<Queue>,
    /// The features that the daemon offers.
    pub offered: u64,
    setup: Setup,
    first_unused: u64,
    inflight: Option<(VhostUserInflight, File)>,
    _watchdog: Sender<()>,
}

/// A connection on which features were agreed on.
struct Greeted {
    frontend: Frontend,
    stream: UnixStream,
    offered: u64,
    watchdog: Sender<()>,
}

impl Greeted {
    #[track_caller]
    fn new(socket: &Path, setup: Setup) -> Greeted {
        let stream = UnixStream::connect(socket).expect("connect to the vhost-user socket");
        let watchdog = watch(&stream, setup.lasts_max);
        let mut frontend = Frontend::from_stream(stream.try_clone().expect("clone"), u64::MAX);
        frontend.set_owner().expect("SET_OWNER");
        let offered = frontend.get_features().expect("GET_FEATURES");
        assert!(offered & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() != 0);
        frontend.get_protocol_features().expect("GET_PROTOCOL_FEATURES");
        let mut protocol = VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK;
        if setup.keeps_inflight {
            protocol |= VhostUserProtocolFeatures::INFLIGHT_SHMFD;
        }
        frontend.set_protocol_features(protocol).expect("SET_PROTOCOL_FEATURES");
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        frontend.set_features(offered & !setup.without).expect("SET_FEATURES");
        Greeted { frontend, stream, offered, watchdog }
    }
}

/// Hangs up if the connection is not dropped in time: the frontend itself waits for ever.
fn watch(stream: &UnixStream, lasts_max: Duration) -> Sender<()> {
    let (watchdog, dropped) = channel::<()>();
    let stream = stream.try_clone().expect("clone");
    std::thread::spawn(move || {
        if dropped.recv_timeout(lasts_max) == Err(RecvTimeoutError::Timeout) {
            eprintln!("a vhost-user connection took more than {lasts_max:?}; hanging up");
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    watchdog
}

impl Client {
    /// Connects and agrees on features; no queue is set up.
    #[track_caller]
    pub fn negotiate(socket: &Path, setup: Setup) -> Client {
        let Greeted { frontend, stream, offered, watchdog } = Greeted::new(socket, setup);
        let memory = Memory::new(setup.memory_bytes);
        let queues =
            (0..setup.queues).map(|index| Queue::new(index, setup.queue_size, memory.clone())).collect();
        let first_unused = BASE + setup.queues as u64 * ring_bytes(setup.queue_size);
        let inflight = None;
        Client {
            frontend,
            stream,
            memory,
            queues,
            offered,
            setup,
            first_unused,
            inflight,
            _watchdog: watchdog,
        }
    }

    /// Connects and sets everything up.
    #[track_caller]
    pub fn connect(socket: &Path, setup: Setup) -> Client {
        let mut client = Client::negotiate(socket, setup);
        client.share_inflight();
        client.share_memory();
        for queue in 0..setup.queues {
            client.start_queue(queue);
        }
        client
    }

    /// Connects again when the daemon has died, as QEMU does: with the same memory, and rings that go on where the guest
    /// sees them.
    #[track_caller]
    pub fn reconnect(&mut self, socket: &Path) {
        let Greeted { frontend, stream, offered, watchdog } = Greeted::new(socket, self.setup);
        (self.frontend, self.stream, self._watchdog) = (frontend, stream, watchdog);
        assert_eq!(self.offered, offered, "the device is another");
        self.share_inflight();
        self.share_memory();
        for queue in 0..self.queues.len() {
            self.describe_queue(queue, self.queues[queue].used_index());
            self.enable_queue(queue);
        }
    }

    /// Gives the daemon the memory for what is in flight; it is asked for that the first time.
    #[track_caller]
    fn share_inflight(&mut self) {
        if !self.setup.keeps_inflight {
            return;
        }
        if self.inflight.is_none() {
            let asked = VhostUserInflight::new(0, 0, self.setup.queues as u16, self.setup.queue_size);
            self.inflight = Some(self.frontend.get_inflight_fd(&asked).expect("GET_INFLIGHT_FD"));
        }
        let (given, file) = self.inflight.as_ref().expect("it was asked for");
        self.frontend.set_inflight_fd(given, file.as_raw_fd()).expect("SET_INFLIGHT_FD");
    }

    /// Cuts the file that the daemon keeps in it what is in flight.
    #[track_caller]
    pub fn cut_inflight(&self) {
        let (_, file) = self.inflight.as_ref().expect("it keeps what is in flight");
        file.set_len(0).expect("cut");
    }

    /// Tells the daemon where the memory is.
    #[track_caller]
    pub fn share_memory(&self) {
        self.frontend.set_mem_table(&[self.memory.region()]).expect("SET_MEM_TABLE");
    }

    /// Tells the daemon where a queue is, and that it may use what is made available from now on.
    #[track_caller]
    pub fn start_queue(&mut self, queue: usize) {
        self.describe_queue(queue, self.queues[queue].available);
        self.enable_queue(queue);
    }

    /// Tells the daemon that it may use a queue.
    #[track_caller]
    pub fn enable_queue(&mut self, queue: usize) {
        self.frontend.set_vring_enable(queue, true).expect("SET_VRING_ENABLE");
    }

    /// Tells the daemon where a queue is and at which index of the available ring to begin.
    #[track_caller]
    pub fn describe_queue(&self, queue: usize, base: u16) {
        let Queue { size, kick, call, .. } = &self.queues[queue];
        self.frontend.set_vring_num(queue, *size).expect("SET_VRING_NUM");
        self.frontend.set_vring_base(queue, base).expect("SET_VRING_BASE");
        self.frontend.set_vring_addr(queue, &self.queues[queue].config()).expect("SET_VRING_ADDR");
        self.frontend.set_vring_call(queue, call).expect("SET_VRING_CALL");
        self.frontend.set_vring_kick(queue, kick).expect("SET_VRING_KICK");
    }

    /// Stops a queue; the index at which the daemon would go on.
    #[track_caller]
    pub fn stop_queue(&self, queue: usize) -> u16 {
        let base = self.frontend.get_vring_base(queue).expect("GET_VRING_BASE");
        u16::try_from(base).expect("an index of a split ring")
    }

    /// Some bytes of the configuration space.
    #[track_caller]
    pub fn config(&mut self, offset: u32, bytes: u32) -> Vec<u8> {
        let buffer = vec![0; bytes as usize];
        let answer = self.frontend.get_config(offset, bytes, VhostUserConfigFlags::empty(), &buffer);
        answer.expect("GET_CONFIG").1
    }

    /// Sends a vhost-user message, however wrong; nothing is waited for.
    pub fn send_message(&mut self, request: u32, payload: &[u8]) {
        let mut message = request.to_le_bytes().to_vec();
        message.extend(1_u32.to_le_bytes()); // version 1, no flags
        message.extend((payload.len() as u32).to_le_bytes());
        message.extend(payload);
        // The daemon may have hung up already; that is for the test to find out.
        let _ = self.stream.write_all(&message);
    }

    /// Some memory that nothing else uses.
    #[track_caller]
    pub fn allocate(&mut self, bytes: usize) -> u64 {
        let at = self.first_unused.next_multiple_of(16);
        self.first_unused = at + bytes as u64;
        assert!(self.first_unused <= self.memory.end(), "the test needs a guest with more memory");
        at
    }

    /// Uses memory from an address on next, whether it has been used before or not.
    pub fn allocate_from(&mut self, at: u64) {
        self.first_unused = at;
    }

    /// A place for a status.
    pub fn status(&mut self) -> u64 {
        let at = self.allocate(1);
        self.memory.write(at, &[UNWRITTEN]);
        at
    }

    /// A request's header.
    pub fn header(&mut self, kind: u32, sector: u64) -> u64 {
        let at = self.allocate(HEADER_BYTES as usize);
        let mut header = kind.to_le_bytes().to_vec();
        header.extend([0; 4]);
        header.extend(sector.to_le_bytes());
        self.memory.write(at, &header);
        at
    }

    /// Gives a request to queue 0 and tells the device.
    #[track_caller]
    pub fn start(&mut self, request: &Request) -> Pending {
        self.start_on(0, request)
    }

    /// Gives a request to a queue and tells the device.
    #[track_caller]
    pub fn start_on(&mut self, queue: usize, request: &Request) -> Pending {
        let pending = self.offer(queue, request);
        self.queues[queue].kick();
        pending
    }

    /// Gives a request to a queue without telling the device.
    #[track_caller]
    pub fn offer(&mut self, queue: usize, request: &Request) -> Pending {
        let length = request.data.len().max(request.wanted);
        let data_at = self.allocate(length);
        let mut chain = self.chain_at(request, data_at);
        let status_at = chain.last().map(|status| status.at).expect("a chain ends with its status");
        if request.indirect {
            chain = vec![self.table(chain)];
        }
        let descriptors = chain.len();
        let head = self.queues[queue].offer(chain);
        Pending { queue, head, descriptors, data_at, wanted: request.wanted, status_at }
    }

    /// Writes a request's header, its data and a place for its status somewhere; the descriptors of them.
    #[track_caller]
    pub fn chain(&mut self, request: &Request) -> Vec<Descriptor> {
        let data_at = self.allocate(request.data.len().max(request.wanted));
        self.chain_at(request, data_at)
    }

    /// The same with its data at an address.
    #[track_caller]
    pub fn chain_at(&mut self, request: &Request, data_at: u64) -> Vec<Descriptor> {
        let header = self.header(request.kind, request.sector);
        let length = request.data.len().max(request.wanted);
        self.memory.write(data_at, &request.data);
        let status_at = self.status();
        let mut chain = vec![Descriptor::readable(header, HEADER_BYTES)];
        let segment = length.div_ceil(request.segments).max(1);
        for offset in (0..length).step_by(segment) {
            let (at, length) = (data_at + offset as u64, segment.min(length - offset) as u32);
            chain.push(match request.wanted {
                0 => Descriptor::readable(at, length),
                _ => Descriptor::writable(at, length),
            });
        }
        chain.push(Descriptor::writable(status_at, 1));
        chain
    }

    /// Writes a linked table of descriptors somewhere and returns the descriptor that names it.
    pub fn table(&mut self, chain: Vec<Descriptor>) -> Descriptor {
        let indexes: Vec<u16> = (0..chain.len() as u16).collect();
        self.raw_table(&link(chain, &indexes))
    }

    /// The same for descriptors that are written as they are.
    pub fn raw_table(&mut self, descriptors: &[Descriptor]) -> Descriptor {
        let bytes: Vec<u8> = descriptors.iter().flat_map(Descriptor::bytes).collect();
        let at = self.allocate(bytes.len());
        self.memory.write(at, &bytes);
        Descriptor::table(at, descriptors.len() as u32 * DESCRIPTOR_BYTES as u32)
    }

    /// Waits for a request.
    #[track_caller]
    pub fn wait(&mut self, pending: &Pending) -> Done {
        let written = self.queues[pending.queue].wait(pending.head, pending.descriptors);
        let status = self.memory.read(pending.status_at, 1)[0];
        Done { status, data: self.memory.read(pending.data_at, pending.wanted), written }
    }

    /// Whether a request is through.
    pub fn is_done(&mut self, pending: &Pending) -> bool {
        self.queues[pending.queue].finished(pending.head).is_some()
    }

    /// Starts a request and waits for it.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Done {
        let pending = self.start(request);
        self.wait(&pending)
    }

    /// Writes; it has to work.
    #[track_caller]
    pub fn write(&mut self, sector: u64, data: &[u8]) {
        assert_eq!(self.ask(&Request::write(sector, data)).status, OK);
    }

    /// Reads; it has to work.
    #[track_caller]
    pub fn read(&mut self, sector: u64, bytes: usize) -> Vec<u8> {
        let done = self.ask(&Request::read(sector, bytes));
        assert_eq!((done.status, done.written as usize), (OK, bytes + 1));
        done.data
    }
}
