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

/// How long an image may stay in use by what the kernel still does for a process that was killed: a request that is
/// under way keeps the file open, and locked, until it has ended. Nobody can wait for just that.
const LINGERING: Duration = Duration::from_millis(500);

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(5);

/// Locks an image for as long as the file is open.
pub fn lock(file: &File, mode: Mode) -> Result<()> {
    let since = Instant::now();
    loop {
        match try_lock(file, mode) {
            Err(_) if since.elapsed() < LINGERING => std::thread::sleep(PAUSE),
            tried => return tried,
        }
    }
}

fn try_lock(file: &File, mode: Mode) -> Result<()> {
    let uses: &[i64] = if mode == Mode::Read { &[READ] } else { &[READ, WRITE] };
    let refuses = [WRITE, RESIZE];
    for byte in uses.iter().map(|n| PERM + n).chain(refuses.iter().map(|n| SHARED + n)) {
        set_lock(file, byte)?;
    }
    for byte in uses.iter().map(|n| SHARED + n).chain(refuses.iter().map(|n| PERM + n)) {
        if is_locked_by_another(file, byte)? {
            bail!("it is in use by another daemon or virtual machine; end that, or serve a copy");
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
