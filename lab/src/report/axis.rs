//! Where a time is drawn. A race is over in microseconds and a hold may stand for seconds, so distances grow with the
//! logarithm of time, moments that matter never lie on each other, and what is long and empty is broken.

use blkstay_engine::request::Nanos;
use std::collections::BTreeMap;

/// Least distance of two moments that matter, in pixels.
const APART: f64 = 11.0;

/// Least distance of others; less if there are many of them.
const APART_LITTLE: f64 = 2.5;

/// What all those little distances may add up to.
const LITTLE_MAX: f64 = 260.0;

/// What the logarithm is taken of: times of this, and 1.
const GRAIN_NS: f64 = 20_000.0;

/// Pixels for each tenfold time: as many as fit, between these.
const DECADE: std::ops::RangeInclusive<f64> = 5.0..=150.0;

/// Steps of looking for them.
const STEPS: usize = 24;

/// An empty time as long as this breaks the axis, and how wide that is drawn.
const BREAK_NS: Nanos = 400_000_000;
const BREAK_WIDTH: f64 = 70.0;

/// A time axis.
#[derive(Debug)]
pub struct Axis {
    /// Every moment and where it lies, in order.
    knots: Vec<(Nanos, f64)>,
    /// Where the axis is broken.
    pub breaks: Vec<Break>,
}

/// A long time in which nothing happens.
#[derive(Debug)]
pub struct Break {
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// How long it is.
    pub ns: Nanos,
}

impl Axis {
    /// Places moments from 0 on, over `width` pixels or more if they need more; `true`: it matters. Each span of
    /// `wide` gets as many pixels as it says at least.
    pub fn new(moments: &BTreeMap<Nanos, bool>, wide: &[(Nanos, Nanos, f64)], width: f64) -> Axis {
        let (mut narrow, mut ample) = DECADE.into_inner();
        for _ in 0..STEPS {
            let decade = (narrow + ample) / 2.0;
            if Axis::of(moments, wide, decade).width() > width { ample = decade } else { narrow = decade }
        }
        Axis::of(moments, wide, narrow)
    }

    fn of(moments: &BTreeMap<Nanos, bool>, wide: &[(Nanos, Nanos, f64)], decade: f64) -> Axis {
        let mut gaps = gaps(moments, decade);
        wide.iter().for_each(|span| widen(&mut gaps, *span));
        let first = moments.keys().next().map(|first| (*first, 0.0));
        let mut axis = Axis { knots: first.into_iter().collect(), breaks: Vec::new() };
        let mut x = 0.0;
        for gap in gaps {
            let from = x;
            x += gap.width;
            axis.knots.push((gap.to, x));
            if gap.broken {
                axis.breaks.push(Break { from, to: x, ns: gap.to - gap.from });
            }
        }
        axis
    }

    /// Where a time lies.
    pub fn x(&self, t: Nanos) -> f64 {
        let after = self.knots.partition_point(|(knot, _)| *knot < t);
        match (after.checked_sub(1).and_then(|before| self.knots.get(before)), self.knots.get(after)) {
            (_, Some((knot, x))) if *knot == t => *x,
            (Some((t0, x0)), Some((t1, x1))) => x0 + (x1 - x0) * (t - t0) as f64 / (t1 - t0).max(1) as f64,
            (Some((_, x)), None) | (None, Some((_, x))) => *x,
            (None, None) => 0.0,
        }
    }

    /// How wide it is.
    pub fn width(&self) -> f64 {
        self.knots.last().map_or(0.0, |(_, x)| *x)
    }
}

struct Gap {
    from: Nanos,
    to: Nanos,
    width: f64,
    broken: bool,
}

fn gaps(moments: &BTreeMap<Nanos, bool>, decade: f64) -> Vec<Gap> {
    let little = moments.values().filter(|matters| !**matters).count().max(1);
    let apart_little = APART_LITTLE.min(LITTLE_MAX / little as f64);
    let each = moments.iter().zip(moments.iter().skip(1));
    each.map(|((from, matters), (to, also))| {
        let ns = to - from;
        let broken = ns >= BREAK_NS;
        let least = match (matters, also) {
            (true, true) => APART,
            (false, false) => apart_little,
            _ => APART / 2.0,
        };
        let width =
            if broken { BREAK_WIDTH } else { least.max(decade * (1.0 + ns as f64 / GRAIN_NS).log10()) };
        Gap { from: *from, to: *to, width, broken }
    })
    .collect()
}

/// Gives a span its least width, at its longest gap.
fn widen(gaps: &mut [Gap], (from, to, least): (Nanos, Nanos, f64)) {
    let within = |gap: &&mut Gap| from <= gap.from && gap.to <= to;
    let width: f64 = gaps.iter_mut().filter(within).map(|gap| gap.width).sum();
    if let Some(gap) = gaps.iter_mut().filter(within).max_by_key(|gap| gap.to - gap.from) {
        gap.width += (least - width).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(moments: &[(Nanos, bool)]) -> Axis {
        Axis::new(&moments.iter().copied().collect(), &[], 0.0)
    }

    #[test]
    fn later_is_further_right_and_what_matters_is_apart() {
        let moments = [(5, true), (6, true), (7, false), (9, true), (2_000_000, true), (2_000_100, true)];
        let axis = axis(&moments);
        let places: Vec<f64> = moments.iter().map(|(t, _)| axis.x(*t)).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(places[1] - places[0] >= APART && places[5] - places[4] >= APART, "{places:?}");
    }

    #[test]
    fn a_watchdog_does_not_make_a_race_invisible() {
        let axis = axis(&[(0, true), (90_000, true), (6_000_000_000, true), (6_000_040_000, true)]);
        assert_eq!(axis.breaks.iter().map(|gap| gap.ns).collect::<Vec<_>>(), [5_999_910_000]);
        let (race, wait) = (axis.x(90_000), axis.x(6_000_000_000) - axis.x(90_000));
        assert!(race * 8.0 > wait, "{race} beside {wait}");
    }

    #[test]
    fn it_fills_its_width_without_touching_breaks() {
        let moments = [(0, true), (90_000, true), (6_000_000_000, true), (6_000_040_000, true)];
        let axis = Axis::new(&moments.into_iter().collect(), &[], 250.0);
        assert!((axis.width() - 250.0).abs() < 0.1, "{}", axis.width());
        assert!((axis.breaks[0].to - axis.breaks[0].from - BREAK_WIDTH).abs() < 0.01);
    }

    #[test]
    fn a_span_has_room_for_what_is_written_at_it() {
        let moments = [(0, true), (10, true), (900, false), (950, true)].into_iter().collect();
        let axis = Axis::new(&moments, &[(10, 950, 90.0)], 0.0);
        assert!(axis.x(950) - axis.x(10) >= 90.0 && axis.x(10) < 30.0);
    }

    #[test]
    fn what_lies_between_moments_or_outside_has_a_place_too() {
        let axis = axis(&[(100, true), (200, true)]);
        assert_eq!(axis.x(0), axis.x(100));
        assert_eq!(axis.x(900), axis.x(200));
        assert!(axis.x(150) > axis.x(100) && axis.x(150) < axis.x(200));
        assert_eq!(Axis::new(&BTreeMap::new(), &[], 10.0).x(7), 0.0);
    }
}
