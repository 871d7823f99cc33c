//! Thousands of policies and schedules: whatever happens in whatever order, requests are not lost,
//! not completed twice, not held longer than their watchdog, and the same input decides the same.

use blkstay_engine::class::ClassSet;
use blkstay_engine::control::{Command, ExprText};
use blkstay_engine::engine::{Action, Engine, Input, Token};
use blkstay_engine::journal::{Abandon, Arm, Source};
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What can happen next; numbers pick among what is possible then.
#[derive(Clone, Debug)]
enum Step {
    Arrive { op: usize, block: u64, queue: u16 },
    Finish(usize),
    Emit { guest: bool, event: usize },
    Begin { forced: bool },
    End,
    Release,
    Load,
    Await(usize),
    StopRing(u16),
    Wait(u64),
    Disconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_usize, 0..4_u64, 0..2_u16).prop_map(|(op, block, queue)| Step::Arrive { op, block, queue }),
        8 => any::<usize>().prop_map(Step::Finish),
        3 => (any::<bool>(), 0..3_usize).prop_map(|(guest, event)| Step::Emit { guest, event }),
        2 => any::<bool>().prop_map(|forced| Step::Begin { forced }),
        1 => Just(Step::End),
        1 => Just(Step::Release),
        1 => Just(Step::Load),
        1 => (0..5_usize).prop_map(Step::Await),
        1 => (0..2_u16).prop_map(Step::StopRing),
        3 => (1..5_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Disconnect),
    ]
}

const EVENTS: [&str; 3] = ["x", "y", "z"];

/// A policy of four points whose holds wait for events that the numbers pick. Those whose holds wait
/// in a circle are refused by the parser, which is tested elsewhere, and left out here.
fn policy() -> impl Strategy<Value = String> {
    written_policy().prop_filter("waits in a circle", |policy| Policy::parse("test", policy).is_ok())
}

fn written_policy() -> impl Strategy<Value = String> {
    let points = vec((0..4_usize, 0..3_usize, 1..3_u64), 4);
    let holds = vec((0..4_usize, any::<bool>(), vec(0..22_usize, 1..3), any::<bool>()), 0..6);
    (points, holds).prop_map(|(points, holds)| {
        let mut text = String::from("[event]\nx = \"guest\"\ny = \"guest\"\nz = \"control\"\n[place]\n");
        text += "p0 = { offset = 0, length = 4096 }\np1 = { offset = 4096, length = 8192 }\n[point]\n";
        for (index, (op, place, nth)) in points.iter().enumerate() {
            let place = ["", ", place = \"p0\"", ", place = \"p1\""][*place];
            text += &format!("P{index} = {{ op = \"{}\", nth = {nth}{place} }}\n", Op::ALL[*op]);
        }
        for (point, at_submit, until, all) in holds {
            let gate = if at_submit { "submit" } else { "complete" };
            let parts: Vec<String> =
                until.iter().map(|event| format!("\"{}\"", event_name(*event))).collect();
            let word = if all { "all" } else { "any" };
            text += &format!(
                "[[hold]]\ngate = \"P{point}.{gate}\"\nuntil = {{ {word} = [{}] }}\n",
                parts.join(", ")
            );
        }
        text
    })
}

fn event_name(index: usize) -> String {
    match index {
        0..16 => format!("P{}.{}", index / 4, ["arrived", "submitted", "done", "completed"][index % 4]),
        16..18 => "guest.x".to_owned(),
        18..20 => "guest.y".to_owned(),
        20..22 => "control.z".to_owned(),
        _ => "attempt.stalled".to_owned(),
    }
}

/// Plays a schedule against an engine and checks every action as it comes.
struct World {
    engine: Engine,
    policy: String,
    now: u64,
    next_id: u64,
    attempt: u64,
    in_drive: Vec<RequestId>,
    arrived: BTreeSet<RequestId>,
    ended: BTreeSet<RequestId>,
    /// Since when a request waits at a gate, with neither drive nor guest having it.
    waiting: BTreeMap<RequestId, u64>,
    wake_at: Option<u64>,
    log: Vec<String>,
}

const WATCHDOG_NS: u64 = 2_000;

/// A hold stands so long when a witness who waits for `attempt.stalled` never reports.
const LONGEST_NS: u64 = 8 * WATCHDOG_NS;

impl World {
    fn new(policy: &str) -> World {
        let mut world = World {
            engine: Engine::new(),
            policy: policy.to_owned(),
            now: 0,
            next_id: 1,
            attempt: 0,
            in_drive: Vec::new(),
            arrived: BTreeSet::new(),
            ended: BTreeSet::new(),
            waiting: BTreeMap::new(),
            wake_at: None,
            log: Vec::new(),
        };
        world.call(Source::Control, world.load());
        world
    }

    fn load(&self) -> Command {
        let policy = format!("watchdog = \"{WATCHDOG_NS}ns\"\n{}", self.policy);
        Command::load("test", policy, true)
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Arrive { op, block, queue } => self.arrive(Op::ALL[*op], block * 4096, *queue),
            Step::Finish(pick) if !self.in_drive.is_empty() => {
                let id = self.in_drive.swap_remove(pick % self.in_drive.len());
                self.waiting.insert(id, self.now);
                self.input(Input::Done { id, status: Status::Ok, probes: Probes::default() });
            }
            Step::Finish(_) => {}
            Step::Emit { guest, event } => {
                let source = if *guest { Source::Guest } else { Source::Control };
                self.call(source, Command::Emit { event: EVENTS[*event].to_owned(), detail: None });
            }
            Step::Begin { forced } => {
                self.attempt += 1;
                let arm = if *forced { Arm::Forced } else { Arm::Control };
                self.call(Source::Control, Command::Begin { attempt: self.attempt, arm, watchdog_ns: None });
            }
            Step::End => self.call(Source::Control, Command::End),
            Step::Release => self.call(Source::Control, Command::Release { request: None, point: None }),
            Step::Load => self.call(Source::Control, self.load()),
            Step::Await(event) => {
                let until = ExprText::Event(event_name(event * 7));
                self.call(Source::Guest, Command::Await { until });
            }
            Step::StopRing(queue) => self.input(Input::RingStopped { queue: *queue }),
            Step::Wait(ns) => self.wait(*ns),
            Step::Disconnect => self.input(Input::Abandon(Abandon::Disconnect)),
        }
    }

    fn arrive(&mut self, op: Op, offset: u64, queue: u16) {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.arrived.insert(id);
        self.waiting.insert(id, self.now);
        let range = ByteRange { offset, length: 4096 };
        self.input(Input::Arrived(Request {
            id,
            queue,
            op,
            range,
            class: ClassSet::NONE,
            probes: Probes::default(),
        }));
    }

    /// Lets time pass, ticking exactly when the engine asked for it.
    fn wait(&mut self, ns: u64) {
        let until = self.now + ns;
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.wake_at = None;
            self.input(Input::Tick);
        }
        self.now = until;
    }

    fn call(&mut self, source: Source, command: Command) {
        self.input(Input::Call { token: Token(0), source, during: None, command });
    }

    fn input(&mut self, input: Input) {
        let actions = self.engine.step(self.now, input);
        for action in actions {
            self.log.push(format!("{} {action:?}", self.now));
            self.check(action);
        }
        for (id, since) in &self.waiting {
            assert!(self.now <= since + LONGEST_NS, "{id} is held since {since}, it is {}", self.now);
        }
    }

    fn check(&mut self, action: Action) {
        match action {
            Action::Submit(id) => {
                assert!(
                    self.waiting.remove(&id).is_some() && !self.in_drive.contains(&id),
                    "{id} submitted twice"
                );
                self.in_drive.push(id);
            }
            Action::Complete(id, _) => {
                assert!(self.waiting.remove(&id).is_some(), "{id} completed without being done");
                assert!(self.ended.insert(id), "{id} ended twice");
            }
            Action::Abandon(id) => {
                self.waiting.remove(&id);
                self.in_drive.retain(|known| *known != id);
                assert!(self.ended.insert(id), "{id} ended twice");
            }
            Action::WakeAt(at) => self.wake_at = at,
            Action::Reply(..) | Action::Record(_) => {}
        }
    }

    /// The drive finishes everything and all watchdogs run out: then every request must have ended.
    fn settle(&mut self) {
        for _ in 0..4 * self.next_id + 8 {
            self.play(&Step::Finish(0));
            self.wait(LONGEST_NS + 1);
        }
        assert_eq!(self.arrived, self.ended, "requests are neither completed nor given up");
    }
}

fn run(policy: &str, steps: &[Step]) -> Vec<String> {
    let mut world = World::new(policy);
    for step in steps {
        world.play(step);
    }
    world.settle();
    world.log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_once_and_in_time(policy in policy(), steps in vec(step(), 0..120)) {
        run(&policy, &steps);
    }

    #[test]
    fn the_same_input_gives_the_same_output(policy in policy(), steps in vec(step(), 0..60)) {
        prop_assert_eq!(run(&policy, &steps), run(&policy, &steps));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}") {
        let _ = Policy::parse("test", &text);
    }

    #[test]
    fn no_piece_of_a_policy_makes_the_parser_panic(policy in policy(), cut in any::<prop::sample::Index>(), junk in "[\\[\\]{}=\"a-z.\\n]{0,6}") {
        let mut text = policy;
        let at = cut.index(text.len());
        text.insert_str(at, &junk);
        let _ = Policy::parse("test", &text).map_err(|mistakes| mistakes.render(true));
    }
}
