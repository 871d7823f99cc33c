//! What connects the lanes of a drawing: arrows, and the times at the axis.

use super::drawing::{Arrow, Lane, MARGIN, Tick};
use super::flags;
use super::lanes::{BAR, Pen};
use super::scene::Origin;
use super::story::{Life, Said};
use super::words;

impl Pen<'_> {
    /// From each event to what went on because of it.
    pub fn arrows(&self, lanes: &[Lane]) -> Vec<Arrow> {
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
    pub fn ticks(&self) -> (Vec<Tick>, Vec<Tick>) {
        let broken = self.axis.breaks.iter();
        let breaks: Vec<Tick> = broken
            .map(|one| Tick {
                x: MARGIN + (one.from + one.to) / 2.0,
                text: format!("{} cut", words::time(one.ns)),
            })
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

/// Where a request is drawn at that place of the axis.
fn bar_of(lanes: &[Lane], life: &Life, x: f64) -> Option<(f64, f64)> {
    let name = format!("{} ", life.request.id);
    let mut bars = lanes.iter().flat_map(|lane| &lane.bars);
    let bar = bars.find(|bar| bar.title.starts_with(&name))?;
    Some((x, bar.y + bar.height / 2.0))
}
