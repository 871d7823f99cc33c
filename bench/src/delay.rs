//! How late requests go on whose delay is over, as a guest that polls sees it.

use crate::event::zero;
use crate::figure::{Bound, Figure, Row, Table, Times};
use crate::machine::Others;
use crate::{Plan, load, pin};
use anyhow::Result;
use blkstay_engine::journal::{Line, Record};
use blkstay_tests::client::Setup;
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::journal;
use blkstay_tests::polled::Polled;
use blkstay_tests::request::Request;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const DELAYS: [Duration; 3] =
    [Duration::from_micros(50), Duration::from_millis(1), Duration::from_millis(50)];
const DEPTHS: [u16; 2] = [1, 128];

/// How long each is measured, and most requests of it.
const LASTS: Duration = Duration::from_secs(4);
const REQUESTS_MAX: u128 = 50_000;

/// But at least so often a deadline comes: of a hundred, one that the machine disturbs would be the 99th percentile.
const DEADLINES_MIN: u128 = 390;

/// The thread that releases what is due.
const TIMER: Option<&str> = Some("timer");

/// Measures each delay at each depth, without busy polling and with it.
pub fn measure(plan: &Plan) -> Result<Vec<Table>> {
    let mut rows = Vec::new();
    for busy in [false, true] {
        for delay in DELAYS {
            for depth in DEPTHS {
                let (mut row, others) = plan.calmest(|| one(plan, delay, depth, busy))?;
                row.figures.push(Figure::new("others' CPUs", others, ""));
                rows.push(row);
            }
        }
    }
    let title = "Delays: from when a request should go on to when a guest that polls sees it".to_owned();
    Ok(vec![Table { title, rows }])
}

fn one(plan: &Plan, delay: Duration, depth: u16, busy: bool) -> Result<(Row, f64)> {
    let policy =
        format!("[[rule]]\nop = \"read\"\ngate = \"complete\"\ndelay = \"{}us\"\n", delay.as_micros());
    let recipe = Recipe::within(plan.directory).policy(&policy);
    let recipe = if busy { recipe.argument("--busy-poll") } else { recipe };
    let daemon = pin::apart(|| recipe.start());
    let setup = Setup { queue_size: depth.max(2), ..Setup::default() }.without_event_idx();
    let mut client = daemon.connect_with(setup);
    let mut queue = Polled::new(&mut client, 0, |slot| Request::read(u64::from(slot) * 8, 4096));
    queue.want_calls(false);
    let rounds = (LASTS.as_nanos() / (delay.as_nanos() + 50_000)).max(DEADLINES_MIN);
    let total = plan.times((rounds * u128::from(depth)).min(REQUESTS_MAX) as usize);
    let (spent, others, started) = (daemon.cpu_ns(TIMER), Others::since_now(&daemon), Instant::now());
    let seen = load::run(&mut queue, depth, total);
    let spent = (daemon.cpu_ns(TIMER) - spent) as f64 / started.elapsed().as_nanos() as f64;
    let others = others.cpus();
    let Late { seen: late, released, early } = compare(&daemon, &seen)?;
    let p50 = Figure::new("p50", late.quantile_us(0.5), "µs");
    let what = format!("{delay:?}, depth {depth}{}", if busy { ", busy polling" } else { "" });
    let figures = vec![
        Figure::new("requests", late.count() as f64, ""),
        if busy { p50.bound(Bound::AtMost(5.0)) } else { p50 },
        Figure::new("p99", late.quantile_us(0.99), "µs").bound(Bound::AtMost(100.0)),
        Figure::new("released p99", released.quantile_us(0.99), "µs"),
        Figure::new("max", late.max_us(), "µs"),
        Figure::new("early", early as f64, "").bound(Bound::AtMost(0.0)),
        Figure::new("timer's CPU", spent * 100.0, "%"),
    ];
    Ok((Row::new(what, figures), others))
}

/// How late requests were.
struct Late {
    /// When the client saw that they were through.
    seen: Times,
    /// When the daemon had begun to release them.
    released: Times,
    /// Those that were through before their time.
    early: usize,
}

fn compare(daemon: &Daemon, seen: &load::Seen) -> Result<Late> {
    let mut late = Late { seen: Times::new()?, released: Times::new()?, early: 0 };
    for ((due, released), seen) in due(&journal::lines(&daemon.journal))?.into_iter().zip(&seen.0) {
        match seen.checked_sub(due) {
            Some(time) => late.seen.add(time),
            None => late.early += 1,
        }
        late.released.add(released.saturating_sub(due));
    }
    Ok(late)
}

/// When each request should go on, and when it was released, in order of arrival, on the host's monotonic clock.
fn due(lines: &[Line]) -> Result<Vec<(u64, u64)>> {
    let zero = zero(lines)?;
    let mut due = BTreeMap::new();
    for line in lines {
        match &line.record {
            Record::Decided { id, wait_ns: Some(wait), .. } => {
                let due_at = zero + line.t + wait;
                due.insert(*id, (due_at, due_at));
            }
            Record::Released { id, .. } => {
                due.entry(*id).and_modify(|(_, released)| *released = zero + line.t);
            }
            _ => {}
        }
    }
    Ok(due.into_values().collect())
}
