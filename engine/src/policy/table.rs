//! A TOML table being read: what is taken is known, what is left over is reported.

use crate::diagnostic::{Diagnostic, suggest};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub type Value<'t> = &'t Spanned<DeValue<'t>>;

/// Where mistakes are collected.
pub type Mistakes = Vec<Diagnostic>;

/// A table whose keys are taken one by one.
pub struct Table<'t> {
    what: String,
    entries: Vec<(&'t str, Range<usize>, Value<'t>)>,
    span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// A table called `what` in messages.
    pub fn new(what: impl Into<String>, table: &'t DeTable<'t>, span: Range<usize>) -> Self {
        let mut entries: Vec<_> =
            table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Table { what: what.into(), entries, span, known: Vec::new() }
    }

    /// The same for a value that must be a table.
    pub fn of(what: impl Into<String>, value: Value<'t>, mistakes: &mut Mistakes) -> Option<Self> {
        let what = what.into();
        match value.get_ref() {
            DeValue::Table(table) => Some(Table::new(what, table, value.span())),
            other => {
                let message = format!("{what} must be a table, not {}", with_article(other.type_str()));
                mistakes.push(Diagnostic::error(value.span(), message));
                None
            }
        }
    }

    /// Where the table stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Its entries in file order, for tables whose keys are names.
    pub fn entries(&self) -> impl Iterator<Item = (&'t str, Range<usize>, Value<'t>)> {
        self.entries.iter().map(|(name, span, value)| (*name, span.clone(), *value))
    }

    /// The value of a key that may be there.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.push(key);
        self.entries.iter().find(|(name, ..)| *name == key).map(|(_, _, value)| *value)
    }

    /// The value of a key that has to be there.
    pub fn need(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<Value<'t>> {
        let value = self.take(key);
        if value.is_none() {
            mistakes.push(
                Diagnostic::error(self.span(), format!("{} has no `{key}`", self.what))
                    .label(format!("`{key}` is missing here")),
            );
        }
        value
    }

    /// A string that may be there.
    pub fn take_str(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(&'t str, Range<usize>)> {
        let value = self.take(key)?;
        string(&format!("`{key}`"), value, mistakes)
    }

    /// A string that has to be there.
    pub fn need_str(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(&'t str, Range<usize>)> {
        let value = self.need(key, mistakes)?;
        string(&format!("`{key}`"), value, mistakes)
    }

    /// `true` or `false`, if it is there.
    pub fn take_bool(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<bool> {
        let value = self.take(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            mistakes.push(Diagnostic::error(value.span(), format!("`{key}` must be `true` or `false`")));
        }
        found
    }

    /// A whole number from `min` that may be there.
    pub fn take_number(
        &mut self,
        key: &'static str,
        min: u64,
        max: u64,
        mistakes: &mut Mistakes,
    ) -> Option<u64> {
        let value = self.take(key)?;
        let number = integer(value).filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let message = format!("`{key}` must be a whole number from {min} to {max}");
            mistakes.push(Diagnostic::error(value.span(), message));
        }
        number
    }

    /// Something written as a string (or a whole number) that `parse` understands.
    pub fn take_quantity(
        &mut self,
        key: &'static str,
        parse: fn(&str) -> Result<u64, String>,
        mistakes: &mut Mistakes,
    ) -> Option<u64> {
        let value = self.take(key)?;
        quantity(value, parse, mistakes)
    }

    /// Reports the keys that nobody took.
    pub fn finish(self, mistakes: &mut Mistakes) {
        for (name, span, _) in &self.entries {
            if !self.known.contains(name) {
                mistakes.push(
                    Diagnostic::error(span.clone(), format!("{} has no key `{name}`", self.what))
                        .label("not known here")
                        .help(suggest(name, self.known.iter().copied())),
                );
            }
        }
    }
}

/// A value that must be a string.
pub fn string<'t>(what: &str, value: Value<'t>, mistakes: &mut Mistakes) -> Option<(&'t str, Range<usize>)> {
    match value.get_ref() {
        DeValue::String(text) => Some((text.as_ref(), value.span())),
        other => {
            let message = format!("{what} must be a string, not {}", with_article(other.type_str()));
            mistakes.push(Diagnostic::error(value.span(), message));
            None
        }
    }
}

/// A size or duration.
pub fn quantity(
    value: Value<'_>,
    parse: fn(&str) -> Result<u64, String>,
    mistakes: &mut Mistakes,
) -> Option<u64> {
    let parsed = match value.get_ref() {
        DeValue::String(text) => parse(text),
        DeValue::Integer(number) => parse(number.as_str()),
        other => {
            Err(format!("expected a string such as \"4k\" or \"2s\", not {}", with_article(other.type_str())))
        }
    };
    parsed.map_err(|message| mistakes.push(Diagnostic::error(value.span(), message))).ok()
}

fn integer(value: Value<'_>) -> Option<u64> {
    let number = value.get_ref().as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {word}")
}
