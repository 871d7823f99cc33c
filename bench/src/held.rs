//! Many requests held at once: what each costs in memory, and how they go on.

use crate::figure::{Bound, Figure, Row, Table};
use crate::{Plan, counted, pin};
use anyhow::{Context, Result, anyhow, ensure};
use blkstay_engine::class::ClassSet;
use blkstay_engine::control::Command;
use blkstay_engine::engine::{Action, Engine, Input, Token};
use blkstay_engine::journal::{Arm, Record, Source};
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};
use blkstay_tests::client::Setup;
use blkstay_tests::daemon::Recipe;
use blkstay_tests::journal;
use blkstay_tests::polled::{Polled, monotonic_ns};
use std::time::{Duration, Instant};

const POLICY: &str = r#"
watchdog = "600s"

[event]
go = "control"

[[rule]]
op    = "read"
gate  = "complete"
until = "control.go"
"#;

const HELD: usize = 100_000;
const BYTES_MAX: f64 = 512.0;
const SECONDS_MAX: f64 = 1.0;

/// Longest that nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The engine alone, and the whole daemon.
pub fn measure(plan: &Plan) -> Result<Vec<Table>> {
    let rows = vec![engine_alone(plan.times(HELD) as u64)?, daemon(plan, plan.times(HELD))?];
    Ok(vec![Table { title: "Held at once, and released in order by one event".to_owned(), rows }])
}

fn row(what: &str, held: usize, bytes: f64, seconds: f64, ordered: bool) -> Row {
    let figures = vec![
        Figure::new("held", held as f64, ""),
        Figure::new("bytes each", bytes, "B").bound(Bound::AtMost(BYTES_MAX)),
        Figure::new("released in", seconds * 1e3, "ms").bound(Bound::AtMost(SECONDS_MAX * 1e3)),
        Figure::new("out of order", f64::from(u8::from(!ordered)), "").bound(Bound::AtMost(0.0)),
    ];
    Row::new(what.to_owned(), figures)
}

fn engine_alone(held: u64) -> Result<Row> {
    let policy = Policy::parse("bench", POLICY).map_err(|mistakes| anyhow!("{mistakes}"))?;
    let mut engine = Engine::new();
    engine.load(0, policy, true);
    let before = counted::allocated();
    for number in 1..=held {
        let (id, probes) = (RequestId(number), Probes::default());
        let range = ByteRange { offset: number % 256 * 4096, length: 512 };
        let request = Request { id, queue: 0, op: Op::Read, range, class: ClassSet::NONE, probes };
        engine.step(number, Input::Arrived(request));
        engine.step(number, Input::Done { id, status: Status::Ok, probes });
    }
    let bytes = (counted::allocated() - before) as f64 / held as f64;
    let command = Command::Emit { event: "go".to_owned(), detail: None };
    let call = Input::Call { token: Token(1), source: Source::Control, during: None, command };
    let started = Instant::now();
    let actions = engine.step(held + 1, call);
    let seconds = started.elapsed().as_secs_f64();
    let completed = actions.iter().filter_map(|action| match action {
        Action::Complete(id, _) => Some(id.0),
        _ => None,
    });
    Ok(row("engine alone", held as usize, bytes, seconds, completed.eq(1..=held)))
}

/// Rings that hold so many requests.
fn setup(held: usize) -> Setup {
    let queue_size: u16 = if held > 16 * 1024 { 32_768 } else { 1024 };
    let queues = held.div_ceil(usize::from(queue_size));
    Setup { queues, queue_size, memory_bytes: 512 << 20, ..Setup::default() }.without_event_idx()
}

fn daemon(plan: &Plan, held: usize) -> Result<Row> {
    let daemon = pin::apart(|| Recipe::within(plan.directory).policy(POLICY).start());
    let mut client = daemon.connect_with(setup(held));
    let read = |slot: u16| blkstay_tests::request::Request::read(u64::from(slot % 1024), 512);
    let mut queues: Vec<Polled> =
        (0..client.queues.len()).map(|queue| Polled::new(&mut client, queue, read)).collect();
    let mut control = daemon.control();
    control.begin(1, Arm::Forced);
    let before = daemon.status("RssAnon");
    let count = queues.len();
    for queue in &queues {
        queue.want_calls(false);
    }
    for number in 0..held {
        queues[number % count].offer((number / count) as u16);
    }
    queues.iter().for_each(Polled::kick);
    let of_gate = || {
        journal::lines(&daemon.journal)
            .into_iter()
            .filter(|line| matches!(line.record, Record::Held { .. }))
            .count()
    };
    let started = Instant::now();
    while of_gate() < held {
        ensure!(started.elapsed() < PATIENCE, "not everything came to its gate");
        std::thread::sleep(Duration::from_millis(500));
    }
    let bytes = (daemon.status("RssAnon") - before) as f64 * 1024.0 / held as f64;
    let asked = monotonic_ns();
    let emitted = control.start(Command::Emit { event: "go".to_owned(), detail: None });
    let mut through = vec![Vec::with_capacity(held / count + 1); count];
    let mut left = held;
    while left > 0 {
        for (queue, through) in queues.iter_mut().zip(&mut through) {
            while let Some(slot) = queue.take() {
                through.push(slot);
                left -= 1;
            }
        }
        ensure!(monotonic_ns() - asked < PATIENCE.as_nanos() as u64, "{left} were not released");
    }
    let seconds = (monotonic_ns() - asked) as f64 / 1e9;
    control.answer(emitted);
    let lines = journal::lines(&daemon.journal);
    let completed: Vec<RequestId> = lines
        .iter()
        .filter_map(|line| match line.record {
            Record::Completed { id, .. } => Some(id),
            _ => None,
        })
        .collect();
    let gate: Vec<RequestId> = lines
        .iter()
        .filter_map(|line| match line.record {
            Record::Held { id, .. } => Some(id),
            _ => None,
        })
        .collect();
    gate.first().context("something was held")?;
    let ordered = completed.is_sorted() && completed.len() == held;
    Ok(row("daemon", held, bytes, seconds, ordered))
}
