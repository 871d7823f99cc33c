//! What may hold every slot of a ring, so that what it waits for cannot come.

use super::meant::Meant;
use super::waits::pauses;
use super::{Look, at, can_be, until};
use crate::event::{Event, Expr, Gate, Life, PointIndex};
use crate::policy::tree::Node;
use crate::policy::{Close, Filter, Rule, Scope, Turn, Wait};

/// Requests that fit into a ring when neither the case nor its user says; QEMU's `queue-size`.
const QUEUE_SIZE_DEFAULT: u64 = 128;

/// Most holds and rules that are looked at together.
const TOGETHER_MAX: usize = 64;

/// What holds requests until something is true.
struct Holder<'l> {
    what: String,
    until: &'l Expr,
    node: &'l Node,
    gate: Gate,
    meant: Meant,
    /// The point, if they are that.
    point: Option<PointIndex>,
    /// A rule's place among the rules.
    rule: Option<usize>,
    /// Most that it holds at once.
    most: Option<u64>,
}

impl<'l> Look<'l> {
    pub(super) fn rings(&mut self) {
        if !self.knows_queue_size() || !self.sound.are_rules() {
            return;
        }
        for (rule, node) in self.rules().collect::<Vec<_>>() {
            self.window(rule, node);
        }
        let size = self.queue_size();
        let (mut alone, few): (Vec<_>, Vec<_>) =
            self.holders().into_iter().partition(|one| one.most.is_none_or(|most| most >= size));
        alone.retain(|one| !self.comes(one.until, &[(one, size)]));
        alone.iter().for_each(|one| self.every_slot(one));
        self.together(few);
    }

    /// Everything that holds requests until something is true, but not what is told of as waiting for itself.
    fn holders(&self) -> Vec<Holder<'l>> {
        let holds = self.holds().map(|(hold, node)| {
            let filter = &self.policy.points[hold.point.get()].filter;
            Holder {
                what: format!("the hold of `{}`", self.policy.gate_name(hold)),
                until: &hold.until,
                node,
                gate: hold.gate,
                meant: Meant { point: Some(hold.point), ..self.meant(filter) },
                point: Some(hold.point),
                rule: None,
                most: filter.turn.count,
            }
        });
        let rules = self.rules().filter_map(|(rule, node)| {
            let pause = pauses(rule);
            let held = if pause.is_some() { &Filter::ANY } else { &rule.filter };
            let until = until(rule).filter(|_| pause.is_none_or(|scope| self.fills_ring(scope)))?;
            let meant = self.meant(held);
            Some(Holder {
                what: format!("rule `{}`", rule.name),
                until,
                node,
                gate: if pause.is_some() { Gate::Submit } else { rule.gate },
                point: held.point,
                rule: pause.is_none().then(|| self.index_of(rule)),
                most: meant.most,
                meant,
            })
        });
        holds.chain(rules).filter(|one| !self.is_told(&at(one.node, "until"))).collect()
    }

    /// Whether a pause is worth a doubt: only if the case says how many requests a ring has, for a guest rarely sends more
    /// than that while nothing goes on; and of one ring only if there is no other.
    fn fills_ring(&self, scope: Scope) -> bool {
        let size = self.policy.case.as_ref().and_then(|case| case.device.queue_size);
        size.is_some() && (scope == Scope::Disk || self.queues() == Some(1))
    }

    fn every_slot(&mut self, holder: &Holder<'_>) {
        let size = self.queue_size();
        let message = format!(
            "{} may hold every slot of the ring: with queue size {size}, when {size} requests are held \
             no other can arrive, also not the one that this waits for",
            holder.what
        );
        let own = holder.until.leaves().into_iter().filter_map(|leaf| match leaf {
            Expr::Event(Event::Point(point, _), times) if Some(*point) == holder.point => Some(*times),
            _ => None,
        });
        let help = match own.max() {
            Some(times) if times >= size => {
                format!("give the disk a `queue-size` of more than {times}, or wait for fewer of them")
            }
            _ if holder.rule.is_none() && holder.point.is_none() => {
                "wait for an event of the guest or of the control socket, or let a rule with a `count` hold fewer"
                    .to_owned()
            }
            own => {
                let count = own.unwrap_or(1).max(size / 2);
                format!("write count = {count}, say, or give the disk a larger `queue-size`")
            }
        };
        self.warn(at(holder.node, "until"), message, "needs another request", help);
    }

    /// What holds fewer each than the ring has, but not all of them together.
    fn together(&mut self, mut few: Vec<Holder<'_>>) {
        few.truncate(TOGETHER_MAX);
        let size = self.queue_size();
        let most = |one: &Holder<'_>| one.most.unwrap_or(size);
        // What ends when the others have theirs, holds nothing in the end.
        while let Some(ends) = few.iter().position(|one| {
            let held: Vec<_> = few.iter().map(|one| (one, most(one))).collect();
            self.comes(one.until, &held)
        }) {
            few.remove(ends);
        }
        let mut counted: Vec<&Holder<'_>> = Vec::new();
        let mut held: u64 = 0;
        for one in &few {
            if counted.iter().all(|other| adds_to(one, other)) {
                counted.push(one);
                held = held.saturating_add(most(one));
            }
            if held >= size {
                let kinds = if counted.iter().all(|one| one.rule.is_none()) {
                    "the holds"
                } else {
                    "holds and rules"
                };
                let message = format!(
                    "{kinds} up to this one may hold every slot of the ring: with queue size {size}, when \
                     {size} requests are held no other can arrive, also not the one that this waits for"
                );
                let help = "hold fewer requests, or give the disk a larger `queue-size`";
                return self.warn(at(one.node, "until"), message, "needs another request", help);
            }
        }
    }

    fn window(&mut self, rule: &Rule, node: &Node) {
        let Some(Wait::Reorder(reorder)) = rule.verdict.as_ref().and_then(|verdict| verdict.wait.as_ref())
        else {
            return;
        };
        let Close::Window { requests, within_ns: None } = reorder.close else { return };
        let (size, most) = (self.queue_size(), self.meant(&rule.filter).most);
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

    /// Whether an expression can become true though no further request arrives on the ring whose slots these hold, so
    /// many each.
    fn comes(&self, until: &Expr, held: &[(&Holder<'_>, u64)]) -> bool {
        can_be(until, &|leaf| self.leaf_comes(leaf, held))
    }

    fn leaf_comes(&self, leaf: &Expr, held: &[(&Holder<'_>, u64)]) -> bool {
        let by_rule = |times: u64, notes: &dyn Fn(&Rule) -> bool| {
            let rules = self.policy.rules.iter().enumerate().filter(|(_, rule)| notes(rule));
            rules.into_iter().any(|(index, rule)| {
                let acts = |one: &Holder<'_>| {
                    rule.gate < one.gate || rule.gate == one.gate && one.rule.is_some_and(|own| index <= own)
                };
                self.is_met(&rule.filter, times, held, &acts)
            })
        };
        match leaf {
            Expr::Event(Event::Point(point, life), times) => {
                let takes = |one: &Holder<'_>| match one.gate {
                    Gate::Submit => *life == Life::Arrived,
                    Gate::Complete => *life != Life::Completed,
                };
                let own =
                    held.iter().any(|(one, many)| one.point == Some(*point) && takes(one) && times <= many);
                own || self.is_met(&self.policy.points[point.get()].filter, *times, held, &takes)
            }
            Expr::Event(Event::Policy(name), times) => {
                by_rule(*times, &|rule| rule.notes.emit.contains(name))
            }
            Expr::State(state) => {
                self.policy.states[state.get()].on || by_rule(1, &|rule| rule.notes.set.contains(state))
            }
            Expr::Gauge(_, least) => *least <= self.slots().unwrap_or(self.queue_size()),
            _ => true,
        }
    }

    /// Whether a filter means so many of what is held there, whatever else is known, or requests of another ring.
    fn is_met(
        &self,
        filter: &Filter,
        times: u64,
        held: &[(&Holder<'_>, u64)],
        there: &dyn Fn(&Holder<'_>) -> bool,
    ) -> bool {
        let meant = self.meant(filter);
        let is_elsewhere = |one: &Holder<'_>| match (one.meant.queue, meant.queue) {
            (Some(own), Some(other)) => own != other,
            (Some(_), None) => self.queues() != Some(1),
            (None, _) => false,
        };
        let covers = |one: &Holder<'_>| filter.when.is_none() && meant.covers(&one.meant);
        held.iter().all(|(one, _)| is_elsewhere(one))
            || held.iter().any(|(one, many)| there(one) && covers(one) && among(filter.turn, *many) >= times)
    }

    /// Whether what the case says of the ring, if there is one, could be read.
    fn knows_queue_size(&self) -> bool {
        self.parts.case.is_none() && self.sound.is_whole || self.sound.is_case && self.parts.case.is_some()
    }

    /// How many requests can be under way at once, if that is known: the slots of all rings of a case.
    pub(super) fn slots(&self) -> Option<u64> {
        self.queues().map(|queues| self.queue_size() * u64::from(queues))
    }

    pub(super) fn queue_size(&self) -> u64 {
        let device = self.policy.case.as_ref().map(|case| case.device);
        device.and_then(|device| device.queue_size).map_or(QUEUE_SIZE_DEFAULT, u64::from)
    }

    /// How many rings there are, if that is known: those of a case, of which there is one unless it says more.
    pub(super) fn queues(&self) -> Option<u16> {
        let case = self.policy.case.as_ref().filter(|_| self.sound.is_case);
        case.map(|case| case.device.num_queues.unwrap_or(1))
    }
}

/// Whether what one holds is surely not held by the other, too: a request is one point, and one rule at a gate
/// decides on it.
fn adds_to(one: &Holder<'_>, other: &Holder<'_>) -> bool {
    match (one.point, other.point) {
        (Some(one), Some(other)) => one != other,
        _ => one.gate == other.gate || !one.meant.meets(&other.meant),
    }
}

/// How many among so many that match are meant.
fn among(turn: Turn, many: u64) -> u64 {
    if turn.probability.is_some_and(|probability| probability < 1.0) || many < turn.from {
        return 0;
    }
    let turns = (many - turn.from) / turn.every + 1;
    turn.count.map_or(turns, |count| turns.min(count))
}
