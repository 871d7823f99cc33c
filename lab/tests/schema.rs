//! The schema for editors says what the reader of policies takes.

use blkstay_engine::policy::{Policy, grammar};
use blkstay_lab::schema::schema;
use jsonschema::Validator;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The tables of the language: their keys, and the definitions that describe them; several if there are several forms.
const TABLES: [(&[&str], &[&str]); 22] = [
    (grammar::INCLUDE, &["IncludedFile"]),
    (grammar::PARAMETER, &["DescribedParameter"]),
    (grammar::CASE, &["Case"]),
    (grammar::WITNESS, &["WitnessMeant"]),
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
        "point.A = { nth = \"$nth\", op = \"$op\", class = \"$class\" }",
        "point.A = { op = \"$op\", flush-follows = true, probability = \"$p\", when = \"in-flight >= ${n}\" }",
        "rule = [{ gate = \"$gate\", reorder = \"$order\", window = \"$w\", name = \"x-${n}\" }]",
        "state.a = \"$on\"",
        "watchdog = \"${seconds}s\"",
        "place.a = { sector = \"$first\", sectors = \"$count\" }",
    ];
    for text in good {
        assert!(validator.is_valid(&from_toml(text)), "{text}");
    }
}

/// What the reader takes, and so does the schema. Each has what it names.
const ACCEPTED: [&str; 22] = [
    "watchdog = \"5s\"",
    "place.p = { block = 0, blocks = 1, block-size = \"1k\" }",
    "place.p = { offset = \"0\", length = 512 }",
    "point.A = { op = \"write\", flush-follows = true }",
    "point.A = { from = 2, every = 3, count = 4, probability = 1 }",
    "point.A = { when = \"in-flight > 0\" }",
    "point.A = { when = \" held<=3 \" }",
    "point.A = { when = \"A.arrived == 0\" }",
    "point.A = { length = { max = \"4k\" } }",
    "rule = [{ gate = \"submit\", pass = true }]",
    "rule = [{ gate = \"submit\", pass = false, fail = \"io-error\" }]",
    "rule = [{ gate = \"submit\", reorder = \"random\", window = 2, within = \"1ms\" }]",
    "rule = [{ gate = \"submit\", reorder = \"random\", until = \"attempt.finished\" }]",
    "rule = [{ gate = \"submit\", reorder = [2, 1], within = \"1ms\" }]",
    "rule = [{ gate = \"submit\", pause = \"disk\", until = \"attempt.finished\", fail = \"io-error\" }]",
    "rule = [{ gate = \"submit\", delay = { normal = { mean = \"0s\", deviation = \"0s\" }, min = \"0s\" } }]",
    "rule = [{ gate = \"submit\", delay = \"0s\", name = \"a-b_1\" }]",
    "rule = [{ gate = \"submit\", limit = { bandwidth = \"1M\", burst = \"4k\" } }]",
    "rule = [{ gate = \"complete\", op = \"read\", payload = { offset = 0, bytes = \" c0 3B\" }, pass = true }]",
    "sign.s = { kernel-log = \"x\", per-boot-max = 1 }",
    "case = { about = \"x\", guest = \"x.sh\", image = { size = \"1M\", filesystem = \"xfs\" }, device = { queue-size = 2, num-queues = 16 } }",
    "case = { about = \"x\", guest = \"x.sh\", limit = \"1s\", image = { size = 1048576, filesystem = \"ext4\", options = [] } }",
];

/// What the reader refuses, and so does the schema.
const REFUSED: [&str; 56] = [
    "watchdog = \"0s\"",
    "seed = 1.5",
    "include = \"a.toml\"",
    "place.p = { offset = 0, length = 0 }",
    "place.p = { sector = 0, sectors = 0 }",
    "place.p = { block = 0, blocks = 1, block-size = \"3\" }",
    "place.p = { block = 0, blocks = 1, block-size = 0 }",
    "place.guest = \"guest\"",
    "point.A = { nth = 1, from = 2 }",
    "point.A = { nth = 1, count = 2 }",
    "point.A = { nth = 1, probability = 0.5 }",
    "point.A = { op = \"flush\", place = { offset = 0, length = 1 } }",
    "point.A = { op = [\"flush\", \"get-id\"], place = { offset = 0, length = 1 } }",
    "point.A = { flush-follows = true }",
    "point.A = { op = \"read\", flush-follows = true }",
    "point.A = { length = {} }",
    "point.A = { queue = 65536 }",
    "point.A = { op = \"write\", payload = { offset = 0, bytes = \"abc\" } }",
    "point.A = { op = \"write\", payload = { offset = 0, text = \"\" } }",
    "point.A = { when = \"A\" }",
    "point.A = { when = \"A.begun\" }",
    "point.A = { when = \"in-flight\" }",
    "point.A = { when = \"in-flight >= 0\" }",
    "point.A = { when = \"in-flight < 0\" }",
    "point.A = { when = \"in-flight != 3\" }",
    "point.A = { when = \"in-flight => 3\" }",
    "point.A = { when = \"!A.done\" }",
    "point.A = { when = \"A.done and A.arrived\" }",
    "point.A = { when = { any = [\"A.done\"], all = [\"A.done\"] } }",
    "point.A = {}\nhold = [{ gate = \"A.compleet\", until = \"attempt.finished\" }]",
    "point.A = {}\nhold = [{ gate = \"A.submit\", until = \"attempt.finished\", watchdog = \"0ms\" }]",
    "rule = [{ gate = \"submit\" }]",
    "rule = [{ gate = \"submit\", op = \"read\" }]",
    "rule = [{ gate = \"submit\", pass = true, name = \"1a\" }]",
    "rule = [{ gate = \"submit\", pass = true, fail = \"io-error\" }]",
    "rule = [{ gate = \"submit\", pass = true, window = 3 }]",
    "rule = [{ gate = \"submit\", reorder = \"random\" }]",
    "rule = [{ gate = \"submit\", reorder = \"random\", within = \"1s\" }]",
    "rule = [{ gate = \"submit\", reorder = \"random\", window = 1 }]",
    "rule = [{ gate = \"submit\", reorder = \"random\", window = 2, until = \"attempt.finished\" }]",
    "rule = [{ gate = \"submit\", reorder = [1] }]",
    "rule = [{ gate = \"submit\", delay = \"1ms\", until = \"attempt.finished\" }]",
    "rule = [{ gate = \"submit\", delay = \"1ms\", stall = { every = \"1s\", for = \"1ms\" } }]",
    "rule = [{ gate = \"submit\", delay = { min = \"1ms\" } }]",
    "rule = [{ gate = \"submit\", delay = { pareto = { least = \"0s\", shape = 1 } } }]",
    "rule = [{ gate = \"submit\", delay = { uniform = [\"0s\", \"1s\"], table = [[\"1s\", 1]] } }]",
    "rule = [{ gate = \"submit\", limit = { bandwidth = 0 } }]",
    "rule = [{ gate = \"submit\", op = \"write\", flush-follows = true, pass = true }]",
    "case = { about = \"x\", guest = \"a/x.sh\", image = { size = \"1M\", filesystem = \"xfs\" } }",
    "case = { about = \"x\", guest = \"x.sh\", image = { size = \"1M\", filesystem = \"xfs\" }, device = { queue-size = 3 } }",
    "case = { about = \"x\", guest = \"x.sh\", image = { size = 1048577, filesystem = \"xfs\" } }",
    "case = { about = \"x\", guest = \"x.sh\", image = { size = 4, filesystem = \"xfs\" } }",
    "case = { about = \"x\", guest = \"x.sh\", image = { size = \"1M\", filesystem = \"xfs\" }, phases = [] }",
    "case = { about = \"x\", guest = \"x.sh\", image = { size = \"1M\", filesystem = \"xfs\" }, witness = { A = [] } }",
    "case = { about = \"x\", guest = \"x.sh\", image = { size = \"1M\", filesystem = \"xfs\" }, variables = { block = 1 } }",
    "point.A = { op = \"write\", flush-follows = false }",
];

/// What the reader refuses and a schema cannot: values that are compared with each other, sums, and names.
const BEYOND_A_SCHEMA: [&str; 7] = [
    "point.A = { after = \"B.done\" }",
    "place.p = { offset = \"16000000T\", length = \"16000000T\" }",
    "rule = [{ gate = \"submit\", delay = \"11s\" }]",
    "rule = [{ gate = \"submit\", delay = { uniform = [\"2s\", \"1s\"] } }]",
    "rule = [{ gate = \"submit\", stall = { every = \"1s\", for = \"2s\" } }]",
    "rule = [{ gate = \"submit\", reorder = [1, 1] }]",
    "point.A = {}\nhold = [{ gate = \"A.submit\", until = \"A.done\" }]",
];

#[test]
fn schema_and_reader_agree() {
    let validator = validator();
    let is_read = |text: &str| Policy::parse("my.toml", text).map_err(|mistakes| mistakes.to_string());
    for text in ACCEPTED {
        assert_eq!(is_read(text).map(drop), Ok(()), "{text}");
        assert!(validator.is_valid(&from_toml(text)), "the schema refuses {text}");
    }
    for text in REFUSED {
        assert!(is_read(text).is_err(), "the reader takes {text}");
        assert!(!validator.is_valid(&from_toml(text)), "the schema takes {text}");
    }
    for text in BEYOND_A_SCHEMA {
        assert!(is_read(text).is_err(), "the reader takes {text}");
        assert!(validator.is_valid(&from_toml(text)), "the schema refuses {text}: it belongs to the others");
    }
}
