//! The names that a policy gives, and what a name is.

use super::Policy;
use super::table::Mistakes;
use crate::diagnostic::{Diagnostic, Spot, is_near, suggest};
use crate::event::{Event, Gauge, Life, PointIndex, StateIndex};
use crate::journal::Source;
use std::collections::BTreeMap;

/// What a name is, in words.
const NAME_HELP: &str = "a name starts with a letter and has letters, digits, `-` and `_`";

/// Words that begin names of the language.
const RESERVED: [&str; 5] = ["guest", "control", "policy", "state", "attempt"];

/// Who can make an event happen, with the word for it.
pub const SOURCES: [(Source, &str); 3] =
    [(Source::Guest, "guest"), (Source::Control, "control"), (Source::Policy, "policy")];

/// Names of one kind, in file order.
#[derive(Default)]
pub struct Index<'n> {
    list: Vec<&'n str>,
    at: BTreeMap<&'n str, usize>,
}

impl<'n> FromIterator<&'n str> for Index<'n> {
    fn from_iter<I: IntoIterator<Item = &'n str>>(names: I) -> Self {
        let list: Vec<&str> = names.into_iter().collect();
        let at = list.iter().enumerate().map(|(index, name)| (*name, index)).collect();
        Index { list, at }
    }
}

impl Index<'_> {
    /// The index of a name.
    pub fn get(&self, kind: &str, name: &str) -> Result<usize, BadName> {
        self.at.get(name).copied().ok_or_else(|| BadName::unknown(kind, name, self.list.iter().copied()))
    }

    /// The same for the name that a value is.
    pub fn read(&self, kind: &str, name: &str, at: &Spot, mistakes: &mut Mistakes) -> Option<usize> {
        let declare = match kind {
            _ if !is_name(name) => NAME_HELP.to_owned(),
            "guest event" => format!("declare it: `{name} = \"guest\"` in [event]"),
            "place" => format!("declare it: `{name} = \"guest\"`, or where it is, in [place]"),
            _ => format!("declare it: `{name} = {{ op = \"write\" }}`, say, in [{kind}]"),
        };
        self.get(kind, name).map_err(|bad| mistakes.push(bad.declare(self, &declare).at(at))).ok()
    }
}

/// The names that an expression can use.
pub struct Names<'n> {
    /// Points.
    pub points: Index<'n>,
    /// States.
    pub states: Index<'n>,
    /// Declared events of each source.
    pub events: BTreeMap<Source, Index<'n>>,
    /// Events whose source is written wrong, which is told where they are declared.
    pub sourceless: Vec<&'n str>,
    /// Whether an event needs no declaration.
    pub free: fn(&str) -> bool,
}

impl<'n> Names<'n> {
    /// Those of a policy.
    pub fn of(policy: &'n Policy, free: fn(&str) -> bool) -> Names<'n> {
        let events = SOURCES.map(|(source, _)| {
            let events = policy.events.iter().filter(|event| event.source == source);
            (source, events.map(|event| event.name.as_str()).collect())
        });
        Names {
            points: policy.points.iter().map(|point| point.name.as_str()).collect(),
            states: policy.states.iter().map(|state| state.name.as_str()).collect(),
            events: events.into(),
            sourceless: Vec::new(),
            free,
        }
    }

    /// The event of that name.
    pub fn event(&self, written: &str) -> Result<Event, BadName> {
        let Some((owner, step)) = written.split_once('.') else { return Err(self.one_word(written)) };
        let named = |source| self.declared(source, step, written);
        match owner {
            "guest" => named(Source::Guest).map(Event::Guest),
            "control" => named(Source::Control).map(Event::Control),
            "policy" => named(Source::Policy).map(Event::Policy),
            "attempt" => match step {
                "finished" => Ok(Event::Finished),
                "stalled" => Ok(Event::Stalled),
                _ => Err(BadName::unknown("attempt event", step, ["finished", "stalled"])),
            },
            point => self.step(point, step),
        }
    }

    /// What one word may be meant for: it is no event.
    fn one_word(&self, word: &str) -> BadName {
        let has = |names: &Index<'_>| names.at.contains_key(word);
        let owner = SOURCES.iter().find(|(source, _)| self.events.get(source).is_some_and(has));
        let gauge = Gauge::ALL.map(Gauge::name).into_iter().find(|name| is_near(&word.to_lowercase(), name));
        let meant = owner
            .map(|(_, owner)| format!("{owner}.{word}"))
            .or_else(|| has(&self.states).then(|| format!("state.{word}")))
            .or_else(|| has(&self.points).then(|| format!("{word}.arrived")))
            .or_else(|| gauge.map(str::to_owned));
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "an event is `POINT.arrived|submitted|done|completed`, `guest.NAME`, `control.NAME` or \
                     `policy.NAME`; a state is `state.NAME`; a number is `in-flight` or `held`"
                .to_owned(),
        };
        BadName { message: format!("`{word}` is not an event"), help }
    }

    /// The state of that name.
    pub fn state(&self, name: &str) -> Result<StateIndex, BadName> {
        self.states
            .get("state", name)
            .map(|index| StateIndex(index as u32))
            .map_err(|bad| bad.declare(&self.states, &format!("declare it: `{name} = false` in [state]")))
    }

    /// The name of a declared event.
    pub fn declared(&self, source: Source, name: &str, written: &str) -> Result<String, BadName> {
        if (self.free)(written) || self.sourceless.contains(&name) {
            return Ok(name.to_owned());
        }
        let none = Index::default();
        let known = self.events.get(&source).unwrap_or(&none);
        let other = SOURCES.iter().find(|(other, _)| {
            *other != source && self.events.get(other).is_some_and(|events| events.at.contains_key(name))
        });
        let found = known.get(&format!("{source} event"), name);
        if let (Err(bad), Some((_, other))) = (&found, other) {
            let message = bad.message.clone();
            return Err(BadName {
                message,
                help: format!("`{name}` is declared as an event of \"{other}\" in [event]"),
            });
        }
        let declare = format!("declare it: `{name} = \"{source}\"` in [event]");
        found.map(|_| name.to_owned()).map_err(|bad| bad.declare(known, &declare))
    }

    fn step(&self, point: &str, step: &str) -> Result<Event, BadName> {
        let index = self.points.get("point", point)?;
        let life = Life::ALL
            .into_iter()
            .find(|life| life.name() == step)
            .ok_or_else(|| BadName::unknown("step of a point", step, Life::ALL.map(Life::name)))?;
        Ok(Event::Point(PointIndex(index as u32), life))
    }
}

/// What is wrong with a name.
pub struct BadName {
    /// What.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl BadName {
    /// It is none of the known ones.
    pub fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> BadName {
        BadName { message: format!("unknown {kind} `{name}`"), help: suggest(name, known) }
    }

    /// As a mistake of a file.
    pub fn at(self, at: &Spot) -> Diagnostic {
        Diagnostic::error(at.clone(), self.message).help(self.help)
    }

    fn declare(mut self, known: &Index<'_>, help: &str) -> BadName {
        if known.list.is_empty() {
            self.help = help.to_owned();
        } else if !self.help.starts_with("did you mean") {
            self.help = format!("{}; or {help}", self.help);
        }
        self
    }
}

/// Whether a word can name an event, a place or a point.
pub fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Reads a name where it is given.
pub fn check(name: &str, at: &Spot, mistakes: &mut Mistakes) -> bool {
    let good = is_name(name);
    let reserved = RESERVED.contains(&name);
    if !good || reserved {
        let why = if reserved { "is a word of the language" } else { "is not a name" };
        mistakes.push(Diagnostic::error(at.clone(), format!("`{name}` {why}")).help(NAME_HELP));
    }
    good && !reserved
}
