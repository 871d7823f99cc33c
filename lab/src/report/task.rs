//! What a process of the guest does between two events of its script: `b-begins` and `b-ends` are B's.

use super::scene::Heard;
use super::story::What;
use blkstay_engine::journal::Source;
use blkstay_engine::policy::Policy;
use blkstay_engine::report::STUCK;
use blkstay_engine::request::Nanos;

/// Something that the guest does, from `NAME-begins` to `NAME-ends`.
#[derive(Debug)]
pub struct Task<'a> {
    /// Its name; one of a single letter is written as points are.
    pub name: String,
    /// When it begins.
    pub from_ns: Nanos,
    /// When it ends, if it did.
    pub to_ns: Option<Nanos>,
    /// Where it was seen to stand.
    pub seen: Vec<(Nanos, Stuck<'a>)>,
}

/// Where a process stood, as the script reported it (`stuck`).
#[derive(Clone, Debug)]
pub struct Stuck<'a> {
    /// Which, if the policy tells processes apart.
    pub process: Option<&'a str>,
    /// Its state, as in proc_pid_stat(5).
    pub state: &'a str,
    /// The functions it is in, innermost first.
    pub functions: Vec<&'a str>,
}

impl Stuck<'_> {
    /// That it sleeps, and where, in a few words.
    pub fn words(&self) -> String {
        let innermost: Vec<&str> = self.functions.iter().take(2).copied().collect();
        let sleeps = if matches!(self.state, "D" | "S") { "sleeps" } else { "stands" };
        format!("{sleeps} ({}) in {}", self.state, innermost.join(", called from "))
    }
}

/// What was reported as `stuck`.
pub fn stuck<'a>(what: &'a What, policy: Option<&Policy>) -> Option<Stuck<'a>> {
    let What::Report { name, value } = what else { return None };
    let named = policy.and_then(|policy| policy.case.as_ref()).is_some_and(|case| !case.waits.is_empty());
    let mut words = value.split_whitespace();
    let process = if named { words.next() } else { None };
    let state = words.next().filter(|_| name == STUCK)?;
    Some(Stuck { process, state, functions: words.collect() })
}

/// Every task, in the order in which they begin. One that never ends and is called as a point is that point's.
pub fn tasks<'a>(said: &[Heard<'a>], policy: Option<&Policy>) -> Vec<Task<'a>> {
    let points = || policy.iter().flat_map(|policy| &policy.points);
    let begins = said.iter().filter_map(|heard| Some((heard.said.t, name(&heard.said.what, "-begins")?)));
    let task = |(from_ns, event): (Nanos, &str)| {
        let ends = |heard: &&Heard| name(&heard.said.what, "-ends") == Some(event);
        let to_ns = said.iter().find(ends).map(|heard| heard.said.t);
        let name = if event.len() == 1 { event.to_uppercase() } else { event.to_owned() };
        let is_point = points().any(|point| point.name == name);
        let seen = said.iter().filter_map(|heard| Some((heard.said.t, heard.stuck.clone()?)));
        let seen = seen.filter(|(_, stuck)| stuck.process == Some(&*name)).collect();
        (to_ns.is_some() || !is_point).then_some(Task { name, from_ns, to_ns, seen })
    };
    begins.filter_map(task).collect()
}

/// Whether an event begins or ends a task.
pub fn is_edge(what: &What) -> bool {
    name(what, "-begins").or_else(|| name(what, "-ends")).is_some()
}

fn name<'a>(what: &'a What, edge: &str) -> Option<&'a str> {
    match what {
        What::Event { source: Source::Guest, name, .. } => {
            name.strip_suffix(edge).filter(|name| !name.is_empty())
        }
        _ => None,
    }
}
