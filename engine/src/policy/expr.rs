//! From an expression as it is written to one whose names are resolved.

use super::grammar;
use super::names::{BadName, Names};
use super::phrase;
use super::table::{Mistakes, items};
use super::tree::{Entry, Node, Value};
use crate::control::ExprText;
use crate::diagnostic::{Diagnostic, suggest};
use crate::event::{Event, Expr, Gauge};

const EXAMPLE: &str = "write \"A.arrived\", { any = […] }, { all = […] } or { not = … }";

const LIST: &str = "write { any = […] } if one of them is enough, { all = […] } if each is needed";

/// Reads an expression of a policy file; every mistake in it is reported.
pub fn read(names: &Names<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Expr> {
    match &node.value {
        Value::String(written) => leaf(names, written).map_err(|bad| mistakes.push(bad.at(&node.at))).ok(),
        Value::Table(table) if table.len() == 1 => {
            let entry = &table[0];
            match entry.name.as_str() {
                "any" => read_parts(names, &entry.node, mistakes).map(Expr::Any),
                "all" => read_parts(names, &entry.node, mistakes).map(Expr::All),
                "not" => read(names, &entry.node, mistakes).map(|part| Expr::Not(Box::new(part))),
                other => {
                    let message = format!("an expression has no `{other}`");
                    let help = suggest(other, grammar::EXPRESSION.iter().copied());
                    mistakes.push(Diagnostic::error(entry.at.clone(), message).help(help));
                    None
                }
            }
        }
        Value::Table(table) => {
            let known = |entry: &&Entry| grammar::EXPRESSION.contains(&entry.name.as_str());
            let several = table.iter().filter(known).count() > 1;
            let help = if several {
                "put one into the other: { all = [\"A.done\", { any = […] }] }"
            } else {
                EXAMPLE
            };
            let message = "an expression that is a table has one of `any`, `all` and `not`";
            mistakes.push(Diagnostic::error(node.at.clone(), message).help(help));
            None
        }
        other => {
            let message = format!("an expression is a string or a table, not {}", other.kind());
            let help = if let Value::Array(_) = other { LIST } else { EXAMPLE };
            mistakes.push(Diagnostic::error(node.at.clone(), message).help(help));
            None
        }
    }
}

fn read_parts(names: &Names<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Vec<Expr>> {
    let items = items("expression", node, mistakes)?;
    let parts: Vec<Option<Expr>> = items.iter().map(|part| read(names, part, mistakes)).collect();
    parts.into_iter().collect()
}

/// The same for something that holds until it is true.
pub fn read_until(names: &Names<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Expr> {
    let until = read(names, node, mistakes)?;
    if until.events().contains(&&Event::Stalled) {
        let message = "`attempt.stalled` cannot end a hold: it tells that one has stood for long";
        mistakes
            .push(Diagnostic::error(node.at.clone(), message).help("a hold ends when something happened"));
    }
    Some(until)
}

/// Resolves an expression that came over the control socket.
pub fn resolve(names: &Names<'_>, written: &ExprText) -> Result<Expr, String> {
    let each = |parts: &[ExprText]| {
        if parts.is_empty() {
            return Err("an expression of nothing is never true; name an event".to_owned());
        }
        parts.iter().map(|part| resolve(names, part)).collect::<Result<Vec<_>, _>>()
    };
    match written {
        ExprText::Event(written) => {
            leaf(names, written).map_err(|bad| format!("{}: {}", bad.message, bad.help))
        }
        ExprText::Any { any } => each(any).map(Expr::Any),
        ExprText::All { all } => each(all).map(Expr::All),
        ExprText::Not { not } => resolve(names, not).map(|part| Expr::Not(Box::new(part))),
    }
}

/// An event, a state or a comparison.
fn leaf(names: &Names<'_>, written: &str) -> Result<Expr, BadName> {
    if let Some(table) = phrase::as_table(written) {
        let message = format!("`{}` is not one event, state or comparison", written.trim());
        return Err(BadName { message, help: format!("write {table}") });
    }
    if let Some(operator) = written.find(['<', '>', '=', '!']) {
        let (what, rest) = written.split_at(operator);
        let number = rest.trim_start_matches(['<', '>', '=', '!']);
        let operator = &rest[..rest.len() - number.len()];
        return compare(names, written, what.trim(), operator, number.trim());
    }
    let written = written.trim();
    match written.split_once('.') {
        Some(("state", name)) => names.state(name).map(Expr::State),
        _ if Gauge::ALL.iter().any(|gauge| gauge.name() == written) => Err(BadName {
            message: format!("`{written}` is a number"),
            help: format!("compare it: `{written} >= 8`"),
        }),
        _ => names.event(written).map(|event| Expr::Event(event, 1)),
    }
}

/// A comparison, in terms of "at least".
fn compare(
    names: &Names<'_>,
    written: &str,
    what: &str,
    operator: &str,
    number: &str,
) -> Result<Expr, BadName> {
    let gauge = Gauge::ALL.into_iter().find(|gauge| gauge.name() == what);
    let event = match gauge {
        None if what.starts_with("state.") => {
            let help = format!("write `{what}`, or {{ not = \"{what}\" }}");
            return Err(BadName { message: format!("`{what}` is on or off, not a number"), help });
        }
        None => Some(names.event(what)?),
        Some(_) => None,
    };
    let at_least = |number: u64| match (&gauge, &event) {
        (Some(gauge), _) => Expr::Gauge(*gauge, number),
        (None, Some(event)) => Expr::Event(event.clone(), number),
        (None, None) => Expr::Any(Vec::new()),
    };
    let less_than = |number: u64| Expr::Not(Box::new(at_least(number)));
    let number: u64 = number.parse().ok().filter(|number| *number < u64::MAX).ok_or_else(|| BadName {
        message: format!("`{number}` in `{written}` is not a whole number"),
        help: format!("write `{what} >= 3`, say"),
    })?;
    let always = |always: &str| BadName {
        message: format!("`{written}` is {always} true"),
        help: format!("a number of times is never less than 0; write `{what} >= 1`, say"),
    };
    match (operator, number) {
        (">=", 0) => Err(always("always")),
        (">=", _) => Ok(at_least(number)),
        (">", _) => Ok(at_least(number + 1)),
        ("<", 0) => Err(always("never")),
        ("<", _) => Ok(less_than(number)),
        ("<=", _) => Ok(less_than(number + 1)),
        ("==", 0) => Ok(less_than(1)),
        ("==", _) => Ok(Expr::All(vec![at_least(number), less_than(number + 1)])),
        ("!=", _) => Err(BadName {
            message: "unknown comparison `!=`".to_owned(),
            help: format!("write {{ not = \"{what} == {number}\" }}"),
        }),
        _ => Err(BadName {
            message: format!("unknown comparison `{operator}`"),
            help: "it can be `>=`, `>`, `<`, `<=`, `==`".into(),
        }),
    }
}
