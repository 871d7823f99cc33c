//! What can never match and what can never be.

use super::{Look, at, find};
use crate::class::{Class, ClassSet};
use crate::diagnostic::Spot;
use crate::event::{Event, Expr};
use crate::policy::read::Read;
use crate::policy::tree::Node;
use crate::policy::{Filter, Probe, Where};
use crate::request::{ByteRange, Op, SECTOR};

const NEVER: &str = "this never matches";

impl Look<'_> {
    pub(super) fn never(&mut self) {
        self.places();
        for (what, filter, node) in self.filters() {
            self.range(filter, node);
            self.length(&what, filter, node);
            self.of_case(&what, filter, node);
            self.data(&what, filter, node);
            self.turn(&what, filter, node);
        }
        self.events();
    }

    fn places(&mut self) {
        for (place, entry) in self.policy.places.iter().zip(&self.parts.places) {
            if let Some(range) = place.range {
                self.beyond_the_end(&format!("place `{}`", place.name), range, entry.node.at.clone());
            }
        }
    }

    fn range(&mut self, filter: &Filter, node: &Node) {
        if let Some(Where::Range(range)) = filter.range {
            self.beyond_the_end("the range", range, at(node, "place"));
        }
    }

    fn beyond_the_end(&mut self, what: &str, range: ByteRange, at: Spot) {
        let case = self.policy.case.as_ref().filter(|_| self.sound.is_case);
        let Some(size) = case.map(|case| case.image.size_bytes) else { return };
        let help = format!("the disk of the case has {size} bytes");
        if range.offset >= size {
            self.warn(at, format!("{what} lies beyond the end of the disk"), NEVER, help);
        } else if range.end() > size {
            self.warn(at, format!("{what} reaches beyond the end of the disk"), "", help);
        }
    }

    fn length(&mut self, what: &str, filter: &Filter, node: &Node) {
        if node.get("length").is_none() {
            return;
        }
        let at = at(node, "length");
        let next = filter.length_min.div_ceil(SECTOR).checked_mul(SECTOR);
        if filter.length_min > filter.length_max {
            let help = "let `min` be at most `max`";
            self.warn(at, format!("{what}: the least length is more than the most"), NEVER, help);
        } else if !filter.ops.iter().any(Op::has_range) {
            if filter.length_min > 0 {
                let message = format!("{what} is of requests that have no length");
                self.warn(at, message, NEVER, "leave `length` out: a flush addresses no bytes");
            }
        } else if next.is_none_or(|next| next > filter.length_max) {
            let message = format!("{what}: no request has that length");
            self.warn(at, message, NEVER, "a request's length is a multiple of 512 bytes");
        }
    }

    /// What the case's own disk does not have.
    fn of_case(&mut self, what: &str, filter: &Filter, node: &Node) {
        let Some(case) = self.policy.case.as_ref().filter(|_| self.sound.is_case) else { return };
        let (size, filesystem) = (case.image.size_bytes, case.image.filesystem.as_str());
        if let (Some(queue), Some(queues)) = (filter.queue, self.queues())
            && queue >= queues
        {
            let message = format!("{what} is of requests of queue {queue}, which the case does not have");
            let help = match queues {
                1 => "its disk has one queue, 0: give [case.device] a `num-queues`".to_owned(),
                many => format!("its disk has queues 0 to {}: `num-queues` in [case.device]", many - 1),
            };
            self.warn(at(node, "queue"), message, NEVER, help);
        }
        if filter.length_min > size && filter.length_min <= filter.length_max {
            let message = format!("{what} is of requests that are longer than the disk");
            let help = format!("the disk of the case has {size} bytes");
            self.warn(at(node, "length"), message, NEVER, help);
        }
        let is_known = |class: ClassSet| class.meets(ClassSet::of(&[Class::Unknown]));
        if filesystem != "ext4" && filter.class.is_some_and(|class| !is_known(class)) {
            let message = format!("{what} is of classes that no block of {filesystem} has");
            let help =
                format!("classes are learned of ext2, ext3 and ext4: of {filesystem}, all is `unknown`");
            self.warn(at(node, "class"), message, NEVER, help);
        }
    }

    fn data(&mut self, what: &str, filter: &Filter, node: &Node) {
        if filter.class.is_some() && !filter.ops.iter().any(Op::has_range) {
            let message = format!("{what} is of requests that touch no block");
            self.warn(at(node, "class"), message, NEVER, "leave `class` out: a flush addresses no bytes");
        }
        let has_data = filter.ops.has(Op::Read) || filter.ops.has(Op::Write);
        if filter.probe.is_some() && !has_data {
            let message = format!("{what} is of requests that carry no data");
            self.warn(at(node, "payload"), message, NEVER, "leave `payload` out, or write op = \"write\"");
        }
        let probe = filter.probe.and_then(|probe| self.policy.probes.get(usize::from(probe)));
        let Some(Probe::Bytes { offset, bytes }) = probe else { return };
        let (end, most) = (offset.saturating_add(bytes.len() as u64), self.meant(filter).length_max);
        if end > most && has_data {
            let message = format!("{what} tests data up to byte {end} of requests that have {most} at most");
            self.warn(
                at(node, "payload"),
                message,
                NEVER,
                "`offset` counts from the beginning of the request's data",
            );
        }
    }

    fn turn(&mut self, what: &str, filter: &Filter, node: &Node) {
        let Some(point) = filter.point else { return };
        let point = &self.policy.points[point.get()];
        let meant = self.meant(filter);
        if meant.ops.iter().next().is_none() && node.get("op").is_some() {
            let help = format!("leave `op` out: point `{}` says it", point.name);
            self.warn(at(node, "op"), format!("{what}: its point is another operation"), NEVER, help);
        }
        if point.filter.turn.count.is_some_and(|most| filter.turn.from > most) {
            let key = if node.get("nth").is_some() { "nth" } else { "from" };
            let from = filter.turn.from;
            let most = times(point.filter.turn.count.unwrap_or(0));
            let message =
                format!("{what} is for request {from} of point `{}`, which comes {most}", point.name);
            self.warn(at(node, key), message, NEVER, "give the point a larger `count`, or leave this out");
        }
    }

    /// Tells of each event and state in an expression that can never be.
    fn events(&mut self) {
        for (expr, node) in self.expressions() {
            for leaf in expr.leaves() {
                self.leaf(leaf, node);
            }
        }
    }

    fn leaf(&mut self, leaf: &Expr, node: &Node) {
        let spot = |name: &str| find(node, name).unwrap_or_else(|| node.at.clone());
        match leaf {
            Expr::Event(Event::Policy(name), _)
                if !self.can_happen(leaf) && !self.sound.may_be_named(name) =>
            {
                let help = format!("write emit = \"{name}\" in the rule that is meant");
                self.warn(
                    spot(&format!("policy.{name}")),
                    format!("no rule emits `{name}`"),
                    "never happens",
                    help,
                );
            }
            Expr::Event(event @ Event::Point(point, _), least) if self.is_point(*point) => {
                let point = &self.policy.points[point.get()];
                let Some(most) = point.filter.turn.count.filter(|most| least > most) else { return };
                let event = self.policy.event_name(event);
                let message = format!("`{event}` happens {}", times(most));
                let help = format!("give point `{}` a larger `count`", point.name);
                self.warn(spot(&event), message, "never is", help);
            }
            Expr::State(state)
                if !self.can_happen(leaf)
                    && self.sound.states[state.get()] == Read::Well
                    && !self.sound.may_be_named(&self.policy.states[state.get()].name) =>
            {
                let name = self.policy.state_name(*state);
                let help = "write `set` in the rule that is meant, or let it be on from the start";
                self.warn(spot(&name), format!("no rule turns `{name}` on"), "never is on", help);
            }
            _ => {}
        }
    }

    /// Whether an event can happen or a state be on, as far as points and rules tell.
    fn can_happen(&self, leaf: &Expr) -> bool {
        match leaf {
            Expr::Event(Event::Point(point, _), times) => {
                self.policy.points[point.get()].filter.turn.count.is_none_or(|most| *times <= most)
            }
            Expr::Event(Event::Policy(name), _) => self.emitted.contains(name.as_str()),
            Expr::State(state) => self.policy.states[state.get()].on || self.turned_on.contains(state),
            _ => true,
        }
    }
}

fn times(most: u64) -> String {
    if most == 1 { "only once".to_owned() } else { format!("{most} times at most") }
}
