//! A scene as shapes with places, in pixels; [`super::svg`] writes them down.

use super::axis::Axis;
use super::flags::{self, Flag, ROW};
use super::scene::{Group, Heard, Kind, LINES_MAX, Origin, Scene, words_of};
use super::story::{End, Life, Said, Stand, What};
use super::words;
use blkstay_engine::journal::{Cause, Source};
use blkstay_engine::request::{Nanos, Status};

/// Width that a drawing has if it does not need more.
const WIDTH: f64 = 735.0;

/// Free space left of the first moment and above and below what a lane shows.
pub const MARGIN: f64 = 10.0;
const LANE_MARGIN: f64 = 5.0;

/// Height of a bar and of its row: of a request that matters, and of any other.
const BAR: (f64, f64) = (14.0, 18.0);
const BAR_LITTLE: (f64, f64) = (6.0, 8.0);

/// Rows of bars that a lane has at most; further ones are counted only.
const ROWS_MAX: usize = 8;

/// Height of a line of marks, and of the axis.
const MARKS: f64 = 14.0;
pub const AXIS: f64 = 22.0;

/// Characters of what the guest or its kernel said that are in the picture.
const SAID_MAX: usize = 52;

/// A timeline.
#[derive(Debug)]
pub struct Drawing {
    /// Its size.
    pub width: f64,
    /// Its height, axis included.
    pub height: f64,
    /// Width of the axis in it.
    axis_width: f64,
    /// From top to bottom.
    pub lanes: Vec<Lane>,
    /// From what happened to what went on because of it.
    pub arrows: Vec<Arrow>,
    /// Times at the axis.
    pub ticks: Vec<Tick>,
    /// Where the axis is broken: the middle, and how long it is in words.
    pub breaks: Vec<Tick>,
}

/// A lane.
#[derive(Debug)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// What it shows, in a few words.
    pub sub: String,
    /// Where it begins.
    pub top: f64,
    /// How high it is.
    pub height: f64,
    /// Where its line of marks or first row of bars lies.
    pub base: f64,
    /// Spans of requests.
    pub bars: Vec<Bar>,
    /// Moments.
    pub marks: Vec<Mark>,
    /// Labels.
    pub flags: Vec<Flag>,
}

/// A span.
#[derive(Debug)]
pub struct Bar {
    /// Left end.
    pub x: f64,
    /// Upper end.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// `drive`, `held`, `expired` or `wait`.
    pub class: &'static str,
    /// In words.
    pub title: String,
}

/// A moment.
#[derive(Debug)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// Where, downwards.
    pub y: f64,
    /// Its style.
    pub class: &'static str,
    /// In words.
    pub title: String,
}

/// An arrow.
#[derive(Debug)]
pub struct Arrow {
    /// From where.
    pub from: (f64, f64),
    /// To where: the tips, all straight above or below each other.
    pub to: Vec<(f64, f64)>,
    /// In words.
    pub title: String,
}

/// A place at the axis.
#[derive(Debug)]
pub struct Tick {
    /// Where.
    pub x: f64,
    /// What is written there.
    pub text: String,
}

impl Drawing {
    /// Draws a scene.
    pub fn new(scene: &Scene) -> Drawing {
        let least = Drawing::on(scene, &Axis::new(&scene.moments(), 0.0));
        // What the last labels need beside the axis is known only when it is drawn.
        let beside = least.width - least.axis_width;
        Drawing::on(scene, &Axis::new(&scene.moments(), WIDTH - beside))
    }

    /// Draws it on an axis.
    fn on(scene: &Scene, axis: &Axis) -> Drawing {
        let pen = Pen { scene, axis };
        let mut lanes = vec![pen.guest(), pen.kernel_log()];
        lanes.extend(scene.lanes.iter().map(|group| pen.requests(group)));
        lanes.retain(|lane| !lane.sub.is_empty() || !lane.marks.is_empty());
        let mut y = 0.0;
        for lane in &mut lanes {
            lane.put(y);
            y += lane.height;
        }
        let arrows = pen.arrows(&lanes);
        let labels = lanes.iter().flat_map(|lane| lane.flags.iter().map(Flag::right));
        let width = labels.fold(MARGIN + axis.width() + 24.0, f64::max) + MARGIN;
        let (ticks, breaks) = pen.ticks();
        Drawing { width, height: y + AXIS, axis_width: axis.width(), lanes, arrows, ticks, breaks }
    }
}

impl Lane {
    fn new(name: &str, sub: String) -> Lane {
        let (top, height, base) = (0.0, 0.0, 0.0);
        let name = name.to_owned();
        Lane { name, sub, top, height, base, bars: Vec::new(), marks: Vec::new(), flags: Vec::new() }
    }

    /// Gives its labels their rows; what it shows needs `content` pixels below them.
    fn pack(mut self, content: f64) -> Lane {
        let rows = flags::place(&mut self.flags);
        self.base = LANE_MARGIN + rows as f64 * ROW;
        self.height = self.base + content + LANE_MARGIN;
        self
    }

    /// Moves it to its place.
    fn put(&mut self, top: f64) {
        self.top = top;
        self.base += top;
        self.bars.iter_mut().for_each(|bar| bar.y += self.base);
        self.marks.iter_mut().for_each(|mark| mark.y += self.base);
    }
}

struct Pen<'a> {
    scene: &'a Scene<'a>,
    axis: &'a Axis,
}

impl Pen<'_> {
    fn x(&self, t: Nanos) -> f64 {
        MARGIN + self.axis.x(t.max(self.scene.from_ns))
    }

    fn since(&self, t: Nanos) -> String {
        words::time(t.saturating_sub(self.scene.from_ns))
    }

    /// Events, reports and the end of the script.
    fn guest(&self) -> Lane {
        let mut lane = Lane::new("guest", "what its script saw".to_owned());
        for heard in &self.scene.said {
            let (class, short) = match &heard.said.what {
                What::Log(_) | What::Stalled => continue,
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

    fn kernel_log(&self) -> Lane {
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
    fn requests(&self, group: &Group) -> Lane {
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
            let (to, class) = match &stand.released {
                Some((t, Cause::Watchdog { .. } | Cause::WatchdogOf { .. })) => (*t, "expired"),
                Some((t, _)) => (*t, "held"),
                None => (life.end_ns(over), "held"),
            };
            bar(stand.from_ns, to, class, format!("{} at its gate {}", stood(stand, over), stand.gate));
        }
    }

    fn label(&self, lane: &mut Lane, group: &Group) {
        if let [life] = group.requests[..] {
            lane.flags.push(Flag::new(self.x(life.arrived_ns), "arrives".to_owned(), "step"));
            if let Some((t, end)) = life.ended {
                lane.flags.push(Flag::new(self.x(t), ended(end), if good(end) { "step" } else { "sign" }));
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
            let length = match &stand.released {
                Some((t, _)) => words::time(t - stand.from_ns),
                None => String::new(),
            };
            let expired =
                matches!(stand.released, Some((_, Cause::Watchdog { .. } | Cause::WatchdogOf { .. })));
            let class = if expired { "expired" } else { "held" };
            let short =
                if count > 1 { format!("{count} held") } else { format!("held {length}").trim().to_owned() };
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

    /// From each event to what went on because of it.
    fn arrows(&self, lanes: &[Lane]) -> Vec<Arrow> {
        let mut arrows: Vec<Arrow> = Vec::new();
        for (life, stand) in self.scene.stands() {
            let Some((t, cause)) = &stand.released else { continue };
            let Some(origin) = self.scene.origin(*t, cause) else { continue };
            let Some(to) = bar_of(lanes, life, self.x(*t)) else { continue };
            let from = match origin {
                Origin::Request(source) => bar_of(lanes, source, self.x(*t)),
                Origin::Said(said) => self.mark_of(lanes, said),
            };
            let Some(from) = from.filter(|from| (from.1 - to.1).abs() > 1.0) else { continue };
            let edge = if from.1 < to.1 { -BAR.0 / 2.0 } else { BAR.0 / 2.0 };
            let to = (to.0, to.1 + edge);
            match arrows
                .iter_mut()
                .find(|arrow| arrow.from == from && arrow.to.iter().all(|tip| tip.0 == to.0))
            {
                Some(arrow) => arrow.to.push(to),
                None => {
                    let who = life.point.clone().unwrap_or_else(|| life.request.id.to_string());
                    let title = format!("{} lets {who} go on", words::cause(cause));
                    arrows.push(Arrow { from, to: vec![to], title });
                }
            }
        }
        arrows
    }

    fn mark_of(&self, lanes: &[Lane], said: &Said) -> Option<(f64, f64)> {
        let x = self.x(said.t);
        let marks = lanes.iter().flat_map(|lane| &lane.marks);
        marks.filter(|mark| (mark.x - x).abs() < 0.01).map(|mark| (mark.x, mark.y)).next()
    }

    /// Times at the axis, as many as fit; and its breaks.
    fn ticks(&self) -> (Vec<Tick>, Vec<Tick>) {
        let broken = self.axis.breaks.iter();
        let breaks: Vec<Tick> = broken
            .map(|one| Tick { x: MARGIN + (one.from + one.to) / 2.0, text: words::time(one.ns) })
            .collect();
        let free = |tick: &Tick, others: &[Tick]| {
            let room = |other: &Tick| (flags::width(&tick.text) + flags::width(&other.text)) / 2.0 + 8.0;
            others.iter().all(|other| (tick.x - other.x).abs() > room(other))
        };
        let mut ticks: Vec<Tick> = Vec::new();
        for (t, matters) in self.scene.moments() {
            let tick = Tick { x: self.x(t), text: self.since(t) };
            let again = ticks.last().is_some_and(|last| last.text == tick.text);
            if matters && !again && free(&tick, &ticks) && free(&tick, &breaks) {
                ticks.push(tick);
            }
        }
        (ticks, breaks)
    }
}

/// A line of a kernel log without its time and its padding.
fn untimed(line: &str) -> String {
    let time = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let is_time = |time: &str| time.trim().parse::<f64>().is_ok();
    words::plain(time.filter(|(time, _)| is_time(time)).map_or(line, |(_, rest)| rest))
}

/// Where a request is drawn at that place of the axis.
fn bar_of(lanes: &[Lane], life: &Life, x: f64) -> Option<(f64, f64)> {
    let name = format!("{} ", life.request.id);
    let bars = lanes.iter().flat_map(|lane| &lane.bars);
    let bar = bars.filter(|bar| bar.title.starts_with(&name)).next()?;
    Some((x, bar.y + bar.height / 2.0))
}

/// What it stood for and why that ended.
fn why(stand: &Stand) -> String {
    let rule = || match (&stand.rule, stand.does) {
        (Some(rule), Some(does)) => format!("by {rule} ({does})"),
        (Some(rule), None) => format!("by {rule}"),
        (None, _) => "by hand".to_owned(),
    };
    match (&stand.until, &stand.released) {
        (Some(until), Some((_, Cause::Until { .. }))) => format!("until {until}"),
        (Some(until), Some((_, Cause::Watchdog { .. }))) => format!("for {until}, ended by its watchdog"),
        (Some(until), Some((_, cause))) => format!("for {until}, ended by {}", words::cause(cause)),
        (Some(until), None) => format!("for {until}"),
        (None, Some((_, cause))) => format!("{}: {}", rule(), words::cause(cause)),
        (None, None) => rule(),
    }
}

/// How long it stood, what for, and why that ended.
pub fn stood(stand: &Stand, over: Nanos) -> String {
    let to = stand.released.as_ref().map_or(over, |(t, _)| *t);
    format!("held {} {}", words::time(to.saturating_sub(stand.from_ns)), why(stand))
}

/// How it ended, in a word or two.
pub fn ended(end: End) -> String {
    match end {
        End::Completed(Status::Ok) => "completes".to_owned(),
        End::Completed(status) => format!("completes: {status}"),
        End::Abandoned(_) => "is given up".to_owned(),
    }
}

fn good(end: End) -> bool {
    end == End::Completed(Status::Ok)
}
