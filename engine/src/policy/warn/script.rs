//! Whether a guest script does what a policy counts on.

use super::super::read::{GetScript, Parts};
use super::super::table::Mistakes;
use super::super::tree::{Entry, Node};
use crate::diagnostic::{Diagnostic, Spot};

/// What the guest's own programs say, whatever the script is.
const OWN_EVENTS: [&str; 1] = ["ready"];
const OWN_REPORTS: [&str; 3] = ["kernel", "setup-exit", "problem"];

/// Adds a warning for each event, place and report of the guest that the case's script, if somebody has looked, does not
/// name.
pub fn warn_of_script(parts: &Parts<'_>, script: GetScript<'_>, list: &mut Mistakes) {
    let Some(node) = parts.case.and_then(|case| case.get("guest")) else { return };
    let Some(name) = node.text() else { return };
    match script(name) {
        Some(Ok(text)) => Script::new(name, &text).look(parts, list),
        Some(Err(why)) => {
            list.push(Diagnostic::warning(node.at.clone(), why).help("`blkstay run` needs it"));
        }
        None => {}
    }
}

/// A script, and what its calls of `stay` name.
struct Script<'s> {
    name: &'s str,
    text: String,
    events: Said,
    places: Said,
    reports: Said,
}

/// Names that a script gives in one way.
#[derive(Default)]
struct Said {
    /// How each begins that is known only when the script runs.
    open: Vec<String>,
}

impl<'s> Script<'s> {
    fn new(name: &'s str, text: &str) -> Script<'s> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
        let mut script = Script {
            name,
            text: String::new(),
            events: Said::default(),
            places: Said::default(),
            reports: Said::default(),
        };
        for call in calls(&text) {
            script.call(&call);
        }
        script.text = text;
        script
    }

    /// Takes what one call of `stay` names.
    fn call(&mut self, words: &[Word]) {
        let Some((verb, rest)) = words.split_first() else { return };
        match verb.literal.as_str() {
            _ if verb.is_open => {
                for said in [&mut self.events, &mut self.places, &mut self.reports] {
                    said.open.push(String::new());
                }
            }
            "emit" => self.events.take(rest.first()),
            "place" | "place-map" => self.places.take(rest.first()),
            "report" => rest.iter().step_by(2).for_each(|word| self.reports.take(Some(word))),
            _ => {
                let option = rest.iter().position(|word| word.literal == "--emit");
                if let Some(at) = option {
                    self.events.take(rest.get(at + 1));
                }
            }
        }
    }

    fn look(&self, parts: &Parts<'_>, list: &mut Mistakes) {
        let by_guest = |entries: &[&Entry]| {
            let of_guest = entries.iter().filter(|entry| entry.node.text() == Some("guest"));
            of_guest.map(|entry| (entry.name.clone(), entry.at.clone())).collect::<Vec<_>>()
        };
        let report = |entry: &&Entry| {
            let node: &Node = entry.node.get("report")?;
            node.text().map(|name| (name.to_owned(), node.at.clone()))
        };
        let reports: Vec<(String, Spot)> = parts.signs.iter().filter_map(report).collect();
        let kinds = [
            (by_guest(&parts.events), &self.events, OWN_EVENTS.as_slice()),
            (by_guest(&parts.places), &self.places, &[]),
            (reports, &self.reports, OWN_REPORTS.as_slice()),
        ];
        let words = [
            ("guest event", "is never emitted", "stay emit NAME", "where it happens"),
            (
                "place",
                "is never bound",
                "stay place NAME FILE OFFSET LEN",
                "before the attempt's first request",
            ),
            ("report", "never comes", "stay report NAME VALUE", "where it is seen"),
        ];
        for ((names, said, own), (kind, never, command, when)) in kinds.into_iter().zip(words) {
            let missing =
                names.iter().filter(|(name, _)| !own.contains(&name.as_str()) && !self.may_say(said, name));
            list.extend(missing.map(|(name, at)| {
                let message = format!("{kind} `{name}` {never}: `{}` does not name it", self.name);
                let help = format!("write `{}` {when}", command.replace("NAME", name));
                Diagnostic::warning(at.clone(), message).help(help)
            }));
        }
    }

    /// Whether a name may be said: it is there as a word, or a name that is known only later may be it.
    fn may_say(&self, said: &Said, name: &str) -> bool {
        let opens = said.open.iter().any(|beginning| name.starts_with(beginning.as_str()));
        opens || self.reads_other_files() || names(&self.text, name)
    }

    /// Whether it takes in other scripts, of which nothing is known.
    fn reads_other_files(&self) -> bool {
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let mut commands = self.text.split(['\n', ';', '&', '|']).filter_map(first);
        commands.any(|word| [".", "source", "eval"].contains(&word.as_str()))
    }
}

impl Said {
    fn take(&mut self, word: Option<&Word>) {
        match word {
            Some(word) if word.is_open => self.open.push(word.literal.clone()),
            Some(_) => {}
            None => self.open.push(String::new()),
        }
    }
}

/// A word of a command.
struct Word {
    /// Its text, as far as that is written.
    literal: String,
    /// Whether the rest is known only when the script runs.
    is_open: bool,
}

/// The words after each `stay` of a script.
fn calls(text: &str) -> Vec<Vec<Word>> {
    let starts = text.match_indices("stay").filter(|(at, word)| {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !text[..*at].ends_with(part) && text[at + word.len()..].starts_with([' ', '\t'])
    });
    starts.map(|(at, word)| words(&text[at + word.len()..])).collect()
}

/// The words of a command, up to its end.
fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.next_if(|c| *c == ' ' || *c == '\t').is_some() {
        while rest.next_if(|c| *c == ' ' || *c == '\t').is_some() {}
        let mut word = Word { literal: String::new(), is_open: false };
        let (mut quote, mut depth, mut is_empty) = (None, 0_u32, true);
        while let Some(c) = rest.peek().copied() {
            let is_plain = quote.is_none() && depth == 0;
            if is_plain && (c.is_whitespace() || matches!(c, ';' | '&' | '|' | ')' | '<' | '>')) {
                break;
            }
            rest.next();
            is_empty = false;
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (_, Some(open)) if c == open && depth == 0 => quote = None,
                ('$' | '`', None | Some('"')) => word.is_open = true,
                ('(', _) if quote != Some('\'') && word.is_open => depth += 1,
                (')', _) if quote != Some('\'') => depth = depth.saturating_sub(1),
                _ if !word.is_open => word.literal.push(c),
                _ => {}
            }
        }
        if is_empty {
            break;
        }
        words.push(word);
    }
    words
}

/// Whether a word stands in a text by itself; `guest.WORD` only asks for it.
fn names(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = &text[..start];
        let asked = ["guest.", "policy.", "control.", "state."].iter().any(|owner| before.ends_with(owner));
        !before.ends_with(part_of_word) && !text[start + word.len()..].starts_with(part_of_word) && !asked
    })
}
