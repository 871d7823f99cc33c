//! The files that a policy is read from, with parameters put in.

use super::Include;
use super::include::{self, Wanted};
use super::parameter::{Given, Parameters};
use super::recover::{self, Recovered};
use crate::diagnostic::{Diagnostic, File, Spot};
use crate::policy::Settings;
use crate::policy::table::Mistakes;
use crate::policy::tree::Entry;
use std::collections::{BTreeMap, HashSet};

/// How deep files can include each other.
const NESTING_MAX: usize = 16;

/// Most files of a policy.
const FILES_MAX: usize = 64;

/// A file's tables.
pub struct Root {
    /// Which file.
    pub file: usize,
    /// What it has.
    pub entries: Vec<Entry>,
    /// Positions of the files that it includes.
    includes: Vec<usize>,
}

/// Every file of a policy.
pub struct Loaded {
    /// Their texts, as they were come across; then what was given on the command line and is wrong.
    pub files: Vec<File>,
    /// Their tables: each file before those that it includes.
    pub roots: Vec<Root>,
    /// What is wrong with them so far.
    pub list: Mistakes,
    /// Where a parameter could not be put in.
    pub unfilled: HashSet<Spot>,
    /// Whether all of them could be read.
    pub is_whole: bool,
    /// Whether one of them is not TOML.
    pub is_cut: bool,
    /// Tables that have lost a line that is not TOML.
    pub cut: Vec<Spot>,
}

impl Loaded {
    /// Whether something stands in a table that has lost a line.
    pub fn is_in_cut(&self, at: &Spot) -> bool {
        self.cut.iter().any(|cut| cut.file == at.file && cut.span.contains(&at.span.start))
    }
}

/// Reads a policy's text and the files that it includes.
pub fn load(origin: &str, text: &str, settings: &Settings, include: Include<'_>) -> Loaded {
    let mut loader = Loader {
        files: vec![File { origin: origin.to_owned(), text: text.to_owned() }],
        roots: Vec::new(),
        known: BTreeMap::new(),
        stack: Vec::new(),
        list: Mistakes::new(),
        unfilled: HashSet::new(),
        is_whole: true,
        is_cut: false,
        cut: Vec::new(),
        include,
    };
    let given = settings.set.iter().map(|(name, value)| Given::option(name, value)).collect();
    loader.known.insert(include::normal(origin), Known { root: 0, given: Vec::new(), at: Spot::default() });
    loader.file(0, include::normal(origin), given);
    let order = order(&loader.roots);
    let mut roots: Vec<Option<Root>> = loader.roots.into_iter().map(Some).collect();
    let roots = order.into_iter().filter_map(|index| roots[index].take()).collect();
    let Loader { files, list, unfilled, is_whole, is_cut, cut, .. } = loader;
    Loaded { files, roots, list, unfilled, is_whole, is_cut, cut }
}

/// Each file before those that it includes, and else in the order of `include`.
fn order(roots: &[Root]) -> Vec<usize> {
    fn visit(roots: &[Root], index: usize, seen: &mut [bool], order: &mut Vec<usize>) {
        if std::mem::replace(&mut seen[index], true) {
            return;
        }
        roots[index].includes.iter().rev().for_each(|next| visit(roots, *next, seen, order));
        order.push(index);
    }
    let mut order = Vec::new();
    visit(roots, 0, &mut vec![false; roots.len()], &mut order);
    order.reverse();
    order
}

struct Loader<'i> {
    files: Vec<File>,
    roots: Vec<Root>,
    known: BTreeMap<String, Known>,
    stack: Vec<String>,
    list: Mistakes,
    unfilled: HashSet<Spot>,
    is_whole: bool,
    is_cut: bool,
    cut: Vec<Spot>,
    include: Include<'i>,
}

/// A file that has been come across.
struct Known {
    root: usize,
    given: Vec<(String, String)>,
    at: Spot,
}

impl Loader<'_> {
    /// Reads the text of a file and what it includes.
    fn file(&mut self, file: usize, path: String, given: Vec<Given>) {
        let Recovered { mut entries, mistakes, cut } = recover::parse(file, &self.files[file].text);
        let before = self.list.len();
        let mut parameters = Parameters::read(&entries, &mut self.list);
        self.set(&mut parameters, given);
        parameters.fill(&mut entries, &mut self.unfilled, &mut self.list);
        if mistakes.is_empty() {
            parameters.check_used(&mut self.list);
        } else {
            (self.is_whole, self.is_cut) = (false, true);
            // What is not there may be in what could not be read.
            let of_parameters = self.list.split_off(before).into_iter();
            self.list.extend(of_parameters.filter(|one| !one.message.contains("parameter `")));
        }
        self.list.extend(mistakes);
        self.cut.extend(cut);
        let wanted = include::read(&entries, &mut self.list);
        let root = self.roots.len();
        self.roots.push(Root { file, entries, includes: Vec::new() });
        self.stack.push(path.clone());
        for wanted in wanted {
            let included = self.want(&path, wanted);
            self.roots[root].includes.extend(included);
        }
        self.stack.pop();
    }

    /// Values that are not taken from a file have one made of them if they are wrong, to be shown.
    fn set(&mut self, parameters: &mut Parameters, given: Vec<Given>) {
        for given in given {
            let Err(mut mistake) = parameters.set(&given) else { continue };
            if let Some(option) = &given.option {
                mistake.at.file = self.files.len();
                self.files.push(File { origin: "--set".to_owned(), text: option.clone() });
            }
            self.list.push(*mistake);
        }
    }

    /// The position of an included file, which is read if nobody has included it before.
    fn want(&mut self, from: &str, wanted: Wanted) -> Option<usize> {
        let path = include::join(from, &wanted.path);
        let values = || wanted.set.iter().map(|given| (given.name.clone(), given.text.clone())).collect();
        if let Some(start) = self.stack.iter().position(|open| *open == path) {
            let circle: Vec<&str> = self.stack[start..].iter().map(String::as_str).chain([&*path]).collect();
            let message = format!("files include each other in a circle: {}", circle.join(" → "));
            self.list.push(Diagnostic::error(wanted.at, message));
            return None;
        }
        if let Some(known) = self.known.get(&path) {
            let given: Vec<(String, String)> = values();
            if given != known.given {
                let message = format!("`{path}` is included twice, with other parameters");
                let mistake = Diagnostic::error(wanted.at, message).also(known.at.clone(), "the first time");
                self.list.push(mistake.help("a file counts once; write a file of its own for the other"));
            }
            return Some(known.root);
        }
        let text = self.text(&path, &wanted)?;
        let (file, root) = (self.files.len(), self.roots.len());
        self.files.push(File { origin: path.clone(), text });
        self.known.insert(path.clone(), Known { root, given: values(), at: wanted.at.clone() });
        self.file(file, path, wanted.set);
        Some(root)
    }

    fn text(&mut self, path: &str, wanted: &Wanted) -> Option<String> {
        let text = if self.stack.len() > NESTING_MAX {
            Err(format!("files include each other more than {NESTING_MAX} deep"))
        } else if self.known.len() >= FILES_MAX {
            Err(format!("a policy can have {FILES_MAX} files, this is one more"))
        } else {
            (self.include)(path).map_err(|why| format!("cannot read `{path}`: {why}"))
        };
        text.map_err(|message| {
            self.is_whole = false;
            self.list.push(Diagnostic::error(wanted.at.clone(), message));
        })
        .ok()
    }
}
