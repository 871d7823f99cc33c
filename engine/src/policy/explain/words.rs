//! Numbers, sizes and times as people say them.

use crate::request::{ByteRange, Nanos};

/// `5 ms`, `1.5 s`; exact.
pub fn time(time: Nanos) -> String {
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)];
    let found = units.iter().find(|(_, unit)| time >= *unit);
    let Some((name, unit)) = found else { return format!("{time} ns") };
    let (whole, rest) = (time / unit, time % unit);
    if rest == 0 {
        return format!("{whole} {name}");
    }
    let digits = unit.ilog10() as usize;
    let rest = format!("{rest:0digits$}");
    format!("{whole}.{} {name}", rest.trim_end_matches('0'))
}

/// `4 KiB`, `1000 bytes`; exact.
pub fn bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let found = units.iter().find(|(_, bits)| bytes > 0 && bytes.trailing_zeros() >= *bits);
    match found {
        Some((name, bits)) => format!("{} {name}", bytes >> bits),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

/// `64 KiB from 1 MiB on`.
pub fn range(range: ByteRange) -> String {
    let from = match range.offset {
        0 => "the disk's first byte".to_owned(),
        offset if offset % 1024 == 0 => bytes(offset),
        offset => format!("byte {offset}"),
    };
    format!("{} from {from} on", bytes(range.length))
}

/// `first`, `2nd`, `11th`.
pub fn ordinal(number: u64) -> String {
    match (number, number % 10, number % 100) {
        (1, ..) => "first".to_owned(),
        (_, 1, rest) if rest != 11 => format!("{number}st"),
        (_, 2, rest) if rest != 12 => format!("{number}nd"),
        (_, 3, rest) if rest != 13 => format!("{number}rd"),
        _ => format!("{number}th"),
    }
}

/// `a, b and c`.
pub fn list<S: AsRef<str>>(parts: &[S], last: &str) -> String {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [before @ .., end] => format!("{} {last} {end}", before.join(", ")),
    }
}

/// With a full stop at its end.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_exact() {
        assert_eq!(
            [0, 999, 1_500, 50_000, 1_000_001].map(time),
            ["0 ns", "999 ns", "1.5 µs", "50 µs", "1.000001 ms"]
        );
        assert_eq!(time(10_000_000_000), "10 s");
        assert_eq!(
            [0, 1, 512, 4096, 3 << 20, 1 << 41].map(bytes),
            ["0 bytes", "1 byte", "512 bytes", "4 KiB", "3 MiB", "2 TiB"]
        );
    }

    #[test]
    fn numbers_have_their_endings() {
        let numbers = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111, 1003];
        let words =
            ["first", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th", "1003rd"];
        assert_eq!(numbers.map(ordinal), words);
    }
}
