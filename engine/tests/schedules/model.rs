//! Which rule decides, predicted the naive way: every filter is tried on every request, in file order.

use blkstay_engine::event::{Event, Facts, Gate, Gauge, Life, PointIndex, StateIndex};
use blkstay_engine::journal::{Arm, Cause, Does, Record, Source};
use blkstay_engine::policy::{Filter, Policy, Turn, Where};
use blkstay_engine::report::AttemptReport;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What has to come next in the journal.
#[derive(Clone, Debug, PartialEq)]
enum Next {
    State { state: String, on: bool },
    Event(String),
    Decided { id: RequestId, gate: Gate, rule: String },
}

/// How many requests matched, and for how many it was the turn.
type Turns = (u64, u64);

/// What is known of an attempt.
#[derive(Debug, Default)]
struct Attempt {
    armed: bool,
    forced: bool,
    begun: bool,
    places: Vec<Option<ByteRange>>,
    points: Vec<Turns>,
    rules: Vec<Turns>,
    states: Vec<bool>,
    events: BTreeMap<Event, u64>,
}

impl Attempt {
    fn new(policy: &Policy, armed: bool, forced: bool, begun: bool) -> Attempt {
        Attempt {
            armed,
            forced,
            begun,
            places: policy.places.iter().map(|place| place.range).collect(),
            points: vec![(0, 0); policy.points.len()],
            rules: vec![(0, 0); policy.rules.len()],
            states: policy.states.iter().map(|state| state.on).collect(),
            events: BTreeMap::new(),
        }
    }
}

/// A request, the point that it is, and whether it has begun the pause in which it stands.
#[derive(Debug)]
struct Live {
    request: Request,
    point: Option<PointIndex>,
    stands: bool,
    decided: bool,
    is_submitted: bool,
    /// Whether another policy had its say at the submit gate.
    is_former: bool,
}

/// Reads the journal as it is written, and knows what comes next.
#[derive(Debug)]
pub struct Model {
    policy: Policy,
    armed: bool,
    attempt: Attempt,
    /// The attempt that begins when this step is over, and the policy that is loaded then.
    fresh: Option<Attempt>,
    loaded: Option<Policy>,
    live: BTreeMap<RequestId, Live>,
    pauses: Vec<(Option<u16>, Option<String>)>,
    stopped: BTreeSet<u16>,
    last_flush: Option<RequestId>,
    /// Whether one is in flight that is not among those that live.
    arriving: bool,
    next: VecDeque<Next>,
}

impl Facts for Model {
    fn times(&self, event: &Event) -> u64 {
        self.attempt.events.get(event).copied().unwrap_or(0)
    }

    fn state(&self, state: StateIndex) -> bool {
        self.attempt.states[state.get()]
    }

    fn gauge(&self, gauge: Gauge) -> u64 {
        match gauge {
            Gauge::InFlight => self.live.len() as u64 + u64::from(self.arriving),
            Gauge::Held => self.live.values().filter(|live| live.stands).count() as u64,
        }
    }
}

impl Model {
    pub fn new(policy: &Policy) -> Model {
        Model {
            policy: policy.clone(),
            armed: false,
            attempt: Attempt::new(policy, false, false, false),
            fresh: None,
            loaded: None,
            live: BTreeMap::new(),
            pauses: Vec::new(),
            stopped: BTreeSet::new(),
            last_flush: None,
            arriving: false,
            next: VecDeque::new(),
        }
    }

    pub fn note(&mut self, record: &Record) {
        let said = match record {
            Record::State { state, on } => Some(Next::State { state: state.clone(), on: *on }),
            Record::Event { source: Source::Policy, event, .. } => Some(Next::Event(event.clone())),
            Record::Decided { id, gate, rule, .. } => {
                Some(Next::Decided { id: *id, gate: *gate, rule: rule.clone() })
            }
            _ => None,
        };
        assert_eq!(said, self.next.pop_front(), "{record:?}");
        self.note_attempt(record);
        self.note_pauses(record);
        self.note_requests(record);
    }

    /// A new attempt begins when everything of the old one is let go.
    pub fn end_of_step(&mut self) {
        assert_eq!(self.next, [], "it does not come");
        if let Some(policy) = self.loaded.take() {
            self.policy = policy;
            for live in self.live.values_mut() {
                // What data was tested for is of the old policy.
                live.request.probes = Probes::default();
                live.is_former = live.is_submitted;
            }
            self.between_attempts();
        }
        if let Some(fresh) = self.fresh.take() {
            self.attempt = fresh;
        }
    }

    pub fn assert_counts(&self, report: &AttemptReport) {
        for (rule, (matched, taken)) in self.policy.rules.iter().zip(&self.attempt.rules) {
            let told = report.rules.get(&rule.name).map_or((0, 0), |rule| (rule.matched, rule.taken));
            assert_eq!(told, (*matched, *taken), "{}", rule.name);
        }
        for (point, (_, taken)) in self.policy.points.iter().zip(&self.attempt.points) {
            assert_eq!(report.points[&point.name].requests, *taken, "{}", point.name);
        }
    }

    fn note_attempt(&mut self, record: &Record) {
        match record {
            Record::Policy { armed, written } => {
                self.armed = *armed;
                self.loaded = Some(Policy::reread(written).expect("a good policy"));
                self.between_attempts();
            }
            Record::Armed { armed } => {
                self.armed = *armed;
                self.between_attempts();
            }
            Record::AttemptBegan { arm, .. } => {
                self.begin(Attempt::new(&self.policy, true, *arm == Arm::Forced, true));
            }
            Record::AttemptEnded { .. } => self.between_attempts(),
            Record::Disconnected => {
                if !self.attempt.begun {
                    self.between_attempts();
                }
                self.stopped.clear();
            }
            Record::Bound { place, range } => {
                let place = self.policy.place(place).expect("a place");
                self.attempt.places[place] = Some(*range);
            }
            Record::Event { source: Source::Guest, event, .. } => self.happen(Event::Guest(event.clone())),
            Record::Event { source: Source::Control, event, .. } => {
                self.happen(Event::Control(event.clone()))
            }
            Record::Finished { .. } => self.happen(Event::Finished),
            Record::Stalled { .. } => self.happen(Event::Stalled),
            _ => {}
        }
    }

    fn between_attempts(&mut self) {
        self.begin(Attempt::new(&self.policy, self.armed, self.armed, false));
    }

    fn begin(&mut self, attempt: Attempt) {
        self.fresh = Some(attempt);
    }

    fn happen(&mut self, event: Event) {
        *self.attempt.events.entry(event).or_default() += 1;
    }

    fn note_pauses(&mut self, record: &Record) {
        match record {
            Record::Paused { queue, rule, .. } => self.pauses.push((*queue, rule.clone())),
            Record::Resumed { queue, rule, .. } => {
                let found = self.pauses.iter().position(|(of, by)| of == queue && by == rule);
                self.pauses.remove(found.expect("a pause"));
            }
            Record::RingStopped { queue } => {
                self.stopped.insert(*queue);
            }
            _ => {}
        }
    }

    fn note_requests(&mut self, record: &Record) {
        match record {
            Record::Arrived { request, point, .. } => self.arrived(*request, point.as_deref()),
            Record::Submitted { id } => {
                // It need not have stood in the pause that it was to begin.
                let live = self.live.get_mut(id).expect("it arrived");
                (live.decided, live.is_submitted) = (false, true);
                self.lives(*id, Life::Submitted);
            }
            Record::Done { id, probes, .. } => {
                let live = self.live.get_mut(id).expect("it arrived");
                if live.request.op == Op::Read {
                    live.request.probes = *probes;
                }
                self.lives(*id, Life::Done);
                self.come_to(*id, Gate::Complete);
            }
            Record::Completed { id, .. } => {
                let live = self.live.remove(id).expect("it arrived");
                if let Some(point) = live.point {
                    self.happen(Event::Point(point, Life::Completed));
                }
            }
            Record::Abandoned { id, .. } => {
                self.live.remove(id);
            }
            Record::Decided { id, does, wait_ns, .. } => {
                let live = self.live.get_mut(id).expect("it arrived");
                live.decided = *does == Does::Pause;
                live.stands = wait_ns.is_some_and(|wait| wait > 0);
            }
            Record::Held { id, .. } => self.live.get_mut(id).expect("it arrived").stands = true,
            Record::Released { id, gate, cause, .. } => {
                let live = self.live.get_mut(id).expect("it arrived");
                live.stands = false;
                if *cause == Cause::Resumed && !std::mem::take(&mut live.decided) {
                    self.come_to(*id, *gate);
                }
            }
            _ => {}
        }
        if self.fresh.is_some() && !matches!(record, Record::Disconnected) {
            self.live.values_mut().for_each(|live| live.point = None);
        }
    }

    fn arrived(&mut self, request: Request, point: Option<&str>) {
        self.stopped.remove(&request.queue);
        self.arriving = true;
        let found = self.point_of(&request);
        self.arriving = false;
        let name = found.map(|point| self.policy.points[point.get()].name.as_str());
        assert_eq!(point, name, "the point of {}", request.id);
        if request.op == Op::Flush {
            self.last_flush = Some(request.id);
        }
        self.live.insert(
            request.id,
            Live {
                request,
                point: found,
                stands: false,
                decided: false,
                is_submitted: false,
                is_former: false,
            },
        );
        self.lives(request.id, Life::Arrived);
        self.come_to(request.id, Gate::Submit);
    }

    fn lives(&mut self, id: RequestId, life: Life) {
        if let Some(point) = self.live[&id].point {
            self.happen(Event::Point(point, life));
        }
    }

    /// Every point that the request matches counts it; the first whose turn it is, is it.
    fn point_of(&mut self, request: &Request) -> Option<PointIndex> {
        let mut found = None;
        for index in self.policy.point_indexes().filter(|_| self.attempt.armed) {
            let filter = &self.policy.points[index.get()].filter;
            if !self.matches(filter, request, None) {
                continue;
            }
            let mine = is_turn(&filter.turn, self.attempt.points[index.get()]) && found.is_none();
            let turns = &mut self.attempt.points[index.get()];
            *turns = (turns.0 + 1, turns.1 + u64::from(mine));
            found = found.or(mine.then_some(index));
        }
        found
    }

    fn come_to(&mut self, id: RequestId, gate: Gate) {
        let live = &self.live[&id];
        let (request, point) = (live.request, live.point);
        let stopped = self.stopped.contains(&request.queue);
        let paused = self.pauses.iter().any(|(of, _)| of.is_none_or(|queue| queue == request.queue));
        let held = self.policy.holds.iter().any(|hold| Some(hold.point) == point && hold.gate == gate);
        if (paused && !stopped) || held || live.is_former || !self.attempt.armed {
            return;
        }
        for index in 0..self.policy.rules.len() {
            let rule = self.policy.rules[index].clone();
            if rule.gate != gate || !self.matches(&rule.filter, &request, point) {
                continue;
            }
            let mine = is_turn(&rule.filter.turn, self.attempt.rules[index]);
            let turns = &mut self.attempt.rules[index];
            *turns = (turns.0 + 1, turns.1 + u64::from(mine));
            if !mine {
                continue;
            }
            self.turn(&rule.notes.set, true);
            self.turn(&rule.notes.clear, false);
            for event in rule.notes.emit {
                self.happen(Event::Policy(event.clone()));
                self.next.push_back(Next::Event(event));
            }
            if rule.verdict.is_some() {
                let decided = Next::Decided { id, gate, rule: rule.name };
                self.next.extend((self.attempt.forced && !stopped).then_some(decided));
                return;
            }
        }
    }

    fn turn(&mut self, states: &[StateIndex], on: bool) {
        for state in states {
            if self.attempt.states[state.get()] != on {
                self.attempt.states[state.get()] = on;
                let state = self.policy.states[state.get()].name.clone();
                self.next.push_back(Next::State { state, on });
            }
        }
    }

    fn matches(&self, filter: &Filter, request: &Request, point: Option<PointIndex>) -> bool {
        let here = |range: &ByteRange| {
            let (first, last) = (range.offset, range.offset + range.length);
            let wanted = request.range;
            wanted.length > 0
                && range.length > 0
                && wanted.offset < last
                && first < wanted.offset + wanted.length
        };
        let place = match filter.range {
            None => true,
            Some(Where::Range(range)) => here(&range),
            Some(Where::Place(place)) => self.attempt.places[place].as_ref().is_some_and(here),
        };
        place
            && filter.ops.iter().any(|op| op == request.op)
            && filter.length_min <= request.range.length
            && request.range.length <= filter.length_max
            && (filter.queue.is_none() || filter.queue == Some(request.queue))
            && filter.class.is_none_or(|classes| {
                classes.iter().any(|class| request.class.iter().any(|one| one == class))
            })
            && filter.probe.is_none_or(|probe| request.probes.0 & (1 << probe) != 0)
            && (filter.point.is_none() || filter.point == point)
            && (!filter.flush_follows || self.last_flush > Some(request.id))
            && filter.when.as_ref().is_none_or(|when| when.holds(self))
    }
}

fn is_turn(turn: &Turn, (matched, taken): Turns) -> bool {
    let mut meant = turn.from;
    while meant < matched + 1 {
        meant = meant.saturating_add(turn.every);
    }
    meant == matched + 1 && turn.count.is_none_or(|count| taken < count)
}
