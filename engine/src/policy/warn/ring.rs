//! What may hold every slot of a ring, so that what it waits for cannot come.

use super::{Look, at, can_be, until};
use crate::event::{Event, Expr};
use crate::policy::tree::Node;
use crate::policy::{Close, Rule, Wait};
use std::collections::BTreeMap;

/// Requests that fit into a ring when neither the case nor its user says; QEMU's `queue-size`.
const QUEUE_SIZE_DEFAULT: u64 = 128;

impl Look<'_> {
    pub(super) fn ring_of_holds(&mut self) {
        if !self.knows_queue_size() {
            return;
        }
        for (hold, node) in self.holds().collect::<Vec<_>>() {
            let most = self.policy.points[hold.point.get()].filter.turn.count;
            self.every_slot(
                &format!("the hold of `{}`", self.policy.gate_name(hold)),
                &hold.until,
                most,
                node,
            );
        }
    }

    /// Holds of which none has every slot of the ring, but all together.
    pub(super) fn ring_of_all_holds(&mut self) {
        if !self.knows_queue_size() {
            return;
        }
        let size = self.queue_size();
        let mut held = BTreeMap::new();
        for (hold, node) in self.holds().collect::<Vec<_>>() {
            let count = self.policy.points[hold.point.get()].filter.turn.count.unwrap_or(size);
            let waits = !can_be(&hold.until, &|leaf| self.comes_without_ring(leaf));
            if count < size && waits {
                held.insert(hold.point, count);
            }
            if held.values().sum::<u64>() >= size && waits {
                let message = format!(
                    "the holds up to this one may hold every slot of the ring: with queue size {size}, when \
                     {size} requests are held no other can arrive, also not the one that this waits for"
                );
                let help = "hold fewer requests, or give the disk a larger `queue-size`";
                return self.warn(at(node, "until"), message, "needs another request", help);
            }
        }
    }

    pub(super) fn ring_of_rule(&mut self, rule: &Rule, node: &Node) {
        let most = self.meant(&rule.filter).most;
        if !self.knows_queue_size() {
            return;
        }
        match rule.verdict.as_ref().and_then(|verdict| verdict.wait.as_ref()) {
            Some(Wait::Pause(_)) | None => {}
            Some(Wait::Reorder(reorder)) if until(rule).is_none() => {
                if let Close::Window { requests, within_ns: None } = reorder.close {
                    self.window(rule, requests, most, node);
                }
            }
            Some(_) => {
                if let Some(until) = until(rule) {
                    self.every_slot(&format!("rule `{}`", rule.name), until, most, node);
                }
            }
        }
    }

    fn every_slot(&mut self, what: &str, until: &Expr, most: Option<u64>, node: &Node) {
        let size = self.queue_size();
        if most.is_some_and(|most| most < size) || can_be(until, &|leaf| self.comes_without_ring(leaf)) {
            return;
        }
        let message = format!(
            "{what} may hold every slot of the ring: with queue size {size}, when {size} requests are held \
             no other can arrive, also not the one that this waits for"
        );
        let help = format!("write count = {}, say, or give the disk a larger `queue-size`", size / 2);
        self.warn(at(node, "until"), message, "needs another request", help);
    }

    fn window(&mut self, rule: &Rule, requests: u64, most: Option<u64>, node: &Node) {
        let size = self.queue_size();
        let key = if node.get("window").is_some() { "window" } else { "reorder" };
        if requests > size {
            let message = format!(
                "rule `{}` never has {requests} requests to reorder: with queue size {size} no more than that \
                 can be held",
                rule.name
            );
            let help = "make `window` smaller, write `within`, or give the disk a larger `queue-size`";
            self.warn(at(node, key), message, "never full", help);
        } else if most.is_some_and(|most| most < requests) {
            let message = format!("rule `{}` never has {requests} requests to reorder", rule.name);
            self.warn(at(node, key), message, "never full", "make `window` smaller, or `count` larger");
        }
    }

    /// Whether something can become true though no further request arrives.
    fn comes_without_ring(&self, leaf: &Expr) -> bool {
        match leaf {
            Expr::Event(Event::Point(..) | Event::Policy(_), _) => false,
            Expr::State(state) => self.policy.states[state.get()].on,
            Expr::Gauge(_, least) => *least <= self.queue_size(),
            _ => true,
        }
    }

    /// Whether what the case says of the ring, if there is one, could be read.
    fn knows_queue_size(&self) -> bool {
        self.parts.case.is_none() || self.sound.is_case
    }

    fn queue_size(&self) -> u64 {
        let device = self.policy.case.as_ref().map(|case| case.device);
        device.and_then(|device| device.queue_size).map_or(QUEUE_SIZE_DEFAULT, u64::from)
    }
}
