use super::mapping::Mapping;
use super::*;
use blkstay_engine::class::ClassSet;
use blkstay_engine::journal::{Abandon, Line, Piece, Record, Stage, contents};
use blkstay_engine::request::{ByteRange, Nanos, Op, Probes, Request, RequestId, Status};
use nix::time::{ClockId, clock_gettime};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here takes so long.
const WATCHDOG: Duration = Duration::from_secs(10);

/// Tells a child what to do, and where.
const DIRECTORY: &str = "BLKSTAY_JOURNAL_TEST";

/// A page that a child counts in, one word a lane: what it has told somebody.
struct Told(Mapping);

impl Told {
    fn at(directory: &Path) -> Told {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join("told")).expect("a file");
        file.set_len(PAGE).expect("a page");
        Told(Mapping::new(&file, 0, PAGE as usize).expect("a mapping"))
    }

    fn set(&self, lane: usize, count: u64) {
        self.0.words()[lane].store(count, Ordering::Release);
    }

    fn get(&self, lane: usize) -> u64 {
        self.0.words()[lane].load(Ordering::Acquire)
    }
}

fn request(id: u64) -> Request {
    let range = ByteRange { offset: id * 512, length: 512 };
    let (class, probes) = (ClassSet::NONE, Probes::default());
    Request { id: RequestId(id), queue: 0, op: Op::Write, range, class, probes }
}

/// Opens a journal. A process that another test is about to start has all descriptors, and so the lock, for a moment.
fn opened(directory: &TempDir) -> Journal {
    let since = Instant::now();
    loop {
        match Journal::open(&directory.path().join("journal")) {
            Ok(journal) => return journal,
            Err(error) if since.elapsed() > WATCHDOG => panic!("no journal: {error:#}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Somewhere on a disk, as a rule, and somewhere in memory, where room is made in another way.
fn directories() -> [TempDir; 2] {
    [TempDir::new(), TempDir::new_in("/dev/shm")].map(|made| made.expect("a directory"))
}

/// What is in the journal; nothing may be wrong with it.
#[track_caller]
fn lines(directory: &TempDir) -> Vec<Line> {
    let bytes = std::fs::read(directory.path().join("journal")).expect("the journal");
    let line = |piece| match piece {
        Piece::Line(line) => line,
        Piece::Trouble(trouble) => panic!("{trouble}"),
    };
    contents(&bytes).into_iter().map(line).collect()
}

fn ids(lines: &[Line]) -> Vec<u64> {
    let id = |line: &Line| match &line.record {
        Record::Arrived { request, .. } => Some(request.id.0),
        Record::Submitted { id } => Some(id.0),
        _ => None,
    };
    lines.iter().filter_map(id).collect()
}

#[test]
fn what_is_written_is_there_at_once_and_the_file_is_cut_at_the_end() {
    let directory = TempDir::new().expect("a directory");
    let journal = opened(&directory);
    let mut lane = journal.lane();
    assert_eq!(std::fs::read(directory.path().join("journal")).expect("the journal"), b"");
    let host = Some("No space left on device (os error 28)");
    lane.add(1, &Record::Connected);
    lane.arrived(2, &request(1), true);
    lane.completed(3, RequestId(1), Status::IoError, host);
    lane.abandoned(4, RequestId(2), Stage::Submitted, Abandon::Disconnect);
    let expected = [
        Record::Connected,
        Record::Arrived { request: request(1), point: None, passed: true, resubmitted: true },
        Record::Completed {
            id: RequestId(1),
            status: Status::IoError,
            passed: true,
            error: host.map(str::to_owned),
        },
        Record::Abandoned {
            id: RequestId(2),
            stage: Stage::Submitted,
            why: Abandon::Disconnect,
            passed: true,
        },
    ];
    for _ in 0..2 {
        assert!(lines(&directory).iter().map(|line| &line.record).eq(&expected));
        lane = Lane::default();
        journal.close();
    }
    assert!(lane.check().is_ok());
    let length = std::fs::metadata(directory.path().join("journal")).expect("the journal").len();
    assert_eq!(length, PAGE);
}

#[test]
fn lanes_grow_beside_each_other_and_a_dropped_one_is_gone_on_with() {
    for (directory, session) in directories().iter().flat_map(|directory| [(directory, 1), (directory, 2)]) {
        let journal = opened(directory);
        let lanes: Vec<Lane> = (0..4).map(|_| journal.lane()).collect();
        std::thread::scope(|scope| {
            for (mut lane, first) in lanes.into_iter().zip(0..) {
                scope.spawn(move || {
                    for t in 0..30_000 {
                        lane.arrived(t, &request(first + 4 * t), false);
                    }
                });
            }
        });
        journal.lane().arrived(30_000, &request(120_000), false);
        drop(journal);
        let ids = ids(&lines(directory));
        assert_eq!(ids.len(), session * 120_001);
        assert!(ids.chunk_by(|a, b| a < b).all(|ids| ids.iter().copied().eq(0..=120_000)));
    }
}

#[test]
fn a_record_that_is_longer_than_a_chunk_has_one_of_its_own() {
    for directory in directories() {
        let journal = opened(&directory);
        let mut lane = journal.lane();
        for bytes in [10, 3 << 20, 20, 60 << 10, 64 << 10] {
            lane.add(1, &Record::Log { line: "x".repeat(bytes) });
        }
        drop((lane, journal));
        let length = |line: &Line| match &line.record {
            Record::Log { line } => line.len(),
            _ => 0,
        };
        let lengths: Vec<usize> = lines(&directory).iter().map(length).collect();
        assert_eq!(lengths, [10, 3 << 20, 20, 60 << 10, 64 << 10]);
    }
}

/// Runs an ignored test of this file in a process of its own.
fn child(name: &str, directory: &TempDir, file_blocks_max: Option<u32>) -> Child {
    let limit = file_blocks_max.map_or_else(String::new, |blocks| format!("ulimit -f {blocks};"));
    Command::new("sh")
        .arg("-c")
        .arg(format!("trap '' XFSZ; {limit} exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "--ignored", &format!("journal::tests::{name}")])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("a process")
}

/// Writes records in one lane, and after each tells its number.
fn write_on(mut lane: Lane, told: &Told, index: usize) {
    for number in 1.. {
        match number % 5 {
            0 => lane.add(number, &Record::Log { line: "a line".repeat(number as usize % 100) }),
            _ => lane.completed(number, RequestId(number), Status::Ok, None),
        }
        lane.arrived(number, &request(number), false);
        if lane.check().is_err() {
            return;
        }
        told.set(index, number);
    }
}

#[test]
#[ignore = "the others start it"]
fn somebody_who_writes() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let journal = Journal::open(&directory.join("journal")).expect("a journal");
    std::thread::scope(|scope| {
        for index in 0..2 {
            let mut lane = journal.lane();
            if index == 0 {
                // As in a daemon: the file begins with the first lane, before there is another.
                lane.add(0, &Record::Connected);
            }
            scope.spawn(move || write_on(lane, &Told::at(directory), index));
        }
    });
}

/// How many requests of each lane the journal has; they are all there.
#[track_caller]
fn counted(directory: &TempDir) -> [u64; 2] {
    let mut last = [0, 0];
    for id in ids(&lines(directory)) {
        // Both lanes count; which one this is nobody says.
        let lane = last.iter().position(|last| last + 1 == id).expect("no number is left out");
        last[lane] = id;
    }
    last.sort_unstable();
    last
}

#[test]
fn sigkill_loses_nothing_that_somebody_was_told() {
    let rounds = (0..60_u64).map(|round| (round / 2 * 2, directories().into_iter().nth(round as usize % 2)));
    for (round, directory) in rounds {
        let directory = directory.expect("one of two");
        let told = Told::at(directory.path());
        let mut child = child("somebody_who_writes", &directory, None);
        let enough = 1 + round * round * round * 7919 % 20_000;
        while told.get(0) + told.get(1) < enough {
            std::thread::yield_now();
        }
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        let mut told = [told.get(0), told.get(1)];
        told.sort_unstable();
        let found = counted(&directory);
        assert!(found.iter().zip(told).all(|(found, told)| *found >= told), "{found:?}, told {told:?}");
        assert!(found.iter().zip(told).all(|(found, told)| *found <= told + 1), "{found:?}, told {told:?}");
    }
}

#[test]
fn a_full_disk_is_told_and_what_was_told_before_is_there() {
    let in_each = |blocks| directories().map(|directory| (blocks, directory));
    for (blocks, directory) in [16, 200, 1000, 5000].into_iter().flat_map(in_each) {
        let told = Told::at(directory.path());
        let mut child = child("somebody_who_writes", &directory, Some(blocks));
        assert!(child.wait().expect("it ends").success());
        let mut told = [told.get(0), told.get(1)];
        told.sort_unstable();
        assert!(told[1] > 0);
        let found = counted(&directory);
        assert!(found.iter().zip(told).all(|(found, told)| *found >= told), "{found:?}, told {told:?}");
        let length = std::fs::metadata(directory.path().join("journal")).expect("the journal").len();
        assert!(length > u64::from(blocks) * 512 - 2 * PAGE, "{length} of {blocks} blocks are used");
    }
}

/// `cargo test --release -p blkstay-daemon -- --ignored --nocapture what_a_request_costs`, in the directory that TMPDIR
/// names. The wall clock counts what others do on the same CPUs, too.
#[test]
#[ignore = "it measures"]
fn what_a_request_costs() {
    const REQUESTS: u64 = 4_000_000;
    let cpu = |clock| Nanos::try_from(Duration::from(clock_gettime(clock).expect("a clock")).as_nanos());
    for per_second in [None, Some(2_000_000), Some(1_000_000)] {
        let directory = TempDir::new().expect("a directory");
        let journal = opened(&directory);
        let mut lane = journal.lane();
        let pace: Option<Nanos> = per_second.map(|rate| 1_000_000_000 / rate);
        let before = cpu(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a time");
        let (began, mut batches) = (Instant::now(), Vec::new());
        for batch in 0..REQUESTS / 32 {
            let start = began.elapsed().as_nanos() as Nanos;
            let ids = batch * 32..batch * 32 + 32;
            ids.clone().for_each(|id| lane.arrived(start, &request(id), false));
            assert!(lane.check().is_ok());
            ids.for_each(|id| lane.completed(start, RequestId(id), Status::Ok, None));
            assert!(lane.check().is_ok());
            batches.push(began.elapsed().as_nanos() as Nanos - start);
            while pace.is_some_and(|pace| (began.elapsed().as_nanos() as Nanos) < (batch + 1) * 32 * pace) {
                std::hint::spin_loop();
            }
        }
        let on_cpu = cpu(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a time") - before;
        drop((lane, journal));
        let bytes = std::fs::metadata(directory.path().join("journal")).expect("the journal").len();
        batches.sort_unstable();
        let each = |total: Nanos| total as f64 / REQUESTS as f64;
        let at = |share: f64| batches[(batches.len() as f64 * share) as usize] as f64 / 32.0;
        println!(
            "{per_second:?} a second: {:.1} ns of CPU a request, waiting among it, {:.1} of the wall's; \
             batches of 32: median {:.1} ns a request, 99 % {:.1}, 99.9 % {:.1}; {:.2} bytes a request",
            each(on_cpu),
            each(batches.iter().sum()),
            at(0.5),
            at(0.99),
            at(0.999),
            bytes as f64 / REQUESTS as f64
        );
    }
}
