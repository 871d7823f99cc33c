//! What a request waits for because of a rule.

use super::Reader;
use super::delay;
use crate::diagnostic::Diagnostic;
use crate::event::Expr;
use crate::policy::quantity::{parse_positive_time, parse_some_bytes, parse_some_time};
use crate::policy::table::{Table, items, number, one_of};
use crate::policy::tree::{Node, Value};
use crate::policy::{Close, Limit, Order, Pause, Reorder, Scope, Share, Stall, Wait, expr, grammar};
use crate::request::Nanos;

/// Keys of a rule that say for what.
pub const KEYS: [&str; 8] = ["until", "delay", "reorder", "window", "within", "limit", "stall", "pause"];

/// Those of them that are a kind of wait; `until` is one only if it is not part of another.
const KINDS: [&str; 5] = ["delay", "reorder", "limit", "stall", "pause"];

impl Reader<'_> {
    /// What a request waits for, if the rule says so.
    pub fn wait(&mut self, table: &Table<'_>, watchdog_ns: Nanos) -> Option<Wait> {
        self.kind(table);
        self.needs_reorder(table);
        let until = table.get("until").map(|node| expr::read_until(&self.names, node, &mut self.mistakes));
        // Also what is one kind too many is read, for the mistakes that it has in itself.
        let mut waits = KINDS.into_iter().filter_map(|kind| {
            Some(self.wait_of(kind, table, table.get(kind)?, until.as_ref(), watchdog_ns))
        });
        let first = waits.next();
        waits.for_each(drop);
        match first {
            Some(wait) => wait,
            None => until?.map(Wait::Until),
        }
    }

    fn wait_of(
        &mut self,
        kind: &str,
        table: &Table<'_>,
        node: &Node,
        until: Option<&Option<Expr>>,
        watchdog_ns: Nanos,
    ) -> Option<Wait> {
        match kind {
            "delay" => delay::read(node, watchdog_ns, &mut self.mistakes).map(Wait::Delay),
            "reorder" => {
                let order = self.order(node);
                let until = until.map(|until| until.clone().map(Close::Until));
                let close = self.close(table, order.as_ref(), until);
                Some(Wait::Reorder(Reorder { order: order?, close: close? }))
            }
            "limit" => self.limit(node).map(Wait::Limit),
            "stall" => self.stall(node).map(Wait::Stall),
            _ => {
                let scopes = [Scope::Disk, Scope::Ring];
                let scope = one_of("pause", node, &["disk", "ring"], &mut self.mistakes)?;
                Some(Wait::Pause(Pause { scope: scopes[scope], until: until.cloned().flatten() }))
            }
        }
    }

    /// Reports more than one kind of wait.
    fn kind(&mut self, table: &Table<'_>) {
        let mut kinds = KINDS.into_iter().filter(|key| table.has(key));
        let kind = kinds.next();
        let lone = kind.filter(|kind| !["reorder", "pause"].contains(kind));
        let other = kinds.next().or(lone.and(table.key_at("until")).map(|_| "until"));
        let places =
            kind.and_then(|kind| table.key_at(kind)).zip(other.and_then(|other| table.key_at(other)));
        if let (Some(kind), Some(other), Some((one_at, other_at))) = (kind, other, places) {
            let message = format!("a request waits for one thing, not for `{kind}` and `{other}`");
            let mistake = Diagnostic::error(other_at, message).also(one_at, "");
            self.mistakes.push(mistake.help("leave one of them out, or make two rules with a gate each"));
        }
    }

    fn needs_reorder(&mut self, table: &Table<'_>) {
        for key in ["window", "within"] {
            if let (Some(at), false) = (table.key_at(key), table.has("reorder")) {
                let mistake = Diagnostic::error(at, format!("`{key}` is of `reorder`, which is not there"));
                self.mistakes
                    .push(mistake.help("write reorder = \"last-first\", \"random\" or \"by-sector\""));
            }
        }
        if !table.has("reorder") {
            self.window(table);
        }
    }

    /// `window` and `within`.
    fn window(&mut self, table: &Table<'_>) -> (Option<u64>, Option<Nanos>) {
        let window = table.get_number("window", 2, u64::MAX, &mut self.mistakes);
        (window, table.get_quantity("within", parse_some_time, &mut self.mistakes))
    }

    fn order(&mut self, node: &Node) -> Option<Order> {
        if !matches!(node.value, Value::Array(_)) {
            let index = one_of("order", node, &["last-first", "random", "by-sector"], &mut self.mistakes)?;
            return Some([Order::LastFirst, Order::Random, Order::BySector][index].clone());
        }
        let items = items("position", node, &mut self.mistakes)?;
        let positions: Vec<Option<u64>> = items
            .iter()
            .map(|item| number("reorder", item, 1, items.len().max(2) as u64, &mut self.mistakes))
            .collect();
        let positions = positions.into_iter().collect::<Option<Vec<u64>>>()?;
        let mut sorted = positions.clone();
        sorted.sort_unstable();
        if positions.len() < 2 || !sorted.iter().copied().eq(1..=positions.len() as u64) {
            let message = "a written order has each position from 1 to its length once, and at least two";
            let mistake = Diagnostic::error(node.at.clone(), message);
            self.mistakes.push(mistake.help("reorder = [3, 1, 2]: the third goes first, then the first two"));
            return None;
        }
        Some(Order::Written(positions.into_iter().map(|position| position as usize - 1).collect()))
    }

    fn close(
        &mut self,
        table: &Table<'_>,
        order: Option<&Order>,
        until: Option<Option<Close>>,
    ) -> Option<Close> {
        let (window, within_ns) = self.window(table);
        let length = if let Some(Order::Written(order)) = order { Some(order.len() as u64) } else { None };
        if let (Some(window), Some(length), Some(node)) = (window, length, table.get("window"))
            && window < length
        {
            let message = format!("the order has {length} positions, but {window} requests are collected");
            self.mistake(&node.at, message);
        }
        if let Some(until) = until {
            if let Some(at) = table.key_at("window").or(table.key_at("within")) {
                let message = "requests are collected `until` something, or up to a `window`, not both";
                let mistake = Diagnostic::error(at, message);
                self.mistakes.push(mistake.help("leave one of them out"));
            }
            return until;
        }
        let requests = window.or(length);
        if requests.is_none() && !table.has("window") && order.is_some() {
            let at = table.key_at("reorder").unwrap_or(table.at());
            let mistake = Diagnostic::error(at, "how many requests are collected is not said");
            self.mistakes.push(mistake.help("write window = 8, say, or until = …"));
        }
        requests.map(|requests| Close::Window { requests, within_ns })
    }

    fn limit(&mut self, node: &Node) -> Option<Limit> {
        let mistakes = &mut self.mistakes;
        let table = Table::of("`limit`", grammar::LIMIT, node, mistakes)?;
        let iops = table.get_number("iops", 1, u64::MAX, mistakes);
        let bandwidth = table.get_quantity("bandwidth", parse_some_bytes, mistakes);
        let (of, per_second, burst) = match (table.has("iops"), table.has("bandwidth")) {
            (true, false) => (Share::Requests, iops, table.get_number("burst", 1, u64::MAX, mistakes)),
            (false, true) => {
                (Share::Bytes, bandwidth, table.get_quantity("burst", parse_some_bytes, mistakes))
            }
            _ => {
                let mistake = Diagnostic::error(node.at.clone(), "`limit` must have `iops` or `bandwidth`");
                mistakes
                    .push(mistake.help("write { iops = 500 } or { bandwidth = \"10M\" }, bytes a second"));
                return None;
            }
        };
        Some(Limit { of, per_second: per_second?, burst: burst.unwrap_or(1) })
    }

    fn stall(&mut self, node: &Node) -> Option<Stall> {
        let mistakes = &mut self.mistakes;
        let table = Table::of("`stall`", grammar::STALL, node, mistakes)?;
        let every_ns = table.need_quantity("every", parse_positive_time, mistakes);
        let for_ns = table.need_quantity("for", parse_positive_time, mistakes);
        let stall = Stall { every_ns: every_ns?, for_ns: for_ns? };
        if stall.for_ns >= stall.every_ns
            && let Some(node) = table.get("for")
        {
            let mistake = Diagnostic::error(node.at.clone(), "the stall is not over before the next begins");
            mistakes.push(mistake.help("make `for` shorter than `every`"));
        }
        Some(stall)
    }
}
