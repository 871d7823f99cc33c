//! What each lane of a drawing shows.

use super::axis::Axis;
use super::drawing::{Bar, Lane, MARGIN, MARKS, Mark};
use super::flags::Flag;
use super::scene::{Group, Heard, Kind, LINES_MAX, Scene, words_of};
use super::stand::{ended, held, is_expired, is_good, stood, why};
use super::story::{Life, Stand, What};
use super::task::{self, Task};
use super::words;
use blkstay_engine::journal::{Cause, Source};
use blkstay_engine::request::Nanos;

/// Height of a bar and of its row: of a request that matters, and of any other.
pub const BAR: (f64, f64) = (14.0, 18.0);
const BAR_LITTLE: (f64, f64) = (6.0, 8.0);

/// Rows of bars that a lane has at most; further ones are counted only.
const ROWS_MAX: usize = 8;

/// Characters of what the guest or its kernel said that are in the picture.
const SAID_MAX: usize = 52;

/// Draws a scene on an axis.
pub struct Pen<'a> {
    /// The scene.
    pub scene: &'a Scene<'a>,
    /// The axis.
    pub axis: &'a Axis,
}

impl Pen<'_> {
    /// Where a time lies.
    pub fn x(&self, t: Nanos) -> f64 {
        MARGIN + self.axis.x(t.max(self.scene.from_ns))
    }

    /// How long after the first moment that is.
    pub fn since(&self, t: Nanos) -> String {
        words::time(t.saturating_sub(self.scene.from_ns))
    }

    /// Events, reports and the end of the script.
    pub fn guest(&self) -> Lane {
        let mut lane = Lane::new("guest", "what its script saw".to_owned());
        for heard in &self.scene.said {
            let (class, short) = match &heard.said.what {
                What::Log(_) | What::Stalled => continue,
                // What a task's own lane shows.
                what if task::is_edge(what) || self.shown(heard) => continue,
                What::Event { source: Source::Guest, name, .. } => ("event", name.clone()),
                What::Event { source, name, .. } => ("event", format!("{source}.{name}")),
                What::Bound { .. } => ("bound", words_of(&heard.said.what)),
                what @ What::Report { .. } => ("report", words_of(what)),
                what @ What::Finished(_) => ("finished", words_of(what)),
            };
            self.hear(&mut lane, heard, if heard.sign { "sign" } else { class }, &short);
        }
        lane.pack(MARKS)
    }

    /// Whether a task's lane says where it stands.
    fn shown(&self, heard: &Heard) -> bool {
        let process = heard.stuck.as_ref().and_then(|stuck| stuck.process);
        process.is_some_and(|process| self.scene.tasks.iter().any(|task| task.name == process))
    }

    /// What a process of the guest does, from its first moment to its last.
    pub fn task(&self, task: &Task) -> Lane {
        let mut lane = Lane::new(&task.name, "in the guest".to_owned());
        let to = task.to_ns.unwrap_or(self.scene.to_ns);
        let (x, end) = (self.x(task.from_ns), self.x(to));
        let title = format!("{} runs for {}", task.name, words::time(to.saturating_sub(task.from_ns)));
        lane.bars.push(Bar { x, y: 0.0, width: end - x, height: BAR.0, class: "task", title });
        lane.flags.push(Flag::new(x, "begins".to_owned(), "step"));
        for (t, stuck) in &task.seen {
            lane.marks.push(Mark {
                x: self.x(*t),
                y: BAR.0 / 2.0,
                class: "stuck",
                title: stuck.functions.join(" ← "),
            });
            let short = words::short(&stuck.words(), SAID_MAX);
            lane.flags.push(Flag { title: stuck.words(), ..Flag::new(self.x(*t), short, "held") });
        }
        if task.to_ns.is_some() {
            lane.flags.push(Flag::new(end, "ends".to_owned(), "step"));
        }
        lane.pack(BAR.1)
    }

    /// The first lines of the kernel log.
    pub fn kernel_log(&self) -> Lane {
        let mut lane = Lane::new("kernel log", String::new());
        let lines = self.scene.said.iter().filter(|heard| matches!(heard.said.what, What::Log(_)));
        let lines: Vec<&Heard> = lines.collect();
        for heard in lines.iter().take(LINES_MAX) {
            let class = if heard.sign { "sign" } else { "log" };
            self.hear(&mut lane, heard, class, &untimed(&words_of(&heard.said.what)));
        }
        let left = lines.len().saturating_sub(LINES_MAX);
        if let Some(next) = lines.get(LINES_MAX) {
            let flag = Flag::new(self.x(next.said.t), format!("{left} more below"), "log");
            lane.flags.push(flag);
        }
        // A sign is not to lie below what was said at the same time.
        lane.marks.sort_by_key(|mark| mark.class == "sign");
        lane.pack(MARKS)
    }

    fn hear(&self, lane: &mut Lane, heard: &Heard, class: &'static str, short: &str) {
        let x = self.x(heard.said.t);
        let title = format!("{}: {}", self.since(heard.said.t), words_of(&heard.said.what));
        lane.marks.push(Mark { x, y: MARKS / 2.0, class, title: title.clone() });
        let mut flag = Flag::new(x, words::short(short, SAID_MAX), class);
        flag.title = title;
        lane.flags.push(flag);
    }

    /// A lane of requests.
    pub fn requests(&self, group: &Group) -> Lane {
        let count = group.requests.len();
        let (name, size) = match group.kind {
            Kind::Point(name) => (name, BAR),
            Kind::Rule(name) => (name, BAR),
            Kind::Other => ("others", BAR_LITTLE),
        };
        let sub = match (group.requests.first(), count) {
            (None, _) => "did not come".to_owned(),
            (Some(first), 1) => words::asks(&first.request),
            (Some(first), _) if group.kind != Kind::Other => {
                format!("{count} × {}", words::asks(&first.request))
            }
            _ => format!("{count} requests"),
        };
        let mut lane = Lane::new(name, sub);
        let mut ends: Vec<f64> = Vec::new();
        for life in &group.requests {
            let (from, to) = (self.x(life.arrived_ns), self.x(life.end_ns(self.scene.to_ns)));
            let row = ends.iter().position(|end| *end < from).unwrap_or(ends.len());
            if row >= ROWS_MAX {
                lane.sub = format!("{}, not all drawn", lane.sub.trim_end_matches(", not all drawn"));
                continue;
            }
            if row == ends.len() {
                ends.push(0.0);
            }
            ends[row] = to + 3.0;
            self.live(&mut lane, life, row as f64 * size.1, size.0);
        }
        if group.kind != Kind::Other {
            self.label(&mut lane, group);
        }
        lane.pack(ends.len().max(1) as f64 * size.1)
    }

    /// The bars of a request.
    fn live(&self, lane: &mut Lane, life: &Life, y: f64, height: f64) {
        let over = self.scene.to_ns;
        let mut bar = |from: Nanos, to: Nanos, class: &'static str, what: String| {
            let (x, end) = (self.x(from), self.x(to));
            let width = if class == "drive" { (end - x).max(2.0) } else { end - x };
            if width > 0.0 {
                let title = format!("{} {}: {what}", life.request.id, words::request(&life.request));
                lane.bars.push(Bar { x, y, width, height, class, title });
            }
        };
        // Of a request that no policy concerns, there is only when it came and went.
        if let Some(submitted) = life.submitted_ns.or(life.stands.is_empty().then_some(life.arrived_ns)) {
            let to = life.done.map_or(life.end_ns(over), |(t, _)| t);
            bar(
                submitted,
                to,
                "drive",
                format!("{} with the drive", words::time(to.saturating_sub(submitted))),
            );
        }
        for stand in &life.stands {
            let to = stand.released.as_ref().map_or(life.end_ns(over), |(t, _)| *t);
            let class = if is_expired(stand) { "expired" } else { "held" };
            bar(stand.from_ns, to, class, format!("{} at its gate {}", stood(stand, over), stand.gate));
        }
    }

    fn label(&self, lane: &mut Lane, group: &Group) {
        if let [life] = group.requests[..] {
            lane.flags.push(Flag::new(self.x(life.arrived_ns), "arrives".to_owned(), "step"));
            if let Some((t, end)) = life.ended {
                lane.flags.push(Flag::new(self.x(t), ended(end), if is_good(end) { "step" } else { "sign" }));
            }
        } else if let (Some(first), Some(last)) = (group.requests.first(), group.requests.last()) {
            lane.flags.push(Flag::new(self.x(first.arrived_ns), "first arrives".to_owned(), "step"));
            lane.flags.push(Flag::new(self.x(last.arrived_ns), "last arrives".to_owned(), "step"));
        }
        let stands = group.requests.iter().flat_map(|life| &life.stands);
        let mut told: Vec<(String, usize, &Stand)> = Vec::new();
        for stand in stands {
            let why = why(stand);
            match told.iter_mut().find(|(same, ..)| *same == why) {
                Some((_, count, _)) => *count += 1,
                None => told.push((why, 1, stand)),
            }
        }
        for (why, count, stand) in told {
            let expired = is_expired(stand);
            let class = if expired { "expired" } else { "held" };
            let short = held(count, stand);
            let mut flag = Flag::new(self.x(stand.from_ns), format!("{short} {why}"), class);
            // An arrow through it would say the same, and hide it.
            if self.released().any(|x| flag.left() - 6.0 < x && x < flag.right() + 6.0) && !expired {
                flag.text = short;
            }
            lane.flags.push(flag);
        }
    }

    /// Where arrows end.
    fn released(&self) -> impl Iterator<Item = f64> {
        let released = self.scene.stands().filter_map(|(_, stand)| stand.released.as_ref());
        released.filter(|(_, cause)| matches!(cause, Cause::Until { .. })).map(|(t, _)| self.x(*t))
    }
}

/// A line of a kernel log without its time and its padding.
fn untimed(line: &str) -> String {
    let time = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let is_time = |time: &str| time.trim().parse::<f64>().is_ok();
    words::plain(time.filter(|(time, _)| is_time(time)).map_or(line, |(_, rest)| rest))
}
