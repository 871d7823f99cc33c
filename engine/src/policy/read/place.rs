//! Ranges of the disk, with a name and without.

use crate::diagnostic::Diagnostic;
use crate::policy::quantity::parse_bytes;
use crate::policy::table::{Mistakes, Parse, Table, one_of, quantity};
use crate::policy::tree::{Entry, Node, Value};
use crate::policy::{Place, grammar};
use crate::request::{ByteRange, SECTOR};

/// Size of the largest disk, in bytes.
pub const DISK_BYTES_MAX: u64 = 1 << 40;

/// Bytes in a block when a range does not say.
const BLOCK: u64 = 4096;

/// A place that is wrong still counts as known, so that only its own mistake is reported.
pub fn read(entry: &Entry, mistakes: &mut Mistakes) -> Place {
    let what = format!("place `{}`", entry.name);
    let range = match &entry.node.value {
        Value::String(_) => one_of("place", &entry.node, &["guest"], mistakes).and(None),
        _ => read_range(&what, &entry.node, mistakes),
    };
    Place { name: entry.name.clone(), range }
}

/// A range in one of its forms, called `what` in messages.
pub fn read_range(what: &str, node: &Node, mistakes: &mut Mistakes) -> Option<ByteRange> {
    let table = Table::of(what, grammar::RANGE, node, mistakes)?;
    let (first, count, unit) = match form(&table)? {
        Form::Bytes => (table.need("offset", mistakes), table.need("length", mistakes), 1),
        Form::Sectors => (table.need("sector", mistakes), table.need("sectors", mistakes), SECTOR),
        Form::Blocks => {
            let size = table.get_quantity("block-size", parse_block, mistakes).unwrap_or(BLOCK);
            (table.need("block", mistakes), table.need("blocks", mistakes), size)
        }
        Form::Mixed => {
            let message = format!(
                "{what} must be {{ offset, length }}, {{ sector, sectors }} or {{ block, blocks, block-size }}"
            );
            mistakes.push(Diagnostic::error(table.at(), message));
            return None;
        }
    };
    let parse: Parse = if unit == 1 { parse_bytes } else { parse_count };
    let offset = first.and_then(|node| quantity(node, parse, mistakes));
    let length = count.and_then(|node| quantity(node, parse, mistakes));
    if let (Some(0), Some(node)) = (length, count) {
        let mistake = Diagnostic::error(node.at.clone(), format!("{what} is a range of nothing"));
        mistakes.push(mistake.help("write how much there is of it, 1 or more"));
        return None;
    }
    let (offset, length) = (offset?.checked_mul(unit), length?.checked_mul(unit));
    let range = offset.zip(length).map(|(offset, length)| ByteRange { offset, length });
    let range = range.filter(|range| range.offset.checked_add(range.length).is_some());
    if range.is_none() {
        let mistake = Diagnostic::error(count?.at.clone(), format!("{what} has no bytes on any disk"));
        mistakes.push(mistake.help("no disk has more than 1T"));
    }
    range
}

enum Form {
    Bytes,
    Sectors,
    Blocks,
    Mixed,
}

/// In which form a range is written; `None` if a key that nobody knows is all it has.
fn form(table: &Table<'_>) -> Option<Form> {
    let has = |keys: &[&str]| keys.iter().any(|key| table.has(key));
    let forms = (has(grammar::RANGE_BYTES), has(grammar::RANGE_SECTORS), has(grammar::RANGE_BLOCKS));
    Some(match forms {
        (true, false, false) => Form::Bytes,
        (false, true, false) => Form::Sectors,
        (false, false, true) => Form::Blocks,
        (false, false, false) if !table.is_empty() => return None,
        _ => Form::Mixed,
    })
}

fn parse_block(text: &str) -> Result<u64, String> {
    let size = parse_bytes(text)?;
    let good = size.is_power_of_two() && size >= SECTOR;
    let no_block = || format!("a block has 512 bytes or a power of 2 more, not {size}; write 1k or 4k, say");
    if good { Ok(size) } else { Err(no_block()) }
}

fn parse_count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number"))
}
