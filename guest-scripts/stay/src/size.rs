//! Byte counts as they are written on the command line.

/// Reads `4096`, `4k`, `1M` or `2G` (powers of 1024) as a number of bytes.
pub fn parse(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .parse::<u64>()
        .ok()
        .filter(|_| is_plain)
        .and_then(|count| count.checked_mul(unit))
        .ok_or_else(|| format!("`{text}` is no number of bytes; write 4096, 4k, 1M or 2G"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn suffixes_are_powers_of_1024() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("45056"), Ok(45056));
        assert_eq!(parse("4k"), Ok(4096));
        assert_eq!(parse("4K"), Ok(4096));
        assert_eq!(parse("3M"), Ok(3 << 20));
        assert_eq!(parse("2G"), Ok(2 << 30));
    }

    #[test]
    fn what_is_no_size_is_quoted() {
        for text in ["", "k", "-1", "+1", "1.5k", "4kB", "0x10", "17179869184G", "é"] {
            assert_eq!(parse(text), Err(format!("`{text}` is no number of bytes; write 4096, 4k, 1M or 2G")));
        }
    }
}
