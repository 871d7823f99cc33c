//! `delay`: how long a request is delayed.

use crate::diagnostic::{Diagnostic, Spot};
use crate::policy::quantity::{parse_duration, parse_positive_time, parse_some_time};
use crate::policy::table::{Mistakes, Table, items, positive, quantity};
use crate::policy::tree::{Node, Value};
use crate::policy::{Delay, Shape, grammar};
use crate::request::Nanos;

/// Keys that say how a delay is drawn.
const SHAPES: [&str; 5] = ["uniform", "normal", "lognormal", "pareto", "table"];

/// Reads a delay that must not be longer than the watchdog lets it.
pub fn read(node: &Node, watchdog_ns: Nanos, mistakes: &mut Mistakes) -> Option<Delay> {
    if !matches!(node.value, Value::Table(_)) {
        let fixed = quantity(node, parse_duration, mistakes)?;
        check_watchdog(fixed, watchdog_ns, &node.at, mistakes);
        return Some(Delay { shape: Shape::Fixed(fixed), min_ns: 0, max_ns: watchdog_ns });
    }
    let table = Table::of("`delay`", grammar::DELAY, node, mistakes)?;
    let shapes: Vec<&'static str> = SHAPES.into_iter().filter(|key| table.has(key)).collect();
    let min_ns = table.get_quantity("min", parse_duration, mistakes);
    let max_ns = table.get_quantity("max", parse_some_time, mistakes);
    let read: Vec<_> = shapes
        .iter()
        .filter_map(|key| table.get(key).map(|node| (node, read_shape(key, node, mistakes))))
        .collect();
    let (least, most) = (min_ns.unwrap_or(0), max_ns.unwrap_or(watchdog_ns));
    if least > most {
        let at = table.get("min").map_or(table.at(), |node| node.at.clone());
        mistakes.push(Diagnostic::error(at, "the least delay is longer than the longest"));
    }
    let [(value, shape)] = read.as_slice() else {
        let message = "`delay` must have one of `uniform`, `normal`, `lognormal`, `pareto` and `table`";
        mistakes.push(Diagnostic::error(table.at(), message).help("or be a time: delay = \"5ms\""));
        return None;
    };
    let longest_drawn = shape.as_ref().map_or(0, longest);
    match (max_ns, table.get("max")) {
        (Some(max_ns), Some(node)) => check_watchdog(max_ns, watchdog_ns, &node.at, mistakes),
        _ => check_watchdog(longest_drawn, watchdog_ns, &value.at, mistakes),
    }
    Some(Delay { shape: shape.clone()?, min_ns: least, max_ns: most })
}

fn check_watchdog(delay_ns: Nanos, watchdog_ns: Nanos, at: &Spot, mistakes: &mut Mistakes) {
    if delay_ns > watchdog_ns {
        let seconds = watchdog_ns as f64 / 1e9;
        let message = format!("the delay can be longer than its watchdog of {seconds} s, which would end it");
        mistakes.push(Diagnostic::error(at.clone(), message).help("give the rule a longer `watchdog`"));
    }
}

/// The longest delay that is drawn, as far as the shape says; 0 if it is not bounded.
fn longest(shape: &Shape) -> Nanos {
    match shape {
        Shape::Fixed(longest) | Shape::Uniform(_, longest) => *longest,
        Shape::Table(rows) => rows.iter().map(|(delay, _)| *delay).max().unwrap_or(0),
        Shape::Normal { .. } | Shape::LogNormal { .. } | Shape::Pareto { .. } => 0,
    }
}

fn read_shape(key: &str, node: &Node, mistakes: &mut Mistakes) -> Option<Shape> {
    match key {
        "uniform" => read_uniform(node, mistakes),
        "normal" => {
            let table = Table::of("`normal`", grammar::NORMAL, node, mistakes)?;
            let mean_ns = table.need_quantity("mean", parse_duration, mistakes);
            let deviation_ns = table.need_quantity("deviation", parse_duration, mistakes);
            Some(Shape::Normal { mean_ns: mean_ns?, deviation_ns: deviation_ns? })
        }
        "lognormal" => {
            let table = Table::of("`lognormal`", grammar::LOGNORMAL, node, mistakes)?;
            let median_ns = table.need_quantity("median", parse_positive_time, mistakes);
            let p99_ns = table.need_quantity("p99", parse_positive_time, mistakes);
            let (median_ns, p99_ns) = (median_ns?, p99_ns?);
            if p99_ns < median_ns {
                mistakes.push(Diagnostic::error(node.at.clone(), "`p99` is less than `median`"));
            }
            Some(Shape::LogNormal { median_ns, p99_ns })
        }
        "pareto" => {
            let table = Table::of("`pareto`", grammar::PARETO, node, mistakes)?;
            let least_ns = table.need_quantity("least", parse_positive_time, mistakes);
            let shape = table.need("shape", mistakes).and_then(|node| positive("shape", node, mistakes));
            Some(Shape::Pareto { least_ns: least_ns?, shape: shape? })
        }
        _ => read_table(node, mistakes),
    }
}

fn pair(node: &Node) -> Option<(&Node, &Node)> {
    match &node.value {
        Value::Array(items) if items.len() == 2 => Some((&items[0], &items[1])),
        _ => None,
    }
}

fn read_uniform(node: &Node, mistakes: &mut Mistakes) -> Option<Shape> {
    let Some((least, most)) = pair(node) else {
        mistakes.push(Diagnostic::error(node.at.clone(), "`uniform` must be [LEAST, MOST]"));
        return None;
    };
    let (least, most) = (quantity(least, parse_duration, mistakes), quantity(most, parse_duration, mistakes));
    let (least, most) = (least?, most?);
    if least > most {
        mistakes.push(Diagnostic::error(node.at.clone(), "the least delay is longer than the longest"));
    }
    Some(Shape::Uniform(least, most))
}

fn read_table(node: &Node, mistakes: &mut Mistakes) -> Option<Shape> {
    let rows = items("[DELAY, WEIGHT]", node, mistakes)?;
    let mut read = |row: &Node| {
        let Some((delay, weight)) = pair(row) else {
            mistakes.push(Diagnostic::error(row.at.clone(), "a row must be [DELAY, WEIGHT]"));
            return None;
        };
        let (delay, weight) =
            (quantity(delay, parse_duration, mistakes), positive("a weight", weight, mistakes));
        delay.zip(weight)
    };
    let rows: Vec<Option<(Nanos, f64)>> = rows.iter().map(&mut read).collect();
    let rows = rows.into_iter().collect::<Option<Vec<_>>>()?;
    if !rows.iter().map(|(_, weight)| weight).sum::<f64>().is_finite() {
        mistakes.push(Diagnostic::error(node.at.clone(), "the weights are too large to be added up"));
    }
    Some(Shape::Table(rows))
}
