//! Journals from disk.

use anyhow::{Context, Result};
use blkstay_engine::journal::Line;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// What a journal has.
#[derive(Debug, Default)]
pub struct Read {
    /// Its records, in order.
    pub lines: Vec<Line>,
    /// Lines that are none.
    pub bad: usize,
}

/// Calls `each` for every record of a journal until it says that it has enough. A line that is none is called out on
/// standard error. Returns how many those are.
///
/// # Errors
/// The journal cannot be read, or `each` failed.
pub fn each(path: &Path, mut each: impl FnMut(Line) -> Result<bool>) -> Result<usize> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("{shown}: cannot open it"))?;
    let mut bad = 0;
    for (number, bytes) in BufReader::new(file).split(b'\n').enumerate() {
        let bytes = bytes.with_context(|| format!("{shown}: cannot read it"))?;
        match serde_json::from_slice::<Line>(&bytes) {
            Ok(line) => {
                if !each(line)? {
                    return Ok(bad);
                }
            }
            Err(error) => {
                bad += 1;
                eprintln!("{shown}:{}: not a journal's line: {error}", number + 1);
            }
        }
    }
    Ok(bad)
}

/// Reads a whole journal.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<Read> {
    let mut lines = Vec::new();
    let bad = each(path, |line| {
        lines.push(line);
        Ok(true)
    })?;
    Ok(Read { lines, bad })
}
