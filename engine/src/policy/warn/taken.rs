//! Points that never are, because an earlier point always takes their requests.

use super::circle::Waiter;
use super::meant::Meant;
use super::shadow::and;
use super::{Look, conjuncts, is_each};
use crate::diagnostic::Diagnostic;
use crate::event::{Expr, PointIndex};
use crate::policy::{Filter, Turn};

/// Most points of a policy of which each is compared with each.
const COMPARED_MAX: usize = 500;

impl Look<'_> {
    pub(super) fn taken(&mut self) {
        let is_there =
            |point: &PointIndex| self.is_point(*point) && !self.told.contains(&Waiter::Point(point.get()));
        let points: Vec<PointIndex> = self.policy.point_indexes().filter(is_there).collect();
        if points.len() > COMPARED_MAX {
            return;
        }
        let meant: Vec<Meant> = self.policy.points.iter().map(|point| self.meant(&point.filter)).collect();
        for (index, point) in points.iter().enumerate() {
            let earlier = points[..index].iter().find(|earlier| self.takes(**earlier, *point));
            if let Some(earlier) = earlier {
                self.warn_taken(*earlier, *point);
            } else if let Some(all) = self.all_take(&points[..index], *point, &meant) {
                self.warn_all_take(&all, *point);
            }
        }
    }

    /// The earlier points of which each request of a point is one.
    fn all_take(&self, earlier: &[PointIndex], point: PointIndex, meant: &[Meant]) -> Option<Vec<usize>> {
        let filter = |point: usize| &self.policy.points[point].filter;
        let own = conjuncts(filter(point.get()).when.as_ref());
        let takes = |other: &usize| is_each(filter(*other).turn) && !filter(*other).flush_follows;
        let each: Vec<usize> = earlier.iter().map(|other| other.get()).filter(takes).collect();
        let one = Meant { flush_follows: false, ..meant[point.get()].clone() };
        self.union(meant, &each, &one, &|other| implied(filter(other).when.as_ref(), &own))
    }

    fn warn_all_take(&mut self, all: &[usize], point: PointIndex) {
        let names: Vec<String> =
            all.iter().map(|other| format!("`{}`", self.parts.points[*other].name)).collect();
        let entry = self.parts.points[point.get()];
        let message = format!("point `{}` never is: points {} take its requests", entry.name, and(&names));
        let warning = Diagnostic::warning(entry.at.clone(), message).label("always taken before");
        let warning = all.iter().fold(warning, |warning, other| {
            warning.also(self.parts.points[*other].at.clone(), "matches some of these requests")
        });
        let help = "a request is the first point in file order that it matches: put the narrower point first";
        self.list.push(warning.help(help));
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
fn implied(when: Option<&Expr>, others: &[&Expr]) -> bool {
    conjuncts(when).into_iter().all(|part| others.contains(&part))
}

/// Whether one turn has every number that the other can come to, counted over the same requests. One that is not for a
/// certain number takes the next that is left to it.
fn has_all(one: Turn, other: Turn) -> bool {
    if one.probability.is_some() || !one.has(other.from) {
        return false;
    }
    let before = (other.from - one.from) / one.every;
    let is_nth = other.every == u64::MAX;
    match one.count {
        Some(count) => is_nth && before < count,
        None => is_nth || other.every.is_multiple_of(one.every),
    }
}
