//! The TOML of a policy as a tree of its own: every value knows where in which file it stands.

use crate::diagnostic::Spot;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where.
    pub at: Spot,
    /// What.
    pub value: Value,
}

/// What TOML can say.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    String(String),
    /// A whole number; one that is out of all bounds counts as the bound.
    Integer(i128),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A date or time: no policy has one.
    Date,
    /// A list.
    Array(Vec<Node>),
    /// A table, in file order.
    Table(Vec<Entry>),
}

/// A key of a table with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// Where the key stands.
    pub at: Spot,
    /// The value.
    pub node: Node,
}

impl Node {
    /// A value of a parsed file.
    pub fn new(file: usize, value: &Spanned<DeValue<'_>>) -> Node {
        let at = Spot { file, span: value.span() };
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                let bound = if number.as_str().starts_with('-') { i128::MIN } else { i128::MAX };
                Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(bound))
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => Value::Array(items.iter().map(|item| Node::new(file, item)).collect()),
            DeValue::Table(table) => Value::Table(entries(file, table)),
        };
        Node { at, value }
    }

    /// The string, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Value::String(text) = &self.value { Some(text) } else { None }
    }

    /// The value of a key, if it is a table that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Table(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.name == key).map(|entry| &entry.node)
    }
}

impl Value {
    /// What kind of value it is, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Bool(_) => "a boolean",
            Value::Date => "a datetime",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// What a table has, in file order.
pub fn entries(file: usize, table: &DeTable<'_>) -> Vec<Entry> {
    let entry = |(key, value): (&Spanned<_>, _)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        Entry { name: name.to_string(), at: Spot { file, span: key.span() }, node: Node::new(file, value) }
    };
    let mut entries: Vec<Entry> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.at.span.start);
    entries
}
