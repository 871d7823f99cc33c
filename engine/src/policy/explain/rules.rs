//! What becomes of requests at a gate.

use super::Text;
use super::words::{bytes, list, time};
use crate::event::{Gate, PointIndex};
use crate::policy::{
    Close, Delay, Hold, Limit, Notes, Order, Pause, Policy, Reorder, Rule, Scope, Shape, Share, Stall, Turn,
    Verdict, Wait,
};
use crate::request::Nanos;

impl Policy {
    pub(super) fn explain_gate(&self, gate: Gate, text: &mut Text) {
        text.head(match gate {
            Gate::Submit => "At the submit gate, before the drive has it:",
            Gate::Complete => {
                "At the complete gate, when the drive has done it and the guest has not been told:"
            }
        });
        let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.gate == gate).collect();
        for point in self.point_indexes() {
            let holds: Vec<&Hold> =
                self.holds.iter().filter(|hold| (hold.point, hold.gate) == (point, gate)).collect();
            if !holds.is_empty() {
                let untried = if rules.is_empty() { "" } else { " No rule is tried on it there." };
                text.item(&format!("{}{untried}", self.held(point, &holds)));
            }
        }
        let held = self.holds.iter().any(|hold| hold.gate == gate);
        if !rules.is_empty() {
            let others = if held { "What is not held there" } else { "Each request" };
            let order = match rules.len() {
                1 => "by one rule",
                _ => "by the first of these rules that decides",
            };
            let counts = rules.iter().any(|rule| rule.filter.turn != Turn::EACH);
            let counting = if counts { "; a rule counts those that come to it and match" } else { "" };
            text.item(&format!("{others} is decided on {order}{counting}:"));
        }
        for (index, rule) in rules.iter().enumerate() {
            text.numbered(index + 1, &self.rule(rule));
        }
        text.item(match (gate, held || !rules.is_empty()) {
            (Gate::Submit, true) => "All else goes to the drive at once.",
            (Gate::Submit, false) => "Everything goes to the drive at once.",
            (Gate::Complete, true) => "Of all else the guest is told at once.",
            (Gate::Complete, false) => "The guest is told at once.",
        });
    }

    /// A point's holds at a gate: all of them have to be over.
    fn held(&self, point: PointIndex, holds: &[&Hold]) -> String {
        let untils: Vec<String> = holds.iter().map(|hold| self.truth(&hold.until)).collect();
        let untils = list(&untils, "and until");
        let most = holds.iter().map(|hold| hold.watchdog_ns).min().unwrap_or_default();
        let name = &self.points[point.get()].name;
        format!("{name} is held until {untils}, for at most {}.", time(most))
    }

    fn rule(&self, rule: &Rule) -> String {
        let requests = self.requests_that(&rule.filter);
        let becomes = match &rule.verdict {
            Some(verdict) => self.becomes(rule, verdict),
            None => "is only noted, and later rules decide".to_owned(),
        };
        let late = " The flush has to arrive while the write is in flight.";
        let late = if rule.filter.flush_follows { late } else { "" };
        format!("`{}`: {requests} {becomes}.{late}{}", rule.name, self.notes(&rule.notes))
    }

    fn becomes(&self, rule: &Rule, Verdict { wait, fail }: &Verdict) -> String {
        let done = match rule.gate {
            Gate::Submit => "the drive never sees it",
            Gate::Complete => "the drive has done it all the same",
        };
        match (wait, fail) {
            (None, None) => "goes on at once".to_owned(),
            (None, Some(status)) => format!("ends with {status}; {done}"),
            (Some(wait), None) => self.waits(wait, rule.watchdog_ns),
            (Some(wait), Some(status)) => {
                format!("{}; then it ends with {status}, and {done}", self.waits(wait, rule.watchdog_ns))
            }
        }
    }

    fn notes(&self, notes: &Notes) -> String {
        let states = |states: &[crate::event::StateIndex], word: &str| {
            let each = states.iter().map(|state| format!("`{}` {word}", self.states[state.get()].name));
            each.collect::<Vec<_>>()
        };
        let turned = [states(&notes.set, "on"), states(&notes.clear, "off")].concat();
        let emitted: Vec<String> = notes.emit.iter().map(|event| format!("`policy.{event}`")).collect();
        match (turned.is_empty(), emitted.is_empty()) {
            (true, true) => String::new(),
            (false, true) => format!(" It turns {}.", list(&turned, "and")),
            (true, false) => format!(" It makes {} happen.", list(&emitted, "and")),
            (false, false) => {
                format!(" It turns {} and makes {} happen.", list(&turned, "and"), list(&emitted, "and"))
            }
        }
    }

    fn waits(&self, wait: &Wait, watchdog: Nanos) -> String {
        let most = format!("for at most {}", time(watchdog));
        match wait {
            Wait::Until(until) => format!("is held until {}, {most}", self.truth(until)),
            Wait::Delay(delay) => format!("is delayed by {}", drawn(delay)),
            Wait::Reorder(reorder) => self.reordered(reorder, &most),
            Wait::Limit(limit) => format!("waits for its share of {}, {most}", limited(limit)),
            Wait::Stall(Stall { every_ns, for_ns }) => format!(
                "waits while the disk stalls, which it does for {} every {}, counted from when the attempt began, {most}",
                time(*for_ns),
                time(*every_ns)
            ),
            Wait::Pause(Pause { scope, until }) => {
                let what = match scope {
                    Scope::Disk => "everything on the disk",
                    Scope::Ring => "everything of its ring",
                };
                let until = match (until, scope) {
                    (Some(until), _) => format!("until {}", self.truth(until)),
                    (None, Scope::Disk) => "until somebody resumes".to_owned(),
                    (None, Scope::Ring) => "until somebody resumes or the guest resets the ring".to_owned(),
                };
                format!("stands, and {what} stands at whatever gate it comes to, {until}, {most}")
            }
        }
    }

    fn reordered(&self, Reorder { order, close }: &Reorder, most: &str) -> String {
        let order = match order {
            Order::LastFirst => "the last first".to_owned(),
            Order::Random => "in an order drawn by chance".to_owned(),
            Order::BySector => "in the order of their places on the disk".to_owned(),
            Order::Written(positions) => {
                let positions: Vec<String> = positions.iter().map(|at| (at + 1).to_string()).collect();
                format!("in the order {}", positions.join(", "))
            }
        };
        match close {
            Close::Window { requests, within_ns: None } => {
                format!("is collected; when {requests} are there, they go on {order}; each waits {most}")
            }
            Close::Window { requests, within_ns: Some(within) } => format!(
                "is collected; when {requests} are there, or the first has waited for {}, they go on {order}; each \
                 waits {most}",
                time(*within)
            ),
            Close::Until(until) => {
                format!(
                    "is collected until {}; then they go on {order}; each waits {most}",
                    self.truth(until)
                )
            }
        }
    }

    /// Whether anything depends on the seed.
    pub(super) fn has_chance(&self) -> bool {
        let random = |wait: &Wait| match wait {
            Wait::Delay(delay) => !matches!(delay.shape, Shape::Fixed(_)),
            Wait::Reorder(reorder) => reorder.order == Order::Random,
            _ => false,
        };
        let waits = self.rules.iter().filter_map(|rule| rule.verdict.as_ref()?.wait.as_ref());
        let filters = self.points.iter().map(|point| &point.filter);
        let mut filters = filters.chain(self.rules.iter().map(|rule| &rule.filter));
        waits.into_iter().any(random) || filters.any(|filter| filter.turn.probability.is_some())
    }
}

/// How long a delay is.
fn drawn(delay: &Delay) -> String {
    let (words, longest) = match &delay.shape {
        Shape::Fixed(fixed) => return time(*fixed),
        Shape::Uniform(least, most) => {
            (format!("{} to {}, any of it as likely", time(*least), time(*most)), Some(*most))
        }
        Shape::Normal { mean_ns, deviation_ns } => {
            let (mean, deviation) = (time(*mean_ns), time(*deviation_ns));
            (format!("a normal time (mean {mean}, standard deviation {deviation})"), None)
        }
        Shape::LogNormal { median_ns, p99_ns } => {
            let (median, p99) = (time(*median_ns), time(*p99_ns));
            (format!("a lognormal time (half are under {median}, of 100 one is over {p99})"), None)
        }
        Shape::Pareto { least_ns, shape } => {
            (format!("a Pareto time ({} or more, shape {shape})", time(*least_ns)), None)
        }
        Shape::Table(rows) => {
            let sum: f64 = rows.iter().map(|(_, weight)| weight).sum();
            let row = |(delay, weight): &(Nanos, f64)| {
                format!("{} in {} %", time(*delay), rounded(weight / sum * 100.0))
            };
            let longest = rows.iter().map(|(delay, _)| *delay).max();
            (list(&rows.iter().map(row).collect::<Vec<_>>(), "and"), longest)
        }
    };
    let least = (delay.min_ns > 0).then(|| format!("not less than {}", time(delay.min_ns)));
    let most = longest.is_none_or(|longest| longest > delay.max_ns);
    let most = most.then(|| format!("not more than {}", time(delay.max_ns)));
    let bounds: Vec<String> = least.into_iter().chain(most).collect();
    if bounds.is_empty() { words } else { format!("{words}, but {}", list(&bounds, "and")) }
}

/// To a tenth, which is left out where it is none.
fn rounded(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn limited(limit: &Limit) -> String {
    match (limit.of, limit.burst) {
        (Share::Requests, 1) => format!("{} requests a second", limit.per_second),
        (Share::Requests, burst) => {
            format!("{} requests a second, {burst} at once after idling", limit.per_second)
        }
        (Share::Bytes, 1) => format!("{} a second", bytes(limit.per_second)),
        (Share::Bytes, burst) => {
            format!("{} a second, {} at once after idling", bytes(limit.per_second), bytes(burst))
        }
    }
}
