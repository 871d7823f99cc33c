//! The order of Debian's version numbers (`deb-version(7)`).

use std::cmp::Ordering;

/// Compares two package versions, `[epoch:]upstream[-revision]`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (epoch_a, a) = split_epoch(a);
    let (epoch_b, b) = split_epoch(b);
    let (upstream_a, revision_a) = split_revision(a);
    let (upstream_b, revision_b) = split_revision(b);
    epoch_a
        .cmp(&epoch_b)
        .then_with(|| compare_part(upstream_a, upstream_b))
        .then_with(|| compare_part(revision_a, revision_b))
}

/// The version without epoch and revision: what the kernel's own developers call it.
pub fn upstream(version: &str) -> &str {
    split_revision(split_epoch(version).1).0
}

fn split_epoch(version: &str) -> (u32, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

fn split_revision(version: &str) -> (&str, &str) {
    version.rsplit_once('-').unwrap_or((version, ""))
}

/// Compares letters and digits in turn: a run of non-digits by rank, then a run of digits by value.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (text_a, rest_a) = split_at_first(a, |c| c.is_ascii_digit());
        let (text_b, rest_b) = split_at_first(b, |c| c.is_ascii_digit());
        let (number_a, rest_a) = split_at_first(rest_a, |c| !c.is_ascii_digit());
        let (number_b, rest_b) = split_at_first(rest_b, |c| !c.is_ascii_digit());
        let order = compare_text(text_a, text_b).then_with(|| compare_numbers(number_a, number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

fn compare_text(a: &str, b: &str) -> Ordering {
    let ranks = |text: &str| text.chars().map(rank).chain([END]).collect::<Vec<_>>();
    ranks(a).cmp(&ranks(b))
}

/// The end of a run ranks after `~` and before everything else.
const END: u32 = 1;

fn rank(c: char) -> u32 {
    match c {
        '~' => 0,
        c if c.is_ascii_alphabetic() => u32::from(c),
        c => u32::from(c) + 0x100,
    }
}

/// Compares digits of any length by value.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let a = a.trim_start_matches('0');
    let b = b.trim_start_matches('0');
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_dpkgs() {
        let ascending = [
            "6.1.9-1",
            "6.1.170-3",
            "6.12.9-1",
            "6.12.38-1~bpo12+1",
            "6.12.38-1",
            "6.12.38-1+deb13u1",
            "6.12.38-2",
            "6.12.101-1~deb12u1",
            "7.3~rc7-1~exp1",
            "7.3-1~exp1",
            "7.3.4-1~bpo13+1",
            "1:2.0-1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn leading_zeros_and_a_zero_epoch_count_for_nothing() {
        assert_eq!(compare("6.012-1", "0:6.12-01"), Ordering::Equal);
    }

    #[test]
    fn upstream_versions_have_neither_epoch_nor_revision() {
        assert_eq!(upstream("6.12.38-1~bpo12+1"), "6.12.38");
        assert_eq!(upstream("1:7.3~rc7-1~exp1"), "7.3~rc7");
    }
}
