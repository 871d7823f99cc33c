//! A stream of records with one writer: no lock and no system call a record.

use super::mapping::Mapping;
use super::room::{READY_BYTES, Room};
use blkstay_engine::journal::chunk::{HEADER_WORDS, Header, PAGE};
use blkstay_engine::journal::frame::{self, END_WORDS, WORD};
use blkstay_engine::journal::run::Run;
use blkstay_engine::journal::{Abandon, Record, Stage, codec};
use blkstay_engine::request::{Nanos, Request, RequestId, Status};
use nix::errno::Errno;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Pages that are full are let go of when they are so many bytes.
const LEFT_BYTES: usize = 64 << 10;

/// Words of a line of a CPU's cache, and how many lines the records of some releases have.
const LINE_WORDS: usize = 8;
const LINES_AHEAD: usize = 16;

/// Writes records; one that has no journal swallows them. A lane that is dropped is gone on with by the next that is
/// asked for.
#[derive(Debug, Default)]
pub struct Lane {
    /// What is written, until that fails.
    open: Option<(Stream, Arc<Room>)>,
    failed: Option<Failure>,
    /// A frame while it is made.
    frame: Vec<u64>,
    /// Requests that went past the engine, until they are a frame.
    run: Run,
}

/// Why a lane cannot go on.
#[derive(Debug)]
enum Failure {
    Errno(Errno),
    Unwritable(codec::Unwritable),
}

/// What has been written in a lane.
#[derive(Debug)]
pub struct Stream {
    /// Its number.
    pub lane: u32,
    /// How many chunks it has.
    chunks: u32,
    /// The last of them.
    chunk: Option<Mapping>,
    /// Where the next frame goes, in words of the chunk.
    at: usize,
    /// Up to where frames go before something has to be done.
    limit: usize,
    /// Where the next chunk is asked for.
    half: usize,
    /// So many words of the chunk are there.
    ready: usize,
    /// So many are not needed any more, and not mapped.
    left: usize,
}

impl Lane {
    /// A lane that goes on with a stream.
    pub fn new(stream: Stream, room: Arc<Room>) -> Lane {
        Lane { open: Some((stream, room)), failed: None, frame: Vec::new(), run: Run::default() }
    }

    /// Writes a record; times do not run backwards within a lane.
    pub fn add(&mut self, t: Nanos, record: &Record) {
        self.end_run();
        if self.open.is_none() {
            return;
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        match codec::encode(t, record, &mut frame) {
            Ok(()) => self.put(&frame),
            Err(error) => self.fail(Failure::Unwritable(error)),
        }
        self.frame = frame;
    }

    /// A request that no policy concerns arrived.
    #[inline]
    pub fn arrived(&mut self, t: Nanos, request: &Request, resubmitted: bool) {
        if !self.goes_on(|run| !resubmitted && run.arrived(t, request)) {
            let (request, point) = (*request, None);
            self.add(t, &Record::Arrived { request, point, passed: true, resubmitted });
        }
    }

    /// It completed; `error`: what the host said when the drive failed.
    #[inline]
    pub fn completed(&mut self, t: Nanos, id: RequestId, status: Status, error: Option<&str>) {
        if !self.goes_on(|run| error.is_none() && status == Status::Ok && run.completed(t, id)) {
            let error = error.map(str::to_owned);
            self.add(t, &Record::Completed { id, status, passed: true, error });
        }
    }

    /// Brings near where the next records go.
    pub fn look_ahead(&self) {
        let chunk = self.open.as_ref().and_then(|(stream, _)| Some((stream.chunk.as_ref()?, stream)));
        if let Some((chunk, Stream { at, limit, .. })) = chunk
            && let Some(words) = chunk.words().get(*at..*limit)
        {
            // Nothing is there yet, and it stays so.
            words
                .iter()
                .step_by(LINE_WORDS)
                .take(LINES_AHEAD)
                .for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    /// Whether a record could be added to the run, or to a new one.
    #[inline]
    fn goes_on(&mut self, mut add: impl FnMut(&mut Run) -> bool) -> bool {
        if self.open.is_none() || add(&mut self.run) {
            return true;
        }
        self.end_run();
        add(&mut self.run)
    }

    /// Makes a frame of the run.
    #[inline]
    fn end_run(&mut self) {
        if self.run.is_open() {
            let stored = store(&mut self.open, self.run.frame());
            self.run.clear();
            self.note(stored);
        }
    }

    /// It was given up.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "every request that went past the engine goes to its end")
    )]
    pub fn abandoned(&mut self, t: Nanos, id: RequestId, stage: Stage, why: Abandon) {
        self.add(t, &Record::Abandoned { id, stage, why, passed: true });
    }

    /// Puts everything that was added into the file, if it is not there yet; it survives this process from here on. To
    /// be called before anybody sees an effect of what was recorded.
    ///
    /// # Errors
    /// Why a record found no room, a full disk say; from then on none is written any more.
    #[inline]
    pub fn check(&mut self) -> io::Result<()> {
        self.end_run();
        match &self.failed {
            None => Ok(()),
            Some(Failure::Errno(errno)) => Err((*errno).into()),
            Some(Failure::Unwritable(why)) => Err(io::Error::other(why.clone())),
        }
    }

    #[inline]
    fn put(&mut self, frame: &[u64]) {
        let stored = store(&mut self.open, frame);
        self.note(stored);
    }

    #[inline]
    fn note(&mut self, stored: Result<(), Errno>) {
        if let Err(errno) = stored {
            self.fail(Failure::Errno(errno));
        }
    }

    /// What follows would leave a gap, so nothing does.
    #[cold]
    fn fail(&mut self, failure: Failure) {
        self.open = None;
        self.failed = Some(failure);
    }
}

/// Stores a frame in a stream, if there is one.
#[inline]
fn store(open: &mut Option<(Stream, Arc<Room>)>, frame: &[u64]) -> Result<(), Errno> {
    let Some((stream, room)) = open else { return Ok(()) };
    if stream.at + frame.len() > stream.limit {
        stream.make_room(frame.len(), room)?;
    }
    stream.store(frame);
    Ok(())
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.end_run();
        if let Some((stream, room)) = self.open.take() {
            room.park(stream);
        }
    }
}

impl Stream {
    /// An empty one.
    pub fn new(lane: u32) -> Stream {
        Stream { lane, chunks: 0, chunk: None, at: 0, limit: 0, half: 0, ready: 0, left: 0 }
    }

    /// Stores a frame; its head comes last and makes it count.
    #[inline]
    fn store(&mut self, frame: &[u64]) {
        let place = self.chunk.as_ref().and_then(|chunk| chunk.words().get(self.at..self.at + frame.len()));
        if let (Some([first, rest @ ..]), [head, body @ ..]) = (place, frame) {
            fill(rest, body);
            first.store(head.to_le(), Ordering::Release);
            self.at += frame.len();
        }
    }

    /// Gets room for a frame of so many words. Half way through a chunk the next one is asked for.
    #[cold]
    fn make_room(&mut self, words: usize, room: &Room) -> Result<(), Errno> {
        let most = self.chunk.as_ref().map_or(0, |chunk| chunk.words().len() - END_WORDS);
        if self.at + words > most {
            self.begin_chunk(words, room)?;
        }
        if self.at + words > self.half {
            self.half = usize::MAX;
            room.want();
        }
        self.make_ready(self.at + words + END_WORDS, room)?;
        self.limit = self.half.min(self.ready - END_WORDS);
        Ok(())
    }

    /// Makes sure that so many words of the chunk are there, and lets go of pages that are full.
    fn make_ready(&mut self, words: usize, room: &Room) -> Result<(), Errno> {
        let Some(chunk) = &self.chunk else { return Ok(()) };
        while self.ready < words {
            room.make_ready(chunk, self.ready * WORD)?;
            self.ready = (self.ready + READY_BYTES / WORD).min(chunk.words().len());
        }
        let full = self.at / (LEFT_BYTES / WORD) * (LEFT_BYTES / WORD);
        // Else this comes twice a chunk, and the thread that takes it back has more time for so many.
        if full > self.left && !room.is_ready_at_once() {
            chunk.leave(self.left * WORD, (full - self.left) * WORD);
            self.left = full;
        }
        Ok(())
    }

    /// Goes on in another chunk, with room for a frame of so many words.
    fn begin_chunk(&mut self, words: usize, room: &Room) -> Result<(), Errno> {
        let next = room.take((HEADER_WORDS + words + END_WORDS) * WORD)?;
        let header = Header {
            session: room.session,
            offset: next.offset,
            lane: self.lane,
            number: self.chunks,
            bytes: u32::try_from(next.words().len() * WORD).map_err(|_| Errno::EFBIG)?,
        };
        let (length, offset) = (next.words().len(), next.offset);
        self.ready = if room.is_ready_at_once() { length } else { 0 };
        let before = (self.chunk.replace(next), std::mem::replace(&mut self.at, HEADER_WORDS));
        (self.left, self.half) = (0, (length / 2).max(HEADER_WORDS + words));
        self.make_ready(HEADER_WORDS + words + END_WORDS, room)?;
        if let Some(chunk) = &self.chunk {
            write_header(chunk, &header);
        }
        if let (Some(chunk), at) = before {
            write_end(&chunk, at, Some(offset));
            room.retire(chunk);
        }
        self.chunks += 1;
        Ok(())
    }

    /// Ends the stream. If its last chunk ends at `end` in the file, it is cut to what it has, and where it ends now
    /// is returned.
    pub fn end(self, session: u64, end: u64) -> u64 {
        let Some(chunk) = &self.chunk else { return end };
        write_end(chunk, self.at, None);
        let bytes = (chunk.words().len() * WORD) as u64;
        if chunk.offset + bytes != end {
            return end;
        }
        let used = (((self.at + END_WORDS) * WORD) as u64).next_multiple_of(PAGE);
        let (offset, lane, number) = (chunk.offset, self.lane, self.chunks - 1);
        if let Ok(bytes) = u32::try_from(used) {
            write_header(chunk, &Header { session, offset, lane, number, bytes });
        }
        offset + used
    }
}

fn fill(places: &[AtomicU64], words: &[u64]) {
    for (place, word) in places.iter().zip(words) {
        place.store(word.to_le(), Ordering::Relaxed);
    }
}

/// Its last word makes it count.
fn write_header(chunk: &Mapping, header: &Header) {
    if let ([rest @ .., last], Some(places)) = (header.words(), chunk.words().get(..HEADER_WORDS)) {
        fill(places, &rest);
        places[HEADER_WORDS - 1].store(last.to_le(), Ordering::Release);
    }
}

/// There is always room for it.
fn write_end(chunk: &Mapping, at: usize, next: Option<u64>) {
    let (end, words) = frame::end(next);
    if let Some([first, rest @ ..]) = chunk.words().get(at..at + words) {
        fill(rest, &end[1..]);
        first.store(end[0].to_le(), Ordering::Release);
    }
}
