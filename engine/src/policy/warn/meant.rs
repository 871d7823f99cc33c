//! Which requests a filter can mean, apart from what happens.

use crate::class::{Class, ClassSet};
use crate::event::PointIndex;
use crate::policy::{Filter, Policy, Where};
use crate::request::{ByteRange, Op, OpSet, SECTOR};

/// Where on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Anywhere.
    Disk,
    /// There.
    Range(ByteRange),
    /// At a place that the guest binds.
    Bound(usize),
}

/// The requests that a filter can mean; those of a rule for a point are that point's.
#[derive(Clone, Debug)]
pub struct Meant {
    pub ops: OpSet,
    pub area: Area,
    pub length_min: u64,
    pub length_max: u64,
    pub queue: Option<u16>,
    pub class: Option<ClassSet>,
    pub probe: Option<u8>,
    pub flush_follows: bool,
    pub point: Option<PointIndex>,
    /// Most of them in an attempt, if that is known.
    pub most: Option<u64>,
}

impl Meant {
    pub fn of(policy: &Policy, filter: &Filter) -> Meant {
        // A request that addresses no bytes has no class; any other has one at least.
        let all = ClassSet::of(&Class::ALL);
        let ops: Vec<Op> = filter.ops.iter().filter(|op| filter.class.is_none() || op.has_range()).collect();
        let own = Meant {
            ops: OpSet::of(&ops),
            area: area(policy, filter),
            length_min: filter.length_min,
            length_max: filter.length_max,
            queue: filter.queue,
            class: filter.class.filter(|class| !class.contains(all)),
            probe: filter.probe,
            flush_follows: filter.flush_follows,
            point: filter.point,
            most: filter.turn.count,
        };
        match filter.point {
            Some(point) => own.and(Meant::of(policy, &policy.points[point.get()].filter)),
            None => own,
        }
    }

    /// What is one of these and of `point`'s, and perhaps a little more.
    pub fn and(self, point: Meant) -> Meant {
        let both: Vec<_> = self.ops.iter().filter(|op| point.ops.has(*op)).collect();
        Meant {
            ops: OpSet::of(&both),
            area: if self.area == Area::Disk { point.area } else { self.area },
            length_min: self.length_min.max(point.length_min),
            length_max: self.length_max.min(point.length_max),
            queue: self.queue.or(point.queue),
            class: self.class.or(point.class),
            probe: self.probe.or(point.probe),
            flush_follows: self.flush_follows || point.flush_follows,
            point: self.point,
            most: self.most.into_iter().chain(point.most).min(),
        }
    }

    /// Whether there are requests of `other`, and every one is one of these.
    pub fn covers(&self, other: &Meant) -> bool {
        other.ops.iter().next().is_some()
            && self.ops.contains(other.ops)
            && self.area.covers(other.area)
            && self.length_min <= other.length_min
            && self.length_max >= other.length_max
            && (self.queue.is_none() || self.queue == other.queue)
            && self.class.is_none_or(|class| other.class.is_some_and(|other| class.contains(other)))
            && (self.probe.is_none() || self.probe == other.probe)
            && (!self.flush_follows || other.flush_follows)
            && (self.point.is_none() || self.point == other.point)
    }

    /// Whether no request has a length of both.
    pub fn is_longer_or_shorter(&self, other: &Meant) -> bool {
        self.length_min.max(other.length_min) > self.length_max.min(other.length_max)
    }

    /// Whether a request can be one of both: also one of several blocks that touches the places and has the classes of
    /// both.
    pub fn meets(&self, other: &Meant) -> bool {
        self.ops.iter().any(|op| other.ops.has(op))
            && self.can_touch(other)
            && !self.is_longer_or_shorter(other)
            && (self.queue.is_none() || other.queue.is_none() || self.queue == other.queue)
    }

    /// Whether one block can be of both.
    pub fn has_block_of(&self, other: &Meant) -> bool {
        self.area.meets(other.area) && self.class.zip(other.class).is_none_or(|(one, other)| one.meets(other))
    }

    /// Whether a request can touch both places. Those that the guest binds are taken for apart from each other and from
    /// what is written.
    fn can_touch(&self, other: &Meant) -> bool {
        match (self.area, other.area) {
            (Area::Range(_), Area::Range(_)) => !self.is_apart(other),
            (one, other) => one.meets(other),
        }
    }

    /// Whether no request is long enough to touch both places; of what the guest binds nobody knows.
    pub fn is_apart(&self, other: &Meant) -> bool {
        let (Area::Range(one), Area::Range(another)) = (self.area, other.area) else { return false };
        let (first, last) = if one.offset <= another.offset { (one, another) } else { (another, one) };
        let between = (last.offset / SECTOR).saturating_sub(first.end().saturating_sub(1) / SECTOR);
        let least = between.saturating_add(1).saturating_mul(SECTOR);
        !one.overlaps(another) && least > self.length_max.min(other.length_max)
    }
}

impl Area {
    fn covers(self, other: Area) -> bool {
        match (self, other) {
            (Area::Range(range), Area::Range(other)) => {
                range.offset <= other.offset && range.end() >= other.end()
            }
            (one, other) => one == Area::Disk || one == other,
        }
    }

    /// Places that the guest binds are taken for apart from each other and from what is written.
    fn meets(self, other: Area) -> bool {
        match (self, other) {
            (Area::Range(one), Area::Range(other)) => one.overlaps(other),
            (one, other) => one == Area::Disk || other == Area::Disk || one == other,
        }
    }
}

fn area(policy: &Policy, filter: &Filter) -> Area {
    match filter.range {
        None => Area::Disk,
        Some(Where::Range(range)) => Area::Range(range),
        Some(Where::Place(place)) => policy.places[place].range.map_or(Area::Bound(place), Area::Range),
    }
}
