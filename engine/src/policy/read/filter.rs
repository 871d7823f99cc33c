//! Which requests are meant: the keys that points and rules share.

use super::Reader;
use super::payload;
use super::place::read_range;
use crate::class::ClassSet;
use crate::diagnostic::Diagnostic;
use crate::event::{Expr, Gate};
use crate::policy::quantity::parse_bytes;
use crate::policy::table::{Table, items, one_of, positive, quantity};
use crate::policy::tree::{Node, Value};
use crate::policy::{Filter, Turn, Where, expr, grammar};
use crate::request::{Op, OpSet};

/// What the keys are of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A point: it is known when it arrives.
    Point,
    /// A rule at that gate, if the gate is one.
    Rule(Option<Gate>),
}

impl Reader<'_> {
    /// What is wrong in part still has the rest, so that only the mistake itself is reported.
    pub fn filter(&mut self, table: &Table<'_>, subject: Subject) -> Filter {
        let ops = table.get("op").map_or(Some(OpSet::ANY), |node| self.ops(node));
        let range = table.get("place").and_then(|node| self.range(node, ops));
        let (length_min, length_max) =
            table.get("length").and_then(|node| self.length(node)).unwrap_or((0, u64::MAX));
        let queue = table.get_number("queue", 0, u64::from(u16::MAX), &mut self.mistakes);
        let class = table.get("class").and_then(|node| self.class(node));
        let probe = table.get("payload").and_then(|node| self.payload(node, ops, subject));
        let flush_follows = self.flush_follows(table, ops, subject);
        let when = self.when(table);
        let turn = self.turn(table, subject);
        Filter {
            ops: ops.unwrap_or(OpSet::ANY),
            range,
            length_min,
            length_max,
            queue: queue.and_then(|queue| u16::try_from(queue).ok()),
            class,
            probe,
            flush_follows,
            point: None,
            when,
            turn,
        }
    }

    fn ops(&mut self, node: &Node) -> Option<OpSet> {
        let names = Op::ALL.map(Op::name);
        if let Value::Array(_) = node.value {
            let items = items("operation", node, &mut self.mistakes)?;
            let read = |item| one_of("operation", item, &names, &mut self.mistakes).map(|op| Op::ALL[op]);
            let ops: Vec<Option<Op>> = items.iter().map(read).collect();
            return ops.into_iter().collect::<Option<Vec<Op>>>().map(|ops| OpSet::of(&ops));
        }
        if node.text() == Some("any") {
            return Some(OpSet::ANY);
        }
        one_of("operation", node, &names, &mut self.mistakes).map(|op| OpSet::of(&[Op::ALL[op]]))
    }

    fn range(&mut self, node: &Node, ops: Option<OpSet>) -> Option<Where> {
        let found = match &node.value {
            Value::String(name) => {
                self.places.read("place", name, &node.at, &mut self.mistakes).map(Where::Place)
            }
            Value::Table(_) => read_range("`place`", node, &mut self.mistakes).map(Where::Range),
            other => {
                let message = format!("`place` must be the name of a place or a range, not {}", other.kind());
                self.mistake(&node.at, message);
                None
            }
        };
        let ops: Vec<&str> = ops.unwrap_or(OpSet::ANY).iter().map(Op::name).collect();
        if ops.iter().filter_map(|name| Op::from_name(name)).all(|op| !op.has_range()) {
            let message = match ops.as_slice() {
                [op] => format!("a {op} has no place: it addresses no bytes"),
                _ => format!("{} have no place: they address no bytes", ops.join(" and ")),
            };
            let mistake = Diagnostic::error(node.at.clone(), message).help("leave `place` out");
            self.mistakes.push(mistake);
        }
        found
    }

    fn length(&mut self, node: &Node) -> Option<(u64, u64)> {
        if !matches!(node.value, Value::Table(_)) {
            return quantity(node, parse_bytes, &mut self.mistakes).map(|exact| (exact, exact));
        }
        let mistakes = &mut self.mistakes;
        let table = Table::of("`length`", grammar::LENGTH, node, mistakes)?;
        let min = table.get_quantity("min", parse_bytes, mistakes);
        let max = table.get_quantity("max", parse_bytes, mistakes);
        if table.is_empty() {
            let mistake = Diagnostic::error(node.at.clone(), "`length` has neither `min` nor `max`");
            mistakes.push(mistake.help("write { min = \"4k\", max = \"64k\" }, or one of them"));
        }
        Some((min.unwrap_or(0), max.unwrap_or(u64::MAX)))
    }

    fn class(&mut self, node: &Node) -> Option<ClassSet> {
        let names: Vec<&str> = ClassSet::names().collect();
        let one = |node: &Node, mistakes: &mut _| {
            one_of("class", node, &names, mistakes).and_then(|index| ClassSet::from_name(names[index]))
        };
        if !matches!(node.value, Value::Array(_)) {
            return one(node, &mut self.mistakes);
        }
        let items = items("class", node, &mut self.mistakes)?;
        let classes: Vec<Option<ClassSet>> = items.iter().map(|item| one(item, &mut self.mistakes)).collect();
        classes.into_iter().try_fold(ClassSet::NONE, |set, class| Some(set.union(class?)))
    }

    fn payload(&mut self, node: &Node, ops: Option<OpSet>, subject: Subject) -> Option<u8> {
        let probe = payload::read(node, &mut self.mistakes)?;
        let reads = ops.is_some_and(|ops| ops.has(Op::Read));
        let only_reads = ops == Some(OpSet::of(&[Op::Read]));
        let early = match subject {
            Subject::Point => reads,
            Subject::Rule(gate) => only_reads && gate == Some(Gate::Submit),
        };
        if early {
            let message = "what a read brings is not known before the drive has done it";
            let help = if subject == Subject::Point { "write op = \"write\"" } else { "gate = \"complete\"" };
            self.mistakes.push(Diagnostic::error(node.at.clone(), message).help(help));
        }
        self.probe(probe, &node.at)
    }

    fn flush_follows(&mut self, table: &Table<'_>, ops: Option<OpSet>, subject: Subject) -> bool {
        let follows = table.get_bool("flush-follows", &mut self.mistakes);
        let Some((node, follows)) = table.get("flush-follows").zip(follows) else { return false };
        if !follows {
            let message = "that no flush follows a write can never be known: one may still come";
            self.mistakes.push(Diagnostic::error(node.at.clone(), message).help(
                "leave `flush-follows` out; an earlier rule with `flush-follows = true` takes those that one follows",
            ));
            return false;
        }
        if ops.is_some_and(|ops| ops != OpSet::of(&[Op::Write])) {
            let mistake = Diagnostic::error(node.at.clone(), "`flush-follows` is of writes");
            self.mistakes.push(mistake.help("write op = \"write\""));
        }
        if subject == Subject::Rule(Some(Gate::Submit)) {
            let message = "whether a flush follows is not known before the drive has the write";
            self.mistakes.push(Diagnostic::error(node.at.clone(), message).help("gate = \"complete\""));
        }
        true
    }

    /// `after`, not `before`, and `when`, in one.
    fn when(&mut self, table: &Table<'_>) -> Option<Expr> {
        let mut read =
            |key| table.get(key).and_then(|node| expr::read(&self.names, node, &mut self.mistakes));
        let after = read("after");
        let before = read("before").map(|before| Expr::Not(Box::new(before)));
        let mut parts: Vec<Expr> = [after, before, read("when")].into_iter().flatten().collect();
        if parts.len() > 1 { Some(Expr::All(parts)) } else { parts.pop() }
    }

    fn turn(&mut self, table: &Table<'_>, subject: Subject) -> Turn {
        const SEVERAL: [&str; 4] = ["from", "every", "count", "probability"];
        let mut number = |key| table.get_number(key, 1, u64::MAX, &mut self.mistakes);
        let (nth, from, every, count) = (number("nth"), number("from"), number("every"), number("count"));
        let probability = table.get("probability").and_then(|node| self.probability(node));
        let several = SEVERAL.into_iter().find(|key| table.has(key));
        if let (Some(node), Some(several)) = (table.get("nth"), several) {
            let message = format!("`nth` means one request, `{several}` several");
            let mistake = Diagnostic::error(node.at.clone(), message);
            self.mistakes.push(mistake.help("nth = n is the same as from = n, count = 1"));
        }
        match (nth, several, subject) {
            (Some(nth), ..) => Turn::nth(nth),
            (None, None, Subject::Point) => Turn::FIRST,
            _ => Turn { from: from.unwrap_or(1), every: every.unwrap_or(1), probability, count },
        }
    }

    fn probability(&mut self, node: &Node) -> Option<f64> {
        let found = positive("probability", node, &mut self.mistakes);
        if found.is_some_and(|found| found > 1.0) {
            self.mistake(&node.at, "nothing is more probable than 1");
        }
        if found.is_none_or(|found| found > 1.0)
            && let Some(mistake) = self.mistakes.last_mut()
        {
            mistake.help = Some("write 0.2 for one in five, say".to_owned());
        }
        found
    }
}
