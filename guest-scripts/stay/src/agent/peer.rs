//! One local client's connection.

use super::lines::{Lines, Piece};
use blkstay_engine::control::LINE_BYTES_MAX;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A client, and what is on its way to it.
pub struct Peer {
    stream: UnixStream,
    input: Lines,
    output: Vec<u8>,
}

/// What a client had to say.
#[derive(Debug, Default)]
pub struct Heard {
    /// Whole lines.
    pub lines: Vec<Vec<u8>>,
    /// There was a line longer than any call.
    pub is_overlong: bool,
    /// The client has gone, or cannot be spoken to.
    pub is_gone: bool,
}

impl Peer {
    /// A client that has just connected.
    pub fn new(stream: UnixStream) -> nix::Result<Self> {
        stream
            .set_nonblocking(true)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
        Ok(Peer { stream, input: Lines::new(LINE_BYTES_MAX), output: Vec::new() })
    }

    /// What to wait for.
    pub fn interest(&self) -> EpollFlags {
        if self.output.is_empty() { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT }
    }

    /// Sends a line, now or when the client has room for it.
    pub fn send(&mut self, line: &[u8]) {
        self.output.extend_from_slice(line);
        self.output.push(b'\n');
        // A client that cannot be written to is found gone by the next wait.
        let _is_gone = self.flush();
    }

    /// Reads and writes what the wait said is possible.
    pub fn hear(&mut self, events: EpollFlags) -> Heard {
        let mut heard = Heard::default();
        if events.contains(EpollFlags::EPOLLOUT) {
            heard.is_gone |= self.flush();
        }
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => heard.is_gone = true,
            Ok(count) => self.cut(&buffer[..count], &mut heard),
            Err(error) => heard.is_gone |= !is_passing(error.kind()),
        }
        heard
    }

    fn cut(&mut self, bytes: &[u8], heard: &mut Heard) {
        for piece in self.input.feed(bytes) {
            match piece {
                Piece::Line(line) => heard.lines.push(line),
                Piece::Overlong => heard.is_overlong = true,
            }
        }
    }

    /// True if the client has gone.
    fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
        false
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
