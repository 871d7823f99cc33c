//! `payload`: what a request's data is tested for.

use crate::diagnostic::Diagnostic;
use crate::policy::quantity::parse_bytes;
use crate::policy::table::{Mistakes, Table, one_of, string};
use crate::policy::tree::{Node, Value};
use crate::policy::{Probe, grammar};

pub fn read(node: &Node, mistakes: &mut Mistakes) -> Option<Probe> {
    if let Value::String(_) = node.value {
        return one_of("payload", node, &["zero"], mistakes).map(|_| Probe::Zero);
    }
    let table = Table::of("`payload`", grammar::PAYLOAD, node, mistakes)?;
    let offset = table.need_quantity("offset", parse_bytes, mistakes);
    let bytes = table.get("bytes").map(|node| (node, hex(node, mistakes)));
    let text = |text: &str| text.as_bytes().to_vec();
    let text = table.get("text").map(|node| (node, string("`text`", node, mistakes).map(text)));
    let (node, bytes) = match (bytes, text) {
        (Some(one), None) | (None, Some(one)) => one,
        _ => {
            let message = "`payload` must be \"zero\", { offset, bytes } or { offset, text }";
            mistakes.push(Diagnostic::error(table.at(), message));
            return None;
        }
    };
    let bytes = bytes?;
    if bytes.is_empty() {
        let mistake = Diagnostic::error(node.at.clone(), "no bytes are found everywhere");
        mistakes.push(mistake.help("write what the data has there, or leave `payload` out"));
    }
    Some(Probe::Bytes { offset: offset?, bytes })
}

fn hex(node: &Node, mistakes: &mut Mistakes) -> Option<Vec<u8>> {
    let text = string("`bytes`", node, mistakes)?;
    let digits: Option<Vec<u32>> =
        text.chars().filter(|c| !c.is_ascii_whitespace()).map(|c| c.to_digit(16)).collect();
    let bytes = digits.filter(|digits| digits.len().is_multiple_of(2));
    if bytes.is_none() {
        let mistake = Diagnostic::error(node.at.clone(), format!("`{text}` is not bytes in hexadecimal"));
        mistakes.push(mistake.help("write two digits for each, \"c0 3b 39 98\" say"));
    }
    bytes.map(|digits| digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}
