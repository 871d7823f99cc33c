//! Points that never are, because an earlier point always takes their requests.

use super::{Look, conjuncts, is_each};
use crate::diagnostic::Diagnostic;
use crate::event::{Event, Expr, PointIndex};
use crate::policy::{Filter, Turn};

/// Most points of a policy of which each is compared with each.
const COMPARED_MAX: usize = 500;

impl Look<'_> {
    pub(super) fn taken(&mut self) {
        let points: Vec<PointIndex> =
            self.policy.point_indexes().filter(|point| self.is_point(*point)).collect();
        if points.len() > COMPARED_MAX {
            return;
        }
        for (index, point) in points.iter().enumerate() {
            let earlier = points[..index].iter().find(|earlier| self.takes(**earlier, *point));
            if let Some(earlier) = earlier {
                self.warn_taken(*earlier, *point);
            }
        }
    }

    /// Whether every request of a point is one of an earlier one.
    fn takes(&self, earlier: PointIndex, point: PointIndex) -> bool {
        let filter = |point: PointIndex| &self.policy.points[point.get()].filter;
        let (one, other) = (filter(earlier), filter(point));
        let (first, second) = (self.meant(one), self.meant(other));
        let same_when = implied(one.when.as_ref(), &conjuncts(other.when.as_ref()));
        let late = one.flush_follows && !other.flush_follows;
        if late || !first.covers(&second) || !same_when || one.flush_follows != other.flush_follows {
            return false;
        }
        let equal = second.covers(&first) && implied(other.when.as_ref(), &conjuncts(one.when.as_ref()));
        is_each(one.turn) || (equal && has_all(one.turn, other.turn))
    }

    fn warn_taken(&mut self, earlier: PointIndex, point: PointIndex) {
        let entry = |point: PointIndex| self.parts.points[point.get()];
        let (first, second) = (entry(earlier), entry(point));
        let message = format!("point `{}` never is: point `{}` takes its requests", second.name, first.name);
        let each = is_each(self.policy.points[earlier.get()].filter.turn);
        let help = if each {
            "a request is the first point in file order that it matches: put the narrower point first"
                .to_owned()
        } else {
            format!(
                "tell them apart: `nth`, `place`, or after = \"{}.arrived\" for what comes after it",
                first.name
            )
        };
        let warning = Diagnostic::warning(second.at.clone(), message)
            .label("always taken before")
            .also(first.at.clone(), "matches the same requests");
        self.list.push(warning.help(help));
    }

    /// The point that all requests of a rule's filter are, as far as that is certain.
    pub(super) fn only_point(&self, filter: &Filter) -> Option<PointIndex> {
        if filter.point.is_some() || self.policy.points.len() > COMPARED_MAX {
            return filter.point;
        }
        let own = self.meant(filter);
        let points =
            || self.policy.point_indexes().map(|point| (point, &self.policy.points[point.get()].filter));
        let meets = |(_, other): &(PointIndex, &Filter)| self.meant(other).meets(&own);
        let (point, other) = points().find(meets)?;
        let always = is_each(other.turn) && other.when.is_none() && !other.flush_follows;
        (always && self.is_point(point) && self.meant(other).covers(&own)).then_some(point)
    }
}

/// Whether a condition is true whenever all of the others are.
pub(super) fn implied(when: Option<&Expr>, others: &[&Expr]) -> bool {
    conjuncts(when).into_iter().all(|part| others.contains(&part))
}

/// The parts of a condition that stay true once they are.
pub(super) fn lasting(when: Option<&Expr>) -> Vec<&Expr> {
    let parts = conjuncts(when).into_iter();
    parts
        .filter(|part| {
            matches!(
                part,
                Expr::Event(Event::Point(..) | Event::Guest(_) | Event::Control(_) | Event::Policy(_), _)
            )
        })
        .collect()
}

/// Whether one turn has every number that the other has, counted over the same requests.
fn has_all(one: Turn, other: Turn) -> bool {
    let last = other.count.map(|count| other.from.saturating_add(other.every.saturating_mul(count - 1)));
    let own_last = one.count.map(|count| one.from.saturating_add(one.every.saturating_mul(count - 1)));
    let in_steps = other.every.is_multiple_of(one.every) || other.count == Some(1);
    let ends = match (own_last, last) {
        (None, _) => true,
        (Some(own), Some(last)) => last <= own,
        (Some(_), None) => false,
    };
    one.probability.is_none() && other.probability.is_none() && one.has(other.from) && in_steps && ends
}
