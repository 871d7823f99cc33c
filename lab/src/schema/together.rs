//! Which keys of a table go together, which do not, and of which one is needed.

use blkstay_engine::policy::grammar;
use schemars::Schema;
use serde_json::{Value, json};

/// A point: `nth` alone says which one; what addresses no bytes has no place.
pub fn point(schema: &mut Schema) {
    all_of(schema, which());
}

/// A rule: it has one wait at most, it does something, and what is part of `reorder` is there only with it.
pub fn rule(schema: &mut Schema) {
    const WAITS: [&str; 5] = ["delay", "reorder", "limit", "stall", "pause"];
    let mut parts = which();
    for (index, wait) in WAITS.iter().enumerate() {
        parts.extend(WAITS[index + 1..].iter().map(|other| apart(wait, other)));
    }
    parts.extend(["delay", "limit", "stall"].map(|wait| apart(wait, "until")));
    let done: Vec<&str> =
        ["until", "fail", "pass", "set", "clear", "emit"].into_iter().chain(WAITS).collect();
    parts.push(one_needed(&done));
    parts.extend(["window", "within"].map(|key| with(key, &["reorder"])));
    parts.extend(["window", "within"].map(|key| json!({ "not": { "required": [key, "reorder", "until"] } })));
    let word = json!({ "required": ["reorder"], "properties": { "reorder": { "type": "string" } } });
    parts.push(json!({ "anyOf": [{ "not": word }, one_needed(&["window", "until"])] }));
    let passes = json!({ "required": ["pass"], "properties": { "pass": { "const": true } } });
    let other = WAITS.iter().chain(&["until", "fail"]).map(|key| json!({ "required": [key] }));
    let other: Vec<Value> = other.collect();
    parts.push(json!({ "not": { "allOf": [passes, { "anyOf": other }] } }));
    let only_submit = json!({ "required": ["gate"], "properties": { "gate": { "const": "submit" } } });
    let by_flush =
        json!({ "required": ["flush-follows"], "properties": { "flush-follows": { "const": true } } });
    parts.push(json!({ "not": { "allOf": [only_submit, by_flush] } }));
    all_of(schema, parts);
}

/// A delay that is drawn: in one way.
pub fn delay(schema: &mut Schema) {
    let shapes = grammar::DELAY.iter().filter(|key| !["min", "max"].contains(key));
    let shapes: Vec<Value> = shapes.map(|key| json!({ "required": [key] })).collect();
    all_of(schema, vec![json!({ "oneOf": shapes })]);
}

/// What points and rules share.
fn which() -> Vec<Value> {
    let mut parts: Vec<Value> = ["from", "every", "count", "probability"].map(|key| apart("nth", key)).into();
    let no_bytes = json!({ "enum": ["flush", "get-id"] });
    let of_none = json!({ "anyOf": [no_bytes, { "type": "array", "items": no_bytes, "minItems": 1 }] });
    let placed = json!({ "required": ["op", "place"], "properties": { "op": of_none } });
    parts.push(json!({ "not": placed }));
    let parameter = json!({ "type": "string", "pattern": "\\$" });
    let write = json!({ "anyOf": [{ "enum": ["write", ["write"]] }, parameter] });
    let by_flush =
        json!({ "required": ["flush-follows"], "properties": { "flush-follows": { "const": true } } });
    let of_writes = json!({ "required": ["op"], "properties": { "op": write } });
    parts.push(json!({ "anyOf": [{ "not": by_flush }, of_writes] }));
    parts
}

fn apart(one: &str, other: &str) -> Value {
    json!({ "not": { "required": [one, other] } })
}

fn with(key: &str, others: &[&str]) -> Value {
    json!({ "anyOf": [{ "not": { "required": [key] } }, { "required": others }] })
}

fn one_needed(keys: &[&str]) -> Value {
    let keys: Vec<Value> = keys.iter().map(|key| json!({ "required": [key] })).collect();
    json!({ "anyOf": keys })
}

fn all_of(schema: &mut Schema, parts: Vec<Value>) {
    schema.insert("allOf".to_owned(), Value::Array(parts));
}
