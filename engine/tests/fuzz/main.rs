//! Texts that somebody got wrong in every way, thrown at what reads them: policies with their includes and parameters,
//! calls, journals. Nothing panics, nothing hangs, and what is read is read again as the same.
//!
//! A short run here; a long one is `FUZZ_RUNS=10000000 cargo test --release -p blkstay-engine --test fuzz -- --nocapture`
//! (`FUZZ_SEED` begins elsewhere). What makes something new happen is kept to be changed further, so that changes that
//! need each other find together; no run depends on time or on another thread.

mod mutate;
mod random;
mod target;

use blkstay_engine::policy::grammar;
use mutate::{Words, mutate};
use random::Random;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use target::{Case, Target};

/// Runs of each target when nobody asks for more.
const RUNS: u64 = 30_000;

/// Reading one text takes microseconds; whatever takes so long hangs.
const HANG: Duration = Duration::from_secs(30);

/// Most cases that are kept to be changed further, by one thread.
const KEPT_MAX: usize = 2048;

/// Threads: the same number everywhere, so that the same seed is the same run.
const THREADS: u64 = 2;

struct Fuzz {
    name: &'static str,
    target: Target,
    words: Words,
    seeds: Vec<Case>,
    /// Names of parameters that are given values.
    parameters: &'static [&'static str],
}

impl Fuzz {
    fn run(&self) {
        let runs = number("FUZZ_RUNS").unwrap_or(RUNS);
        let began = Instant::now();
        let workers: Vec<Worker> = (0..THREADS).map(Worker::new).collect();
        let kinds: usize = std::thread::scope(|scope| {
            let (alive, over) = mpsc::channel::<()>();
            let all = &workers;
            scope.spawn(move || watch(self.name, all, &over));
            let threads: Vec<_> = all
                .iter()
                .map(|worker| {
                    let builder = std::thread::Builder::new().name(THREAD.to_owned());
                    builder.spawn_scoped(scope, move || self.work(worker, runs / THREADS)).expect("a thread")
                })
                .collect();
            let kinds: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            drop(alive);
            kinds
                .into_iter()
                .map(|kinds| kinds.unwrap_or_else(|why| panic!("{}", words_of(&*why))))
                .max()
                .unwrap_or(0)
        });
        println!(
            "{}: {runs} runs in {:.1} s, {kinds} kinds of outcome",
            self.name,
            began.elapsed().as_secs_f64()
        );
    }

    /// How many kinds of outcome it has seen.
    fn work(&self, worker: &Worker, runs: u64) -> usize {
        let mut random = Random::new(number("FUZZ_SEED").unwrap_or(1) << 8 | worker.number);
        let mut kept = self.seeds.clone();
        let mut kinds = HashSet::new();
        for case in &self.seeds {
            kinds.extend(self.try_one(case, worker));
        }
        for _ in 0..runs {
            let case = self.next(&kept, &mut random);
            let kind = self.try_one(&case, worker).unwrap_or_else(|| self.fail(case.clone()));
            if kinds.insert(kind) {
                match kept.len() < self.seeds.len() + KEPT_MAX {
                    true => kept.push(case),
                    false => {
                        let place = self.seeds.len() + random.below(KEPT_MAX);
                        kept[place] = case;
                    }
                }
            }
        }
        kinds.len()
    }

    fn next(&self, kept: &[Case], random: &mut Random) -> Case {
        let from = if random.one_in(2) { &self.seeds } else { kept };
        let mut case = random.pick(from).cloned().unwrap_or_default();
        let mut included = case.included.values_mut();
        if let Some(text) = included.nth(random.below(12)).filter(|_| random.one_in(3)) {
            mutate(text, &self.words, random);
        } else {
            mutate(&mut case.text, &self.words, random);
        }
        if let Some(name) = random.pick(self.parameters).filter(|_| random.one_in(6)) {
            let name = if random.one_in(8) { self.words.bare(random) } else { (*name).to_owned() };
            case.set.insert(name, self.words.bare(random));
        }
        case
    }

    fn try_one(&self, case: &Case, worker: &Worker) -> Option<u64> {
        worker.begin(case);
        let kind = catch_unwind(AssertUnwindSafe(|| (self.target)(case))).ok();
        worker.runs.fetch_add(1, Ordering::Relaxed);
        kind
    }

    /// Makes a case that fails small, and fails with it.
    fn fail(&self, mut case: Case) -> ! {
        let fails = |case: &Case| catch_unwind(AssertUnwindSafe(|| (self.target)(case))).is_err();
        for name in case.set.clone().into_keys().collect::<Vec<_>>() {
            let mut smaller = case.clone();
            smaller.set.remove(&name);
            case = if fails(&smaller) { smaller } else { case };
        }
        for name in case.included.clone().into_keys().collect::<Vec<_>>() {
            let with = |text: &str| {
                let mut smaller = case.clone();
                smaller.included.insert(name.clone(), text.to_owned());
                smaller
            };
            let text = shrink(&case.included[&name], |text| fails(&with(text)));
            case = with(&text);
        }
        case.text = shrink(&case.text, |text| fails(&Case { text: text.to_owned(), ..case.clone() }));
        case.included.retain(|_, text| !text.is_empty());
        let why = catch_unwind(AssertUnwindSafe(|| (self.target)(&case))).err();
        let why = why.as_ref().map_or("it panics no more", |why| words_of(&**why));
        panic!("{}: {why}\n{case:#?}\n{}", self.name, case.text);
    }
}

/// What a panic says.
fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("something")
}

/// The smallest text that still fails which leaving out lines, then characters, leads to.
fn shrink(text: &str, fails: impl Fn(&str) -> bool) -> String {
    let lines = leave_out(text.split_inclusive('\n').collect(), |lines| fails(&lines.concat())).concat();
    let chars = leave_out(lines.chars().collect(), |chars| fails(&chars.iter().collect::<String>()));
    chars.into_iter().collect()
}

/// As few of them as still fail, leaving out half of them, a quarter, and so on.
fn leave_out<T: Copy>(mut parts: Vec<T>, fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut size = parts.len();
    while size > 0 {
        let mut at = 0;
        while at < parts.len() {
            let end = (at + size).min(parts.len());
            let fewer = [&parts[..at], &parts[end..]].concat();
            match fails(&fewer) {
                true => parts = fewer,
                false => at = end,
            }
        }
        size /= 2;
    }
    parts
}

/// What a thread is doing.
struct Worker {
    number: u64,
    runs: AtomicU64,
    case: Mutex<Case>,
}

impl Worker {
    fn new(number: u64) -> Worker {
        Worker { number, runs: AtomicU64::new(0), case: Mutex::new(Case::default()) }
    }

    fn begin(&self, case: &Case) {
        self.case.lock().unwrap_or_else(PoisonError::into_inner).clone_from(case);
    }
}

/// Ends the process with the text that hangs, if one does.
fn watch(name: &str, workers: &[Worker], over: &mpsc::Receiver<()>) {
    let done = || workers.iter().map(|worker| worker.runs.load(Ordering::Relaxed)).collect::<Vec<u64>>();
    let mut before = done();
    while over.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
        let after = done();
        // A thread that is through does not get on either, so one that hangs is seen when it is the last.
        if before == after {
            for worker in workers {
                eprintln!("{name} hangs, perhaps with {:#?}", worker.case.lock());
            }
            std::process::exit(1);
        }
        before = after;
    }
}

const THREAD: &str = "fuzz";

/// Panics of threads that fuzz are looked for: they are told when the case is small.
fn hush() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() != Some(THREAD) {
                tell(panic);
            }
        }));
    });
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Small policies that are good, or nearly; they include each other.
fn corpus() -> Vec<Case> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["tests/corpus", "../policies"] {
        let entries = std::fs::read_dir(here.join(directory)).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        files.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")));
    }
    files.sort();
    let name =
        |path: &std::path::PathBuf| format!("corpus/{}", path.file_name().unwrap_or_default().display());
    let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).expect("a policy");
    let texts: Vec<(String, String)> = files.iter().map(|path| (name(path), read(path))).collect();
    let cases = texts.iter().map(|(_, text)| {
        let included =
            if text.contains("include") { texts.iter().cloned().collect() } else { Default::default() };
        Case { text: text.clone(), included, ..Case::default() }
    });
    cases.collect()
}

#[test]
fn every_policy_is_read_or_refused() {
    hush();
    let seeds = corpus();
    let keys: Vec<&str> = [grammar::POLICY, grammar::POINT, grammar::RULE, grammar::RESERVED].concat();
    let words = Words::of(seeds.iter().map(|case| case.text.as_str()), &keys);
    let parameters = &["op", "time", "status", "nth", "share", "all", "where", "far"];
    Fuzz { name: "policies", target: target::policy, words, seeds, parameters }.run();
}

/// Lines of JSON, each to begin with.
fn lines(name: &'static str, target: Target, lines: &str) -> Fuzz {
    hush();
    let words = Words::of(lines.lines(), &["null", "\\", "{\"any\":[", "{\"not\":", "\"gate\":", "\"of\":"]);
    let seeds = lines.lines().map(|line| Case { text: line.to_owned(), ..Case::default() }).collect();
    Fuzz { name, target, words, seeds, parameters: &[] }
}

#[test]
fn every_call_is_understood_or_refused() {
    lines("calls", target::call, include_str!("../corpus/calls.jsonl")).run();
}

#[test]
fn every_line_of_a_journal_is_read_or_refused() {
    lines("lines", target::line, include_str!("../corpus/journal.jsonl")).run();
}

#[test]
fn every_journal_is_read_whatever_is_damaged() {
    let corpus = include_str!("../corpus/journal.jsonl");
    let mut fuzz = lines("journals", target::journal, corpus);
    let texts: Vec<&str> = corpus.lines().collect();
    let some = texts.chunks(6).map(|texts| Case { text: texts.join("\n"), ..Case::default() });
    fuzz.seeds.extend(some);
    fuzz.run();
}
