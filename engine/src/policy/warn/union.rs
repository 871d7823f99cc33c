//! Rules that together leave nothing to a later one.

use super::Look;
use super::meant::{Area, Meant};
use crate::class::ClassSet;
use crate::request::{ByteRange, Op, OpSet, SECTOR};
use std::collections::BTreeSet;

/// Most earlier rules that are put together.
const TOGETHER_MAX: usize = 64;

/// Bytes or lengths, from the first to the last of them.
type Span = (u64, u64);

impl Look<'_> {
    /// The earlier rules that together mean every request of a later one; `before`: those that always decide.
    pub(super) fn union(
        &self,
        meant: &[Meant],
        before: &[usize],
        one: &Meant,
        implies: &impl Fn(usize) -> bool,
    ) -> Option<Vec<usize>> {
        if before.len() > TOGETHER_MAX || before.len() < 2 {
            return None;
        }
        let queues = match (one.queue, self.policy.case.as_ref().and_then(|case| case.device.num_queues)) {
            (None, Some(number)) => (0..number).map(Some).collect(),
            (queue, _) => vec![queue],
        };
        let classes: Vec<Option<ClassSet>> = match one.class {
            Some(classes) => classes.iter().map(|class| Some(ClassSet::of(&[class]))).collect(),
            None => vec![None],
        };
        let mut used = BTreeSet::new();
        for op in one.ops.iter().filter(|op| can_be(one, *op)) {
            for (queue, class) in
                queues.iter().flat_map(|queue| classes.iter().map(move |class| (queue, class)))
            {
                let part = Meant { ops: OpSet::of(&[op]), queue: *queue, class: *class, ..one.clone() };
                let near =
                    before.iter().copied().filter(|rule| is_for(&meant[*rule], &part) && implies(*rule));
                let near: Vec<usize> = near.collect();
                used.extend(cover(meant, &near, &part, op)?);
            }
        }
        (used.len() > 1).then(|| used.into_iter().collect())
    }
}

/// Whether a filter can mean requests of that operation.
fn can_be(meant: &Meant, op: Op) -> bool {
    op.has_range() || (meant.area == Area::Disk && meant.length_min == 0 && meant.class.is_none())
}

/// Whether a rule means a part of all such requests but for place and length.
fn is_for(rule: &Meant, part: &Meant) -> bool {
    let (area, length_min, length_max) = (part.area, part.length_min, part.length_max);
    Meant { area, length_min, length_max, ..rule.clone() }.covers(part)
}

/// The rules that leave nothing of a part, if there are such.
fn cover(meant: &[Meant], near: &[usize], part: &Meant, op: Op) -> Option<Vec<usize>> {
    let whole = near.iter().find(|rule| meant[**rule].covers(part));
    if let Some(rule) = whole {
        return Some(vec![*rule]);
    }
    let there: Vec<usize> = near.iter().copied().filter(|rule| can_be(&meant[*rule], op)).collect();
    let wanted = bytes(part.area)?;
    let spans =
        there.iter().filter_map(|rule| bytes_within(meant[*rule].area, part.area).map(|span| (*rule, span)));
    let spans: Vec<(usize, Span)> = spans.collect();
    let mut cuts: Vec<u64> =
        spans.iter().map(|(_, (from, _))| *from).filter(|from| *from > wanted.0).collect();
    cuts.extend(spans.iter().filter_map(|(_, (_, to))| to.checked_add(1)).filter(|from| *from <= wanted.1));
    cuts.push(wanted.0);
    cuts.sort_unstable();
    cuts.dedup();
    let mut used = BTreeSet::new();
    for at in cuts {
        let here = spans.iter().filter(|(_, (from, to))| (*from..=*to).contains(&at)).map(|(rule, _)| *rule);
        used.extend(lengths(meant, &here.collect::<Vec<_>>(), part)?);
    }
    Some(used.into_iter().collect())
}

/// The rules that have every length of a part, if they do.
fn lengths(meant: &[Meant], rules: &[usize], part: &Meant) -> Option<Vec<usize>> {
    let mut next = part.length_min;
    let mut used = Vec::new();
    loop {
        // Lengths are multiples of a sector.
        next = next.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX);
        if next > part.length_max || next > u64::MAX - SECTOR {
            return Some(used);
        }
        let fits = |rule: &&usize| (meant[**rule].length_min..=meant[**rule].length_max).contains(&next);
        let best = rules.iter().filter(fits).max_by_key(|rule| meant[**rule].length_max)?;
        used.push(*best);
        next = match meant[*best].length_max.checked_add(1) {
            Some(next) => next,
            None => return Some(used),
        };
    }
}

/// All bytes that an area can have.
fn bytes(area: Area) -> Option<Span> {
    match area {
        Area::Disk | Area::Bound(_) => Some((0, u64::MAX)),
        Area::Range(ByteRange { offset, length }) => {
            Some((offset, offset.checked_add(length.checked_sub(1)?)?))
        }
    }
}

/// Which of them a rule's area has.
fn bytes_within(rule: Area, part: Area) -> Option<Span> {
    match (rule, part) {
        (Area::Disk, _) => Some((0, u64::MAX)),
        (Area::Range(_), Area::Disk | Area::Range(_)) => bytes(rule),
        (one, other) => (one == other).then_some((0, u64::MAX)),
    }
}
