//! Waiting for a device without asking again and again: the kernel announces each change.

use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Calls `look` until it finds something, each time the kernel announces a device, for `limit` at most.
pub fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> nix::Result<Option<T>> {
    if let Some(found) = look() {
        return Ok(Some(found));
    }
    let socket = subscribe()?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !next(&socket, left)? {
            return Ok(look());
        }
    }
}

fn subscribe() -> nix::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket() takes no pointers.
    let raw = Errno::result(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_KOBJECT_UEVENT) })?;
    // SAFETY: `raw` has just been opened and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: sockaddr_nl is plain data, for which all zeroes is a value.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_groups = 1;
    let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the address lives through the call and `length` is its size.
    Errno::result(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// Waits for the next announcement; false if none came within `limit`.
fn next(socket: &OwnedFd, limit: Duration) -> nix::Result<bool> {
    let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1);
    let mut wanted = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, which lives through the call.
    if Errno::result(unsafe { libc::poll(&raw mut wanted, 1, limit_ms) })? == 0 {
        return Ok(false);
    }
    let mut message = [0u8; 8192];
    // SAFETY: the buffer is as long as is said. A lost announcement (ENOBUFS) is an announcement too.
    unsafe { libc::recv(socket.as_raw_fd(), message.as_mut_ptr().cast(), message.len(), libc::MSG_DONTWAIT) };
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::wait_for;
    use std::time::Duration;

    #[test]
    fn what_is_there_is_found_at_once() {
        assert_eq!(wait_for(Duration::from_secs(60), || Some(7)), Ok(Some(7)));
    }

    #[test]
    fn what_never_comes_is_given_up() {
        assert_eq!(wait_for(Duration::from_millis(1), || None::<u8>), Ok(None));
    }
}
