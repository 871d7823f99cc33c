//! What rules and points cost that do not match: throughput with many of them beside that with one.

use crate::figure::{Bound, Figure, Row, Table, median};
use crate::{Plan, load, pin};
use anyhow::{Result, anyhow};
use blkstay_engine::engine::{Engine, Input};
use blkstay_engine::policy::Policy;
use blkstay_engine::request::{ByteRange, Op, Probes, Request, RequestId, Status};
use blkstay_tests::client::{Client, Setup};
use blkstay_tests::daemon::{Daemon, Recipe};
use blkstay_tests::polled::Polled;
use blkstay_tests::random::Random;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Ranges and requests lie between each other all over the disk: every other block is a range's.
const BLOCK: u64 = 4096;
const MANY: u64 = 10_000;
const DISK_BYTES: u64 = 2 * MANY * BLOCK;

const DEPTH: u16 = 32;
const ROUNDS: usize = 7;

/// Long enough for all rounds.
const CONNECTION_MAX: Duration = Duration::from_secs(600);

#[derive(Clone, Copy)]
enum Kind {
    Rules,
    Points,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Rules => "rules",
            Kind::Points => "points",
        }
    }

    fn policy(self, count: u64) -> String {
        let mut text = String::new();
        let sectors = BLOCK / 512;
        for number in 0..count {
            let sector = number * 2 * sectors;
            let place = format!("{{ sector = {sector}, sectors = {sectors} }}");
            // Writing into a String cannot fail.
            let _ = match self {
                Kind::Rules => {
                    writeln!(text, "[[rule]]\ngate = \"complete\"\nplace = {place}\ndelay = \"1ms\"")
                }
                Kind::Points => writeln!(text, "[point.P{number}]\nplace = {place}\nop = \"any\""),
            };
        }
        text
    }
}

/// Where the n-th request is: on a block that is no range's.
fn offset(random: &mut Random) -> u64 {
    (random.below(MANY) * 2 + 1) * BLOCK
}

/// Each kind, the engine alone and the whole daemon.
pub fn measure(plan: &Plan) -> Result<Vec<Table>> {
    let mut rows = Vec::new();
    for kind in [Kind::Rules, Kind::Points] {
        rows.push(engine_alone(plan, kind)?);
    }
    for kind in [Kind::Rules, Kind::Points] {
        rows.push(end_to_end(plan, kind));
    }
    let title = format!(
        "Matching: throughput with {MANY} that do not match beside one (medians of {ROUNDS} runs, by turns)"
    );
    Ok(vec![Table { title, rows }])
}

fn engine_alone(plan: &Plan, kind: Kind) -> Result<Row> {
    let total = plan.times(500_000) as u64;
    let mut engines = [1, MANY].map(|count| {
        let mut engine = Engine::new();
        let policy = Policy::parse("bench", &kind.policy(count)).map_err(|mistakes| anyhow!("{mistakes}"));
        policy.map(|policy| {
            engine.load(0, policy, true);
            (engine, 1)
        })
    });
    row(format!("engine alone, {}", kind.name()), |which| match &mut engines[which] {
        Ok((engine, next)) => Ok(steps(engine, next, total)),
        Err(error) => Err(anyhow!("{error}")),
    })
}

/// Requests in a second.
fn steps(engine: &mut Engine, next: &mut u64, total: u64) -> f64 {
    let mut random = Random::new(1);
    let started = Instant::now();
    for _ in 0..total {
        let id = RequestId(*next);
        let range = ByteRange { offset: offset(&mut random), length: BLOCK };
        let (class, probes) = (blkstay_engine::class::ClassSet::NONE, Probes::default());
        let request = Request { id, queue: 0, op: Op::Read, range, class, probes };
        black_box(engine.step(*next, Input::Arrived(request)));
        black_box(engine.step(*next, Input::Done { id, status: Status::Ok, probes }));
        *next += 1;
    }
    total as f64 / started.elapsed().as_secs_f64()
}

/// A daemon with an image in memory, and its guest.
struct Pair {
    queue: Polled,
    _client: Client,
    _daemon: Daemon,
}

impl Pair {
    fn new(plan: &Plan, policy: &str) -> Pair {
        let recipe = Recipe::within(plan.directory).image_bytes(DISK_BYTES).no_journal();
        let daemon = pin::apart(|| recipe.policy(policy).start());
        let setup =
            Setup { queue_size: 1024, lasts_max: CONNECTION_MAX, ..Setup::default() }.without_event_idx();
        let mut client = daemon.connect_with(setup);
        let mut random = Random::new(1);
        let mut offsets = std::iter::repeat_with(move || offset(&mut random));
        let sectors: Vec<u64> = offsets.by_ref().take(1024).map(|offset| offset / 512).collect();
        let queue = Polled::new(&mut client, 0, |slot| {
            blkstay_tests::request::Request::read(sectors[usize::from(slot)], BLOCK as usize)
        });
        queue.want_calls(false);
        Pair { queue, _client: client, _daemon: daemon }
    }
}

fn end_to_end(plan: &Plan, kind: Kind) -> Row {
    let total = plan.times(100_000);
    let mut pairs = [1, MANY].map(|count| Pair::new(plan, &kind.policy(count)));
    let measured = row(format!("client and daemon, {}", kind.name()), |which| {
        let started = Instant::now();
        load::run(&mut pairs[which].queue, DEPTH, total);
        Ok(total as f64 / started.elapsed().as_secs_f64())
    });
    measured.unwrap_or_else(|error| unreachable!("{error}"))
}

/// Measures 0 (one) and 1 (many) by turns.
fn row(what: String, mut run: impl FnMut(usize) -> Result<f64>) -> Result<Row> {
    let mut speeds = [Vec::new(), Vec::new()];
    for which in [0, 1] {
        run(which)?;
    }
    for round in 0..ROUNDS {
        for turn in [0, 1] {
            let which = (round + turn) % 2;
            speeds[which].push(run(which)?);
        }
    }
    let [one, many] = speeds.map(median);
    let figures = vec![
        Figure::new("with one", one, "/s"),
        Figure::new("with many", many, "/s"),
        Figure::new("ratio", many / one, "").bound(Bound::AtLeast(0.9)),
    ];
    Ok(Row::new(what, figures))
}
