//! `include`: which other files belong to a policy.

use super::parameter::Given;
use crate::diagnostic::{Diagnostic, Spot};
use crate::policy::grammar;
use crate::policy::table::{self, Mistakes, Table};
use crate::policy::tree::{Entry, Node, Value};
use std::path::{Component, Path, PathBuf};

/// A file that another includes.
pub struct Wanted {
    /// Its path as it is written.
    pub path: String,
    /// Where that stands.
    pub at: Spot,
    /// Values of its parameters.
    pub set: Vec<Given>,
}

/// What a file includes.
pub fn read(entries: &[Entry], mistakes: &mut Mistakes) -> Vec<Wanted> {
    let Some(entry) = entries.iter().find(|entry| entry.name == "include") else { return Vec::new() };
    let Value::Array(items) = &entry.node.value else {
        let mistake = Diagnostic::error(entry.node.at.clone(), "`include` must be a list of files");
        mistakes.push(
            mistake.help("include = [\"drive.toml\", { path = \"slow.toml\", set = { op = \"write\" } }]"),
        );
        return Vec::new();
    };
    items.iter().filter_map(|item| read_one(item, mistakes)).collect()
}

fn read_one(node: &Node, mistakes: &mut Mistakes) -> Option<Wanted> {
    let (path, set) = match node.value {
        Value::Table(_) => {
            let table = Table::of("an included file", grammar::INCLUDE, node, mistakes)?;
            let path = table.need("path", mistakes);
            let set = table.get("set").and_then(|set| table::names("`set`", set, mistakes));
            (path, set.unwrap_or_default())
        }
        _ => (Some(node), [].as_slice()),
    };
    let text = path.and_then(|path| table::string("the path of an included file", path, mistakes));
    let set = set.iter().filter_map(|entry| Given::entry(entry, mistakes)).collect();
    let (text, path) = (text?, path?);
    Some(Wanted { path: text.to_owned(), at: path.at.clone(), set })
}

/// A path that is written in a file, seen from where that file is seen from.
pub fn join(from: &str, path: &str) -> String {
    let directory = Path::new(from).parent().unwrap_or(Path::new(""));
    normal(&directory.join(path).to_string_lossy())
}

/// The path without detours: `a/./b/../c` is `a/c`.
pub fn normal(path: &str) -> String {
    let mut normal = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    let normal = normal.to_string_lossy().into_owned();
    if normal.is_empty() { ".".to_owned() } else { normal }
}
