//! Makes another text of one, by bytes, by tokens and by lines.

use crate::random::Random;

/// Texts do not grow longer.
const BYTES_MAX: usize = 4096;

/// What stands in no good text, or seldom.
const ODD: [&str; 40] = [
    "0",
    "-1",
    "1",
    "2",
    "64",
    "65",
    "1.5",
    "-0.0",
    "1e308",
    "nan",
    "inf",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "\"\"",
    "\"0\"",
    "\"-1\"",
    "\"18446744073709551615\"",
    "\"18446744073709551615ns\"",
    "\"9223372036854775807s\"",
    "\"1T\"",
    "\"$\"",
    "\"$$\"",
    "\"${\"",
    "\"${}\"",
    "\"$op\"",
    "\"${op}s\"",
    "\"a.b.c\"",
    "\"in-flight >= 0\"",
    "\"held <= 18446744073709551614\"",
    "true",
    "false",
    "[]",
    "{}",
    "[[]]",
    "1979-05-27",
    "'''\n'''",
    "\u{fffd}",
    "\"\\u0000\"",
];

/// Everything that new texts are made of.
pub struct Words {
    tokens: Vec<String>,
    lines: Vec<String>,
}

impl Words {
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>, others: &[&str]) -> Words {
        let mut words = Words { tokens: Vec::new(), lines: Vec::new() };
        for text in texts {
            words.tokens.extend(tokens(text).into_iter().map(str::to_owned));
            words.lines.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        }
        words.tokens.extend(ODD.iter().chain(others).map(|&word| word.to_owned()));
        words.tokens.retain(|token| !token.trim().is_empty());
        words.tokens.sort();
        words.tokens.dedup();
        words
    }

    /// A word without quotes.
    pub fn bare(&self, random: &mut Random) -> String {
        random.pick(&self.tokens).map_or(String::new(), |token| token.trim_matches('"').to_owned())
    }
}

/// Changes a text a few times.
pub fn mutate(text: &mut String, words: &Words, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        *text = match random.below(8) {
            0 => by_bytes(text, random),
            1..=5 => by_tokens(text, words, random),
            _ => by_lines(text, words, random),
        };
    }
    while text.len() > BYTES_MAX {
        text.pop();
    }
}

fn by_bytes(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let (from, to) = random.span(bytes.len());
    match random.below(4) {
        0 if from < bytes.len() => bytes[from] ^= 1 << random.below(8),
        1 => bytes.insert(from, random.next() as u8),
        2 => drop(bytes.drain(from..to)),
        _ => {
            let copy = bytes[from..to].to_vec();
            bytes.splice(from..from, copy);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn by_tokens(text: &str, words: &Words, random: &mut Random) -> String {
    let mut tokens = tokens(text);
    let at = random.below(tokens.len() + 1);
    let new = random.pick(&words.tokens).map_or("", String::as_str);
    match random.below(6) {
        0 => tokens.insert(at, new),
        1 if at < tokens.len() => drop(tokens.remove(at)),
        2 if at < tokens.len() => {
            let other = random.below(tokens.len());
            tokens.swap(at, other);
        }
        // Over and over: what nests, and what there can be only so much of.
        3 if at < tokens.len() && random.one_in(8) => {
            let copies = vec![tokens[at]; 1 << random.below(9)];
            tokens.splice(at..at, copies);
        }
        _ if at < tokens.len() => tokens[at] = new,
        _ => {}
    }
    tokens.concat()
}

fn by_lines(text: &str, words: &Words, random: &mut Random) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let at = random.below(lines.len() + 1);
    match random.below(4) {
        0 if at < lines.len() => drop(lines.remove(at)),
        1 if at < lines.len() => {
            let other = random.below(lines.len());
            lines.swap(at, other);
        }
        2 => {
            let (from, to) = random.span(lines.len());
            let copy = lines[from..to].to_vec();
            lines.extend(copy);
        }
        _ => lines.insert(at, random.pick(&words.lines).map_or("", String::as_str)),
    }
    lines.join("\n")
}

/// Words, strings, blanks, and each other character by itself.
fn tokens(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let beyond = |end: Option<usize>| end.unwrap_or(rest.len());
        let end = match first {
            '"' => rest[1..].find(['"', '\n']).map_or(rest.len(), |end| end + 2),
            _ if is_word(first) => beyond(rest.find(|c| !is_word(c))),
            _ if first == ' ' => beyond(rest.find(|c| c != ' ')),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        tokens.push(token);
        rest = after;
    }
    tokens
}
