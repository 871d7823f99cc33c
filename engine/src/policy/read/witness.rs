//! What a case says about the evidence of its guest: where a process has to sleep, which writes are direct, what
//! divides an attempt.

use super::Reader;
use super::case::read_strings;
use crate::diagnostic::Diagnostic;
use crate::journal::Source;
use crate::policy::table::{Mistakes, Table, items, names, string};
use crate::policy::tree::{Entry, Node, Value};
use crate::policy::{DirectWrite, GuestWait, grammar};

/// Whether there is a witness, and where each process has to be.
pub fn read(node: &Node, mistakes: &mut Mistakes) -> (bool, Vec<GuestWait>) {
    match &node.value {
        Value::Bool(witness) => (*witness, Vec::new()),
        Value::Table(entries) => (true, entries.iter().filter_map(|entry| wait(entry, mistakes)).collect()),
        _ => {
            let message = "`witness` must be `true`, `false` or a table of processes";
            let help =
                "write `witness = { B = [\"inode_dio_wait\"] }`: kernel functions in which B may sleep";
            mistakes.push(Diagnostic::error(node.at.clone(), message).help(help));
            (false, Vec::new())
        }
    }
}

/// `B = ["f", "g"]`, or `B = { in = ["f", "g"], means = "B waits for A" }`.
fn wait(entry: &Entry, mistakes: &mut Mistakes) -> Option<GuestWait> {
    let process = entry.name.clone();
    let (functions, means) = match &entry.node.value {
        Value::Table(_) => {
            let table = Table::of(format!("witness `{process}`"), grammar::WITNESS, &entry.node, mistakes)?;
            let functions = table.need("in", mistakes);
            let means = table.get_str("means", mistakes);
            (functions.and_then(|node| functions_of(node, mistakes)), means.map(str::to_owned))
        }
        _ => (functions_of(&entry.node, mistakes), None),
    };
    let means = means.unwrap_or_else(|| format!("{process} waits"));
    Some(GuestWait { process, functions: functions?, means })
}

fn functions_of(node: &Node, mistakes: &mut Mistakes) -> Option<Vec<String>> {
    items("kernel function", node, mistakes)?;
    read_strings("in", node, mistakes)
}

impl Reader<'_> {
    /// `direct = { A = "guest.a-reaped" }`
    pub fn direct(&mut self, case: &Node) -> Vec<DirectWrite> {
        let Some(node) = case.get("direct") else { return Vec::new() };
        let entries = names("`direct`", node, &mut self.mistakes).unwrap_or_default();
        let known = entries.iter().filter_map(|entry| {
            self.names.points.read("point", &entry.name, &entry.at, &mut self.mistakes)?;
            let seen = self.guest_event(&entry.node)?;
            Some(DirectWrite { point: entry.name.clone(), seen })
        });
        known.collect()
    }

    /// `phases = ["guest.begins", "guest.ends"]`
    pub fn phases(&mut self, case: &Node) -> Vec<String> {
        let Some(node) = case.get("phases") else { return Vec::new() };
        let nodes = items("guest event", node, &mut self.mistakes).unwrap_or_default();
        nodes.iter().filter_map(|node| self.guest_event(node)).collect()
    }

    /// The name of a declared event of the guest.
    fn guest_event(&mut self, node: &Node) -> Option<String> {
        let text = string("an event", node, &mut self.mistakes)?;
        let Some(name) = text.strip_prefix("guest.") else {
            let mistake = Diagnostic::error(node.at.clone(), format!("`{text}` is no event of the guest"));
            self.mistakes.push(mistake.help("it is written `guest.NAME`"));
            return None;
        };
        if self.names.sourceless.contains(&name) {
            return Some(name.to_owned());
        }
        let known = self.names.events.get(&Source::Guest)?;
        known.read("guest event", name, &node.at, &mut self.mistakes)?;
        Some(name.to_owned())
    }
}
