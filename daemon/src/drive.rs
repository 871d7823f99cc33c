//! Drives: what is behind the disk. A drive takes requests and finishes them in any order.

use crate::chain::{Finished, Submitted};
use blkstay_engine::request::{Op, RequestId, SERIAL, Status};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, mpsc};
use virtio_bindings::virtio_blk::VIRTIO_BLK_ID_BYTES;
use vm_memory::{Bytes, GuestMemoryBackend};

/// Called when a request is finished.
pub type OnFinish = Arc<dyn Fn(RequestId, Finished, Status) + Send + Sync>;

/// Something that can store data.
pub trait Drive: Send + Sync {
    /// Takes a request; `OnFinish` is called once for it, from any thread, never from within.
    fn submit(&self, id: RequestId, request: Submitted);
}

/// Threads that do positioned reads and writes: as many requests are under way at once.
const THREADS: usize = 4;

/// A raw file or block device.
pub struct RawFile {
    queue: mpsc::Sender<(RequestId, Submitted)>,
}

impl RawFile {
    /// Starts a drive on a file.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(file: File, on_finish: OnFinish) -> io::Result<RawFile> {
        let (queue, requests) = mpsc::channel();
        let file = Arc::new(file);
        let requests = Arc::new(Mutex::new(requests));
        for index in 0..THREADS {
            let (file, requests, on_finish) = (file.clone(), requests.clone(), on_finish.clone());
            let name = format!("drive-{index}");
            std::thread::Builder::new().name(name).spawn(move || serve(&file, &requests, &on_finish))?;
        }
        Ok(RawFile { queue })
    }
}

impl Drive for RawFile {
    fn submit(&self, id: RequestId, request: Submitted) {
        if let Err(mpsc::SendError((_, request))) = self.queue.send((id, request)) {
            tracing::error!(%id, "the drive's threads are gone");
            request.finish(0).abandon();
        }
    }
}

type Requests = Mutex<mpsc::Receiver<(RequestId, Submitted)>>;

fn serve(file: &File, requests: &Requests, on_finish: &OnFinish) {
    loop {
        let next = requests.lock().map(|requests| requests.recv());
        let Ok(Ok((id, request))) = next else { return };
        let (status, written) = match carry_out(file, &request) {
            Ok(written) => (Status::Ok, written),
            Err(error) => {
                tracing::warn!(%id, op = %request.op(), %error, "the image could not be read or written");
                (Status::IoError, 0)
            }
        };
        on_finish(id, request.finish(written), status);
    }
}

/// Does what a request asks for; returns the bytes put into the guest's memory.
fn carry_out(file: &File, request: &Submitted) -> io::Result<u32> {
    match request.op() {
        Op::Read => transfer(file, request, libc::preadv).map(|()| request.range().length as u32),
        Op::Write => transfer(file, request, libc::pwritev).map(|()| 0),
        Op::Flush => file.sync_data().map(|()| 0),
        Op::GetId => write_serial(request),
        Op::Discard | Op::WriteZeroes => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn write_serial(request: &Submitted) -> io::Result<u32> {
    let mut serial = [0; VIRTIO_BLK_ID_BYTES as usize];
    serial[..SERIAL.len()].copy_from_slice(SERIAL.as_bytes());
    let mut rest: &[u8] = &serial;
    for (at, length) in request.segments() {
        let (now, later) = rest.split_at(rest.len().min(*length));
        request.memory().write_slice(now, *at).map_err(io::Error::other)?;
        rest = later;
    }
    Ok(VIRTIO_BLK_ID_BYTES)
}

type Vectored = unsafe extern "C" fn(i32, *const libc::iovec, i32, libc::off_t) -> isize;

/// Moves a request's data between the file and the guest's memory, without a copy in between.
fn transfer(file: &File, request: &Submitted, vectored: Vectored) -> io::Result<()> {
    let mut slices = Vec::with_capacity(request.segments().len());
    for (at, length) in request.segments() {
        for slice in request.memory().get_slices(*at, *length) {
            slices.push(slice.map_err(io::Error::other)?);
        }
    }
    let guards: Vec<_> = slices.iter().map(|slice| slice.ptr_guard_mut()).collect();
    let mut vectors: Vec<libc::iovec> = guards
        .iter()
        .map(|guard| libc::iovec { iov_base: guard.as_ptr().cast(), iov_len: guard.len() })
        .collect();
    let mut offset = request.range().offset;
    let mut rest = vectors.as_mut_slice();
    while !rest.is_empty() {
        let count = rest.len().min(libc::UIO_MAXIOV as usize) as i32;
        // SAFETY: each vector lies within the guest's memory, which `request` keeps mapped, and
        // which the kernel, like the guest, may change at any time without breaking a Rust value.
        let moved = unsafe { vectored(file.as_raw_fd(), rest.as_ptr(), count, offset as libc::off_t) };
        match moved {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the image ends there")),
            1.. => {
                offset += moved as u64;
                rest = advance(rest, moved as usize);
            }
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// What is left of some vectors after their first bytes were moved.
fn advance(mut vectors: &mut [libc::iovec], mut moved: usize) -> &mut [libc::iovec] {
    while let Some(first) = vectors.first_mut() {
        if moved < first.iov_len {
            first.iov_base = first.iov_base.wrapping_byte_add(moved);
            first.iov_len -= moved;
            break;
        }
        moved -= first.iov_len;
        vectors = &mut vectors[1..];
    }
    vectors
}
