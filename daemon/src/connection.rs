//! One guest after another: a connection from its beginning to its end.

use crate::core::Core;
use crate::crew::Crew;
use crate::cut::HungUp;
use crate::handler::Handler;
use crate::memory::{self, MemoryMap};
use crate::patience::Polling;
use crate::ring::Ring;
use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::{IoSliceMut, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vhost::vhost_user::message::{BackendReq, FrontendReq};
use vhost::vhost_user::{BackendReqHandler, Error as VhostError};
use vm_memory::GuestMemoryMmap;

/// Bytes of a message's header: request, flags, size of the rest, each in 4 (vhost-user, "Header").
const HEADER: usize = 12;

/// Most descriptors in a message, SCM_MAX_FD of unix(7).
const DESCRIPTORS_MAX: usize = 253;

/// The protocol's version, in the flags of every message.
const VERSION: u32 = 1;

/// The guest that is connected, if one is.
#[derive(Default)]
pub struct Connections(Mutex<Option<Connected>>);

struct Connected {
    crew: Arc<Crew>,
    /// Where QEMU listens for what the device has to say.
    requests: Option<UnixStream>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Option<Connected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is one.
    pub fn is_connected(&self) -> bool {
        self.lock().is_some()
    }

    /// Lets the workers end; requests that are on their way go to their end first.
    pub fn finish(&self) {
        let crew = self.lock().as_ref().map(|connected| connected.crew.clone());
        if crew.is_some_and(|crew| !crew.leave()) {
            tracing::error!(
                "the drive does not finish what it has; the journal does not say what became of that"
            );
        }
    }

    /// Tells QEMU that the configuration space is another, which tells the driver.
    pub fn config_changed(&self) {
        let mut connected = self.lock();
        let Some(requests) = connected.as_mut().and_then(|connected| connected.requests.as_mut()) else {
            return;
        };
        let message = [u32::from(BackendReq::CONFIG_CHANGE_MSG), VERSION, 0];
        let bytes: Vec<u8> = message.into_iter().flat_map(u32::to_ne_bytes).collect();
        if let Err(error) = requests.write_all(&bytes) {
            tracing::warn!(%error, "QEMU could not be told of the disk's new size");
        }
    }
}

/// Serves one guest after another, for ever.
pub fn serve(core: &Arc<Core>, listener: &UnixListener, polling: Polling) {
    loop {
        let served = listener.accept().context("cannot accept a connection");
        if let Err(error) = served.and_then(|(stream, _)| serve_guest(core, stream, polling)) {
            tracing::info!("a guest's connection ended: {error:#}");
        }
        memory::give_back();
    }
}

/// Serves one guest until it is gone.
///
/// # Errors
/// It said something that makes no sense, or this process has nothing left to serve it with.
pub fn serve_guest(core: &Arc<Core>, stream: UnixStream, polling: Polling) -> Result<()> {
    let map = MemoryMap::new(GuestMemoryMmap::new());
    let model = core.device().model();
    let ring = |index| Ring::new(index, map.clone(), crate::device::QUEUE_SIZE_MAX).map(Arc::new);
    let rings = (0..model.queues).map(ring).collect::<Result<Vec<_>, _>>();
    let rings = rings.map_err(|error| anyhow!("{error}")).context("cannot make rings")?;
    let crew = Crew::start(core, &rings, polling).context("cannot start workers")?;
    let _hung_up = HungUp::when_cut(stream.try_clone().context("cannot keep a descriptor")?);
    core.device().connected();
    *core.connections().lock() = Some(Connected { crew: crew.clone(), requests: None });
    core.connected();
    tracing::info!(queues = rings.len(), threads = core.lanes(), "a guest connected");
    let handler = Handler::new(core.clone(), rings.clone(), crew.clone(), map);
    let ended = converse(core, stream, Arc::new(Mutex::new(handler)));
    for ring in &rings {
        ring.stop();
    }
    core.disconnected();
    // None reaches the media after one of the next guest's.
    rings.iter().for_each(|ring| ring.wait_until_idle());
    crew.leave();
    *core.connections().lock() = None;
    tracing::info!("the guest is gone; the next one is welcome");
    ended
}

/// Answers QEMU's messages until it hangs up.
fn converse(core: &Core, stream: UnixStream, handler: Arc<Mutex<Handler>>) -> Result<()> {
    let peeked = stream.try_clone().context("cannot listen twice")?;
    let mut messages = BackendReqHandler::from_stream(stream, handler);
    loop {
        if let Some(requests) = peek_request_socket(&peeked)?
            && let Some(connected) = core.connections().lock().as_mut()
        {
            connected.requests = Some(requests);
        }
        match messages.handle_request() {
            Ok(()) => {}
            Err(VhostError::Disconnected) => return Ok(()),
            Err(error) => return Err(anyhow!("{error}")),
        }
    }
}

/// Looks at the next message without taking it: the `vhost` crate keeps the socket for requests of the device to itself
/// and cannot send the one that is needed, that the configuration has changed.
fn peek_request_socket(stream: &UnixStream) -> Result<Option<UnixStream>> {
    let mut header = [0; HEADER];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_CMSG_CLOEXEC;
    let mut into = [IoSliceMut::new(&mut header)];
    let read =
        recvmsg::<()>(stream.as_raw_fd(), &mut into, None, flags).context("cannot read a message")?.bytes;
    let request = header.first_chunk().map(|code| u32::from_ne_bytes(*code));
    if read < 4 || request != Some(u32::from(FrontendReq::SET_BACKEND_REQ_FD)) {
        return Ok(None);
    }
    // As many as a message can have (unix(7)): what does not fit would be open and known to nobody.
    let mut space = nix::cmsg_space!([i32; DESCRIPTORS_MAX]);
    let mut into = [IoSliceMut::new(&mut header)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut into, Some(&mut space), flags)
        .context("cannot read a message")?;
    let mut sockets = Vec::new();
    for control in message.cmsgs().context("a message has too many descriptors")? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows of them.
            sockets.extend(descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let socket = sockets.into_iter().next().map(UnixStream::from);
    if let Some(socket) = &socket {
        // Whoever does not read must not be waited for.
        socket.set_nonblocking(true).context("a socket for requests that is none")?;
    }
    Ok(socket)
}
