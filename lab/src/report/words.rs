//! Quantities and verdicts as a report words them.

use blkstay_engine::journal::Cause;
use blkstay_engine::request::{Nanos, Op, Request};

/// A length of time with its unit, to three digits.
pub fn time(ns: Nanos) -> String {
    let (value, unit) = match ns {
        0 => return "0".to_owned(),
        1..1_000 => return format!("{ns} ns"),
        1_000..999_500 => (ns as f64 / 1e3, "µs"),
        999_500..999_500_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    match value {
        ..9.995 => format!("{value:.2} {unit}"),
        ..99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// A number of bytes with the largest unit that it is a whole number of.
pub fn bytes(count: u64) -> String {
    match count {
        0 => "0".to_owned(),
        _ if count.is_multiple_of(1 << 20) => format!("{} MiB", count >> 20),
        _ if count.is_multiple_of(1 << 10) => format!("{} KiB", count >> 10),
        _ => format!("{count} bytes"),
    }
}

/// What a request asks for, without where: `write 4 KiB`.
pub fn asks(request: &Request) -> String {
    match request.op {
        op @ (Op::Flush | Op::GetId) => op.to_string(),
        op => format!("{op} {}", bytes(request.range.length)),
    }
}

/// What a request asks for, and where: `write 4 KiB at 12348 KiB, journal-commit`.
pub fn request(request: &Request) -> String {
    let class = if request.class.is_empty() { String::new() } else { format!(", {}", request.class) };
    match request.op.has_range() {
        true => format!("{} at {}{class}", asks(request), bytes(request.range.offset)),
        false => format!("{}{class}", asks(request)),
    }
}

/// Why something that stood went on.
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Watchdog { limit_ns, unheard } => {
            let unheard = if *unheard { ", which the guest said nothing to" } else { "" };
            format!("watchdog after {}{unheard}", time(*limit_ns))
        }
        other => crate::log::cause_words(other),
    }
}

/// At most so many characters, with an ellipsis where something is left out.
pub fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((at, _)) if text.chars().count() > most => format!("{}…", text[..at].trim_end()),
        _ => text.to_owned(),
    }
}

/// The same without what pads it.
pub fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text of several lines without what is no text.
pub fn lines(text: &str) -> String {
    let is_text = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if is_text(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_fits() {
        let shown = [0, 950, 52_000, 999_600, 12_034_000, 104_000_000, 999_600_000, 6_641_000_000];
        let wanted = ["0", "950 ns", "52.0 µs", "1.00 ms", "12.0 ms", "104 ms", "1.00 s", "6.64 s"];
        assert_eq!(shown.map(time), wanted);
    }

    #[test]
    fn bytes_are_whole_numbers_of_their_unit() {
        assert_eq!([512, 4096, 12_648_448, 8 << 20].map(bytes), ["512 bytes", "4 KiB", "12352 KiB", "8 MiB"]);
    }

    #[test]
    fn what_is_cut_says_so_and_never_within_a_character() {
        assert_eq!([short("käse", 4), short("käsekuchen", 4)], ["käse", "käs…"]);
    }
}
