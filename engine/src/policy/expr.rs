//! From an expression as it is written to one whose names are resolved.

use super::NamedEvent;
use super::table::{Mistakes, Value, string};
use crate::control::ExprText;
use crate::diagnostic::{Diagnostic, suggest};
use crate::event::{Event, Expr, Life, PointIndex};
use crate::journal::Source;
use toml::de::DeValue;

/// The names that an expression can use.
pub struct Names<'n> {
    /// Points, in file order.
    pub points: Vec<&'n str>,
    /// Declared events.
    pub events: &'n [NamedEvent],
}

/// What is wrong with an event's name.
pub struct BadName {
    message: String,
    help: String,
}

impl Names<'_> {
    /// The event of that name.
    pub fn event(&self, written: &str) -> Result<Event, BadName> {
        let Some((owner, step)) = written.split_once('.') else {
            return Err(BadName {
                message: format!("`{written}` is not an event"),
                help: "an event is `POINT.arrived|submitted|done|completed`, `guest.NAME` or `control.NAME`"
                    .into(),
            });
        };
        match owner {
            "guest" => self.named(Source::Guest, step).map(Event::Guest),
            "control" => self.named(Source::Control, step).map(Event::Control),
            "attempt" => match step {
                "finished" => Ok(Event::Finished),
                "stalled" => Ok(Event::Stalled),
                _ => Err(unknown("attempt event", step, ["finished", "stalled"])),
            },
            point => self.step(point, step),
        }
    }

    fn named(&self, source: Source, name: &str) -> Result<String, BadName> {
        let declared =
            self.events.iter().filter(|event| event.source == source).map(|event| event.name.as_str());
        if declared.clone().any(|known| known == name) {
            return Ok(name.to_owned());
        }
        let mut bad = unknown(&format!("{source} event"), name, declared.clone());
        if declared.count() == 0 {
            bad.help = format!("declare it: `{name} = \"{source}\"` in [event]");
        }
        Err(bad)
    }

    fn step(&self, point: &str, step: &str) -> Result<Event, BadName> {
        let index = self
            .points
            .iter()
            .position(|known| *known == point)
            .ok_or_else(|| unknown("point", point, self.points.iter().copied()))?;
        let life = Life::ALL
            .into_iter()
            .find(|life| life.name() == step)
            .ok_or_else(|| unknown("step of a point", step, Life::ALL.map(Life::name)))?;
        Ok(Event::Point(PointIndex(index), life))
    }
}

fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> BadName {
    BadName { message: format!("unknown {kind} `{name}`"), help: suggest(name, known) }
}

/// Reads an expression of a policy file; every mistake in it is reported.
pub fn read(names: &Names<'_>, value: Value<'_>, mistakes: &mut Mistakes) -> Option<Expr> {
    match value.get_ref() {
        DeValue::String(written) => match names.event(written) {
            Ok(event) => Some(Expr::Event(event)),
            Err(bad) => {
                mistakes.push(Diagnostic::error(value.span(), bad.message).help(bad.help));
                None
            }
        },
        DeValue::Table(table) if table.len() == 1 => {
            let (key, parts) = table.iter().next()?;
            let make = match key.get_ref().as_ref() {
                "any" => Expr::Any,
                "all" => Expr::All,
                other => {
                    let message = format!("an expression has no `{other}`");
                    mistakes
                        .push(Diagnostic::error(key.span(), message).help(suggest(other, ["any", "all"])));
                    return None;
                }
            };
            read_parts(names, parts, mistakes).map(make)
        }
        _ => {
            let message = "an expression is an event, { any = […] } or { all = […] }";
            mistakes.push(Diagnostic::error(value.span(), message));
            None
        }
    }
}

fn read_parts(names: &Names<'_>, value: Value<'_>, mistakes: &mut Mistakes) -> Option<Vec<Expr>> {
    let Some(array) = value.get_ref().as_array().filter(|array| !array.is_empty()) else {
        let message = "expected a list of one expression or more";
        mistakes.push(Diagnostic::error(value.span(), message));
        return None;
    };
    let parts: Vec<Option<Expr>> = array.iter().map(|part| read(names, part, mistakes)).collect();
    parts.into_iter().collect()
}

/// Whether a word can name an event, a place or a point.
pub fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Reads a name that is given where an event, place or point gets one.
pub fn check_name(name: &str, span: std::ops::Range<usize>, mistakes: &mut Mistakes) -> bool {
    let good = is_name(name);
    let reserved = ["guest", "control", "attempt"].contains(&name);
    if !good || reserved {
        let why = if reserved { "is a word of the language" } else { "is not a name" };
        mistakes.push(
            Diagnostic::error(span, format!("`{name}` {why}"))
                .help("a name starts with a letter and has letters, digits, `-` and `_`"),
        );
    }
    good && !reserved
}

/// Resolves an expression that came over the control socket; `any_event`: undeclared ones are fine.
pub fn resolve(names: &Names<'_>, any_event: bool, written: &ExprText) -> Result<Expr, String> {
    let each = |parts: &[ExprText]| {
        if parts.is_empty() {
            return Err("an expression of nothing is never true; name an event".to_owned());
        }
        parts.iter().map(|part| resolve(names, any_event, part)).collect::<Result<Vec<_>, _>>()
    };
    match written {
        ExprText::Event(name) if any_event || name == "guest.ready" => match name.split_once('.') {
            Some(("guest", name)) => Ok(Expr::Event(Event::Guest(name.to_owned()))),
            Some(("control", name)) => Ok(Expr::Event(Event::Control(name.to_owned()))),
            _ => resolve_event(names, name),
        },
        ExprText::Event(name) => resolve_event(names, name),
        ExprText::Any { any } => each(any).map(Expr::Any),
        ExprText::All { all } => each(all).map(Expr::All),
    }
}

fn resolve_event(names: &Names<'_>, name: &str) -> Result<Expr, String> {
    names.event(name).map(Expr::Event).map_err(|bad| format!("{}: {}", bad.message, bad.help))
}

/// Reports that `value` is not one of the known strings, or gives its index.
pub fn one_of(what: &str, value: Value<'_>, known: &[&str], mistakes: &mut Mistakes) -> Option<usize> {
    let (word, span) = string(what, value, mistakes)?;
    let index = known.iter().position(|candidate| *candidate == word);
    if index.is_none() {
        mistakes.push(
            Diagnostic::error(span, format!("unknown {what} `{word}`"))
                .help(suggest(word, known.iter().copied())),
        );
    }
    index
}
