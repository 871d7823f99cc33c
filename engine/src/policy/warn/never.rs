//! What can never match and what can never be.

use super::most::times;
use super::{Look, at, find};
use crate::diagnostic::Spot;
use crate::event::{Event, Expr};
use crate::policy::read::Read;
use crate::policy::tree::Node;
use crate::policy::{Filter, Point, Probe, Where};
use crate::request::{ByteRange, Op, SECTOR};

pub(super) const NEVER: &str = "this never matches";

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
        self.other_than(what, filter, point, node);
        if point.filter.turn.count.is_some_and(|most| filter.turn.from > most) {
            let key = if node.get("nth").is_some() { "nth" } else { "from" };
            let from = filter.turn.from;
            let most = times(point.filter.turn.count.unwrap_or(0));
            let message =
                format!("{what} is for request {from} of point `{}`, which comes {most}", point.name);
            self.warn(at(node, key), message, NEVER, "give the point a larger `count`, or leave this out");
        }
    }

    /// Tells of what a rule asks for that its point is not.
    fn other_than(&mut self, what: &str, filter: &Filter, point: &Point, node: &Node) {
        let (own, of) = (self.meant(&Filter { point: None, ..filter.clone() }), self.meant(&point.filter));
        let other_queue = own.queue.zip(of.queue).is_some_and(|(own, of)| own != of);
        let others = [
            ("op", "is another operation", !filter.ops.iter().any(|op| point.filter.ops.has(op))),
            ("length", "has another length", own.is_longer_or_shorter(&of)),
            ("queue", "is of another queue", other_queue),
            ("place", "is at another place", own.is_apart(&of)),
        ];
        for (key, why, _) in others.into_iter().filter(|(key, _, is)| *is && node.get(key).is_some()) {
            let at = at(node, key);
            if !self.is_told(&at) {
                let help = format!("leave `{key}` out: point `{}` says it", point.name);
                self.warn(at, format!("{what}: its point {why}"), NEVER, help);
            }
        }
    }

    /// Tells of each event and state in an expression that can never be.
    fn events(&mut self) {
        for (expr, node) in self.expressions() {
            expr.leaves().into_iter().for_each(|leaf| self.leaf(leaf, node));
            wanted(expr).into_iter().for_each(|leaf| self.too_much(leaf, node));
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

    /// Whether an event can happen or a state be on, as far as rules tell.
    fn can_happen(&self, leaf: &Expr) -> bool {
        match leaf {
            Expr::Event(Event::Policy(name), _) => self.emitted.contains_key(name.as_str()),
            Expr::State(state) => self.policy.states[state.get()].on || self.turned_on.contains(state),
            _ => true,
        }
    }
}

/// The leaves that have to be so, of which the others are no part: of `== 3` that it is 3 or more.
fn wanted(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Any(parts) | Expr::All(parts) => parts.iter().flat_map(wanted).collect(),
        Expr::Not(_) => Vec::new(),
        leaf => vec![leaf],
    }
}
