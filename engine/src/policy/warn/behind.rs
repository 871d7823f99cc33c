//! Rules that never act, because the holds of a point have the say at their gate.

use super::Look;
use crate::diagnostic::{Diagnostic, Spot};
use crate::event::{Gate, PointIndex};

impl Look<'_> {
    pub(super) fn behind(&mut self) {
        let mut found = Vec::new();
        for (rule, node) in self.rules() {
            let Some(point) = self.only_point(&rule.filter) else { continue };
            let Some(hold) = self.hold_at(point, rule.gate) else { continue };
            let gate = format!("{}.{}", self.policy.points[point.get()].name, rule.gate);
            let message = format!("rule `{}` never acts: the hold of `{gate}` decides there", rule.name);
            let warning = Diagnostic::warning(super::at(node, "name"), message)
                .label("never reached")
                .also(hold, "rules have no say about a point that has a hold at the gate");
            found.push(warning.help(
                "write the hold as a rule with `point` and `until`, or let the rule be for the other gate",
            ));
        }
        self.list.extend(found);
    }

    /// Where the first hold of a point at a gate stands.
    fn hold_at(&self, point: PointIndex, gate: Gate) -> Option<Spot> {
        self.holds()
            .find(|(hold, _)| hold.point == point && hold.gate == gate)
            .map(|(_, node)| super::at(node, "gate"))
    }
}
