//! A drive, guests, users and a clock around an engine: plays schedules, and checks every action as it comes.

use crate::model::Model;
use crate::policies::WATCHDOG_NS;
use crate::stands::Stands;
use crate::steps::Step;
use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::control::{Answer, Command, ExprText};
use blkstay_engine::engine::{Action, Engine, Input, Sieve, Token};
use blkstay_engine::journal::{Abandon, Arm, Line, Outcome, Record, Source};
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};
use std::collections::{BTreeMap, BTreeSet};

/// Longer than anything stands: the longest watchdog, with the patience for a witness.
const LONGEST_NS: u64 = 8 * WATCHDOG_NS + 1;

/// A policy that says nothing but how long a pause may stand.
fn no_policy() -> Policy {
    Policy::parse("none", &format!("watchdog = \"{WATCHDOG_NS}ns\"")).expect("a good policy")
}

/// An engine in its world.
pub struct World {
    engine: Engine,
    /// The policy of this schedule, and the one that is loaded now.
    policy: Policy,
    loaded: Policy,
    model: Option<Model>,
    stands: Stands,
    now: u64,
    next_id: u64,
    next_token: u64,
    attempt: u64,
    in_drive: Vec<RequestId>,
    arrived: BTreeSet<RequestId>,
    ended: BTreeSet<RequestId>,
    /// What neither drive nor guest has.
    waiting: BTreeSet<RequestId>,
    wake_at: Option<u64>,
    /// As a daemon keeps it.
    sieve: Sieve,
    /// What the sieve would have let past.
    past: BTreeMap<RequestId, Request>,
    /// Everything that the engine ever said, and when.
    pub said: Vec<(u64, Action)>,
}

impl World {
    /// With a policy, which is armed. `foreseen`: each decision is predicted, too.
    pub fn new(text: &str, foreseen: bool) -> World {
        let policy = Policy::parse("test", text).expect("a good policy");
        let mut world = World {
            engine: Engine::new(),
            model: foreseen.then(|| Model::new(&Policy::none())),
            policy,
            loaded: Policy::none(),
            stands: Stands::default(),
            now: 0,
            next_id: 1,
            next_token: 1,
            attempt: 0,
            in_drive: Vec::new(),
            arrived: BTreeSet::new(),
            ended: BTreeSet::new(),
            waiting: BTreeSet::new(),
            wake_at: None,
            sieve: Sieve::default(),
            past: BTreeMap::new(),
            said: Vec::new(),
        };
        world.play(&Step::Load { armed: true, none: false });
        world
    }

    /// The same after a schedule and everything that it leaves to be done.
    pub fn after(text: &str, foreseen: bool, steps: &[Step]) -> World {
        let mut world = World::new(text, foreseen);
        for step in steps {
            world.play(step);
        }
        world.settle();
        world
    }

    /// The journal that a daemon would have written.
    pub fn journal(&self) -> Vec<Line> {
        let record = |(t, action): &(u64, Action)| match action {
            Action::Record(record) => Some(Line { t: *t, record: record.clone() }),
            _ => None,
        };
        self.said.iter().filter_map(record).collect()
    }

    fn play(&mut self, step: &Step) {
        let control = Source::Control;
        match step {
            Step::Arrive { .. } => self.arrive(step),
            Step::Finish { pick, fails, probes } => self.finish(*pick, *fails, *probes),
            Step::Emit { guest, event } => {
                let source = if *guest { Source::Guest } else { Source::Control };
                let event = ["x", "y", "z"][*event].to_owned();
                self.call(source, Command::Emit { event, detail: None });
            }
            Step::Begin { forced, watchdog_ns } => {
                self.attempt += 1;
                let arm = if *forced { Arm::Forced } else { Arm::Control };
                let (attempt, watchdog_ns) = (self.attempt, *watchdog_ns);
                self.call(control, Command::Begin { attempt, arm, watchdog_ns });
            }
            Step::End => self.call(control, Command::End),
            Step::Release { request, point } => {
                let request = request.map(|pick| RequestId(1 + pick as u64 % self.next_id));
                let point = point.map(|point| format!("P{point}"));
                self.call(control, Command::Release { request, point });
            }
            Step::Load { armed, none } => {
                let policy = if *none { no_policy() } else { self.policy.clone() };
                self.call(control, Command::load_written(policy.written.clone(), *armed));
                self.loaded = policy;
            }
            Step::Arm(true) => self.call(control, Command::Arm),
            Step::Arm(false) => self.call(control, Command::Disarm),
            Step::Pause { queue, watchdog_ns } => {
                self.call(control, Command::Pause { queue: *queue, watchdog_ns: *watchdog_ns });
            }
            Step::Resume => self.call(control, Command::Resume),
            Step::Bind { block } => {
                let bind = Command::Bind { place: "g".to_owned(), offset: block * 4096, length: 4096 };
                self.call(Source::Guest, bind);
            }
            Step::Await(pick) => self.wait_for(*pick),
            Step::Forget => self.input(Input::Forget(Token(self.next_token - 1))),
            Step::Tell(pick) => self.tell(*pick),
            Step::StopRing(queue) => self.input(Input::RingStopped { queue: *queue }),
            Step::Wait(ns) => self.wait(*ns),
            Step::WaitLate(ns) => {
                self.now += ns;
                self.tick();
            }
            Step::Connect => self.input(Input::Connected),
            Step::Disconnect => self.input(Input::Abandon(Abandon::Disconnect)),
            Step::BadRequest => self.input(Input::BadRequest { queue: 0, why: "too short".to_owned() }),
        }
    }

    fn arrive(&mut self, step: &Step) {
        let Step::Arrive { op, block, length, queue, class, probes } = *step else { return };
        let (id, op) = (RequestId(self.next_id), Op::ALL[op]);
        self.next_id += 1;
        self.arrived.insert(id);
        self.waiting.insert(id);
        let range = ByteRange { offset: block * 4096, length: length * 2048 };
        let range = if op.has_range() { range } else { ByteRange::default() };
        let class =
            [&[][..], &[Class::JournalCommit], &[Class::FileData], &[Class::Extent, Class::FileData]][class];
        let probes = if op == Op::Write { Probes(probes) } else { Probes::default() };
        let class = if op.has_range() { ClassSet::of(class) } else { ClassSet::NONE };
        let request = Request { id, queue, op, range, class, probes };
        let past = !self.sieve.concerns(&request, &mut Vec::new());
        let before = self.said.len();
        self.input(Input::Arrived(request));
        if past {
            self.past.insert(id, request);
            self.assert_went_on(id, before, |action| *action == Action::Submit(id));
        }
    }

    /// The sieve would have let a request past, so nothing but this happened to it.
    fn assert_went_on(&self, id: RequestId, before: usize, how: impl Fn(&Action) -> bool) {
        let said = || self.said[before..].iter().map(|(_, action)| action);
        assert!(said().any(how), "the sieve lets {id} past, the engine does not: {:?}", &self.said[before..]);
        let decided = |action: &Action| match action {
            Action::Record(Record::Arrived { request, point, .. }) => request.id == id && point.is_some(),
            Action::Record(Record::Decided { id: of, .. } | Record::Held { id: of, .. }) => *of == id,
            _ => false,
        };
        assert!(!said().any(decided), "the sieve lets {id} past: {:?}", &self.said[before..]);
    }

    fn finish(&mut self, pick: usize, fails: bool, probes: u64) {
        if self.in_drive.is_empty() {
            return;
        }
        let id = self.in_drive.swap_remove(pick % self.in_drive.len());
        self.waiting.insert(id);
        let status = if fails { Status::IoError } else { Status::Ok };
        let past = self.past.remove(&id);
        let past = past.is_some_and(|request| !self.sieve.concerns(&request, &mut Vec::new()));
        let before = self.said.len();
        self.input(Input::Done { id, status, probes: Probes(probes) });
        if past {
            self.assert_went_on(id, before, |action| *action == Action::Complete(id, status));
        }
    }

    fn wait_for(&mut self, pick: usize) {
        let mut events =
            vec!["attempt.stalled", "guest.x", "control.z", "policy.p", "attempt.finished", "state.s"];
        let lives: Vec<String> =
            self.loaded.points.iter().map(|point| format!("{}.done", point.name)).collect();
        events.extend(lives.iter().map(String::as_str));
        let event = events[pick % events.len()];
        self.stands.has_witness |= event == "attempt.stalled";
        let until = ExprText::Event(event.to_owned());
        self.call(Source::Guest, Command::Await { until });
    }

    /// What has no effect on requests, or hardly any.
    fn tell(&mut self, pick: usize) {
        let text = || "text".to_owned();
        let source = if pick.is_multiple_of(2) { Source::Guest } else { Source::Control };
        let command = match pick % 8 {
            0 | 1 => Command::Report { name: text(), value: text() },
            2 => Command::Log { lines: vec![text(), text()] },
            3 => Command::Finish { exit: 0 },
            4 => Command::NextAttempt { after: self.attempt },
            5 => Command::Status,
            6 => Command::Verdict { attempt: 1, outcome: Outcome::Open, why: text() },
            _ => Command::Emit { event: "y".to_owned(), detail: Some(text()) },
        };
        self.call(source, command);
    }

    /// Lets time pass, ticking exactly when the engine asks for it.
    fn wait(&mut self, ns: u64) {
        let until = self.now + ns;
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.tick();
        }
        self.now = until;
    }

    fn tick(&mut self) {
        self.wake_at = None;
        self.input(Input::Tick);
        self.stands.assert_none_is_due(self.now);
    }

    fn call(&mut self, source: Source, command: Command) {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.input(Input::Call { token, source, during: None, command });
    }

    fn input(&mut self, input: Input) {
        for action in self.engine.step(self.now, input) {
            self.said.push((self.now, action.clone()));
            self.check(action);
        }
        if let Some(sieve) = self.engine.other_sieve(&self.sieve, false) {
            self.sieve = sieve;
        }
        if let Some(model) = &mut self.model {
            model.end_of_step();
        }
        assert_eq!(self.stands.ids(), self.waiting, "what waits stands, and the journal says why");
        if let Some(bound) = self.stands.first_bound() {
            assert!(
                self.wake_at.is_some_and(|at| at <= bound),
                "{bound} is slept through: {:?}",
                self.wake_at
            );
        }
    }

    fn check(&mut self, action: Action) {
        match action {
            Action::Submit(id) => {
                assert!(self.waiting.remove(&id), "{id} is submitted and does not wait");
                assert!(!self.in_drive.contains(&id), "{id} is submitted twice");
                self.in_drive.push(id);
            }
            Action::Complete(id, _) => {
                assert!(self.waiting.remove(&id), "{id} completes and does not wait");
                assert!(self.ended.insert(id), "{id} ends twice");
            }
            Action::Abandon(id) => {
                self.waiting.remove(&id);
                self.in_drive.retain(|known| *known != id);
                assert!(self.ended.insert(id), "{id} ends twice");
            }
            Action::WakeAt(at) => self.wake_at = at,
            Action::Record(record) => {
                self.stands.note(self.now, &self.loaded, &record);
                if let Some(model) = &mut self.model {
                    model.note(&record);
                }
            }
            Action::Reply(_, Answer::Report(report)) => {
                if let Some(model) = &self.model {
                    model.assert_counts(&report);
                }
            }
            Action::Reply(..) | Action::Warn(..) => {}
        }
    }

    /// What is held is listed; then the drive finishes everything and all that is limited in time runs out: every
    /// request must have ended.
    fn settle(&mut self) {
        let token = Token(0);
        let held = Input::Call { token, source: Source::Control, during: None, command: Command::Held };
        let answer = self.engine.step(self.now, held).into_iter().next();
        let Some(Action::Reply(_, Answer::Held { requests })) = answer else { panic!("no list: {answer:?}") };
        assert!(requests.iter().map(|held| held.id).eq(self.waiting.iter().copied()), "{requests:?}");
        // At most a submit gate, a complete gate, and a pause at each that begins while another ends.
        for _ in 0..8 {
            while !self.in_drive.is_empty() {
                self.finish(0, false, 0);
            }
            self.wait(LONGEST_NS);
        }
        assert_eq!(self.arrived, self.ended, "requests are neither completed nor given up");
        assert!(self.said.iter().all(|(_, action)| !matches!(action, Action::Record(Record::Stopped))));
    }
}
