//! The port to the daemon: a virtio-serial port, or a Unix socket where there is no guest.
//!
//! A virtio-serial port outlives its host side. While nobody is connected there, `read` gives 0 and
//! `poll` says `POLLHUP` at once, every time; only an edge-triggered wait sleeps until that changes.

use super::lines::{Lines, Piece};
use crate::failure::Failure;
use crate::uevent;
use blkstay_engine::control::LINE_BYTES_MAX;
use nix::libc;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the port, as QEMU's `-device virtserialport,name=` gives it.
const PORT_NAME: &str = "blkstay";

/// How long the guest's drivers may take to announce the port.
const PORT_WAIT: Duration = Duration::from_secs(10);

/// The agent's end of the port.
pub struct Link {
    port: File,
    /// Whether the host side can come back after it went away.
    is_device: bool,
    is_connected: bool,
    input: Lines,
    output: Vec<u8>,
}

/// What the port had to say.
#[derive(Debug, Default)]
pub struct News {
    /// Lines from the daemon.
    pub lines: Vec<Vec<u8>>,
    /// The daemon has gone: what was asked will not be answered.
    pub is_lost: bool,
}

impl Link {
    /// Opens the port named `blkstay`, waiting for it to be announced; or the one at `path`.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => find()?,
        };
        let describe = |error: io::Error| match error.raw_os_error() {
            Some(libc::EBUSY) => Failure::of(path.display(), "another process owns the port"),
            _ => Failure::of(path.display(), error),
        };
        let is_device = !fs::metadata(&path).map_err(describe)?.file_type().is_socket();
        let port = if is_device { open_device(&path) } else { connect(&path) }.map_err(describe)?;
        Ok(Link {
            port,
            is_device,
            is_connected: true,
            input: Lines::new(LINE_BYTES_MAX),
            output: b"\n".to_vec(),
        })
    }

    /// Queues a line; [`Link::flush`] sends it.
    pub fn send(&mut self, line: &[u8]) {
        self.output.extend_from_slice(line);
        self.output.push(b'\n');
    }

    /// Writes as much as the port takes now.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.is_connected && !self.output.is_empty() {
            match self.port.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until the port has no more. `is_hung_up` says what the wait said about the host side.
    pub fn receive(&mut self, is_hung_up: bool) -> io::Result<News> {
        let mut news = News::default();
        let mut is_at_end = is_hung_up;
        let mut buffer = [0; 4096];
        loop {
            match self.port.read(&mut buffer) {
                Ok(0) => is_at_end = true,
                Ok(count) => {
                    news.lines.extend(self.input.feed(&buffer[..count]).into_iter().filter_map(line));
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            break;
        }
        if is_at_end && !self.is_device {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        news.is_lost = is_at_end && self.is_connected;
        self.is_connected = !is_at_end;
        if news.is_lost {
            self.input.clear();
            self.output = b"\n".to_vec();
        }
        Ok(news)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}

fn line(piece: Piece) -> Option<Vec<u8>> {
    match piece {
        Piece::Line(line) => Some(line),
        Piece::Overlong => None,
    }
}

fn open_device(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn connect(path: &Path) -> io::Result<File> {
    let stream = UnixStream::connect(path)?;
    stream.set_nonblocking(true)?;
    Ok(File::from(OwnedFd::from(stream)))
}

fn find() -> Result<PathBuf, Failure> {
    let class = Path::new("/sys/class/virtio-ports");
    uevent::wait_for(PORT_WAIT, || port_in(class))
        .map_err(|error| Failure::of("cannot listen for devices", error))?
        .ok_or_else(|| {
            Failure::Refused(format!(
                "no virtio-serial port named `{PORT_NAME}`; QEMU needs -device virtserialport,name={PORT_NAME}, \
                 the kernel CONFIG_VIRTIO_CONSOLE"
            ))
        })
}

fn port_in(class: &Path) -> Option<PathBuf> {
    let ports = fs::read_dir(class).ok()?;
    ports.flatten().find_map(|port| {
        let name = fs::read_to_string(port.path().join("name")).ok()?;
        let node = Path::new("/dev").join(port.file_name());
        (name.trim_end() == PORT_NAME && node.exists()).then_some(node)
    })
}
