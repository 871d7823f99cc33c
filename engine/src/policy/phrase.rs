//! What people write in place of the tables of an expression, and the table that says the same.

/// Longest text that is looked at, in bytes: nobody writes a longer one by hand.
const TEXT_BYTES_MAX: usize = 200;

/// `{ not = "A.done" }` for `!A.done`, `{ all = ["A.done", "B.done"] }` for `A.done and B.done`; `None` if nothing of
/// the kind is written.
pub fn as_table(written: &str) -> Option<String> {
    if written.len() > TEXT_BYTES_MAX {
        return None;
    }
    let table = form(written);
    table.starts_with('{').then_some(table)
}

/// A part of an expression as TOML.
fn form(written: &str) -> String {
    let text = without_parentheses(written.trim());
    for (word, signs) in [("any", ["||", " or "]), ("all", ["&&", " and "])] {
        let parts = split(text, &signs);
        if parts.len() > 1 {
            return list(word, &parts);
        }
    }
    let negated = text.strip_prefix('!').filter(|rest| !rest.starts_with('='));
    if let Some(part) = negated.or_else(|| text.strip_prefix("not ")) {
        return format!("{{ not = {} }}", form(part));
    }
    let call = text.strip_suffix(')').and_then(|text| text.split_once('('));
    match call {
        Some(("not", part)) => format!("{{ not = {} }}", form(part)),
        Some((word @ ("any" | "all"), parts)) => list(word, &split(parts, &[","])),
        _ => format!("\"{text}\""),
    }
}

fn list(word: &str, parts: &[&str]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| form(part)).collect();
    format!("{{ {word} = [{}] }}", parts.join(", "))
}

/// The text within parentheses that are around all of it.
fn without_parentheses(text: &str) -> &str {
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let mut depth = 1_i32;
    let mut closes_early = |inner: &&str| {
        inner.chars().any(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        })
    };
    match inner.filter(|inner| !closes_early(inner)) {
        Some(inner) => without_parentheses(inner.trim()),
        _ => text,
    }
}

/// The parts between these signs, where no parenthesis is open.
fn split<'t>(text: &'t str, signs: &[&str]) -> Vec<&'t str> {
    let (mut parts, mut depth, mut start, mut skip) = (Vec::new(), 0_i32, 0, 0);
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        let sign = signs.iter().find(|sign| depth == 0 && at >= skip && text[at..].starts_with(**sign));
        if let Some(sign) = sign {
            parts.push(&text[start..at]);
            (start, skip) = (at + sign.len(), at + sign.len());
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_in_other_languages_has_a_table() {
        let pairs = [
            ("!A.done", r#"{ not = "A.done" }"#),
            ("not state.x", r#"{ not = "state.x" }"#),
            ("A.done and B.done", r#"{ all = ["A.done", "B.done"] }"#),
            (
                "A.done && !B.done || guest.go",
                r#"{ any = [{ all = ["A.done", { not = "B.done" }] }, "guest.go"] }"#,
            ),
            ("(A.done or B.done) and C.done", r#"{ all = [{ any = ["A.done", "B.done"] }, "C.done"] }"#),
            ("any(A.done, not(B.done))", r#"{ any = ["A.done", { not = "B.done" }] }"#),
        ];
        for (written, table) in pairs {
            assert_eq!(as_table(written).as_deref(), Some(table), "{written}");
        }
        for plain in ["A.done", "W.arrived >= 3", "a != 3", "(A.done)", "", "((((", "))))", "état"] {
            assert_eq!(as_table(plain), None, "{plain}");
        }
    }
}
