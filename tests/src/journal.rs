//! Reads journals.

use blkstay_engine::journal::{Abandon, Line, Piece, Reader, Record, Stage};
use blkstay_engine::request::{Nanos, Op, Request, RequestId};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Every record of a journal that nobody writes any more.
#[track_caller]
pub fn read(path: &Path) -> Vec<Record> {
    lines(path).into_iter().map(|line| line.record).collect()
}

/// Everything that a journal of the daemon's format has, also while it is written.
#[track_caller]
pub fn pieces(path: &Path) -> Vec<Piece> {
    let file = File::open(path).expect("the journal");
    let bytes = file.metadata().expect("its length").len();
    let fetch = |at, place: &mut [u8]| file.read_at(place, at);
    let reader = Reader::new(bytes, fetch).expect("read the journal");
    reader.collect::<Result<_, _>>().expect("read the journal")
}

/// Every line of a journal.
#[track_caller]
pub fn lines(path: &Path) -> Vec<Line> {
    let line = |piece| match piece {
        Piece::Line(line) => line,
        Piece::Trouble(trouble) => panic!("{}:{trouble}", path.display()),
    };
    let lines: Vec<Line> = pieces(path).into_iter().map(line).collect();
    assert!(matches!(lines[0].record, Record::Journal { .. }), "the first line says what the file is");
    let begins = |_: &Line, line: &Line| !matches!(line.record, Record::Journal { .. });
    for session in lines.chunk_by(begins) {
        assert!(session.is_sorted_by_key(|line| line.t), "time runs forward");
    }
    lines
}

/// The requests that arrived.
pub fn arrived(records: &[Record]) -> Vec<Request> {
    let arrived = |record: &Record| match record {
        Record::Arrived { request, .. } => Some(*request),
        _ => None,
    };
    records.iter().filter_map(arrived).collect()
}

/// The only request that arrived with that operation.
#[track_caller]
pub fn only(records: &[Record], op: Op) -> RequestId {
    let found: Vec<_> = arrived(records).into_iter().filter(|request| request.op == op).collect();
    assert_eq!(found.len(), 1, "expected one {op}: {found:?}");
    found[0].id
}

/// How many requests completed.
pub fn completed(records: &[Record]) -> usize {
    records.iter().filter(|record| matches!(record, Record::Completed { .. })).count()
}

/// What was given up.
pub fn abandoned(records: &[Record]) -> Vec<(RequestId, Stage, Abandon)> {
    let abandoned = |record: &Record| match record {
        Record::Abandoned { id, stage, why, .. } => Some((*id, *stage, *why)),
        _ => None,
    };
    records.iter().filter_map(abandoned).collect()
}

/// What was wrong with chains that were no requests.
pub fn bad_requests(records: &[Record]) -> Vec<String> {
    let bad = |record: &Record| match record {
        Record::BadRequest { why, .. } => Some(why.clone()),
        _ => None,
    };
    records.iter().filter_map(bad).collect()
}

/// Fails unless the last that happened is that the daemon was told to end, and gave up what it had.
#[track_caller]
pub fn assert_stopped(records: &[Record]) {
    let last = records.iter().rposition(|record| !matches!(record, Record::Abandoned { .. }));
    assert_eq!(last.map(|last| &records[last]), Some(&Record::Stopped));
}

fn ends(records: &[Record], request: RequestId) -> usize {
    let is_end = |record: &&Record| match record {
        Record::Completed { id, .. } | Record::Abandoned { id, .. } => *id == request,
        _ => false,
    };
    records.iter().filter(is_end).count()
}

/// Whether every request that arrived has ended.
pub fn have_all_ended(records: &[Record]) -> bool {
    arrived(records).into_iter().all(|request| ends(records, request.id) > 0)
}

/// Fails unless every request that arrived ended in exactly one way.
#[track_caller]
pub fn assert_accounted_for(records: &[Record]) {
    for request in arrived(records) {
        assert_eq!(ends(records, request.id), 1, "{} ended otherwise than once: {records:#?}", request.id);
    }
}

/// When each step of a request's life was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// It arrived.
    pub arrived: Option<Nanos>,
    /// It went to the drive.
    pub submitted: Option<Nanos>,
    /// The drive finished it.
    pub done: Option<Nanos>,
    /// The guest was told.
    pub completed: Option<Nanos>,
}

/// The lives of all requests.
pub fn lives(lines: &[Line]) -> BTreeMap<RequestId, Life> {
    let mut lives = BTreeMap::<_, Life>::new();
    for Line { t, record } in lines {
        match record {
            Record::Arrived { request, .. } => lives.entry(request.id).or_default().arrived = Some(*t),
            Record::Submitted { id } => lives.entry(*id).or_default().submitted = Some(*t),
            Record::Done { id, .. } => lives.entry(*id).or_default().done = Some(*t),
            Record::Completed { id, .. } => lives.entry(*id).or_default().completed = Some(*t),
            _ => {}
        }
    }
    lives
}

/// What rules decided: when, on which request, which rule, and how long the request waits if that is known.
pub fn decided(lines: &[Line]) -> Vec<(Nanos, RequestId, &str, Option<Nanos>)> {
    let mut decided = Vec::new();
    for Line { t, record } in lines {
        if let Record::Decided { id, rule, wait_ns, .. } = record {
            decided.push((*t, *id, rule.as_str(), *wait_ns));
        }
    }
    decided
}
