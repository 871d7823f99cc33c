//! The figures in a file: of each part the latest, beside those of other parts that were measured another time.

use crate::figure::Table;
use crate::machine::Machine;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// A file of figures.
#[derive(Debug)]
pub struct Report {
    path: PathBuf,
    parts: Map<String, Value>,
}

impl Report {
    /// The one at `path`, or a new one if there is none or it is something else.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub fn at(path: &Path) -> Result<Report> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let parts = match serde_json::from_str(&text) {
            Ok(Value::Object(mut found)) => match found.remove("parts") {
                Some(Value::Object(parts)) => parts,
                _ => Map::new(),
            },
            _ => Map::new(),
        };
        Ok(Report { path: path.to_owned(), parts })
    }

    /// Puts the tables of a part in the place of earlier ones, and the whole into the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set(&mut self, part: &str, machine: &Machine, tables: &[Table]) -> Result<()> {
        self.parts.insert(part.to_owned(), json!({ "machine": machine, "tables": tables }));
        let text = serde_json::to_string_pretty(&json!({ "parts": self.parts }))?;
        std::fs::write(&self.path, text).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_measured_again_leaves_the_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new/bench.json");
        let table = |title: &str| Table { title: title.to_owned(), rows: Vec::new() };
        let titles = |part: &str| {
            let text = std::fs::read_to_string(&path).expect("the file");
            let report: Value = serde_json::from_str(&text).expect("JSON");
            report["parts"][part]["tables"][0]["title"].clone()
        };
        let machine = Machine::seen();
        let mut first = Report::at(&path).expect("a report");
        first.set("held", &machine, &[table("held")]).expect("written");
        first.set("disk", &machine, &[table("old")]).expect("written");
        Report::at(&path).expect("a report").set("disk", &machine, &[table("new")]).expect("written");
        assert_eq!([titles("held"), titles("disk")], ["held", "new"]);
    }
}
