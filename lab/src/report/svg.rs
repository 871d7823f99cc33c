//! A drawing as SVG: the names of its lanes beside the lanes, so that those can be scrolled where the page is narrow.

use super::drawing::{AXIS, Arrow, Drawing, Lane, Tick};
use super::flags::ROW;
use super::words;
use maud::{Markup, html};

/// Width of the lanes' names.
const NAMES: f64 = 112.0;

/// As wide as any page: what a lane stands on goes on to its end.
const WIDE: f64 = 4000.0;

/// Height of a break's zigzag.
const TOOTH: f64 = 6.0;

/// Writes a drawing; `id` is unique in the page, `about` says what it shows to who cannot see it.
pub fn write(drawing: &Drawing, id: &str, title: &str, about: &str) -> Markup {
    let bottom = drawing.height - AXIS;
    html! {
        div.timeline style={ "--names:" (NAMES) ";--lanes:" (px(drawing.width)) } {
            svg.names width=(NAMES) height=(px(drawing.height)) viewBox={ "0 0 " (NAMES) " " (px(drawing.height)) }
                aria-hidden="true" {
                @for (index, lane) in drawing.lanes.iter().enumerate() { (name(lane, index, NAMES)) }
            }
            div.scroll tabindex="0" role="group" aria-label=(title) {
                svg.lanes style={ "min-width:" (px(drawing.width)) "px" } height=(px(drawing.height)) role="img"
                    preserveAspectRatio="xMinYMin"
                    viewBox={ "0 0 " (px(drawing.width)) " " (px(drawing.height)) }
                    aria-labelledby={ (id) "-t " (id) "-d" } {
                    title id={ (id) "-t" } { (title) }
                    desc id={ (id) "-d" } { (about) }
                    @for (index, lane) in drawing.lanes.iter().enumerate() { (ground(lane, index, WIDE)) }
                    @for tick in &drawing.ticks {
                        line.grid x1=(px(tick.x)) x2=(px(tick.x)) y1="0" y2=(px(bottom)) {}
                    }
                    @for lane in &drawing.lanes { (bars(lane)) }
                    @for tick in &drawing.breaks { (broken(tick, bottom)) }
                    @for arrow in &drawing.arrows { (pointing(arrow)) }
                    @for lane in &drawing.lanes { (labels(lane)) }
                    line.axis x1="0" x2=(WIDE) y1=(px(bottom)) y2=(px(bottom)) {}
                    @for tick in &drawing.ticks {
                        text.tick x=(px(tick.x)) y=(px(bottom + 15.0)) { (tick.text) }
                    }
                    @for tick in &drawing.breaks {
                        text.tick.cut x=(px(tick.x)) y=(px(bottom + 15.0)) { (tick.text) }
                    }
                }
            }
        }
    }
}

/// A tenth of a pixel is enough.
fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn ground(lane: &Lane, index: usize, width: f64) -> Markup {
    let class = if index.is_multiple_of(2) { "ground" } else { "ground odd" };
    html! { rect class=(class) x="0" y=(px(lane.top)) width=(px(width)) height=(px(lane.height)) {} }
}

fn name(lane: &Lane, index: usize, width: f64) -> Markup {
    let base = (lane.base + 10.0).min(lane.top + lane.height - 4.0).max(lane.top + 20.0);
    let two = lane.height >= 32.0 && !lane.sub.is_empty();
    html! {
        (ground(lane, index, width))
        text.name x="8" y=(px(if two { base - 9.0 } else { base - 3.0 })) { (words::short(&lane.name, 15)) }
        @if two { text.sub x="8" y=(px(base + 3.0)) { (words::short(&lane.sub, 21)) } }
    }
}

fn bars(lane: &Lane) -> Markup {
    html! {
        @for bar in &lane.bars {
            rect class=(bar.class) x=(px(bar.x)) y=(px(bar.y)) width=(px(bar.width)) height=(px(bar.height)) {
                title { (bar.title) }
            }
        }
    }
}

fn labels(lane: &Lane) -> Markup {
    html! {
        @for flag in &lane.flags {
            @let foot = lane.base - flag.row as f64 * ROW;
            line.pole x1=(px(flag.x)) x2=(px(flag.x)) y1=(px(foot - 9.0)) y2=(px(lane.base + 3.0)) {}
            text class={ "label " (flag.class) } x=(px(flag.left())) y=(px(foot - 3.0)) {
                (flag.text)
                @if flag.title != flag.text { title { (flag.title) } }
            }
        }
        @for mark in &lane.marks {
            circle class={ "mark " (mark.class) } cx=(px(mark.x)) cy=(px(mark.y)) r="4" { title { (mark.title) } }
        }
    }
}

/// An arrow that ends in a head, drawn by hand: a marker would need a name that is unique in the page.
fn pointing(Arrow { from, to, title }: &Arrow) -> Markup {
    let Some(last) =
        to.iter().max_by(|one, other| (one.1 - from.1).abs().total_cmp(&(other.1 - from.1).abs()))
    else {
        return html! {};
    };
    let down = if last.1 > from.1 { 1.0 } else { -1.0 };
    let line = format!(
        "M{} {}V{}H{}V{}",
        px(from.0),
        px(from.1),
        px(from.1 + down * 9.0),
        px(last.0),
        px(last.1 - down * 5.0)
    );
    html! {
        g.arrow {
            title { (title) }
            path.halo d=(line) {}
            path d=(line) {}
            @for tip in to { path.head d={ "M" (px(tip.0)) " " (px(tip.1)) "l-4.5 " (px(-down * 8.0)) "h9z" } {} }
            circle cx=(px(from.0)) cy=(px(from.1)) r="2.5" {}
        }
    }
}

/// A strip of nothing between two zigzags.
fn broken(tick: &Tick, bottom: f64) -> Markup {
    let teeth = (bottom / TOOTH).ceil() as usize;
    let side = |x: f64| -> String {
        let tooth = |index: usize| {
            format!(
                "L{} {}",
                px(x + if index.is_multiple_of(2) { 2.0 } else { -2.0 }),
                px((index as f64 * TOOTH).min(bottom))
            )
        };
        (0..=teeth).map(tooth).collect()
    };
    let (left, right) = (side(tick.x - 5.0), side(tick.x + 5.0));
    let strip = format!("M{} 0H{}V{}H{}z", px(tick.x - 5.0), px(tick.x + 5.0), px(bottom), px(tick.x - 5.0));
    html! {
        g.broken {
            title { (tick.text) ": nothing happens in that time" }
            path.gap d=(strip) {}
            path.tear d={ "M" (left.trim_start_matches('L')) } {}
            path.tear d={ "M" (right.trim_start_matches('L')) } {}
        }
    }
}
