//! `[[rule]]`: which requests, at which gate, and what becomes of them.

use super::Reader;
use super::filter::Subject;
use crate::diagnostic::{Diagnostic, suggest};
use crate::event::{Gate, PointIndex, StateIndex};
use crate::journal::Source;
use crate::policy::quantity::parse_some_time;
use crate::policy::table::{Table, items, one_of, string};
use crate::policy::tree::{Node, Value};
use crate::policy::{Notes, Rule, Verdict, grammar};
use crate::request::{Nanos, Status};

impl Reader<'_> {
    /// Reads a rule that is called `name`.
    pub fn rule(&mut self, node: &Node, name: String, watchdog_ns: Nanos) -> Option<Rule> {
        let table = Table::of("[[rule]]", grammar::RULE, node, &mut self.mistakes)?;
        let gate = table.need("gate", &mut self.mistakes).and_then(|node| self.gate_of_rule(node));
        let point = table.get_str("point", &mut self.mistakes).zip(table.get("point"));
        let point = point
            .and_then(|(name, node)| self.names.points.read("point", name, &node.at, &mut self.mistakes));
        let mut filter = self.filter(&table, Subject::Rule(gate));
        filter.point = point.map(|point| PointIndex(point as u32));
        let notes = self.notes(&table);
        let watchdog_ns =
            table.get_quantity("watchdog", parse_some_time, &mut self.mistakes).unwrap_or(watchdog_ns);
        let wait = self.wait(&table, watchdog_ns);
        let fail = table.get("fail").and_then(|node| self.status(node));
        let pass = self.pass(&table);
        let decides = pass || table.has("fail") || table.has_any(&super::wait::KEYS);
        if !decides && !table.has_any(grammar::RESERVED) && !table.has_any(&["set", "clear", "emit"]) {
            let mistake = Diagnostic::error(table.at(), "the rule does nothing");
            self.mistakes.push(mistake.help(
                "say what becomes of the request (`until`, `delay`, `fail`, `pass = true`, …) or what is noted \
                 of it (`set`, `clear`, `emit`)",
            ));
        }
        let verdict = decides.then_some(Verdict { wait, fail });
        Some(Rule { name, gate: gate?, filter, notes, verdict, watchdog_ns })
    }

    fn gate_of_rule(&mut self, node: &Node) -> Option<Gate> {
        let known = Gate::ALL.map(Gate::name);
        let text = string("`gate`", node, &mut self.mistakes)?;
        if let Some((point, gate)) = text.split_once('.')
            && known.contains(&gate)
        {
            let mistake = Diagnostic::error(node.at.clone(), format!("`{text}` is the gate of a hold"));
            self.mistakes.push(mistake.help(format!("write gate = \"{gate}\", point = \"{point}\"")));
            return None;
        }
        one_of("gate", node, &known, &mut self.mistakes).map(|index| Gate::ALL[index])
    }

    fn notes(&mut self, table: &Table<'_>) -> Notes {
        let set = self.states(table, "set");
        let clear = self.states(table, "clear");
        if let (true, Some(node)) = (set.iter().any(|state| clear.contains(state)), table.get("clear")) {
            self.mistake(&node.at, "the rule turns a state on and off at once");
        }
        Notes { set, clear, emit: self.emits(table) }
    }

    fn states(&mut self, table: &Table<'_>, key: &'static str) -> Vec<StateIndex> {
        let mut found = Vec::new();
        for (name, node) in self.words(table, key) {
            match self.names.state(name.strip_prefix("state.").unwrap_or(name)) {
                Ok(state) => found.push(state),
                Err(bad) => self.mistakes.push(bad.at(&node.at)),
            }
        }
        found
    }

    fn emits(&mut self, table: &Table<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for (name, node) in self.words(table, "emit") {
            let name = name.strip_prefix("policy.").unwrap_or(name);
            match self.names.declared(Source::Policy, name, name) {
                Ok(name) => found.push(name),
                Err(bad) => self.mistakes.push(bad.at(&node.at)),
            }
        }
        found
    }

    /// A string, or a list of them.
    fn words<'t>(&mut self, table: &Table<'t>, key: &'static str) -> Vec<(&'t str, &'t Node)> {
        let Some(node) = table.get(key) else { return Vec::new() };
        let nodes = match node.value {
            Value::Array(_) => items("name", node, &mut self.mistakes).unwrap_or_default(),
            _ => std::slice::from_ref(node),
        };
        let what = format!("`{key}`");
        nodes.iter().filter_map(|node| string(&what, node, &mut self.mistakes).zip(Some(node))).collect()
    }

    fn status(&mut self, node: &Node) -> Option<Status> {
        let known = || Status::ALL.into_iter().filter(|status| *status != Status::Ok);
        let name = string("`fail`", node, &mut self.mistakes)?;
        let status = known().find(|status| status.name() == name);
        if status.is_none() {
            let help = suggest(name, known().map(Status::name));
            let mistake = Diagnostic::error(node.at.clone(), format!("unknown status `{name}`"));
            self.mistakes.push(mistake.help(help));
        }
        status
    }

    fn pass(&mut self, table: &Table<'_>) -> bool {
        let pass = table.get_bool("pass", &mut self.mistakes).unwrap_or(false);
        let other = super::wait::KEYS
            .into_iter()
            .chain(["fail"])
            .filter(|key| !["window", "within"].contains(key))
            .find(|key| table.has(key));
        if let (true, Some(other), Some(at)) = (pass, other, table.key_at("pass")) {
            let message = format!("`pass` lets the request go on at once, `{other}` does not");
            self.mistakes.push(Diagnostic::error(at, message).help("leave one of them out"));
        }
        pass
    }
}
