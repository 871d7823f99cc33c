//! What stands at a gate, as the journal tells it, and how long it may.

use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Cause, Does, Record};
use blkstay_engine::policy::{Policy, Rule};
use blkstay_engine::request::RequestId;
use std::collections::{BTreeMap, BTreeSet};

/// How many times its watchdog a hold stands when a witness never reports.
const PATIENCE: u64 = 8;

/// What ends by itself.
#[derive(Clone, Copy, Debug)]
enum Stand {
    /// A time was drawn for it; the watchdog may cut that short.
    Timed { due: u64, cut: u64 },
    /// Something has to happen.
    Until { since: u64, deadline: u64 },
    /// A pause has to end.
    Paused,
}

/// Everything that stands.
#[derive(Debug, Default)]
pub struct Stands {
    /// Whether somebody ever waited to be told of a stall: then holds may stand longer.
    pub has_witness: bool,
    /// The one of the attempt, instead of all others but those of times that are drawn.
    watchdog: Option<u64>,
    stands: BTreeMap<RequestId, Stand>,
    queues: BTreeMap<RequestId, u16>,
    /// Ring, rule and deadline of each pause.
    pauses: Vec<(Option<u16>, Option<String>, u64)>,
}

impl Stands {
    pub fn note(&mut self, now: u64, policy: &Policy, record: &Record) {
        match record {
            Record::Decided { id, rule, does: Does::Delay | Does::Limit | Does::Stall, wait_ns, .. } => {
                let wait = wait_ns.expect("how long it waits");
                let cut = now.saturating_add(rule_named(policy, rule).watchdog_ns);
                let due = now.saturating_add(wait);
                if wait > 0 {
                    self.stand(*id, Stand::Timed { due, cut });
                }
            }
            Record::Arrived { request, .. } => {
                self.queues.insert(request.id, request.queue);
            }
            // Nothing comes so far that something else holds it.
            Record::Held { id, .. } if self.is_paused(self.queues[id]) => self.stand(*id, Stand::Paused),
            Record::Held { id, point, rule, gate, deadline_ns, .. } => {
                let own = match rule {
                    Some(rule) => rule_named(policy, rule).watchdog_ns,
                    None => watchdog_of_holds(policy, point, *gate),
                };
                assert_eq!(deadline_ns - now, self.watchdog.unwrap_or(own), "{record:?}");
                self.stand(*id, Stand::Until { since: now, deadline: *deadline_ns });
            }
            Record::Released { id, cause, .. } => {
                let stand = self.stands.remove(id).expect("it stands");
                assert!(is_in_time(now, stand, cause), "{id} goes on at {now}, by {cause:?}: {stand:?}");
                let is_free = !matches!(stand, Stand::Paused) || self.may_leave_pause(self.queues[id], cause);
                assert!(is_free, "{id} goes on at {now}, by {cause:?}, though it is paused: {self:?}");
            }
            Record::Submitted { id } | Record::Completed { id, .. } => {
                assert!(!self.stands.contains_key(id), "{id} stands and goes on");
            }
            Record::Abandoned { id, .. } => {
                self.stands.remove(id);
            }
            Record::AttemptBegan { watchdog_ns, .. } => self.watchdog = *watchdog_ns,
            Record::AttemptEnded { .. } | Record::Policy { .. } => self.watchdog = None,
            Record::Paused { queue, rule, deadline_ns } => {
                if let Some(rule) = rule {
                    let own = rule_named(policy, rule).watchdog_ns;
                    assert_eq!(deadline_ns - now, self.watchdog.unwrap_or(own), "{record:?}");
                }
                self.pauses.push((*queue, rule.clone(), *deadline_ns));
            }
            Record::Resumed { queue, rule, .. } => {
                let same =
                    self.pauses.iter().enumerate().filter(|(_, (of, by, _))| of == queue && by == rule);
                let (first, _) = same.min_by_key(|(_, (.., deadline))| *deadline).expect("a pause");
                self.pauses.remove(first);
            }
            _ => {}
        }
    }

    fn is_paused(&self, queue: u16) -> bool {
        self.pauses.iter().any(|(of, ..)| of.is_none_or(|of| of == queue))
    }

    fn is_paused_by_client(&self, queue: u16) -> bool {
        let mut pauses = self.pauses.iter();
        pauses.any(|(of, rule, _)| rule.is_none() && of.is_none_or(|of| of == queue))
    }

    /// Nobody leaves a pause before it is over but by hand, or with its ring; a policy that does not act any more lets
    /// go of what no client has paused.
    fn may_leave_pause(&self, queue: u16, cause: &Cause) -> bool {
        match cause {
            Cause::Hand | Cause::RingStop => true,
            Cause::Disarmed | Cause::AttemptEnd | Cause::PolicyReplaced => !self.is_paused_by_client(queue),
            _ => !self.is_paused(queue),
        }
    }

    fn stand(&mut self, id: RequestId, stand: Stand) {
        assert!(self.stands.insert(id, stand).is_none(), "{id} stands twice");
    }

    pub fn ids(&self) -> BTreeSet<RequestId> {
        self.stands.keys().copied().collect()
    }

    /// When a stand has to be over; a pause has its own.
    fn bound(&self, stand: &Stand) -> Option<u64> {
        match *stand {
            Stand::Timed { due, cut } => Some(due.min(cut)),
            Stand::Until { since, deadline } if self.has_witness => {
                Some(since + PATIENCE * (deadline - since))
            }
            Stand::Until { deadline, .. } => Some(deadline),
            Stand::Paused => None,
        }
    }

    /// When the first of all has to be over.
    pub fn first_bound(&self) -> Option<u64> {
        let stands = self.stands.values().filter_map(|stand| self.bound(stand));
        stands.chain(self.pauses.iter().map(|(.., deadline)| *deadline)).min()
    }

    /// After the engine was told that time has passed.
    pub fn assert_none_is_due(&self, now: u64) {
        assert!(self.first_bound().is_none_or(|bound| bound > now), "it is {now}: {self:?}");
    }
}

fn rule_named<'p>(policy: &'p Policy, name: &str) -> &'p Rule {
    policy.rules.iter().find(|rule| rule.name == name).expect("a rule")
}

/// The least of those of a point's holds at a gate.
fn watchdog_of_holds(policy: &Policy, point: &str, gate: Gate) -> u64 {
    let here =
        policy.holds.iter().filter(|hold| Some(hold.point) == policy.point(point) && hold.gate == gate);
    here.map(|hold| hold.watchdog_ns).min().expect("a hold")
}

/// Whether something that ends by itself has taken its time.
fn is_in_time(now: u64, stand: Stand, cause: &Cause) -> bool {
    match (stand, cause) {
        (Stand::Timed { due, .. }, Cause::Delay | Cause::Limit | Cause::Stall) => now >= due,
        (Stand::Timed { cut, .. }, Cause::Watchdog { .. }) => now >= cut,
        (Stand::Until { since, deadline }, Cause::Watchdog { unheard, limit_ns }) => {
            let patience = if *unheard { PATIENCE } else { 1 };
            *limit_ns == deadline - since && now >= since + patience * limit_ns
        }
        (_, Cause::Delay | Cause::Limit | Cause::Stall | Cause::Watchdog { .. }) => false,
        (Stand::Paused, _) => true,
        (_, Cause::Resumed) => false,
        _ => true,
    }
}
