//! Rules that may wait for a request that they hold themselves.

use super::known::lasting;
use super::meant::Meant;
use super::{Look, can_be, comes_after, conjuncts, step, until};
use crate::event::{Event, Expr, Gate, Life, PointIndex};
use crate::policy::tree::Node;
use crate::policy::{Filter, Pause, Rule, Scope, Turn, Wait};

/// Most points that are looked at for what comes before one.
const NEEDS_MAX: usize = 64;

impl Look<'_> {
    pub(super) fn waits(&mut self) {
        let known = self.sound.are_rules();
        for (rule, node) in self.rules().collect::<Vec<_>>() {
            // What could not be read may let the awaited request go first.
            let is_idle = self.idle.contains(&self.index_of(rule));
            let itself = until(rule)
                .filter(|_| known && !is_idle && !self.is_told(&super::at(node, "until")))
                .and_then(|until| self.itself(rule, until));
            match itself {
                Some((point, life)) => self.warn_itself(rule, node, point, life),
                None if self.stops_what_it_needs(rule) => self.warn_pause(rule, node),
                None => {}
            }
        }
        self.rings();
    }

    /// Whether only a rule can end a pause of everything, while no rule acts because everything stands.
    fn stops_what_it_needs(&self, rule: &Rule) -> bool {
        let whole = |pause: &Pause| pause.scope == Scope::Disk;
        let wait = rule.verdict.as_ref().and_then(|verdict| verdict.wait.as_ref());
        let own = |leaf: &Expr| match leaf {
            Expr::Event(Event::Policy(name), times) => *times == 1 && rule.notes.emit.contains(name),
            Expr::State(state) => self.policy.states[state.get()].on || rule.notes.set.contains(state),
            _ => true,
        };
        match wait {
            Some(Wait::Pause(pause)) if whole(pause) => {
                pause.until.as_ref().is_some_and(|until| !can_be(until, &own))
            }
            _ => false,
        }
    }

    fn warn_pause(&mut self, rule: &Rule, node: &Node) {
        let message = format!(
            "rule `{}` may wait for itself: while it pauses the disk no rule acts that could end it",
            rule.name
        );
        let help =
            "let the pause end by an event of the guest or of the control socket, or by `POINT.arrived`";
        self.warn(super::at(node, "until"), message, "comes from rules alone", help);
    }

    fn warn_itself(&mut self, rule: &Rule, node: &Node, point: PointIndex, life: Life) {
        let is_own = rule.filter.point == Some(point);
        let is_named = until(rule).is_some_and(|until| until.events().contains(&&Event::Point(point, life)));
        let (point, event) = (&self.policy.points[point.get()].name, self.policy.life_name(point, life));
        let later = if is_named { "" } else { ", after which comes what it waits for" };
        let message = format!(
            "rule `{}` may wait for itself: it can hold `{point}` before `{event}`{later}",
            rule.name
        );
        let help = if is_own && pauses(rule).is_none() {
            format!("wait for what comes before `{event}`, or for an event of the guest")
        } else if pauses(rule).is_some() {
            format!(
                "let the pause end by what still comes, such as `{point}.arrived` or an event of the guest"
            )
        } else {
            let gate = rule.gate;
            format!(
                "let `{point}` go first: [[rule]] with gate = \"{gate}\", point = \"{point}\", pass = true"
            )
        };
        let at = node.get("until").and_then(|node| super::find(node, &event));
        self.warn(
            at.unwrap_or_else(|| super::at(node, "until")),
            message,
            "cannot come while it is held",
            help,
        );
    }

    /// A step that the rule waits for and keeps from being taken.
    fn itself(&self, rule: &Rule, until: &Expr) -> Option<(PointIndex, Life)> {
        let steps = until.events().into_iter().flat_map(|event| self.needs(event));
        steps.into_iter().find(|(point, life)| {
            self.is_point(*point)
                && comes_after(*life, rule.gate)
                && !can_be(until, &|leaf| !self.is_later_step(leaf, *point, rule.gate))
                && self.holds_point(rule, *point)
        })
    }

    /// The steps of points without which an event does not happen, itself first if it is one.
    fn needs(&self, event: &Event) -> Vec<(PointIndex, Life)> {
        let mut steps: Vec<(PointIndex, Life)> = step(event).into_iter().collect();
        let mut next = 0;
        while let Some((point, _)) = steps.get(next).filter(|_| next < NEEDS_MAX) {
            let earlier = lasting(self.policy.points[point.get()].filter.when.as_ref());
            let earlier: Vec<_> = earlier.iter().filter_map(|(event, _)| step(event)).collect();
            earlier.into_iter().for_each(|step| {
                if !steps.contains(&step) {
                    steps.push(step);
                }
            });
            next += 1;
        }
        steps
    }

    /// Whether a leaf needs a step of the point that comes only after the gate.
    fn is_later_step(&self, leaf: &Expr, point: PointIndex, gate: Gate) -> bool {
        let Expr::Event(event, _) = leaf else { return false };
        self.needs(event).into_iter().any(|(other, life)| other == point && comes_after(life, gate))
    }

    /// Whether the rule can hold every request that is this point.
    fn holds_point(&self, rule: &Rule, point: PointIndex) -> bool {
        if let Some(scope) = pauses(rule) {
            return scope == Scope::Disk || self.is_same_ring(rule, point);
        }
        let filter = &self.policy.points[point.get()].filter;
        let is_each = rule.filter.turn == Turn::EACH && rule.filter.when.is_none();
        let all = is_each && self.meant(&rule.filter).covers(&self.meant(filter));
        (is_one(filter) || all) && self.can_take(rule, point) && !self.may_go_by(self.index_of(rule), point)
    }

    /// Whether what begins the rule's pause is surely of the ring of the point's requests.
    fn is_same_ring(&self, rule: &Rule, point: PointIndex) -> bool {
        let other = self.meant(&self.policy.points[point.get()].filter).queue;
        match (self.meant(&rule.filter).queue, other) {
            (Some(own), Some(other)) => own == other,
            _ => rule.filter.point == Some(point) || self.queues() == Some(1),
        }
    }

    /// Whether holds of the point, or a rule before this one, may have the say about one of its requests there, or whether
    /// it may be failed before.
    fn may_go_by(&self, rule: usize, point: PointIndex) -> bool {
        let (gate, filter) = (self.policy.rules[rule].gate, &self.policy.points[point.get()].filter);
        let both = self.meant(&self.policy.rules[rule].filter).and(self.meant(filter));
        let both = Meant { point: Some(point), ..both };
        let takes = |(other, covers): &(usize, bool)| {
            let other = &self.policy.rules[*other];
            let covers = *covers || self.meant(&other.filter).covers(&both);
            (covers || !is_one(filter)) && self.can_take(other, point)
        };
        let mut before = self.deciders(filter, Some(point), gate, Some(rule)).filter(takes);
        let mut earlier = self.deciders(filter, Some(point), Gate::Submit, None).filter(takes);
        self.is_held(point, gate)
            || before.next().is_some()
            || gate == Gate::Complete
                && !self.is_held(point, Gate::Submit)
                && earlier.any(|(other, _)| self.fails_always(other))
    }

    /// Whether a rule can decide about a request that is this point.
    fn can_take(&self, rule: &Rule, point: PointIndex) -> bool {
        let filter = &self.policy.points[point.get()].filter;
        let (own, points) = (self.meant(&rule.filter), self.meant(filter));
        let is_other = rule.filter.point.is_some_and(|other| other != point);
        let later = |when: &Expr| !can_be(when, &|leaf| !self.is_later_step(leaf, point, rule.gate));
        let earlier =
            conjuncts(rule.filter.when.as_ref()).into_iter().any(|part| is_before(part, point, rule.gate));
        let same = own.covers(&points) && points.covers(&own);
        let other_turn = same && is_one(filter) && !can_mean(rule.filter.turn, filter.turn.from);
        own.meets(&points)
            && own.has_block_of(&points)
            && !is_other
            && !rule.filter.when.as_ref().is_some_and(later)
            && !earlier
            && !other_turn
    }
}

/// Whether it means one request of an attempt.
fn is_one(filter: &Filter) -> bool {
    filter.turn.count == Some(1)
}

/// Whether the n-th of those that match can be one that is meant.
fn can_mean(turn: Turn, nth: u64) -> bool {
    let is_early = |count| turn.probability.is_some() || (nth - turn.from) / turn.every < count;
    turn.has(nth) && turn.count.is_none_or(is_early)
}

/// Which requests it makes stand wherever they are, also those that are let go before it, if it does.
pub(super) fn pauses(rule: &Rule) -> Option<Scope> {
    match rule.verdict.as_ref()?.wait.as_ref()? {
        Wait::Pause(pause) => Some(pause.scope),
        _ => None,
    }
}

/// Whether it is true only while the point has not come to the gate.
fn is_before(part: &Expr, point: PointIndex, gate: Gate) -> bool {
    let Expr::Not(not) = part else { return false };
    match not.as_ref() {
        Expr::Event(Event::Point(other, life), 1) => *other == point && !comes_after(*life, gate),
        _ => false,
    }
}
