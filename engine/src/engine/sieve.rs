//! Which requests the engine has to see at all: all others may go past it, without its lock and its order.

use super::Engine;
use super::index::Filters;
use crate::event::Expr;
use crate::policy::{Filter, Policy};
use crate::request::{ByteRange, Op, OpSet, Request};
use std::sync::Arc;

/// Tells requests that a policy may say something about from those that it cannot.
///
/// It looks only at what a request is, never at what has happened, so it errs on one side: what it lets past, the
/// engine would have passed at both gates without a word.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    meshes: Arc<Meshes>,
    now: Now,
}

/// What of a sieve changes while its policy is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Now {
    /// Something counts requests, or everything is paused.
    everything: bool,
    /// The policy acts: it is armed, or an attempt is on.
    acts: bool,
    /// Rings that are paused.
    paused: Vec<u16>,
    places: Vec<Option<ByteRange>>,
}

/// What of a sieve is the policy's.
#[derive(Debug, Default)]
pub struct Meshes {
    /// A condition looks at counts of requests, or at what they are to the filesystem.
    everything: bool,
    /// Operations that concern the policy wherever they go.
    ops: OpSet,
    filters: Filters,
    coarse: Vec<Coarse>,
}

/// What of a filter depends on the request alone.
#[derive(Clone, Copy, Debug)]
struct Coarse {
    ops: OpSet,
    length_min: u64,
    length_max: u64,
    queue: Option<u16>,
}

impl Coarse {
    fn new(filter: &Filter) -> Coarse {
        let Filter { ops, length_min, length_max, queue, .. } = *filter;
        Coarse { ops, length_min, length_max, queue }
    }

    fn holds(&self, request: &Request) -> bool {
        self.ops.has(request.op)
            && (self.length_min..=self.length_max).contains(&request.range.length)
            && self.queue.is_none_or(|queue| queue == request.queue)
    }
}

impl Meshes {
    /// The meshes of a policy; `reads_gauges`: something stands until a gauge shows something.
    pub fn new(policy: &Policy, reads_gauges: bool) -> Meshes {
        let points = policy.points.iter().map(|point| &point.filter);
        // A rule for a point sees what the point's own filter lets through.
        let rules = policy.rules.iter().map(|rule| &rule.filter).filter(|filter| filter.point.is_none());
        let filters: Vec<&Filter> = points.chain(rules).collect();
        let asks =
            |filter: &&&Filter| filter.class.is_some() || filter.when.as_ref().is_some_and(Expr::reads_gauge);
        let by_flush = filters.iter().any(|filter| filter.flush_follows);
        Meshes {
            everything: reads_gauges || filters.iter().any(|filter| asks(&filter)),
            ops: if by_flush { OpSet::of(&[Op::Write, Op::Flush]) } else { OpSet::of(&[]) },
            filters: Filters::new(policy, (0..).zip(filters.iter().copied())),
            coarse: filters.into_iter().map(Coarse::new).collect(),
        }
    }
}

impl Sieve {
    /// Whether every request may go past the engine.
    pub fn is_open(&self) -> bool {
        let Now { everything, acts, paused, .. } = &self.now;
        !everything && paused.is_empty() && (!acts || self.has_no_filter())
    }

    fn has_no_filter(&self) -> bool {
        !self.meshes.everything && self.meshes.coarse.is_empty()
    }

    /// Whether the engine has to see a request; `scratch` is for its own use.
    pub fn concerns(&self, request: &Request, scratch: &mut Vec<u32>) -> bool {
        let (now, meshes) = (&self.now, &*self.meshes);
        if now.everything || now.paused.contains(&request.queue) {
            return true;
        }
        if !now.acts {
            return false;
        }
        if meshes.everything || meshes.ops.has(request.op) {
            return true;
        }
        meshes.filters.candidates(request, &now.places, scratch);
        scratch.iter().any(|number| meshes.coarse[*number as usize].holds(request))
    }
}

impl Engine {
    /// The sieve as it has to be from now on, if that is not `sieve`; `everything`: nothing may go past.
    pub fn other_sieve(&self, sieve: &Sieve, everything: bool) -> Option<Sieve> {
        let everything = everything || self.concerns_everything();
        let is_new = !Arc::ptr_eq(&self.meshes, &sieve.meshes) || !self.is_as_in(&sieve.now, everything);
        is_new.then(|| Sieve { meshes: self.meshes.clone(), now: self.sieve_now(everything) })
    }

    fn is_as_in(&self, now: &Now, everything: bool) -> bool {
        now.everything == everything
            && now.acts == self.attempt.armed
            && now.places == self.attempt.places
            && now.paused.iter().copied().eq(self.paused_queues())
    }

    fn sieve_now(&self, everything: bool) -> Now {
        Now {
            everything,
            acts: self.attempt.armed,
            paused: self.paused_queues().collect(),
            places: self.attempt.places.clone(),
        }
    }

    fn concerns_everything(&self) -> bool {
        self.pauses.iter().any(|pause| pause.queue.is_none())
            || self.waiters.iter().any(super::Waiter::counts)
    }

    fn paused_queues(&self) -> impl Iterator<Item = u16> {
        self.pauses.iter().filter_map(|pause| pause.queue)
    }
}
