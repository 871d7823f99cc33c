//! Room in the journal's file: chunks that are there before anything is stored in them, so that a full disk is an error
//! and not a signal. The next one is made ready in a thread of its own, while the one before is being filled.

use super::lane::Stream;
use super::mapping::Mapping;
use crate::urgency::patient;
use blkstay_engine::journal::chunk::PAGE;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, fallocate};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The first chunk of a session: of a daemon that does little, the only one.
const CHUNK_BYTES_MIN: u64 = 64 << 10;

/// The first of a file in memory, where one costs little before it is used.
const CHUNK_BYTES_IN_MEMORY_MIN: u64 = 1 << 20;

/// The longest, unless a record needs more: at two million requests a second its first half lasts for 16 ms, in which the
/// thread that makes the next one ready has its turn also on a busy machine.
const CHUNK_BYTES_MAX: u64 = 4 << 20;

/// The longest that a writer makes for itself when none is ready, so that it does not stand still for long.
const CHUNK_BYTES_AT_ONCE: u64 = 256 << 10;

/// How much of a chunk is made ready at once, for which the kernel takes some tens of microseconds.
const STEP_BYTES: u64 = 64 << 10;

/// How much of a chunk in memory the writer makes ready at once, for which the kernel takes some ten microseconds.
pub const READY_BYTES: usize = 16 << 10;

/// Who makes a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// Whoever needs it at once.
    Writer,
    /// The thread that makes it ready, in steps: between them a worker on the same CPU has its turn.
    Helper,
}

impl Maker {
    fn chunk_bytes_max(self) -> u64 {
        match self {
            Maker::Writer => CHUNK_BYTES_AT_ONCE,
            Maker::Helper => CHUNK_BYTES_MAX,
        }
    }

    fn has_made_a_step(self) {
        if self == Maker::Helper {
            std::thread::yield_now();
        }
    }
}

/// Where chunks come from.
#[derive(Debug)]
pub struct Room {
    file: Flock<File>,
    /// Whether the file is in memory. To reserve a part of it is then to make its pages, which takes as long as all else that
    /// is done to it, and waits for no media: whoever writes does that, a few pages at a time. The thread would have the
    /// CPU of a worker for much longer, and just when requests are due.
    is_in_memory: bool,
    /// Where in the file this session begins: its name.
    pub session: u64,
    /// Where in the file the next chunk begins. Held while the file is made longer.
    end: Mutex<u64>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A chunk for whoever is the next that needs one.
    spare: Option<Mapping>,
    /// Whether one is asked for.
    wanted: bool,
    /// Whether one is being made.
    making: bool,
    /// Chunks that are full.
    retired: Vec<Mapping>,
    /// Where the last chunk ends that was given out.
    used: u64,
    /// Streams that nobody writes.
    parked: Vec<Stream>,
    /// How many lanes there have been.
    lanes: u32,
    /// How many of them somebody writes.
    out: u32,
    closed: bool,
}

impl Room {
    /// Room in that file from `end` on; a thread is started that makes it ready.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn new(file: Flock<File>, end: u64) -> std::io::Result<Arc<Room>> {
        let state = Mutex::new(State { used: end, ..State::default() });
        let is_in_memory = fstatfs(&*file).is_ok_and(|of| of.filesystem_type() == TMPFS_MAGIC);
        let (session, end, changed) = (end, Mutex::new(end), Condvar::new());
        let room = Arc::new(Room { file, is_in_memory, session, end, state, changed });
        let helped = room.clone();
        std::thread::Builder::new().name("journal".into()).spawn(move || helped.help())?;
        Ok(room)
    }

    /// A stream that nobody writes: the first one ever is lane 0, and is not given out again.
    pub fn stream(&self) -> Option<Stream> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        state.out += 1;
        let parked = state.parked.iter().position(|stream| stream.lane > 0);
        Some(match parked {
            Some(parked) => state.parked.swap_remove(parked),
            None => {
                state.lanes += 1;
                Stream::new(state.lanes - 1)
            }
        })
    }

    /// Takes back a stream.
    pub fn park(&self, stream: Stream) {
        let mut state = self.state();
        state.parked.push(stream);
        state.out -= 1;
        if state.closed {
            self.finish(&mut state);
        }
    }

    /// Asks for a chunk to be made ready.
    pub fn want(&self) {
        self.state().wanted = true;
        self.changed.notify_one();
    }

    /// A chunk with at least so many bytes.
    ///
    /// # Errors
    /// Why the file cannot be made longer.
    pub fn take(&self, bytes: usize) -> Result<Mapping, Errno> {
        let mut state = self.state();
        let spare = state.spare.take_if(|spare| spare.words().len() * size_of::<u64>() >= bytes);
        drop(state);
        let chunk = spare.map_or_else(|| self.make(bytes, Maker::Writer), Ok)?;
        let end = chunk.offset + (chunk.words().len() * size_of::<u64>()) as u64;
        state = self.state();
        state.used = state.used.max(end);
        Ok(chunk)
    }

    /// Whether all of a chunk is there when it is taken; else [`Room::make_ready`] makes it so.
    pub fn is_ready_at_once(&self) -> bool {
        !self.is_in_memory
    }

    /// Makes [`READY_BYTES`] of a chunk ready, from that byte of it on.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn make_ready(&self, chunk: &Mapping, at: usize) -> Result<(), Errno> {
        let bytes = READY_BYTES.min((chunk.words().len() * size_of::<u64>()).saturating_sub(at));
        self.reserve_step(chunk.offset + at as u64, bytes as u64)?;
        chunk.populate(at, bytes)
    }

    /// Takes a chunk that is full.
    pub fn retire(&self, chunk: Mapping) {
        self.state().retired.push(chunk);
        self.changed.notify_one();
    }

    /// Ends every stream that nobody writes, and each other one once nobody does.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.spare = None;
        self.finish(&mut state);
        self.changed.notify_one();
    }

    /// Ends the file where this session begins. For when the only lane has failed: none is out any more.
    pub fn take_back(&self) {
        let mut state = self.state();
        (state.closed, state.out, state.used) = (true, 0, self.session);
        state.spare = None;
        self.finish(&mut state);
        self.changed.notify_one();
    }

    /// Waits until the media has everything, or says that it has not.
    pub fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    /// Ends what nobody writes; behind the last chunk nothing is left when that is all.
    fn finish(&self, state: &mut State) {
        let mut parked = std::mem::take(&mut state.parked);
        while let Some(stream) = parked.pop() {
            state.used = stream.end(self.session, state.used);
        }
        if state.out == 0 && !state.making {
            // It is good without this, too: what follows is zeros.
            let _ = self.file.set_len(state.used);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the file longer. On a disk that is nearly full a chunk is shorter, down to what is needed.
    fn make(&self, needed: usize, maker: Maker) -> Result<Mapping, Errno> {
        let needed = (needed as u64).next_multiple_of(PAGE).max(PAGE);
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = (*end - self.session).next_power_of_two() / 4;
        let (least, most) = match self.is_in_memory {
            true => (CHUNK_BYTES_IN_MEMORY_MIN, CHUNK_BYTES_MAX),
            false => (CHUNK_BYTES_MIN, maker.chunk_bytes_max()),
        };
        let mut bytes = usual.clamp(least, most).max(needed);
        while let Err(errno) = self.reserve(*end, bytes, maker) {
            let is_full = matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG);
            if !is_full || bytes == needed {
                return Err(errno);
            }
            bytes = (bytes / 2).next_multiple_of(PAGE).max(needed);
        }
        let offset = *end;
        *end += bytes;
        drop(end);
        let mapping = Mapping::new(&self.file, offset, usize::try_from(bytes).map_err(|_| Errno::EFBIG)?)?;
        if self.is_in_memory {
            return Ok(mapping);
        }
        for step in (0..bytes).step_by(STEP_BYTES as usize) {
            mapping.populate(step as usize, STEP_BYTES as usize)?;
            maker.has_made_a_step();
        }
        Ok(mapping)
    }

    /// Makes sure that the file has those bytes, and, unless it is in memory, that the disk has room for them.
    fn reserve(&self, offset: u64, bytes: u64, maker: Maker) -> Result<(), Errno> {
        if self.is_in_memory {
            let longer = self.file.set_len(offset + bytes);
            return longer.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
        }
        for step in (0..bytes).step_by(STEP_BYTES as usize) {
            self.reserve_step(offset + step, STEP_BYTES.min(bytes - step))?;
            maker.has_made_a_step();
        }
        Ok(())
    }

    fn reserve_step(&self, offset: u64, bytes: u64) -> Result<(), Errno> {
        let signed = |number: u64| i64::try_from(number).map_err(|_| Errno::EFBIG);
        loop {
            return match fallocate(&*self.file, FallocateFlags::empty(), signed(offset)?, signed(bytes)?) {
                Err(Errno::EINTR) => continue,
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => self.write_zeros(offset, bytes),
                reserved => reserved,
            };
        }
    }

    fn write_zeros(&self, offset: u64, bytes: u64) -> Result<(), Errno> {
        for page in 0..bytes / PAGE {
            let written = self.file.write_all_at(&[0; PAGE as usize], offset + page * PAGE);
            written.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        }
        Ok(())
    }

    /// Makes chunks ready and unmaps full ones, until the journal is closed.
    fn help(&self) {
        patient();
        let mut state = self.state();
        while !state.closed {
            let full = std::mem::take(&mut state.retired);
            let make = state.wanted && state.spare.is_none();
            (state.wanted, state.making) = (false, make);
            if full.is_empty() && !make {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            // If there is no room, whoever needs it finds that out, and why.
            let made = make.then(|| self.make(0, Maker::Helper).ok()).flatten();
            drop(full);
            state = self.state();
            (state.making, state.spare) = (false, made.or(state.spare.take()));
        }
        state.spare = None;
        self.finish(&mut state);
    }
}
