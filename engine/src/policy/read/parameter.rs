//! `[parameter]`: values that are given from outside, and where they go.

use crate::diagnostic::{Diagnostic, Spot, is_near, suggest};
use crate::policy::names;
use crate::policy::table::{Mistakes, Table, string};
use crate::policy::tree::{Entry, Node, Value};
use crate::policy::{grammar, is_name};
use std::collections::{BTreeMap, HashSet};

/// Most unknown names that are compared with those of parameters that nothing uses.
const UNKNOWN_MAX: usize = 100;

/// A value that is given for a parameter.
pub struct Given {
    /// The parameter's name.
    pub name: String,
    /// The value as text.
    pub text: String,
    /// The value, if it has a type of its own.
    value: Option<Value>,
    /// Where the name stands.
    name_at: Spot,
    /// Where the value stands.
    at: Spot,
    /// The text of the option that it is from, if it is from none of the files.
    pub option: Option<String>,
}

impl Given {
    /// From the command line.
    pub fn option(name: &str, text: &str) -> Given {
        let option = format!("{name}={text}");
        let spot = |span| Spot { file: 0, span };
        Given {
            name: name.to_owned(),
            text: text.to_owned(),
            value: None,
            name_at: spot(0..name.len()),
            at: spot(name.len() + 1..option.len()),
            option: Some(option),
        }
    }

    /// From `set` of an included file.
    pub fn entry(entry: &Entry, mistakes: &mut Mistakes) -> Option<Given> {
        let text = text(&entry.node.value);
        if text.is_none() {
            mistakes.push(not_a_value(&entry.node));
        }
        Some(Given {
            name: entry.name.clone(),
            text: text?,
            value: Some(entry.node.value.clone()).filter(|value| !matches!(value, Value::String(_))),
            name_at: entry.at.clone(),
            at: entry.node.at.clone(),
            option: None,
        })
    }
}

/// The parameters of a file.
#[derive(Default)]
pub struct Parameters {
    known: BTreeMap<String, Parameter>,
    /// Names that are used and none of these.
    unknown: Vec<String>,
}

struct Parameter {
    default: Option<Value>,
    given: Option<Value>,
    at: Spot,
    used: bool,
    /// Whether it is told that it has no value.
    is_wrong: bool,
}

impl Parameters {
    /// Those that a file declares.
    pub fn read(entries: &[Entry], mistakes: &mut Mistakes) -> Parameters {
        let mut known = BTreeMap::new();
        let declared = entries.iter().find(|entry| entry.name == "parameter");
        let declared =
            declared.and_then(|entry| crate::policy::table::names("[parameter]", &entry.node, mistakes));
        for entry in declared.unwrap_or_default() {
            if names::check(&entry.name, &entry.at, mistakes) {
                let before = mistakes.len();
                let default = read_default(&entry.node, mistakes);
                let is_wrong = mistakes.len() > before;
                let parameter =
                    Parameter { default, given: None, at: entry.at.clone(), used: false, is_wrong };
                known.insert(entry.name.clone(), parameter);
            }
        }
        Parameters { known, unknown: Vec::new() }
    }

    /// Gives one a value.
    ///
    /// # Errors
    /// There is no such parameter, or it is of another type.
    pub fn set(&mut self, given: &Given) -> Result<(), Box<Diagnostic>> {
        if !self.known.contains_key(&given.name) {
            let message = format!("unknown parameter `{}`", given.name);
            let known = self.known.keys().map(String::as_str);
            let mistake = Diagnostic::error(given.name_at.clone(), message).help(suggest(&given.name, known));
            return Err(Box::new(mistake));
        }
        let Some(parameter) = self.known.get_mut(&given.name) else { return Ok(()) };
        let value = match (&parameter.default, &given.value) {
            (None, Some(value)) => Some(value.clone()),
            (None, None) => Some(guess(&given.text)),
            (Some(default), _) => typed(&given.text, default),
        };
        parameter.is_wrong |= value.is_none();
        parameter.given = value;
        match (&parameter.given, &parameter.default) {
            (None, Some(default)) => {
                let mistake = Diagnostic::error(
                    given.at.clone(),
                    format!("parameter `{}` is {}, `{}` is not", given.name, default.kind(), given.text),
                );
                Err(Box::new(mistake.also(parameter.at.clone(), "declared here")))
            }
            _ => Ok(()),
        }
    }

    /// Puts the values in wherever a file names them.
    pub fn fill(&mut self, entries: &mut [Entry], unfilled: &mut HashSet<Spot>, mistakes: &mut Mistakes) {
        self.check_set(mistakes);
        for entry in entries.iter_mut().filter(|entry| entry.name != "parameter") {
            self.fill_node(&mut entry.node, unfilled, mistakes);
        }
    }

    fn check_set(&mut self, mistakes: &mut Mistakes) {
        for (name, parameter) in &mut self.known {
            if parameter.default.is_none() && parameter.given.is_none() && !parameter.is_wrong {
                let message = format!("parameter `{name}` has no value");
                let mistake = Diagnostic::error(parameter.at.clone(), message);
                let help = match parameter.at.file {
                    0 => format!("give it one, with `--set {name}=…` say, or a default here"),
                    _ => format!(
                        "give it one where this file is included, include = [{{ path = …, set = {{ {name} = … }} }}], \
                         or a default here"
                    ),
                };
                mistakes.push(mistake.help(help));
            }
        }
    }

    /// Tells which are named nowhere.
    pub fn check_used(&self, mistakes: &mut Mistakes) {
        let meant = |name: &str| self.unknown.iter().any(|unknown| is_near(unknown, name));
        let unused = self.known.iter().filter(|(_, parameter)| !parameter.used && !parameter.is_wrong);
        for (name, parameter) in unused.filter(|(name, _)| !meant(name)) {
            let warning =
                Diagnostic::warning(parameter.at.clone(), format!("parameter `{name}` is never used"));
            mistakes
                .push(warning.help(format!("write \"${name}\" where its value belongs, or leave it out")));
        }
    }

    fn fill_node(&mut self, node: &mut Node, unfilled: &mut HashSet<Spot>, mistakes: &mut Mistakes) {
        match &mut node.value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill_node(item, unfilled, mistakes)),
            Value::Table(entries) => {
                entries.iter_mut().for_each(|entry| self.fill_node(&mut entry.node, unfilled, mistakes));
            }
            Value::String(text) if text.contains('$') => match self.filled(text, &node.at) {
                Ok(value) => node.value = value,
                Err(mistake) => {
                    mistakes.extend(mistake.map(|mistake| *mistake));
                    unfilled.insert(node.at.clone());
                }
            },
            _ => {}
        }
    }

    /// What a string with a `$` stands for; what is wrong with it, unless that is told already.
    fn filled(&mut self, written: &str, at: &Spot) -> Result<Value, Option<Box<Diagnostic>>> {
        if let Some(name) = written.strip_prefix('$')
            && is_name(name)
        {
            return self.value(name, at).cloned();
        }
        let mut filled = String::new();
        let mut rest = written;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                filled.push('$');
                rest = after;
            } else if let Some((name, after)) = after.strip_prefix('{').and_then(|name| name.split_once('}'))
            {
                filled.push_str(&text(self.value(name, at)?).unwrap_or_default());
                rest = after;
            } else {
                let mistake = Diagnostic::error(at.clone(), "a `$` that names no parameter");
                return Err(Some(Box::new(
                    mistake.help("write `${NAME}` for a parameter, `$$` for a plain `$`"),
                )));
            }
        }
        filled.push_str(rest);
        Ok(Value::String(filled))
    }

    fn value(&mut self, name: &str, at: &Spot) -> Result<&Value, Option<Box<Diagnostic>>> {
        if !self.known.contains_key(name) {
            if self.unknown.len() < UNKNOWN_MAX {
                self.unknown.push(name.to_owned());
            }
            let mut mistake = Diagnostic::error(at.clone(), format!("unknown parameter `{name}`"));
            mistake.help = Some(if self.known.is_empty() {
                format!("declare it in [parameter], or write `$${name}` if no parameter is meant")
            } else {
                suggest(name, self.known.keys().map(String::as_str))
            });
            return Err(Some(Box::new(mistake)));
        }
        let parameter = self.known.get_mut(name).ok_or(None)?;
        parameter.used = true;
        parameter.given.as_ref().or(parameter.default.as_ref()).ok_or(None)
    }
}

/// The default, if it has one.
fn read_default(node: &Node, mistakes: &mut Mistakes) -> Option<Value> {
    let node = match &node.value {
        Value::Table(_) => {
            let table = Table::of("a parameter", grammar::PARAMETER, node, mistakes)?;
            table.get("about").and_then(|about| string("`about`", about, mistakes));
            table.get("default")?
        }
        _ => node,
    };
    if text(&node.value).is_none() {
        mistakes.push(not_a_value(node));
        return None;
    }
    Some(node.value.clone())
}

fn not_a_value(node: &Node) -> Diagnostic {
    let message = format!("a parameter is a string, a number or a boolean, not {}", node.value.kind());
    Diagnostic::error(node.at.clone(), message)
}

/// A value as it is put into a string.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Date | Value::Array(_) | Value::Table(_) => None,
    }
}

/// A text as a value of the default's type.
fn typed(text: &str, default: &Value) -> Option<Value> {
    match default {
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Float(_) => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
        Value::Bool(_) => text.parse().ok().map(Value::Bool),
        _ => Some(Value::String(text.to_owned())),
    }
}

/// A text as the value that it reads like.
fn guess(text: &str) -> Value {
    let number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
    let integer = text.parse().ok().map(Value::Integer);
    let float = || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float);
    let bool = text.parse().ok().map(Value::Bool);
    let found = if number { integer.or_else(float) } else { bool };
    found.unwrap_or_else(|| Value::String(text.to_owned()))
}
