//! `[[hold]]`: keeps a point at a gate.

use super::Reader;
use crate::diagnostic::{Diagnostic, suggest};
use crate::event::{Gate, PointIndex};
use crate::policy::quantity::parse_some_time;
use crate::policy::table::{Table, string};
use crate::policy::tree::Node;
use crate::policy::{Hold, expr, grammar};
use crate::request::Nanos;

impl Reader<'_> {
    pub fn hold(&mut self, node: &Node, watchdog_ns: Nanos) -> Option<Hold> {
        let table = Table::of("[[hold]]", grammar::HOLD, node, &mut self.mistakes)?;
        let gate = table.need("gate", &mut self.mistakes).and_then(|node| self.gate_of_point(node));
        let until = table.need("until", &mut self.mistakes);
        let until = until.and_then(|node| expr::read_until(&self.names, node, &mut self.mistakes));
        let watchdog_ns =
            table.get_quantity("watchdog", parse_some_time, &mut self.mistakes).unwrap_or(watchdog_ns);
        let (point, gate) = gate?;
        self.is_known_in_time(point, gate, table.get("gate"));
        Some(Hold { point, gate, until: until?, watchdog_ns })
    }

    /// A point that a flush makes one is none yet when its write comes to the drive.
    fn is_known_in_time(&mut self, point: PointIndex, gate: Gate, node: Option<&Node>) {
        let by_flush = self.by_flush.get(point.get()).copied().unwrap_or(false);
        if let Some(node) = node.filter(|_| by_flush && gate == Gate::Submit) {
            let message = "whether a flush follows is not known before the drive has the write";
            let mistake = Diagnostic::error(node.at.clone(), message).label("known too late for this gate");
            self.mistakes
                .push(mistake.help("hold the flush instead: a point with `op = \"flush\"` after this one"));
        }
    }

    fn gate_of_point(&mut self, node: &Node) -> Option<(PointIndex, Gate)> {
        let written = string("`gate`", node, &mut self.mistakes)?;
        let Some((point, gate)) = written.split_once('.') else {
            let message = format!("`{written}` is not a gate");
            let mistake = Diagnostic::error(node.at.clone(), message);
            self.mistakes.push(mistake.help("a gate is `POINT.submit` or `POINT.complete`"));
            return None;
        };
        let point = self.names.points.read("point", point, &node.at, &mut self.mistakes);
        let found = Gate::ALL.into_iter().find(|known| known.name() == gate);
        if found.is_none() {
            let help = suggest(gate, Gate::ALL.map(Gate::name));
            let mistake = Diagnostic::error(node.at.clone(), format!("unknown gate `{gate}`"));
            self.mistakes.push(mistake.help(help));
        }
        Some((PointIndex(point? as u32), found?))
    }
}
