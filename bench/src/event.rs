//! How soon a guest sees what an event has released.

use crate::figure::{Bound, Figure, Row, Table, Times};
use crate::machine::Others;
use crate::{Plan, pin};
use anyhow::{Context, Result};
use blkstay_engine::control::Command;
use blkstay_engine::journal::{Arm, Line, Record};
use blkstay_tests::client::Setup;
use blkstay_tests::daemon::Recipe;
use blkstay_tests::polled::{Polled, monotonic_ns};
use blkstay_tests::request::Request;
use blkstay_tests::{journal, wait_for};

const POLICY: &str = r#"
[event]
go = "control"

[point]
A = { op = "read" }

[[hold]]
gate  = "A.complete"
until = "control.go"
"#;

const ROUNDS: usize = 2000;

/// One request held by one event, many times.
pub fn measure(plan: &Plan) -> Result<Vec<Table>> {
    let (mut row, others) = plan.calmest(|| one(plan))?;
    row.figures.push(Figure::new("others' CPUs", others, ""));
    let rows = vec![row];
    let title = "Events: from `emit` taking effect to the guest".to_owned();
    Ok(vec![Table { title, rows }])
}

fn one(plan: &Plan) -> Result<(Row, f64)> {
    let recipe = Recipe::within(plan.directory).policy(POLICY);
    let daemon = pin::apart(|| recipe.start());
    let mut client = daemon.connect_with(Setup { queue_size: 2, ..Setup::default() }.without_event_idx());
    let mut queue = Polled::new(&mut client, 0, |_| Request::read(0, 4096));
    queue.want_calls(true);
    let mut control = daemon.control();
    let rounds = plan.times(ROUNDS);
    let mut seen = Vec::with_capacity(rounds);
    let others = Others::since_now(&daemon);
    for attempt in 1..=rounds as u64 {
        control.begin(attempt, Arm::Forced);
        queue.offer(0);
        queue.kick();
        control.wait_for("A.done");
        let asked = monotonic_ns();
        let emitted = control.start(Command::Emit { event: "go".to_owned(), detail: None });
        wait_for_poll("the used ring", || queue.ready() > 0);
        let used = monotonic_ns();
        wait_for_poll("the call", || queue.take_call());
        seen.push((asked, used, monotonic_ns()));
        control.answer(emitted);
        queue.take().context("a request that is through")?;
        control.end();
    }
    let others = others.cpus();
    let events = events(&journal::lines(&daemon.journal))?;
    let (mut used, mut called, mut whole) = (Times::new()?, Times::new()?, Times::new()?);
    for (event, (asked, used_at, called_at)) in events.into_iter().zip(seen) {
        used.add(used_at.saturating_sub(event));
        called.add(called_at.saturating_sub(event));
        whole.add(called_at.saturating_sub(asked));
    }
    let figures = vec![
        Figure::new("events", used.count() as f64, ""),
        Figure::new("used p50", used.quantile_us(0.5), "µs"),
        Figure::new("used p99", used.quantile_us(0.99), "µs").bound(Bound::AtMost(50.0)),
        Figure::new("called p50", called.quantile_us(0.5), "µs"),
        Figure::new("called p99", called.quantile_us(0.99), "µs").bound(Bound::AtMost(50.0)),
        Figure::new("called max", called.max_us(), "µs"),
        Figure::new("with the socket, p50", whole.quantile_us(0.5), "µs"),
        Figure::new("with the socket, p99", whole.quantile_us(0.99), "µs"),
    ];
    Ok((Row::new("one request".to_owned(), figures), others))
}

/// Spins until it is so, and fails if that never comes.
fn wait_for_poll(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || (0..1_000_000).any(|_| is_so()).then_some(()));
}

/// When each event happened, on the host's monotonic clock.
fn events(lines: &[Line]) -> Result<Vec<u64>> {
    let zero = zero(lines)?;
    let events = lines.iter().filter(|line| matches!(line.record, Record::Event { .. }));
    Ok(events.map(|line| line.t + zero).collect())
}

/// What the host's monotonic clock showed when a journal's times began.
pub fn zero(lines: &[Line]) -> Result<u64> {
    let zero = lines.iter().find_map(|line| match line.record {
        Record::Journal { monotonic_ns, .. } => Some(monotonic_ns),
        _ => None,
    });
    zero.context("a journal begins with what it is")
}
