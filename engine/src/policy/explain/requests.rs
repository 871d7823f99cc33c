//! Which requests are meant, and when something is true.

use super::words::{bytes, list, ordinal, range};
use crate::class::{Class, ClassSet};
use crate::event::{Event, Expr, Gauge, Life};
use crate::policy::{Filter, Policy, Probe, Turn, Where};
use crate::request::{Op, OpSet};

/// Most bytes of a payload that are shown.
const SHOWN_MAX: usize = 16;

impl Policy {
    /// `every 5th write of 4 KiB or more that touches `victim` and comes when A has arrived, at most 3 in an attempt`.
    pub(super) fn requests(&self, filter: &Filter) -> String {
        let clauses = self.clauses(filter);
        let that =
            if clauses.is_empty() { String::new() } else { format!(" that {}", list(&clauses, "and")) };
        let Which { before, after, limits } = which(&filter.turn);
        let limits: String = limits.iter().map(|limit| format!(", {limit}")).collect();
        format!("{before} {}{}{after}{that}{limits}", ops(filter.ops), length(filter))
    }

    /// The same before a verb.
    pub(super) fn requests_that(&self, filter: &Filter) -> String {
        let comma = if which(&filter.turn).limits.is_empty() { "" } else { "," };
        format!("{}{comma}", self.requests(filter))
    }

    /// What a request must be or do, but for its operation and length.
    fn clauses(&self, filter: &Filter) -> Vec<String> {
        let point = filter.point.map(|point| format!("is {}", self.points[point.get()].name));
        let queue = filter.queue.map(|queue| format!("comes through queue {queue}"));
        let place = filter.range.map(|place| match place {
            Where::Range(at) => format!("touches any of {}", range(at)),
            Where::Place(place) => format!("touches `{}`", self.places[place].name),
        });
        let class = filter.class.map(|class| format!("touches {} blocks", classes(class)));
        let probe = filter.probe.and_then(|probe| self.probes.get(usize::from(probe))).map(data);
        let flush = filter.flush_follows.then(|| "is followed by a flush".to_owned());
        let when = filter.when.as_ref().map(|when| format!("comes when {}", self.truth(when)));
        [point, queue, place, class, probe, flush, when].into_iter().flatten().collect()
    }

    /// `A has arrived`, `8 or more requests are in flight`.
    pub(super) fn truth(&self, expr: &Expr) -> String {
        match expr {
            Expr::Event(event, times) => self.happened(event, *times),
            Expr::State(state) => format!("`{}` is on", self.states[state.get()].name),
            Expr::Gauge(gauge, least) => format!("{least} or more requests are {}", gauge_words(*gauge)),
            Expr::Any(parts) => self.join(parts, "or"),
            Expr::All(parts) => self.join(parts, "and"),
            Expr::Not(part) => self.untruth(part),
        }
    }

    fn join(&self, parts: &[Expr], word: &str) -> String {
        let one = |part: &Expr| match part {
            Expr::Any(inner) | Expr::All(inner) if inner.len() > 1 && parts.len() > 1 => {
                format!("({})", self.truth(part))
            }
            _ => self.truth(part),
        };
        list(&parts.iter().map(one).collect::<Vec<_>>(), word)
    }

    fn untruth(&self, part: &Expr) -> String {
        match part {
            Expr::Event(event, 1) => match event {
                Event::Point(point, life) => {
                    format!("{} has not {}", self.points[point.get()].name, life_words(*life))
                }
                _ => format!("`{}` has not happened", self.event_name(event)),
            },
            Expr::Event(event, times) => {
                format!("`{}` has happened fewer than {times} times", self.event_name(event))
            }
            Expr::State(state) => format!("`{}` is off", self.states[state.get()].name),
            Expr::Gauge(gauge, least) => format!("fewer than {least} requests are {}", gauge_words(*gauge)),
            Expr::Not(part) => self.truth(part),
            Expr::Any(_) | Expr::All(_) => format!("it is not so that ({})", self.truth(part)),
        }
    }

    fn happened(&self, event: &Event, times: u64) -> String {
        match (event, times) {
            (Event::Point(point, life), 1) => {
                format!("{} has {}", self.points[point.get()].name, life_words(*life))
            }
            (_, 1) => format!("`{}` has happened", self.event_name(event)),
            _ => format!("`{}` has happened {times} times", self.event_name(event)),
        }
    }
}

fn life_words(life: Life) -> &'static str {
    match life {
        Life::Arrived => "arrived",
        Life::Submitted => "gone to the drive",
        Life::Done => "been done by the drive",
        Life::Completed => "completed",
    }
}

fn gauge_words(gauge: Gauge) -> &'static str {
    match gauge {
        Gauge::InFlight => "in flight",
        Gauge::Held => "standing at a gate",
    }
}

/// Which of those that match.
struct Which {
    /// Words before what a request is.
    before: String,
    /// Words after it.
    after: &'static str,
    limits: Vec<String>,
}

fn which(turn: &Turn) -> Which {
    let Turn { from, every, probability, count } = *turn;
    if matches!((every, probability, count), (1 | u64::MAX, None, Some(1))) {
        let before = format!("the {}", ordinal(from));
        return Which { before, after: " in an attempt", limits: Vec::new() };
    }
    let before = if every > 1 { format!("every {}", ordinal(every)) } else { "each".to_owned() };
    let begin = match (every, from) {
        (1, 1) => None,
        (1, from) => Some(format!("from the {} on", ordinal(from))),
        (_, from) => Some(format!("beginning with the {}", ordinal(from))),
    };
    let probability = probability.map(|probability| format!("with a probability of {probability}"));
    let count = count.map(|count| format!("at most {count} in an attempt"));
    Which { before, after: "", limits: [begin, probability, count].into_iter().flatten().collect() }
}

fn ops(ops: OpSet) -> String {
    if ops == OpSet::ANY {
        return "request".to_owned();
    }
    list(&ops.iter().map(Op::name).collect::<Vec<_>>(), "or")
}

fn length(filter: &Filter) -> String {
    match (filter.length_min, filter.length_max) {
        (0, u64::MAX) => String::new(),
        (min, u64::MAX) => format!(" of {} or more", bytes(min)),
        (0, max) => format!(" of at most {}", bytes(max)),
        (min, max) if min == max => format!(" of {}", bytes(min)),
        (min, max) => format!(" of {} to {}", bytes(min), bytes(max)),
    }
}

/// Groups where all of one are meant.
fn classes(set: ClassSet) -> String {
    let mut rest: Vec<Class> = set.iter().collect();
    let mut words: Vec<&str> = Vec::new();
    for (group, members) in ClassSet::GROUPS.iter().rev() {
        if members.iter().all(|member| rest.contains(member)) {
            words.push(group);
            rest.retain(|class| !members.contains(class));
        }
    }
    words.extend(rest.into_iter().map(Class::name));
    list(&words, "or")
}

fn data(probe: &Probe) -> String {
    let Probe::Bytes { offset, bytes } = probe else { return "has nothing but zeros as data".to_owned() };
    let printable = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    let more = if bytes.len() > SHOWN_MAX { " …" } else { "" };
    let shown = match printable {
        true => format!("\"{}\"", String::from_utf8_lossy(shown)),
        false => shown.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    };
    format!("has {shown}{more} at byte {offset} of its data")
}
