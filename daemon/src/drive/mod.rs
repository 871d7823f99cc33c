//! Drives: what is behind the disk. A drive takes requests and finishes them in any order.

mod clear;
mod transfer;

use crate::chain::{Asked, Finished, Submitted};
use blkstay_engine::request::{Op, RequestId, SERIAL, Status};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, mpsc};
use transfer::transfer;
use virtio_bindings::virtio_blk::VIRTIO_BLK_ID_BYTES;
use vm_memory::Bytes;

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
                tracing::warn!(%id, op = %request.asked().op, %error, "the image could not be read or written");
                (Status::IoError, 0)
            }
        };
        on_finish(id, request.finish(written), status);
    }
}

/// Does what a request asks for; returns the bytes put into the guest's memory.
fn carry_out(file: &File, request: &Submitted) -> io::Result<u32> {
    let Asked { op, range, unmap } = request.asked();
    match op {
        Op::Read => transfer(file, request, libc::preadv).map(|()| range.length as u32),
        Op::Write => transfer(file, request, libc::pwritev).map(|()| 0),
        Op::Flush => file.sync_data().map(|()| 0),
        Op::GetId => write_serial(request),
        Op::Discard => clear::discard(file, range).map(|()| 0),
        Op::WriteZeroes => clear::write_zeroes(file, range, unmap).map(|()| 0),
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
