//! The schema for editors says what the reader of policies takes.

use blkstay_engine::policy::grammar;
use blkstay_lab::schema::schema;
use jsonschema::Validator;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The tables of the language: their keys, and the definitions that describe them; several if there are several forms.
const TABLES: [(&[&str], &[&str]); 21] = [
    (grammar::INCLUDE, &["IncludedFile"]),
    (grammar::PARAMETER, &["DescribedParameter"]),
    (grammar::CASE, &["Case"]),
    (grammar::IMAGE, &["Image"]),
    (grammar::DEVICE, &["Device"]),
    (grammar::RANGE, &["RangeBytes", "RangeSectors", "RangeBlocks"]),
    (grammar::RANGE_BYTES, &["RangeBytes"]),
    (grammar::RANGE_SECTORS, &["RangeSectors"]),
    (grammar::RANGE_BLOCKS, &["RangeBlocks"]),
    (grammar::POINT, &["Point"]),
    (grammar::LENGTH, &["LengthBounds"]),
    (grammar::PAYLOAD, &["PayloadBytes", "PayloadText"]),
    (grammar::HOLD, &["Hold"]),
    (grammar::RULE, &["Rule"]),
    (grammar::DELAY, &["DelayDrawn"]),
    (grammar::NORMAL, &["Normal"]),
    (grammar::LOGNORMAL, &["LogNormal"]),
    (grammar::PARETO, &["Pareto"]),
    (grammar::LIMIT, &["LimitRequests", "LimitBytes"]),
    (grammar::STALL, &["Stall"]),
    (grammar::SIGN, &["SignInLog", "SignReported"]),
];

fn keys(table: &Value) -> BTreeSet<&str> {
    table["properties"].as_object().into_iter().flat_map(|keys| keys.keys().map(String::as_str)).collect()
}

fn set<'w>(words: &[&'w str]) -> BTreeSet<&'w str> {
    words.iter().copied().collect()
}

#[test]
fn every_table_has_the_keys_that_the_reader_knows() {
    let schema = schema().expect("a schema");
    let definitions = &schema["definitions"];
    assert_eq!(keys(&schema), set(grammar::POLICY));
    for (known, names) in TABLES {
        let described: BTreeSet<&str> = names.iter().flat_map(|name| keys(&definitions[*name])).collect();
        assert_eq!(described, set(known), "{names:?}");
    }
    let expression: BTreeSet<&str> =
        ["AnyOf", "AllOf", "NotSo"].iter().flat_map(|name| keys(&definitions[*name])).collect();
    assert_eq!(expression, set(grammar::EXPRESSION));
}

#[test]
fn every_table_is_closed_and_compared() {
    let schema = schema().expect("a schema");
    let compared: BTreeSet<&str> = TABLES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    for (name, definition) in schema["definitions"].as_object().expect("definitions") {
        if definition.get("properties").is_some() {
            assert_eq!(definition["additionalProperties"], false, "{name} takes what nobody knows");
            let is_expression = ["AnyOf", "AllOf", "NotSo"].contains(&name.as_str());
            assert!(is_expression || compared.contains(name.as_str()), "{name} is compared with nothing");
        }
    }
}

#[test]
fn what_may_be_left_out_is_not_null() {
    assert!(!schema().expect("a schema").to_string().contains("\"null\""));
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema().expect("a schema")).expect("a schema that is one")
}

fn from_toml(text: &str) -> Value {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files in a directory whose names end like that.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|end| end == ending)).collect()
}

#[test]
fn policies_of_the_library_are_valid() {
    let (validator, policies) = (validator(), files(&root().join("policies"), "toml"));
    assert!(!policies.is_empty());
    for path in policies {
        let policy = from_toml(&std::fs::read_to_string(&path).expect("a policy"));
        let mistakes: Vec<String> = validator.iter_errors(&policy).map(|error| error.to_string()).collect();
        assert!(mistakes.is_empty(), "{}: {mistakes:?}", path.display());
    }
}

#[test]
fn policies_in_the_manuals_are_valid() {
    let validator = validator();
    let mut manuals = files(&root().join("docs"), "md");
    manuals.push(root().join("README.md"));
    let mut seen = 0;
    for path in manuals {
        let text = std::fs::read_to_string(&path).expect("a manual");
        for block in text.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()) {
            seen += 1;
            let mistakes: Vec<String> =
                validator.iter_errors(&from_toml(block)).map(|error| error.to_string()).collect();
            assert!(mistakes.is_empty(), "{}: {mistakes:?} in\n{block}", path.display());
        }
    }
    assert!(seen >= 2, "the manuals have examples");
}

#[test]
fn all_that_can_be_written_is_valid() {
    let policy = from_toml(include_str!("everything.toml"));
    let mistakes: Vec<String> = validator().iter_errors(&policy).map(|error| error.to_string()).collect();
    assert!(mistakes.is_empty(), "{mistakes:?}");
}

#[test]
fn what_is_broken_is_not_valid() {
    let validator = validator();
    let broken = [
        "pont = 1",
        "seed = -1",
        "watchdog = 5",
        "watchdog = \"5 minutes\"",
        "place.a = \"host\"",
        "place.a = { offset = 0 }",
        "place.a = { offset = 0, sectors = 1 }",
        "place.\"1a\" = \"guest\"",
        "event.a = \"disk\"",
        "state.a = 1",
        "point.A = { op = \"raed\" }",
        "point.A = { op = [] }",
        "point.A = { class = \"inode\" }",
        "point.A = { nth = 0 }",
        "point.A = { probability = 1.5 }",
        "point.A = { probability = 0 }",
        "point.A = { until = \"A.done\" }",
        "point.A = { length = { least = \"4k\" } }",
        "point.A = { after = { any = [] } }",
        "point.A = { after = { some = [\"A.done\"] } }",
        "point.A = { payload = \"one\" }",
        "hold = { gate = \"A.complete\" }",
        "hold = [{ gate = \"A.complete\" }]",
        "rule = [{ delay = \"5ms\" }]",
        "rule = [{ gate = \"complete\", delay = { table = [[\"5ms\"]] } }]",
        "rule = [{ gate = \"complete\", fail = \"ok\" }]",
        "rule = [{ gate = \"complete\", tear = 512 }]",
        "rule = [{ gate = \"A.complete\", pass = true }]",
        "rule = [{ gate = \"complete\", limit = { iops = 5, bandwidth = \"1M\" } }]",
        "sign.a = { report = \"fsync\" }",
        "case = { about = \"no image\", guest = \"a.sh\" }",
    ];
    for text in broken {
        assert!(!validator.is_valid(&from_toml(text)), "{text}");
    }
}

#[test]
fn a_parameter_can_stand_for_any_value() {
    let validator = validator();
    let good = [
        "point.A = { nth = \"$nth\", op = \"$op\", class = \"$class\", probability = \"$p\" }",
        "state.a = \"$on\"",
        "watchdog = \"${seconds}s\"",
        "place.a = { sector = \"$first\", sectors = \"$count\" }",
    ];
    for text in good {
        assert!(validator.is_valid(&from_toml(text)), "{text}");
    }
}
