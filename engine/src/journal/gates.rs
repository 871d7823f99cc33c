//! Frames of what happens to a request at a gate: a rule decides, it is held, it is released. They have the names of rules
//! and points in them, so that each can be read by itself, whatever of the file is damaged.

use super::codec::{Body, Unwritable, named};
use super::frame::{Head, kind};
use super::{Cause, Does, Record, codec};
use crate::event::Gate;
use crate::request::{Nanos, RequestId, Status};

/// Flags of these frames.
mod flag {
    /// The second text is the name of a rule; else there is none.
    pub const RULE: u8 = 1;
    /// A word with a number is before the texts.
    pub const NUMBER: u8 = 2;
}

/// What such a frame has, whatever its kind; see `docs/journal.md`.
struct Parts<'r> {
    kind: u8,
    byte: u8,
    id: RequestId,
    gate: Gate,
    status: Option<Status>,
    number: Option<u64>,
    point: &'r str,
    rule: Option<&'r str>,
    /// What it waits for, or what it has waited for.
    rest: &'r str,
}

impl<'r> Parts<'r> {
    fn of(record: &'r Record) -> Option<Parts<'r>> {
        Some(match record {
            Record::Decided { id, gate, rule, does, wait_ns, status } => Parts {
                kind: kind::DECIDED,
                byte: *does as u8,
                id: *id,
                gate: *gate,
                status: *status,
                number: *wait_ns,
                point: "",
                rule: Some(rule),
                rest: "",
            },
            Record::Held { id, point, rule, gate, until, deadline_ns } => Parts {
                kind: kind::HELD,
                byte: 0,
                id: *id,
                gate: *gate,
                status: None,
                number: Some(*deadline_ns),
                point,
                rule: rule.as_deref(),
                rest: until,
            },
            Record::Released { id, point, rule, gate, cause } => {
                let (byte, number, rest) = written(cause)?;
                let (kind, rule) = (kind::RELEASED, rule.as_deref());
                Parts { kind, byte, id: *id, gate: *gate, status: None, number, point, rule, rest }
            }
            _ => return None,
        })
    }

    fn record(self) -> Option<Record> {
        let Parts { kind, byte, id, gate, status, number, point, rule, rest } = self;
        let (point, rule) = (point.to_owned(), rule.map(str::to_owned));
        match (kind, status, number) {
            (kind::DECIDED, status, wait_ns) if point.is_empty() && rest.is_empty() => {
                let does = *Does::ALL.get(usize::from(byte))?;
                Some(Record::Decided { id, gate, rule: rule?, does, wait_ns, status })
            }
            (kind::HELD, None, Some(deadline_ns)) if byte == 0 => {
                Some(Record::Held { id, point, rule, gate, until: rest.to_owned(), deadline_ns })
            }
            (kind::RELEASED, None, number) => {
                let cause = read_cause(byte, number, rest)?;
                Some(Record::Released { id, point, rule, gate, cause })
            }
            _ => None,
        }
    }
}

/// Why requests go on, by number; those of watchdogs are rare, and written as JSON.
const CAUSES: [Cause; 9] = [
    Cause::Delay,
    Cause::Limit,
    Cause::Stall,
    Cause::Resumed,
    Cause::Hand,
    Cause::Disarmed,
    Cause::AttemptEnd,
    Cause::PolicyReplaced,
    Cause::RingStop,
];
const UNTIL: u8 = CAUSES.len() as u8;
const WINDOW: u8 = UNTIL + 1;

fn written(cause: &Cause) -> Option<(u8, Option<u64>, &str)> {
    match cause {
        Cause::Until { event } => Some((UNTIL, None, event)),
        Cause::Window { requests } => Some((WINDOW, Some(*requests), "")),
        plain => {
            let number = CAUSES.iter().position(|known| known == plain)?;
            Some((u8::try_from(number).ok()?, None, ""))
        }
    }
}

fn read_cause(byte: u8, number: Option<u64>, rest: &str) -> Option<Cause> {
    match (byte, number) {
        (UNTIL, None) => Some(Cause::Until { event: rest.to_owned() }),
        (WINDOW, Some(requests)) if rest.is_empty() => Some(Cause::Window { requests }),
        (plain, None) if rest.is_empty() => CAUSES.get(usize::from(plain)).cloned(),
        _ => None,
    }
}

/// Appends the frame of a record, if it is one of these and fits.
pub fn encode(t: Nanos, record: &Record, words: &mut Vec<u64>) -> Option<Result<(), Unwritable>> {
    let Parts { kind, byte, id, gate, status, number, point, rule, rest } = Parts::of(record)?;
    let length = |text: &str| u16::try_from(text.len()).ok().map(u64::from);
    let status = status.map_or(0, |status| status as u64 + 1);
    let shape = length(point)? | length(rule.unwrap_or_default())? << 16 | (gate as u64) << 32 | status << 40;
    let start = words.len();
    let named = named(id, byte)?;
    words.extend([0, t, named, shape]);
    words.extend(number);
    let flags = (rule.is_some() as u8 * flag::RULE) | (number.is_some() as u8 * flag::NUMBER);
    let texts = [point, rule.unwrap_or_default(), rest];
    Some(codec::finish(words, start, kind, flags, &texts.map(str::as_bytes)))
}

/// The record that a frame has behind its time.
pub(super) fn decode(head: Head, body: &mut Body) -> Option<Record> {
    let [byte, ..] = *body.0 else { return None };
    let id = RequestId(body.word()? >> 8);
    let [p, o, r, u, gate, status, 0, 0] = body.word()?.to_le_bytes() else { return None };
    let has = |flag: u8| head.flags & flag != 0;
    let number = if has(flag::NUMBER) { Some(body.word()?) } else { None };
    let text = std::str::from_utf8(body.0).ok()?;
    let (point, text) = text.split_at_checked(u16::from_le_bytes([p, o]).into())?;
    let (rule, rest) = text.split_at_checked(u16::from_le_bytes([r, u]).into())?;
    let status = match status.checked_sub(1) {
        None => None,
        Some(status) => Some(*Status::ALL.get(usize::from(status))?),
    };
    if !has(flag::RULE) && !rule.is_empty() {
        return None;
    }
    let rule = has(flag::RULE).then_some(rule);
    let gate = *Gate::ALL.get(usize::from(gate))?;
    Parts { kind: head.kind, byte, id, gate, status, number, point, rule, rest }.record()
}

/// The flags that these frames may have.
pub(super) const FLAGS: u8 = flag::RULE | flag::NUMBER;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::codec::decode;

    /// The frame of a rule that has decided, with some word of it changed.
    fn changed(word: usize, change: impl Fn(u64) -> u64) -> Option<crate::journal::Line> {
        let (id, gate, rule) = (RequestId(7), Gate::Complete, "slow".to_owned());
        let (does, wait_ns, status) = (Does::Delay, Some(9), Some(Status::IoError));
        let mut words = Vec::new();
        encode(5, &Record::Decided { id, gate, rule, does, wait_ns, status }, &mut words)?.ok()?;
        words[word] = change(words[word]);
        let head = Head::read(words[0])?;
        let body: Vec<u8> = words[1..].iter().flat_map(|word| word.to_le_bytes()).collect();
        decode(head, body.get(..head.bytes as usize)?)
    }

    #[test]
    fn nonsense_is_no_line() {
        assert!(changed(0, |word| word).is_some());
        let refused: [(usize, u64); 9] = [
            // A flag that is not known, no rule, no number behind one that is to be there.
            (0, 4 << 8),
            (0, u64::from(flag::RULE) << 8),
            (0, 4 << 32),
            // Something else that a rule does, a third gate, another status, what has to be 0, texts that are too long.
            (2, 0xff),
            (3, 2 << 32),
            (3, 0xf0 << 40),
            (3, 1 << 48),
            (3, 0x100 << 16),
            (3, 1),
        ];
        for (word, bits) in refused {
            assert_eq!(changed(word, |before| before ^ bits), None, "word {word}, {bits:#x}");
        }
        assert_eq!(changed(5, |_| 0x80), None, "no text");
    }
}
