//! The tables of a policy's files put together.

use super::load::Root;
use super::sound::{Read, Sound};
use crate::diagnostic::{Diagnostic, Spot};
use crate::policy::names;
use crate::policy::quantity::parse_some_time;
use crate::policy::table::{self, Mistakes, Table, string};
use crate::policy::tree::{Entry, Node, Value};
use crate::policy::{WATCHDOG_NS_DEFAULT, grammar};
use crate::request::Nanos;
use std::collections::BTreeMap;

/// What a policy consists of, in the order in which it counts, each as it is written.
#[derive(Clone, Default)]
pub struct Parts<'t> {
    pub seed: Option<u64>,
    pub watchdog_ns: Nanos,
    pub case: Option<&'t Node>,
    pub places: Vec<&'t Entry>,
    pub events: Vec<&'t Entry>,
    pub states: Vec<&'t Entry>,
    pub points: Vec<&'t Entry>,
    pub signs: Vec<&'t Entry>,
    /// With the watchdog of its file.
    pub holds: Vec<(&'t Node, Nanos)>,
    /// The same.
    pub rules: Vec<(&'t Node, Nanos)>,
}

impl<'t> Parts<'t> {
    /// Those of all files; the first is the one that is run.
    pub fn of(roots: &'t [Root], mistakes: &mut Mistakes) -> Parts<'t> {
        let mut parts = Parts::default();
        for (index, root) in roots.iter().enumerate() {
            parts.add(root, index == 0, mistakes);
        }
        parts.check_names(mistakes);
        parts
    }

    fn add(&mut self, root: &'t Root, is_run: bool, mistakes: &mut Mistakes) {
        let at = Spot { file: root.file, span: 0..0 };
        let table = Table::new("a policy", grammar::POLICY, at, &root.entries, mistakes);
        let watchdog_ns =
            table.get_quantity("watchdog", parse_some_time, mistakes).unwrap_or(WATCHDOG_NS_DEFAULT);
        let seed = table.get_number("seed", 0, u64::MAX, mistakes);
        if is_run {
            (self.seed, self.watchdog_ns, self.case) = (seed, watchdog_ns, table.get("case"));
        } else {
            refuse(&table, mistakes);
        }
        self.places.extend(named(&table, "place", mistakes));
        self.events.extend(named(&table, "event", mistakes));
        self.states.extend(named(&table, "state", mistakes));
        self.points.extend(named(&table, "point", mistakes));
        self.signs.extend(named(&table, "sign", mistakes));
        self.holds.extend(listed(&table, "hold", mistakes).iter().map(|node| (node, watchdog_ns)));
        self.rules.extend(listed(&table, "rule", mistakes).iter().map(|node| (node, watchdog_ns)));
    }

    /// The name of a rule: as written, or counted from 1.
    pub fn rule_name(&self, index: usize) -> String {
        let written = self.rules[index].0.get("name").and_then(Node::text);
        written.map_or_else(|| format!("rule-{}", index + 1), str::to_owned)
    }

    /// Those parts that a policy has been made of, in which each stands where it stands in the policy.
    pub fn read(&self, sound: &Sound) -> Parts<'t> {
        let kept = |list: &[(&'t Node, Nanos)], read: &[Read]| {
            let pairs = list.iter().zip(read);
            pairs.filter(|(_, read)| **read != Read::Not).map(|(part, _)| *part).collect()
        };
        let (holds, rules) = (kept(&self.holds, &sound.holds), kept(&self.rules, &sound.rules));
        Parts { holds, rules, ..self.clone() }
    }

    fn check_names(&self, mistakes: &mut Mistakes) {
        let kinds = [
            ("place", &self.places),
            ("event", &self.events),
            ("state", &self.states),
            ("point", &self.points),
            ("sign", &self.signs),
        ];
        for (kind, entries) in kinds {
            check_once(kind, entries.iter().map(|entry| (entry.name.clone(), &entry.at)), mistakes);
        }
        for (node, _) in &self.rules {
            if let Some(name) = node.get("name")
                && let Some(text) = string("`name`", name, mistakes)
            {
                names::check(text, &name.at, mistakes);
            }
        }
        let rules = self.rules.iter().enumerate();
        let rules = rules.map(|(index, (node, _))| {
            (self.rule_name(index), node.get("name").map_or(&node.at, |name| &name.at))
        });
        check_once("rule", rules, mistakes);
    }
}

/// Reports what only the file that is run can have.
fn refuse(table: &Table<'_>, mistakes: &mut Mistakes) {
    if let Some(at) = table.key_at("case") {
        let mistake = Diagnostic::error(at, "only the file that is run has a case");
        mistakes.push(mistake.help("leave [case] out of files that others include"));
    }
    if let Some(at) = table.key_at("seed") {
        let warning = Diagnostic::warning(at, "the seed of an included file is ignored");
        mistakes.push(warning.help("the seed is that of the file that is run, or of `--seed`"));
    }
}

/// Reports each name that is there twice.
fn check_once<'s>(kind: &str, names: impl Iterator<Item = (String, &'s Spot)>, mistakes: &mut Mistakes) {
    let mut seen: BTreeMap<String, &Spot> = BTreeMap::new();
    for (name, at) in names {
        match seen.get(&name) {
            Some(first) => mistakes.push(
                Diagnostic::error(at.clone(), format!("there are two {kind}s called `{name}`"))
                    .label("the second")
                    .also((*first).clone(), "the first")
                    .help("give one of them another name"),
            ),
            None => {
                seen.insert(name, at);
            }
        }
    }
}

/// The entries of a table of names, `[place]` say. Those that have none count as well: what is wrong in them is told, too.
fn named<'t>(table: &Table<'t>, kind: &'static str, mistakes: &mut Mistakes) -> Vec<&'t Entry> {
    let entries = table.get(kind).and_then(|node| table::names(&format!("[{kind}]"), node, mistakes));
    let entries = entries.unwrap_or_default();
    for entry in entries {
        names::check(&entry.name, &entry.at, mistakes);
    }
    entries.iter().collect()
}

/// The elements of a list of tables, `[[hold]]` say.
fn listed<'t>(table: &Table<'t>, kind: &'static str, mistakes: &mut Mistakes) -> &'t [Node] {
    match table.get(kind) {
        Some(Node { value: Value::Array(nodes), .. }) => nodes,
        Some(node) => {
            let mistake = Diagnostic::error(node.at.clone(), format!("`{kind}` must be a list"));
            mistakes.push(mistake.help(format!("write [[{kind}]] above each")));
            // What is in it is meant as one of them, and may have mistakes of its own.
            if let Value::Table(_) = node.value { std::slice::from_ref(node) } else { &[] }
        }
        None => &[],
    }
}
