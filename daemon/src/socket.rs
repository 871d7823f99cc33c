//! Unix sockets to listen on: a stale one is replaced, a live one is not taken over.

use anyhow::{Context, Result, bail, ensure};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Most bytes in a socket's path: `sun_path` of `sockaddr_un` less its final zero (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// A listening socket whose path goes away with it.
#[derive(Debug)]
pub struct Socket {
    /// The socket.
    pub listener: UnixListener,
    /// Removes the path.
    pub path: SocketPath,
}

/// The path of a socket; removed when dropped.
#[derive(Debug)]
pub struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Listens at `path`; `option` is what the command line calls it.
    ///
    /// # Errors
    /// The path is too long, something else is there, or somebody listens there already.
    pub fn bind(option: &str, path: &Path) -> Result<Socket> {
        let shown = path.display();
        let length = path.as_os_str().as_bytes().len();
        ensure!(
            length <= PATH_BYTES_MAX,
            "{option} {shown}: the path has {length} bytes, a socket's can have {PATH_BYTES_MAX}; use a shorter one"
        );
        remove_stale(option, path)?;
        let listener = UnixListener::bind(path)
            .with_context(|| format!("{option} {shown}: cannot listen there; does the directory exist?"))?;
        Ok(Socket { listener, path: SocketPath(path.to_owned()) })
    }
}

fn remove_stale(option: &str, path: &Path) -> Result<()> {
    let shown = path.display();
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    ensure!(
        found.file_type().is_socket(),
        "{option} {shown}: something that is not a socket is there; remove it or choose another path"
    );
    match UnixStream::connect(path) {
        Ok(_) => bail!("{option} {shown}: somebody listens there; end that daemon or choose another path"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .with_context(|| format!("{option} {shown}: a dead socket is there and cannot be removed")),
        Err(error) => Err(error).with_context(|| format!("{option} {shown}: cannot tell who listens there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_is_replaced_live_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let live = Socket::bind("--socket", &path).expect("a stale socket is replaced");
        let message = format!("{:#}", Socket::bind("--socket", &path).unwrap_err());
        assert!(message.contains("somebody listens there"), "{message}");
        drop(live);
        assert!(!path.exists(), "the path goes away with the socket");
    }

    #[test]
    fn other_files_and_long_paths_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        let message = format!("{:#}", Socket::bind("--control", &path).unwrap_err());
        assert!(message.contains("not a socket"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let message =
            format!("{:#}", Socket::bind("--control", &dir.path().join("x".repeat(120))).unwrap_err());
        assert!(message.contains("use a shorter one"), "{message}");
    }
}
