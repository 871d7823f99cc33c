//! A table of a policy being read: what it can have is known, what it has beside that is reported.

use super::grammar;
use super::tree::{Entry, Node, Value};
use crate::diagnostic::{Diagnostic, Spot, suggest};

/// Where mistakes are collected.
pub type Mistakes = Vec<Diagnostic>;

/// A table whose keys are words of the language.
pub struct Table<'t> {
    what: String,
    at: Spot,
    keys: &'static [&'static str],
    entries: &'t [Entry],
}

impl<'t> Table<'t> {
    /// A table called `what` in messages that can have these keys; others are reported.
    pub fn new(
        what: impl Into<String>,
        keys: &'static [&'static str],
        at: Spot,
        entries: &'t [Entry],
        mistakes: &mut Mistakes,
    ) -> Self {
        let what = what.into();
        let unknown = entries.iter().filter(|entry| !keys.contains(&entry.name.as_str()));
        mistakes.extend(unknown.map(|entry| unknown_key(&what, keys, entry)));
        Table { what, at, keys, entries }
    }

    /// The same for a value that must be a table.
    pub fn of(
        what: impl Into<String>,
        keys: &'static [&'static str],
        node: &'t Node,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let what = what.into();
        let entries = names(&what, node, mistakes)?;
        Some(Table::new(what, keys, node.at.clone(), entries, mistakes))
    }

    /// Where the table stands.
    pub fn at(&self) -> Spot {
        self.at.clone()
    }

    /// Where a key stands, if it is there.
    pub fn key_at(&self, key: &str) -> Option<Spot> {
        self.entries.iter().find(|entry| entry.name == key).map(|entry| entry.at.clone())
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.key_at(key).is_some()
    }

    /// Whether one of these keys is there.
    pub fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.has(key))
    }

    /// Whether it has nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key that may be there.
    pub fn get(&self, key: &'static str) -> Option<&'t Node> {
        debug_assert!(self.keys.contains(&key), "`{key}` is in no list of policy/grammar.rs");
        self.entries.iter().find(|entry| entry.name == key).map(|entry| &entry.node)
    }

    /// The value of a key that has to be there.
    pub fn need(&self, key: &'static str, mistakes: &mut Mistakes) -> Option<&'t Node> {
        let value = self.get(key);
        if value.is_none() {
            mistakes.push(
                Diagnostic::error(self.at(), format!("{} has no `{key}`", self.what))
                    .label(format!("`{key}` is missing here")),
            );
        }
        value
    }

    /// A string that may be there.
    pub fn get_str(&self, key: &'static str, mistakes: &mut Mistakes) -> Option<&'t str> {
        string(&format!("`{key}`"), self.get(key)?, mistakes)
    }

    /// A string that has to be there.
    pub fn need_str(&self, key: &'static str, mistakes: &mut Mistakes) -> Option<&'t str> {
        string(&format!("`{key}`"), self.need(key, mistakes)?, mistakes)
    }

    /// `true` or `false`, if it is there.
    pub fn get_bool(&self, key: &'static str, mistakes: &mut Mistakes) -> Option<bool> {
        let node = self.get(key)?;
        if let Value::Bool(found) = node.value {
            return Some(found);
        }
        mistakes.push(Diagnostic::error(node.at.clone(), format!("`{key}` must be `true` or `false`")));
        None
    }

    /// A whole number from `min` to `max` that may be there.
    pub fn get_number(&self, key: &'static str, min: u64, max: u64, mistakes: &mut Mistakes) -> Option<u64> {
        number(key, self.get(key)?, min, max, mistakes)
    }

    /// Something written as a string (or a whole number) that `parse` understands.
    pub fn get_quantity(&self, key: &'static str, parse: Parse, mistakes: &mut Mistakes) -> Option<u64> {
        quantity(self.get(key)?, parse, mistakes)
    }

    /// The same that has to be there.
    pub fn need_quantity(&self, key: &'static str, parse: Parse, mistakes: &mut Mistakes) -> Option<u64> {
        quantity(self.need(key, mistakes)?, parse, mistakes)
    }
}

fn unknown_key(what: &str, keys: &'static [&'static str], entry: &Entry) -> Diagnostic {
    let name = entry.name.as_str();
    if keys == grammar::RULE && grammar::RESERVED.contains(&name) {
        let mistake =
            Diagnostic::error(entry.at.clone(), format!("`{name}`: effects on data are not there yet"));
        return mistake.help("a rule can delay, reorder, hold and fail requests");
    }
    Diagnostic::error(entry.at.clone(), format!("{what} has no key `{name}`"))
        .label("not known here")
        .help(suggest(name, keys.iter().copied()))
}

/// What a table has whose keys are names; a value that is no table is reported.
pub fn names<'t>(what: &str, node: &'t Node, mistakes: &mut Mistakes) -> Option<&'t [Entry]> {
    if let Value::Table(entries) = &node.value {
        return Some(entries);
    }
    let message = format!("{what} must be a table, not {}", node.value.kind());
    mistakes.push(Diagnostic::error(node.at.clone(), message));
    None
}

/// A value that must be a list of at least one.
pub fn items<'t>(what: &str, node: &'t Node, mistakes: &mut Mistakes) -> Option<&'t [Node]> {
    if let Value::Array(items) = &node.value
        && !items.is_empty()
    {
        return Some(items);
    }
    mistakes.push(Diagnostic::error(node.at.clone(), format!("expected a list of one {what} or more")));
    None
}

/// A value that must be a string.
pub fn string<'t>(what: &str, node: &'t Node, mistakes: &mut Mistakes) -> Option<&'t str> {
    let text = node.text();
    if text.is_none() {
        let message = format!("{what} must be a string, not {}", node.value.kind());
        mistakes.push(Diagnostic::error(node.at.clone(), message));
    }
    text
}

/// A value that must be a whole number in these bounds.
pub fn number(key: &str, node: &Node, min: u64, max: u64, mistakes: &mut Mistakes) -> Option<u64> {
    let number = if let Value::Integer(number) = node.value { u64::try_from(number).ok() } else { None };
    let number = number.filter(|number| (min..=max).contains(number));
    if number.is_none() {
        let bounds =
            if max == u64::MAX { format!(", {min} or more") } else { format!(" from {min} to {max}") };
        let message = format!("`{key}` must be a whole number{bounds}");
        mistakes.push(Diagnostic::error(node.at.clone(), message));
    }
    number
}

/// A value that must be a number above 0.
pub fn positive(key: &str, node: &Node, mistakes: &mut Mistakes) -> Option<f64> {
    let number = match node.value {
        Value::Float(number) => number,
        Value::Integer(number) => number as f64,
        _ => f64::NAN,
    };
    if number.is_finite() && number > 0.0 {
        return Some(number);
    }
    mistakes.push(Diagnostic::error(node.at.clone(), format!("`{key}` must be a number above 0")));
    None
}

/// Understands a size or a duration.
pub type Parse = fn(&str) -> Result<u64, String>;

/// A size or duration.
pub fn quantity(node: &Node, parse: Parse, mistakes: &mut Mistakes) -> Option<u64> {
    let parsed = match &node.value {
        Value::String(text) => parse(text),
        Value::Integer(number) => parse(&number.to_string()),
        other => Err(format!("expected a string such as \"4k\" or \"2s\", not {}", other.kind())),
    };
    parsed.map_err(|message| mistakes.push(Diagnostic::error(node.at.clone(), message))).ok()
}

/// Reports that a value is not one of the known strings, or gives its index.
pub fn one_of(what: &str, node: &Node, known: &[&str], mistakes: &mut Mistakes) -> Option<usize> {
    let word = string(what, node, mistakes)?;
    let index = known.iter().position(|candidate| *candidate == word);
    if index.is_none() {
        mistakes.push(
            Diagnostic::error(node.at.clone(), format!("unknown {what} `{word}`"))
                .help(suggest(word, known.iter().copied())),
        );
    }
    index
}
