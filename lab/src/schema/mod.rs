//! `blkstay schema`: the written form of policies as a JSON Schema, from which editors complete and check.
//!
//! The types in [`written`], [`rules`] and [`words`] describe it; nothing is read into them. What a schema cannot say
//! (that a name is declared, that holds do not wait in a circle) is said by `blkstay check`.

mod rules;
mod together;
mod words;
mod written;

use crate::out;
use anyhow::Result;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::process::ExitCode;

/// Prints the schema.
///
/// # Errors
/// Standard output cannot be written.
pub fn print() -> Result<ExitCode> {
    out::print(&format!("{}\n", serde_json::to_string_pretty(&schema()?)?))?;
    Ok(ExitCode::SUCCESS)
}

/// The schema, in the draft that TOML's language servers know best.
///
/// # Errors
/// None that is known: a schema is JSON.
pub fn schema() -> Result<Value> {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = serde_json::to_value(generator.into_root_schema_for::<written::Policy>())?;
    remove_null(&mut schema);
    Ok(schema)
}

/// What may be left out counts as what may be null; TOML has no null.
fn remove_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(remove_null),
        Value::Object(object) => {
            for key in ["type", "anyOf"] {
                let Some(Value::Array(kinds)) = object.get_mut(key) else { continue };
                kinds.retain(|kind| kind != "null" && kind.get("type").is_none_or(|kind| kind != "null"));
                if let ("type", [only]) = (key, kinds.as_slice()) {
                    let only = only.clone();
                    object.insert(key.to_owned(), only);
                }
            }
            object.values_mut().for_each(remove_null);
        }
        _ => {}
    }
}
