//! How an attempt went: what the verdict is judged from.

use crate::buckets::Buckets;
use crate::event::Gate;
use crate::journal::{Arm, Cause};
use crate::request::{Nanos, Op, RequestId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// As what a guest reports where it stands, which makes it a witness of what has stalled.
pub const STUCK: &str = "stuck";

/// An attempt, from its begin to its end or to now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Its number.
    pub attempt: u64,
    /// Its arm.
    pub arm: Arm,
    /// When it began, in the journal's time.
    pub began_ns: Nanos,
    /// When it ended, or when this report was made.
    pub ended_ns: Nanos,
    /// Places of the policy that the guest was to bind and did not.
    #[serde(default)]
    pub unbound: Vec<String>,
    /// Every point of the policy, by name.
    pub points: BTreeMap<String, PointReport>,
    /// Every hold of the policy, in file order.
    pub holds: Vec<HoldReport>,
    /// What ended the forcing before its end, if a watchdog did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Expired>,
    /// Every rule of the policy that matched a request, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, RuleReport>,
    /// Every event of the attempt in the order in which it happened: `A.arrived`, `guest.a-reaped`.
    pub events: Vec<EventReport>,
    /// What the guest reported, by name.
    pub reports: BTreeMap<String, String>,
    /// Lines of the guest's kernel log.
    pub kernel_log: Vec<String>,
    /// Exit status of the guest's script, once it has come to its end.
    pub exit: Option<i32>,
}

/// A point in an attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PointReport {
    /// The request that was it, if one was; the first of several.
    pub request: Option<RequestId>,
    /// How many requests were it.
    #[serde(default)]
    pub requests: u64,
}

/// A watchdog that ran out: nothing was held from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// The gate of the hold, `A.complete` say, or the rule.
    pub gate: String,
    /// What was waited for.
    pub until: String,
    /// Whether a guest that waited for `attempt.stalled`, to say where it stands, never said so.
    pub unheard: bool,
}

/// A rule in an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// How many requests came to it that match, whosever turn it was.
    pub matched: u64,
    /// How many of them it was for: it decided, or noted.
    pub taken: u64,
}

/// An event of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventReport {
    /// Its name.
    pub event: String,
    /// When, in the journal's time.
    pub t: Nanos,
}

/// A hold in an attempt. In the control arm: when it would have begun and ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldReport {
    /// Its gate, `A.complete` say.
    pub gate: String,
    /// Its expression.
    pub until: String,
    /// When the point reached the gate.
    pub reached_ns: Option<Nanos>,
    /// When the expression became true.
    pub true_ns: Option<Nanos>,
    /// Whether the request was held there.
    pub held: bool,
    /// Why the hold ended, if it was held and has ended.
    pub cause: Option<Cause>,
}

/// A request that is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldRequest {
    /// The request.
    pub id: RequestId,
    /// Its operation.
    pub op: Op,
    /// First byte on the disk.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Its point; empty if it is none.
    pub point: String,
    /// The rule that holds it; the point's holds or a pause by hand if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where it is held.
    pub gate: Gate,
    /// What is still waited for.
    pub until: String,
    /// Since when, in the journal's time.
    pub since_ns: Nanos,
    /// When the watchdog ends it.
    pub deadline_ns: Nanos,
}

/// What a daemon has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsReport {
    /// Nanoseconds since the daemon started.
    pub uptime_ns: Nanos,
    /// Size of the disk in bytes.
    pub bytes: u64,
    /// Whether a guest is connected.
    pub connected: bool,
    /// Whether a write is on the media when it completes: the guest does not flush then.
    #[serde(default)]
    pub writes_through: bool,
    /// Requests that the drive has or that stand somewhere; those that go past the engine are not among them.
    pub in_flight: u64,
    /// Of these, those that are held or delayed.
    pub held: u64,
    /// Requests on their way past the engine, which does not know of them.
    #[serde(default)]
    pub passing: u64,
    /// What they obey.
    #[serde(default)]
    pub policy: PolicyReport,
    /// Each operation that there was.
    pub ops: Vec<OpStats>,
}

/// Which policy there is, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Where it was read from; `None` if there is none.
    pub origin: Option<String>,
    /// Whether it acts on what arrives now.
    pub armed: bool,
    /// The attempt that has begun, if one has.
    pub attempt: Option<u64>,
    /// Its arm.
    pub arm: Option<Arm>,
    /// Whether a watchdog has ended the forcing.
    pub expired: bool,
    /// Whether the disk or a ring is paused, by hand or by a rule.
    pub paused: bool,
}

/// What there was of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpStats {
    /// The operation.
    pub op: Op,
    /// Requests that have completed.
    pub requests: u64,
    /// Bytes that they were about.
    pub bytes: u64,
    /// Those that did not end well.
    pub errors: u64,
    /// How long they took, from out of the ring to the used ring.
    pub latency: Latency,
    /// The same, counted: what two reports differ in is what came between them.
    #[serde(default)]
    pub buckets: Buckets,
}

/// How long requests took, in nanoseconds; quantiles are right to one percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// All together.
    pub total_ns: Nanos,
    /// Half of them took no longer.
    pub p50_ns: Nanos,
    /// Nine of ten took no longer.
    pub p90_ns: Nanos,
    /// 99 of 100.
    pub p99_ns: Nanos,
    /// 999 of 1000.
    pub p999_ns: Nanos,
    /// The longest.
    pub max_ns: Nanos,
}
