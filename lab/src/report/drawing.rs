//! A scene as shapes with places, in pixels; [`super::svg`] writes them down.

use super::axis::Axis;
use super::flags::{self, Flag, ROW};
use super::lanes::Pen;
use super::scene::{Kind, Scene};
use super::stand::held;
use super::story::Stand;

/// Width that a drawing has if it does not need more.
const WIDTH: f64 = 735.0;

/// Free space left of the first moment and above and below what a lane shows.
pub const MARGIN: f64 = 10.0;
const LANE_MARGIN: f64 = 5.0;

/// Height of a line of marks, and of the axis.
pub const MARKS: f64 = 14.0;
pub const AXIS: f64 = 22.0;

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
    /// `task`, `drive`, `held` or `expired`.
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
        let moments = scene.moments();
        let span = |stand: &Stand| {
            let (to, _) = stand.released.as_ref()?;
            Some((stand.from_ns, *to, flags::width(&held(1, stand)) + 12.0))
        };
        let wide: Vec<_> = scene.stands().filter_map(|(_, stand)| span(stand)).collect();
        let least = Drawing::on(scene, &Axis::new(&moments, &wide, 0.0));
        // What the last labels need beside the axis is known only when it is drawn.
        let beside = least.width - least.axis_width;
        Drawing::on(scene, &Axis::new(&moments, &wide, WIDTH - beside))
    }

    /// Draws it on an axis.
    fn on(scene: &Scene, axis: &Axis) -> Drawing {
        let pen = Pen { scene, axis };
        let (writers, others) = scene.lanes.split_at(scene.actors);
        let mut lanes: Vec<Lane> = writers.iter().map(|group| pen.requests(group)).collect();
        lanes.extend(scene.tasks.iter().map(|task| pen.task(task)));
        let points = others.iter().take_while(|group| matches!(group.kind, Kind::Point(_))).count();
        let (points, others) = others.split_at(points);
        lanes.extend(points.iter().map(|group| pen.requests(group)));
        lanes.extend([pen.guest(), pen.kernel_log()]);
        lanes.extend(others.iter().map(|group| pen.requests(group)));
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
    /// One with nothing in it.
    pub fn new(name: &str, sub: String) -> Lane {
        let (top, height, base) = (0.0, 0.0, 0.0);
        let name = name.to_owned();
        Lane { name, sub, top, height, base, bars: Vec::new(), marks: Vec::new(), flags: Vec::new() }
    }

    /// Gives its labels their rows; what it shows needs `content` pixels below them.
    pub fn pack(mut self, content: f64) -> Lane {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::story::Story;
    use std::path::Path;

    /// Both cells of the real run that is kept for tests.
    fn stories() -> [Story; 2] {
        ["open", "closed"].map(|name| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(name).join("journal");
            Story::of(crate::journal::read(&path).expect("a journal").lines)
        })
    }

    fn each(test: impl Fn(&Drawing)) {
        for story in stories() {
            assert_eq!(story.attempts.len(), 2);
            for attempt in &story.attempts {
                test(&Drawing::new(&Scene::new(attempt, story.policy.as_ref())));
            }
        }
    }

    #[test]
    fn lanes_follow_each_other_and_what_they_show_lies_in_them() {
        each(|drawing| {
            let mut y = 0.0;
            for lane in &drawing.lanes {
                assert_eq!(lane.top, y);
                y += lane.height;
                let within = |top: f64, bottom: f64| lane.top <= top && bottom <= y;
                assert!(lane.bars.iter().all(|bar| within(bar.y, bar.y + bar.height)), "{}", lane.name);
                assert!(lane.marks.iter().all(|mark| within(mark.y - 4.0, mark.y + 4.0)), "{}", lane.name);
                let rows = lane.flags.iter().map(|flag| lane.base - (flag.row + 1) as f64 * ROW);
                assert!(rows.min_by(f64::total_cmp).is_none_or(|top| within(top, y)), "{}", lane.name);
            }
            assert_eq!(drawing.height, y + AXIS);
        });
    }

    #[test]
    fn bars_of_a_lane_and_times_at_the_axis_do_not_overlap() {
        each(|drawing| {
            for lane in &drawing.lanes {
                for (index, one) in lane.bars.iter().enumerate() {
                    let beside = |other: &Bar| {
                        one.x + one.width <= other.x + 2.1 || other.x + other.width <= one.x + 2.1
                    };
                    let clear = |other: &Bar| one.y != other.y || beside(other);
                    assert!(lane.bars[index + 1..].iter().all(clear), "{one:?} in {}", lane.name);
                }
            }
            let times: Vec<&Tick> = drawing.ticks.iter().chain(&drawing.breaks).collect();
            for (index, one) in times.iter().enumerate() {
                let room = |other: &Tick| (flags::width(&one.text) + flags::width(&other.text)) / 2.0;
                assert!(
                    times[index + 1..].iter().all(|other| (one.x - other.x).abs() > room(other)),
                    "{one:?}"
                );
            }
        });
    }

    #[test]
    fn everything_lies_in_the_picture() {
        each(|drawing| {
            let ends = drawing.lanes.iter().flat_map(|lane| {
                lane.flags.iter().map(Flag::right).chain(lane.bars.iter().map(|bar| bar.x + bar.width))
            });
            assert!(ends.max_by(f64::total_cmp).is_some_and(|end| end <= drawing.width));
        });
    }

    #[test]
    fn an_arrow_goes_from_the_moment_of_its_cause_to_the_bar_that_ends_then() {
        let [open, closed] = stories();
        let drawn = |story: &Story| {
            let attempt = story.attempts.last().expect("an attempt");
            Drawing::new(&Scene::new(attempt, story.policy.as_ref()))
        };
        let open = drawn(&open);
        assert_eq!(open.arrows.len(), 2);
        for arrow in &open.arrows {
            let [tip] = arrow.to[..] else { panic!("one tip") };
            assert!((arrow.from.0 - tip.0).abs() < 0.01, "cause and effect are one moment");
            let ends = |bar: &Bar| (bar.x + bar.width - tip.0).abs() < 0.01 && bar.class == "held";
            assert!(open.lanes.iter().flat_map(|lane| &lane.bars).any(ends), "{arrow:?}");
        }
        assert!(drawn(&closed).arrows.is_empty());
    }
}
