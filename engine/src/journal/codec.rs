//! Records in frames: fixed layouts for those of every request, JSON for the others and for what does not fit.

use super::frame::{Head, WORD, kind};
use super::{Line, Record, gates};
use crate::class::ClassSet;
use crate::request::{ByteRange, Nanos, Op, Probes, Request, RequestId, Status};

/// Flags of frames of requests.
mod flag {
    /// No policy concerned it.
    pub const PASSED: u8 = 1;
    /// It was in flight when an earlier daemon died.
    pub const RESUBMITTED: u8 = 2;
    /// A word of probes follows.
    pub const PROBES: u8 = 4;
    /// A text follows, to the end: the point's name, or what the host said.
    pub const TEXT: u8 = 8;
}

/// A record that cannot be written: why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record cannot be written: {0}")]
pub struct Unwritable(String);

/// The frame of a request that arrived, if it fits the fixed layout; one with payload tests never does.
fn arrived(t: Nanos, request: &Request, passed: bool, resubmitted: bool) -> Option<[u64; 5]> {
    let Request { id, queue, op, range, class, probes } = *request;
    let length = u32::try_from(range.length).ok()?;
    let body = [
        t,
        named(id, op as u8)?,
        range.offset,
        u64::from(length) | u64::from(queue) << 32 | u64::from(class.bits()) << 48,
    ];
    let flags = (passed as u8 * flag::PASSED) | (resubmitted as u8 * flag::RESUBMITTED);
    let head = Head::of(kind::ARRIVED, flags, 32, &body).word();
    let [t, named, offset, rest] = body;
    probes.is_empty().then_some([head, t, named, offset, rest])
}

/// The frame of a request that completed, if it fits the fixed layout.
fn completed(t: Nanos, id: RequestId, status: Status, passed: bool) -> Option<[u64; 3]> {
    let body = [t, named(id, status as u8)?];
    let head = Head::of(kind::COMPLETED, passed as u8 * flag::PASSED, 16, &body).word();
    let [t, named] = body;
    Some([head, t, named])
}

/// A request's number and a byte, if they fit one word.
pub(super) fn named(id: RequestId, byte: u8) -> Option<u64> {
    (id.0 >> 56 == 0).then_some(id.0 << 8 | u64::from(byte))
}

/// Appends the frame of a record.
///
/// # Errors
/// It is longer than 4 GiB.
pub fn encode(t: Nanos, record: &Record, words: &mut Vec<u64>) -> Result<(), Unwritable> {
    let fixed = match record {
        Record::Arrived { request, point, passed, resubmitted } => {
            let frame = arrived(t, &Request { probes: Probes::default(), ..*request }, *passed, *resubmitted);
            frame.map(|frame| append(words, &frame, request.probes, point.as_deref()))
        }
        Record::Submitted { id } => named(*id, 0).map(|named| {
            let head = Head::of(kind::SUBMITTED, 0, 16, &[t, named]).word();
            append(words, &[head, t, named], Probes::default(), None)
        }),
        Record::Done { id, status, probes, error } => named(*id, *status as u8).map(|named| {
            let head = Head::of(kind::DONE, 0, 16, &[t, named]).word();
            append(words, &[head, t, named], *probes, error.as_deref())
        }),
        Record::Completed { id, status, passed, error } => completed(t, *id, *status, *passed)
            .map(|frame| append(words, &frame, Probes::default(), error.as_deref())),
        _ => gates::encode(t, record, words),
    };
    fixed.unwrap_or_else(|| {
        let text = serde_json::to_vec(record).map_err(|error| Unwritable(error.to_string()))?;
        let start = words.len();
        words.extend([0, t]);
        finish(words, start, kind::OTHER, 0, &[&text])
    })
}

/// Appends a frame of a fixed layout, with what else the record has.
fn append(words: &mut Vec<u64>, frame: &[u64], probes: Probes, text: Option<&str>) -> Result<(), Unwritable> {
    let start = words.len();
    words.extend_from_slice(frame);
    let Some(head) = frame.first().copied().and_then(Head::read) else { return Ok(()) };
    if probes.is_empty() && text.is_none() {
        return Ok(());
    }
    let mut flags = head.flags;
    if !probes.is_empty() {
        flags |= flag::PROBES;
        words.push(probes.0);
    }
    if text.is_some() {
        flags |= flag::TEXT;
    }
    finish(words, start, head.kind, flags, &[text.unwrap_or_default().as_bytes()])
}

/// Appends the texts of a frame, one behind the other, whose words before them begin at `start`, and writes its head.
pub(super) fn finish(
    words: &mut Vec<u64>,
    start: usize,
    kind: u8,
    flags: u8,
    texts: &[&[u8]],
) -> Result<(), Unwritable> {
    let fixed = words.len() - start - 1;
    let length: usize = texts.iter().map(|text| text.len()).sum();
    let bytes = u32::try_from(fixed * WORD + length);
    let bytes = bytes.map_err(|_| Unwritable(format!("it has {length} bytes")))?;
    // A word that is not full yet, and how many bytes it has.
    let (mut last, mut filled) = ([0; WORD], 0);
    for text in texts {
        let (beginning, text) = text.split_at(text.len().min((WORD - filled) % WORD));
        last[filled..filled + beginning.len()].copy_from_slice(beginning);
        filled += beginning.len();
        if filled < WORD && text.is_empty() {
            continue;
        }
        if filled == WORD {
            words.push(u64::from_le_bytes(last));
        }
        let (whole, rest) = text.as_chunks();
        words.extend(whole.iter().map(|word| u64::from_le_bytes(*word)));
        (last, filled) = ([0; WORD], rest.len());
        last[..filled].copy_from_slice(rest);
    }
    if filled > 0 {
        words.push(u64::from_le_bytes(last));
    }
    words[start] = Head::of(kind, flags, bytes, &words[start + 1..]).word();
    Ok(())
}

/// Reads the record that a frame has, if this version knows it; `body` is without what fills its last word.
pub fn decode(head: Head, body: &[u8]) -> Option<Line> {
    use flag::{PASSED, PROBES, RESUBMITTED, TEXT};
    let known = match head.kind {
        kind::ARRIVED => PASSED | RESUBMITTED | PROBES | TEXT,
        kind::DONE => PROBES | TEXT,
        kind::COMPLETED => PASSED | TEXT,
        kind::SUBMITTED | kind::OTHER => 0,
        kind::DECIDED | kind::HELD | kind::RELEASED => gates::FLAGS,
        _ => return None,
    };
    let mut body = Body(body);
    match head.flags & !known {
        0 => read(head, &mut body),
        _ => None,
    }
}

fn read(head: Head, body: &mut Body) -> Option<Line> {
    let t = body.word()?;
    if head.kind == kind::OTHER {
        return Some(Line { t, record: serde_json::from_slice(body.0).ok()? });
    }
    if matches!(head.kind, kind::DECIDED | kind::HELD | kind::RELEASED) {
        return Some(Line { t, record: gates::decode(head, body)? });
    }
    let [byte, ..] = body.0 else { return None };
    let (byte, id) = (usize::from(*byte), RequestId(body.word()? >> 8));
    let has = |flag: u8| head.flags & flag != 0;
    let passed = has(flag::PASSED);
    let record = match head.kind {
        kind::ARRIVED => {
            let (op, offset, rest) = (*Op::ALL.get(byte)?, body.word()?, body.word()?);
            let range = ByteRange { offset, length: rest & u64::from(u32::MAX) };
            let [_, _, _, _, q, u, c, l] = rest.to_le_bytes();
            let (queue, class) =
                (u16::from_le_bytes([q, u]), ClassSet::from_bits(u16::from_le_bytes([c, l])));
            let request = Request { id, queue, op, range, class, probes: body.probes(&head)? };
            let resubmitted = has(flag::RESUBMITTED);
            Record::Arrived { request, point: body.text(&head)?, passed, resubmitted }
        }
        kind::DONE => {
            let (status, probes) = (*Status::ALL.get(byte)?, body.probes(&head)?);
            Record::Done { id, status, probes, error: body.text(&head)? }
        }
        kind::COMPLETED => {
            let status = *Status::ALL.get(byte)?;
            Record::Completed { id, status, passed, error: body.text(&head)? }
        }
        kind::SUBMITTED => Record::Submitted { id },
        _ => return None,
    };
    body.0.is_empty().then_some(Line { t, record })
}

/// What of a body has not been read yet.
pub(super) struct Body<'b>(pub(super) &'b [u8]);

impl Body<'_> {
    pub(super) fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn probes(&mut self, head: &Head) -> Option<Probes> {
        match head.flags & flag::PROBES {
            0 => Some(Probes::default()),
            _ => self.word().map(Probes),
        }
    }

    /// The text, if there is to be one; nothing if it is none.
    fn text(&mut self, head: &Head) -> Option<Option<String>> {
        if head.flags & flag::TEXT == 0 {
            return Some(None);
        }
        let text = std::str::from_utf8(std::mem::take(&mut self.0)).ok()?;
        Some(Some(text.to_owned()))
    }
}
