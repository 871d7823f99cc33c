//! Sizes and durations as people write them.

use crate::request::Nanos;

/// Bytes from `4096`, `4k`, `64M`, `1G`; powers of 1024.
///
/// # Errors
/// What would be right.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [("", 1), ("k", 1 << 10), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
    parse(text, &units, "too large").map_err(|why| match why {
        Some(why) => why,
        None => format!("`{text}` is not a size: write bytes, or 4k, 64M, 1G"),
    })
}

/// Nanoseconds from `50us`, `10ms`, `2s`, `100ns`.
///
/// # Errors
/// What would be right.
pub fn parse_duration(text: &str) -> Result<Nanos, String> {
    let units = [("ns", 1), ("us", 1_000), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    parse(text, &units, "too long").map_err(|why| match why {
        Some(why) => why,
        None => format!("`{text}` is not a duration: write 50us, 10ms or 2s"),
    })
}

/// The same, and more than none.
///
/// # Errors
/// What would be right.
pub fn parse_some_time(text: &str) -> Result<Nanos, String> {
    match parse_duration(text)? {
        0 => Err("a time limit of nothing ends everything at once; write 5s, say".to_owned()),
        some => Ok(some),
    }
}

/// A time above none that ends nothing: a share of a period, a bound of what is drawn.
///
/// # Errors
/// What would be right.
pub fn parse_positive_time(text: &str) -> Result<Nanos, String> {
    match parse_duration(text)? {
        0 => Err("it must be more than no time; write 50us, say".to_owned()),
        some => Ok(some),
    }
}

/// Bytes, more than none.
///
/// # Errors
/// What would be right.
pub fn parse_some_bytes(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("0 bytes are none; write 4k, say".to_owned()),
        some => Ok(some),
    }
}

/// # Errors
/// What is wrong with it, if it is a number with a unit.
fn parse(text: &str, units: &[(&str, u64)], too_much: &str) -> Result<u64, Option<String>> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start()).ok_or(None)?;
    if number.contains('.') && number.parse::<f64>().is_ok() {
        return Err(Some(format!("`{text}` is not a whole number: write it in a smaller unit")));
    }
    if number.is_empty() || number.contains('.') {
        return Err(None);
    }
    let product = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    product.ok_or_else(|| Some(format!("`{text}` is {too_much}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("4k"), Ok(4096));
        assert_eq!(parse_bytes("64M"), Ok(64 << 20));
        for wrong in ["", "k", "-1", "4q", "1.5M", "99999999999999T"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("50us"), Ok(50_000));
        assert_eq!(parse_duration("2 s"), Ok(2_000_000_000));
        for wrong in ["5", "s", "1h", "-2s", "99999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
