//! Journals from disk, in the daemon's format or as JSON lines.

use anyhow::{Context, Result};
use blkstay_engine::journal::chunk::MAGIC;
use blkstay_engine::journal::{Line, Piece, Reader, Trouble, What};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a journal has.
#[derive(Debug, Default)]
pub struct Read {
    /// Its records, in order.
    pub lines: Vec<Line>,
    /// What else it has.
    pub odd: Odd,
}

/// What a journal has beside records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odd {
    /// Places where it is damaged.
    pub bad: usize,
    /// Records that this version does not know.
    pub unknown: usize,
}

/// Calls `each` for every record of a journal until it says that it has enough. What is none is called out on standard
/// error.
///
/// # Errors
/// The journal cannot be read, or `each` failed.
pub fn each(path: &Path, mut each: impl FnMut(Line) -> Result<bool>) -> Result<Odd> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("{shown}: cannot open it"))?;
    let mut odd = Odd::default();
    for piece in pieces(file).with_context(|| format!("{shown}: cannot read it"))? {
        match piece.with_context(|| format!("{shown}: cannot read it"))? {
            Piece::Line(line) => {
                if !each(line)? {
                    break;
                }
            }
            Piece::Trouble(trouble) => {
                match trouble.is_damage() {
                    true => odd.bad += 1,
                    false => odd.unknown += 1,
                }
                crate::out::tell(format_args!("{shown}:{trouble}"));
            }
        }
    }
    Ok(odd)
}

type Pieces = Box<dyn Iterator<Item = std::io::Result<Piece>>>;

/// What a file has; its first bytes say how it is written.
fn pieces(file: File) -> std::io::Result<Pieces> {
    let mut file = BufReader::new(file);
    if !file.fill_buf()?.starts_with(&MAGIC) {
        return Ok(Box::new(json_lines(file)));
    }
    let file = file.into_inner();
    let bytes = file.metadata()?.len();
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file; copy it to one"));
    }
    Ok(Box::new(Reader::new(bytes, move |at, place: &mut [u8]| read_at(&file, at, place))?))
}

/// Most bytes in a line: a policy is the longest that a record has.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// The next line, without its end; `None` if there is none.
fn next_line(file: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let found = file.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if found as u64 == LINE_BYTES_MAX {
        let message = format!("a line has more than {} MiB; is it a journal?", LINE_BYTES_MAX >> 20);
        return Err(std::io::Error::new(ErrorKind::InvalidData, message));
    }
    Ok((found > 0).then_some(line))
}

fn json_lines(mut file: BufReader<File>) -> impl Iterator<Item = std::io::Result<Piece>> {
    let mut at = 0;
    std::iter::from_fn(move || next_line(&mut file).transpose()).zip(1..).map(move |(bytes, number)| {
        let bytes = bytes?;
        let start = at;
        at += bytes.len() as u64 + 1;
        Ok(match serde_json::from_slice(&bytes) {
            Ok(line) => Piece::Line(line),
            Err(error) => {
                let what = What::NoLine { number, why: error.to_string() };
                Piece::Trouble(Trouble { at: start, what })
            }
        })
    })
}

/// Fills `place` as far as the file goes.
fn read_at(file: &File, at: u64, place: &mut [u8]) -> std::io::Result<usize> {
    let mut found = 0;
    while let Some(rest) = place.get_mut(found..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(found as u64)) {
            Ok(0) => break,
            Ok(more) => found += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Reads a whole journal.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<Read> {
    let mut lines = Vec::new();
    let odd = each(path, |line| {
        lines.push(line);
        Ok(true)
    })?;
    Ok(Read { lines, odd })
}
