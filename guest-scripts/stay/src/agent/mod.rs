//! The agent: owns the port, which has room for one opener, and lends it to any number of clients.
//!
//! Clients speak to its Unix socket as they would to the daemon's. It gives each call a number of its own on
//! the way out and the client's number back on the way in, and answers nothing itself but `kernel-log`.

mod lines;
mod link;
mod peer;
mod routes;

use crate::client::agent_socket;
use crate::detach;
use crate::failure::Failure;
use crate::kernel_log::{self, KernelLog};
use crate::wire::Envelope;
use blkstay_engine::control::{Answer, Call, Command, GUEST_LINE_BYTES_MAX, Reply};
use link::Link;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use peer::Peer;
use routes::{Caller, Route, Routes};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// What the epoll set calls the listener.
const LISTENER: u64 = 0;
/// What it calls the port.
const PORT: u64 = 1;
/// The first of the clients; each has a number of its own, never used twice.
const FIRST_CLIENT: u64 = 2;

/// Room in a line for what is around the lines of a `log` command.
const LOG_FRAME_BYTES: usize = 256;

/// The state of the one thread that does everything.
pub struct Agent {
    epoll: Epoll,
    listener: UnixListener,
    link: Link,
    routes: Routes,
    clients: BTreeMap<u64, Peer>,
    next_client: u64,
    kernel_log: Result<KernelLog, String>,
    /// Calls of `kernel-log` whose parts are not all recorded yet, and how many are missing.
    logs: BTreeMap<Caller, usize>,
    /// The daemon has answered the ping that the agent starts with.
    is_up: bool,
}

/// Runs an agent: returns in the foreground process once the daemon has answered, while the agent stays in the
/// background; or, `in_foreground`, when the port is gone.
pub fn run(port: Option<&Path>, in_foreground: bool) -> Result<(), Failure> {
    let mut agent = Agent::start(port, &agent_socket())?;
    while !agent.is_up {
        agent.turn()?;
    }
    if !in_foreground && detach::into_background(detach::Streams::KeepError)? == detach::Side::Caller {
        return Ok(());
    }
    loop {
        agent.turn()?;
    }
}

impl Agent {
    fn start(port: Option<&Path>, socket: &Path) -> Result<Self, Failure> {
        let kernel_log = KernelLog::open().map_err(|error| format!("/dev/kmsg: {error}"));
        let listener = listen(socket).map_err(|error| Failure::of(socket.display(), error))?;
        let link = Link::open(port)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(epoll_failed)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).map_err(epoll_failed)?;
        let edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        epoll.add(&link, EpollEvent::new(edges, PORT)).map_err(epoll_failed)?;
        let mut agent = Agent {
            epoll,
            listener,
            link,
            routes: Routes::starting_at(random_start()?),
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            kernel_log,
            logs: BTreeMap::new(),
            is_up: false,
        };
        agent.call(Route::Agent, Command::Ping)?;
        Ok(agent)
    }

    /// Waits until something happens and deals with it.
    fn turn(&mut self) -> Result<(), Failure> {
        self.link.flush().map_err(port_failed)?;
        let mut events = [EpollEvent::empty(); 16];
        let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::Error::EINTR) => 0,
            result => result.map_err(epoll_failed)?,
        };
        for event in &events[..count] {
            match event.data() {
                LISTENER => self.accept()?,
                PORT => self.hear_port(event.events())?,
                client => self.hear_client(client, event.events())?,
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Failure> {
        match self.listener.accept() {
            Ok((stream, _)) => self.welcome(stream).map_err(epoll_failed),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(Failure::of("cannot accept a client", error)),
        }
    }

    fn welcome(&mut self, stream: UnixStream) -> nix::Result<()> {
        let client = self.next_client;
        self.next_client += 1;
        let peer = Peer::new(stream)?;
        self.epoll.add(&peer, EpollEvent::new(peer.interest(), client))?;
        self.clients.insert(client, peer);
        Ok(())
    }

    fn hear_port(&mut self, events: EpollFlags) -> Result<(), Failure> {
        let news = self.link.receive(events.contains(EpollFlags::EPOLLHUP)).map_err(port_failed)?;
        for line in &news.lines {
            if let Ok(reply) = serde_json::from_slice::<Envelope>(line) {
                self.deliver(reply)?;
            }
        }
        if news.is_lost { self.daemon_left() } else { Ok(()) }
    }

    /// Gives an answer to whoever asked. One that nobody waits for was meant for an earlier agent, or for a
    /// client that has gone.
    fn deliver(&mut self, mut reply: Envelope) -> Result<(), Failure> {
        match self.routes.take(reply.id) {
            None => Ok(()),
            Some(Route::Agent) => {
                self.is_up = true;
                Ok(())
            }
            Some(Route::Client(caller)) => {
                reply.id = caller.id;
                self.answer(caller.client, &reply)
            }
            Some(Route::KernelLog(caller)) => self.log_recorded(caller, reply.error()),
        }
    }

    /// The daemon has gone, and with it what was asked and not answered. It may come back.
    fn daemon_left(&mut self) -> Result<(), Failure> {
        for route in self.routes.take_all() {
            match route {
                Route::Agent => self.call(Route::Agent, Command::Ping)?,
                Route::Client(caller) => self.refuse(caller, DAEMON_LEFT)?,
                Route::KernelLog(caller) => self.log_recorded(caller, Some(DAEMON_LEFT))?,
            }
        }
        Ok(())
    }

    fn hear_client(&mut self, client: u64, events: EpollFlags) -> Result<(), Failure> {
        let Some(peer) = self.clients.get_mut(&client) else { return Ok(()) };
        let heard = peer.hear(events);
        for line in heard.lines {
            self.take_call(client, &line)?;
        }
        if heard.is_overlong {
            self.refuse(Caller { client, id: 0 }, "the line is too long to be a call")?;
        }
        if heard.is_gone {
            self.clients.remove(&client);
        } else {
            self.renew_interest(client)?;
        }
        Ok(())
    }

    fn take_call(&mut self, client: u64, line: &[u8]) -> Result<(), Failure> {
        let mut call: Envelope = match serde_json::from_slice(line) {
            Ok(call) => call,
            Err(error) => return self.refuse(Caller { client, id: 0 }, &format!("that is no call: {error}")),
        };
        let caller = Caller { client, id: call.id };
        if call.is_kernel_log() {
            return self.send_kernel_log(caller);
        }
        call.id = self.routes.add(Route::Client(caller));
        let line = serde_json::to_vec(&call).map_err(json_failed)?;
        if line.len() >= GUEST_LINE_BYTES_MAX {
            self.routes.take(call.id);
            let length = line.len() + 1;
            let why =
                format!("the call is {length} bytes long; a guest may send at most {GUEST_LINE_BYTES_MAX}");
            return self.refuse(caller, &why);
        }
        self.link.send(&line);
        Ok(())
    }

    fn send_kernel_log(&mut self, caller: Caller) -> Result<(), Failure> {
        let lines = match &mut self.kernel_log {
            Ok(log) => log.read().map_err(|error| format!("/dev/kmsg: {error}")),
            Err(why) => Err(why.clone()),
        };
        let lines = match lines {
            Ok(lines) => lines,
            Err(why) => return self.refuse(caller, &why),
        };
        let batches = kernel_log::batches(lines, GUEST_LINE_BYTES_MAX - LOG_FRAME_BYTES);
        if batches.is_empty() {
            return self.reply(caller, Answer::Done);
        }
        self.logs.insert(caller, batches.len());
        for lines in batches {
            self.call(Route::KernelLog(caller), Command::Log { lines })?;
        }
        Ok(())
    }

    fn log_recorded(&mut self, caller: Caller, error: Option<&str>) -> Result<(), Failure> {
        let Some(missing) = self.logs.get_mut(&caller) else { return Ok(()) };
        *missing -= 1;
        let is_all = *missing == 0;
        if is_all || error.is_some() {
            self.logs.remove(&caller);
        }
        match error {
            Some(why) => self.refuse(caller, why),
            None if is_all => self.reply(caller, Answer::Done),
            None => Ok(()),
        }
    }

    fn call(&mut self, route: Route, command: Command) -> Result<(), Failure> {
        let call = Call::new(self.routes.add(route), command);
        self.link.send(&serde_json::to_vec(&call).map_err(json_failed)?);
        Ok(())
    }

    fn refuse(&mut self, caller: Caller, why: &str) -> Result<(), Failure> {
        self.reply(caller, Answer::Error { message: why.to_owned() })
    }

    fn reply(&mut self, caller: Caller, answer: Answer) -> Result<(), Failure> {
        self.answer(caller.client, &Reply::new(caller.id, answer))
    }

    fn answer(&mut self, client: u64, reply: &impl serde::Serialize) -> Result<(), Failure> {
        let line = serde_json::to_vec(reply).map_err(json_failed)?;
        if let Some(peer) = self.clients.get_mut(&client) {
            peer.send(&line);
            self.renew_interest(client)?;
        }
        Ok(())
    }

    fn renew_interest(&mut self, client: u64) -> Result<(), Failure> {
        let Some(peer) = self.clients.get_mut(&client) else { return Ok(()) };
        let mut event = EpollEvent::new(peer.interest(), client);
        self.epoll.modify(&*peer, &mut event).map_err(epoll_failed)
    }
}

const DAEMON_LEFT: &str = "the daemon went away before it answered; whether it did as asked is not known";

fn listen(socket: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(socket).is_ok() {
        return Err(io::Error::new(ErrorKind::AddrInUse, "an agent is running already"));
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A number small enough for any JSON reader, with room above it.
fn random_start() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes[..6]))
        .map_err(|error| Failure::of("/dev/urandom", error))?;
    Ok(u64::from_le_bytes(bytes))
}

fn port_failed(error: io::Error) -> Failure {
    Failure::of("the port is gone", error)
}

fn epoll_failed(error: nix::Error) -> Failure {
    Failure::of("epoll", error)
}

fn json_failed(error: serde_json::Error) -> Failure {
    Failure::of("cannot write JSON", error)
}
