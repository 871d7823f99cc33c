//! What a file says that is not TOML: all of it but the lines that are wrong.

use crate::diagnostic::{Diagnostic, Spot};
use crate::policy::tree::{self, Entry};
use std::ops::Range;
use toml::de::DeTable;

/// How often a file is read again without what was wrong in it.
const ROUNDS_MAX: usize = 8;

/// Tables whose entries have nothing to do with each other.
const OF_NAMES: [&str; 6] = ["parameter", "place", "event", "state", "point", "sign"];

/// A file as far as it can be read.
pub struct Recovered {
    pub entries: Vec<Entry>,
    /// What is not TOML.
    pub mistakes: Vec<Diagnostic>,
    /// Tables that have lost a line, from their headers to where the next begins.
    pub cut: Vec<Spot>,
}

/// Reads a file. What is wrong is left out: its line, or, if the rest cannot be read so or it is a header, its table.
pub fn parse(file: usize, text: &str) -> Recovered {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let entries = tree::entries(file, table.get_ref());
        return Recovered { entries, mistakes: Vec::new(), cut: Vec::new() };
    }
    let spot = |span| Spot { file, span };
    let mistakes = errors.iter().map(|error| {
        let at = spot(error.span().unwrap_or(0..0));
        Diagnostic::error(at, format!("not TOML: {}", error.message()))
    });
    let mistakes: Vec<Diagnostic> = mistakes.collect();
    let mut rest = text.as_bytes().to_vec();
    let mut cut: Vec<Range<usize>> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        for error in &errors {
            let at = error.span().unwrap_or(0..0).start.min(text.len());
            cut.push(leave_out(text, &mut rest, at));
        }
        let readable = String::from_utf8_lossy(&rest);
        let (table, wrong) = DeTable::parse_recoverable(&readable);
        if wrong.is_empty() {
            let entries = tree::entries(file, table.get_ref());
            let cut = cut.into_iter().filter(|cut| !is_of_names(text, cut)).map(spot).collect();
            return Recovered { entries, mistakes, cut };
        }
        errors = wrong;
    }
    Recovered { entries: Vec::new(), mistakes, cut: vec![spot(0..text.len())] }
}

/// Blanks the line of a mistake, or its whole table if that is no line any more; gives the table.
fn leave_out(text: &str, rest: &mut [u8], at: usize) -> Range<usize> {
    let line = line(text, at);
    let table = table(text, &line);
    let is_blank = |part: &Range<usize>| rest[part.clone()].iter().all(u8::is_ascii_whitespace);
    let left_out = if is_header(&text[line.clone()]) || is_blank(&line) { table.clone() } else { line };
    for byte in &mut rest[left_out] {
        if !matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    table
}

fn line(text: &str, at: usize) -> Range<usize> {
    let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = text[..at].rfind('\n').map_or(0, |before| before + 1);
    let end = text[at..].find('\n').map_or(text.len(), |after| at + after);
    start..end
}

/// The table that a line is in, from its header to the next one's.
fn table(text: &str, line: &Range<usize>) -> Range<usize> {
    let (mut start, mut end, mut next) = (0, text.len(), 0);
    for one in text.split_inclusive('\n') {
        if is_header(one) {
            if next > line.start {
                end = next;
                break;
            }
            start = next;
        }
        next += one.len();
    }
    start..end
}

/// Whether a line looks like the header of a table.
fn is_header(line: &str) -> bool {
    let line = line.trim_start();
    let name = line.strip_prefix("[[").or_else(|| line.strip_prefix('['));
    name.is_some_and(|name| name.trim_start().starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// Whether a table is one of names, or the file's own: a line of it is an entry of its own.
fn is_of_names(text: &str, table: &Range<usize>) -> bool {
    let header = text[table.clone()].lines().next().unwrap_or_default();
    let name = header.trim().strip_prefix('[').and_then(|header| header.split(']').next());
    !is_header(header) || name.is_some_and(|name| OF_NAMES.contains(&name.trim()))
}
