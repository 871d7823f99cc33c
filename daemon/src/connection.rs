//! One guest after another: a connection from its beginning to its end.

use crate::core::Core;
use crate::crew::Crew;
use crate::cut::HungUp;
use crate::handler::Handler;
use crate::memory::{self, MemoryMap};
use crate::onlooker::Onlooker;
use crate::patience::Polling;
use crate::ring::Ring;
use crate::shortage::Shortage;
use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, send};
use std::io::IoSliceMut;
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
    rings: Vec<Arc<Ring>>,
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

    /// Lets the workers end; requests that are on their way go to their end first. Says whether they all have.
    pub fn finish(&self) -> bool {
        let crew = self.lock().as_ref().map(|connected| connected.crew.clone());
        crew.is_none_or(|crew| crew.leave())
    }

    /// Waits until whoever takes chains out of a ring has answered for them: what is taken after that is seen by what is
    /// known now.
    pub fn wait_for_takers(&self) {
        let rings = self.lock().as_ref().map(|connected| connected.rings.clone()).unwrap_or_default();
        rings.iter().for_each(|ring| drop(ring.taking()));
    }

    /// Tells QEMU that the configuration space is another, which tells the driver.
    pub fn config_changed(&self) {
        let connected = self.lock();
        let Some(requests) = connected.as_ref().and_then(|connected| connected.requests.as_ref()) else {
            return;
        };
        let message = [u32::from(BackendReq::CONFIG_CHANGE_MSG), VERSION, 0];
        let bytes: Vec<u8> = message.into_iter().flat_map(u32::to_ne_bytes).collect();
        // Whoever does not read is not waited for, and `O_NONBLOCK` would be the other end's to take away again. A message
        // goes whole or not at all: a Unix socket has no room for a part of one so short.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        if let Err(error) = send(requests.as_raw_fd(), &bytes, flags) {
            tracing::warn!(%error, "QEMU could not be told of the disk's new size");
        }
    }
}

/// Serves one guest after another, for ever.
pub fn serve(core: &Arc<Core>, listener: &UnixListener, polling: Polling) {
    let shortage = Shortage::default();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = serve_guest(core, stream, polling) {
                    tracing::info!("a guest's connection ended: {error:#}");
                }
                memory::give_back();
            }
            Err(error) => {
                shortage.found(core.now(), "a guest", &error);
                shortage.wait_for_others();
            }
        }
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
    let _onlooker = Onlooker::of(&rings).context("cannot start who looks on")?;
    let crew = Crew::start(core, &rings, polling).context("cannot start workers")?;
    let _hung_up = HungUp::when_cut(stream.try_clone().context("cannot keep a descriptor")?);
    core.device().connected();
    *core.connections().lock() = Some(Connected { crew: crew.clone(), rings: rings.clone(), requests: None });
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
    Ok(sockets.into_iter().next().map(UnixStream::from))
}
