//! The locks on an image: QEMU's own, so that they keep QEMU and us apart too.

use super::Mode;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::time::{Duration, Instant};

/// QEMU locks single bytes of an image: byte `PERM + n` says "I use permission n", byte `SHARED + n`
/// says "I let nobody else use it" (QEMU, `block/file-posix.c`).
const PERM: i64 = 100;
const SHARED: i64 = 200;
const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// How long another's lock may outlast it: a process that was killed with requests under way is gone before they are,
/// and its locks go with the last of them. Only then is it safe to write, too.
const AFTERLIFE: Duration = Duration::from_secs(2);

/// How often to look whether it is gone; there is nothing to wait for that would tell.
const LOOK: Duration = Duration::from_millis(1);

/// Locks an image for as long as the file is open. Waits for requests that a killed process has left.
pub fn lock(file: &File, mode: Mode) -> Result<()> {
    let uses: &[i64] = if mode == Mode::Read { &[READ] } else { &[READ, WRITE] };
    let refuses = [WRITE, RESIZE];
    for byte in uses.iter().map(|n| PERM + n).chain(refuses.iter().map(|n| SHARED + n)) {
        set_lock(file, byte)?;
    }
    let since = Instant::now();
    for byte in uses.iter().map(|n| SHARED + n).chain(refuses.iter().map(|n| PERM + n)) {
        while is_locked_by_another(file, byte)? {
            if since.elapsed() > AFTERLIFE {
                bail!("it is in use by another daemon or virtual machine; end that, or serve a copy");
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

fn one_byte(kind: i32, byte: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}

fn set_lock(file: &File, byte: i64) -> Result<()> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&one_byte(libc::F_RDLCK, byte))) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => bail!("it is locked by another program; end that first"),
        Err(errno) => Err(errno).context("cannot lock it; does its filesystem know file locks?"),
    }
}

fn is_locked_by_another(file: &File, byte: i64) -> Result<bool> {
    let mut found = one_byte(libc::F_WRLCK, byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).context("cannot ask for its locks")?;
    Ok(found.l_type != libc::F_UNLCK as i16)
}
