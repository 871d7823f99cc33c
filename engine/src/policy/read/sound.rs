//! What of a policy was read without mistakes: only that is worth a doubt.

use super::Parts;
use crate::diagnostic::{Spot, is_near};
use crate::policy::tree::{Node, Value};
use std::collections::BTreeSet;

/// Most words of parts with mistakes that names are compared with; with more, any name may be meant.
const WORDS_MAX: usize = 500;

/// How well a part was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// It says what the policy has.
    Well,
    /// The policy has of it what could be read.
    InPart,
    /// The policy does not have it.
    Not,
}

/// How well the parts of a policy were read, in file order.
#[derive(Debug, Default)]
pub struct Sound {
    /// Whether every file could be read.
    pub is_whole: bool,
    /// Whether the case has no mistakes.
    pub is_case: bool,
    pub places: Vec<Read>,
    pub states: Vec<Read>,
    pub points: Vec<Read>,
    pub holds: Vec<Read>,
    pub rules: Vec<Read>,
    words: BTreeSet<String>,
}

impl Sound {
    /// Keeps the words of a part that has a mistake, for any name may be meant there.
    pub fn take_words(&mut self, node: &Node, read: Option<Read>) {
        if read == Some(Read::Well) || self.words.len() > WORDS_MAX {
            return;
        }
        match &node.value {
            Value::String(text) => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                let words = text.split(|c| !is_name(c)).filter(|word| !word.is_empty());
                self.words.extend(words.take(WORDS_MAX).map(str::to_owned));
            }
            Value::Array(items) => items.iter().for_each(|item| self.take_words(item, None)),
            Value::Table(entries) => entries.iter().for_each(|entry| self.take_words(&entry.node, None)),
            _ => {}
        }
    }

    /// Takes what stands in tables that have lost a line to be read in part.
    pub fn cut(&mut self, parts: &Parts<'_>, is_in_cut: impl Fn(&Spot) -> bool) {
        let points = parts.points.iter().map(|entry| &entry.node.at);
        let holds = parts.holds.iter().map(|(node, _)| &node.at);
        let rules = parts.rules.iter().map(|(node, _)| &node.at);
        let points = points.zip(&mut self.points);
        let all = points.chain(holds.zip(&mut self.holds)).chain(rules.zip(&mut self.rules));
        for (_, read) in all.filter(|(at, read)| **read == Read::Well && is_in_cut(at)) {
            *read = Read::InPart;
        }
        self.is_case = false;
    }

    /// Whether a name may be used where something could not be read.
    pub fn may_be_named(&self, name: &str) -> bool {
        !self.is_whole
            || self.words.len() > WORDS_MAX
            || self.words.contains(name)
            || self.words.iter().any(|word| is_near(word, name))
    }

    /// Whether all rules were read well.
    pub fn are_rules(&self) -> bool {
        self.is_whole && self.rules.iter().all(|read| *read == Read::Well)
    }
}
