//! Rules that never act, because the holds of a point have the say at their gate.

use super::Look;
use super::circle::Decides;
use crate::diagnostic::{Diagnostic, Spot};
use crate::event::{Gate, PointIndex};
use crate::policy::Filter;

impl Look<'_> {
    pub(super) fn behind(&mut self) {
        let (mut found, mut idle) = (Vec::new(), Vec::new());
        for (rule, node) in self.rules() {
            let Some(point) = self.only_point(&rule.filter) else { continue };
            let Some(hold) = self.hold_at(point, rule.gate) else { continue };
            let gate = format!("{}.{}", self.policy.points[point.get()].name, rule.gate);
            let message = format!("rule `{}` never acts: the hold of `{gate}` decides there", rule.name);
            idle.push(self.index_of(rule));
            let warning = Diagnostic::warning(super::at(node, "name"), message)
                .label("never reached")
                .also(hold, "rules have no say about a point that has a hold at the gate");
            found.push(warning.help(
                "write the hold as a rule with `point` and `until`, or let the rule be for the other gate",
            ));
        }
        self.list.extend(found);
        self.idle.extend(idle);
    }

    /// Holds and rules at the complete gate for what a rule fails at the submit gate.
    pub(super) fn failed(&mut self) {
        if !self.sound.are_rules() {
            return;
        }
        let holds =
            self.holds().filter(|(hold, _)| hold.gate == Gate::Complete).filter_map(|(hold, node)| {
                let what = format!("the hold of `{}` is never reached", self.policy.gate_name(hold));
                let filter = &self.policy.points[hold.point.get()].filter;
                let rule = self.failing(filter, Some(hold.point))?;
                Some((None, what, super::at(node, "gate"), rule))
            });
        let rules =
            self.rules().filter(|(rule, _)| rule.gate == Gate::Complete).filter_map(|(rule, node)| {
                let failing = self.failing(&rule.filter, self.only_point(&rule.filter))?;
                let what = format!("rule `{}` never acts", rule.name);
                Some((Some(self.index_of(rule)), what, super::at(node, "name"), failing))
            });
        let found: Vec<_> = holds.chain(rules).collect();
        for (own, what, at, rule) in found {
            self.idle.extend(own);
            let by = (&self.policy.rules[rule].name, super::at(self.parts.rules[rule].0, "name"));
            let message = format!("{what}: rule `{}` fails its requests before the drive has them", by.0);
            let warning = Diagnostic::warning(at, message).label("never reached");
            let warning = warning.also(by.1, "what it fails never comes to the complete gate");
            self.list.push(warning.help("let that one fail them at gate = \"complete\", or leave this out"));
        }
    }

    /// The rule that fails all requests of a filter at the submit gate.
    fn failing(&self, filter: &Filter, point: Option<PointIndex>) -> Option<usize> {
        match self.decides(filter, point, Gate::Submit, None) {
            Decides::Rule(rule) if self.fails_always(rule) => Some(rule),
            _ => None,
        }
    }

    /// Where the first hold of a point at a gate stands.
    fn hold_at(&self, point: PointIndex, gate: Gate) -> Option<Spot> {
        self.holds()
            .find(|(hold, _)| hold.point == point && hold.gate == gate)
            .map(|(_, node)| super::at(node, "gate"))
    }
}
