//! What each key and form of a policy means: text in, compiled values out.

use blkstay_engine::class::{Class, ClassSet};
use blkstay_engine::event::{Event, Expr, Gate, Gauge, Life, PointIndex, StateIndex};
use blkstay_engine::journal::Source;
use blkstay_engine::policy::{
    CaseDevice, Close, Delay, Filter, Limit, NamedEvent, Notes, Order, Pause, Policy, Probe, Reorder, Rule,
    Scope, Settings, Shape, Share, Stall, Turn, Verdict, WATCHDOG_NS_DEFAULT, Wait, Where, grammar,
};
use blkstay_engine::request::{ByteRange, Op, OpSet, Status};
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;

/// Names that the texts below can use.
const NAMES: &str = r#"
[place]
bound = "guest"
fixed = { offset = "1M", length = "64k" }
[event]
g = "guest"
c = "control"
p = "policy"
[state]
off = false
on = true
[point]
A = { op = "write" }
"#;

fn parse(text: &str) -> Policy {
    Policy::parse("my.toml", text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
}

/// The filter of a point that has these keys.
fn point(keys: &str) -> Filter {
    parse(&format!("{NAMES}B = {{ {keys} }}")).points[1].filter.clone()
}

/// A rule that has these lines.
fn rule(lines: &str) -> Rule {
    parse(&format!("{NAMES}\n[[rule]]\n{lines}")).rules[0].clone()
}

fn wait(lines: &str) -> Wait {
    let rule = rule(&format!("gate = \"submit\"\n{lines}"));
    rule.verdict.and_then(|verdict| verdict.wait).unwrap_or_else(|| panic!("{lines}: no wait"))
}

fn any() -> Filter {
    Filter {
        ops: OpSet::ANY,
        range: None,
        length_min: 0,
        length_max: u64::MAX,
        queue: None,
        class: None,
        probe: None,
        flush_follows: false,
        point: None,
        when: None,
        turn: Turn::FIRST,
    }
}

fn event(event: Event) -> Expr {
    Expr::Event(event, 1)
}

fn arrived(times: u64) -> Expr {
    Expr::Event(Event::Point(PointIndex(0), Life::Arrived), times)
}

fn not(part: Expr) -> Expr {
    Expr::Not(Box::new(part))
}

#[test]
fn a_policy_has_its_defaults() {
    let policy = parse("");
    assert_eq!((policy.seed, policy.watchdog_ns, policy.case), (0, WATCHDOG_NS_DEFAULT, None));
    let policy = parse("seed = 42\nwatchdog = \"2s\"");
    assert_eq!((policy.seed, policy.watchdog_ns), (42, 2_000 * MS));
}

#[test]
fn a_case_says_what_counts_as_evidence() {
    let case = |lines: &str| {
        let text = format!(
            "[case]\nabout = \"A\"\nguest = \"a.sh\"\n{lines}\n[case.image]\nsize = \"1M\"\nfilesystem = \"ext4\"\n\
             {NAMES}"
        );
        parse(&text).case.expect("a case")
    };
    let plain = case("witness = true");
    assert!(plain.witness && plain.waits.is_empty() && plain.direct.is_empty() && plain.phases.is_empty());
    let told = case("witness = { B = [\"f\"], C = { in = [\"g\", \"h\"], means = \"C is slow\" } }");
    let waits: Vec<(&str, &[String], &str)> =
        told.waits.iter().map(|wait| (&*wait.process, &*wait.functions, &*wait.means)).collect();
    let [f, g, h] = ["f", "g", "h"].map(str::to_owned);
    assert!(told.witness);
    assert_eq!(waits, [("B", &[f][..], "B waits"), ("C", &[g, h][..], "C is slow")]);
    let rest =
        case("direct = { A = \"guest.g\" }\nvariables = { N = 3, TEXT = \"a b\" }\nphases = [\"guest.g\"]");
    assert_eq!((&*rest.direct[0].point, &*rest.direct[0].seen), ("A", "g"));
    assert_eq!(
        rest.variables,
        [("N", "3"), ("TEXT", "a b")].map(|(name, value)| (name.into(), value.into()))
    );
    assert_eq!(rest.phases, ["g"]);
}

#[test]
fn a_case_says_what_the_disk_is() {
    let case =
        "[case]\nabout = \"x\"\nguest = \"x.sh\"\n[case.image]\nsize = \"64M\"\nfilesystem = \"ext4\"\n";
    let device = |text: &str| parse(&format!("{case}{text}")).case.map(|case| case.device);
    assert_eq!(device(""), Some(CaseDevice::default()));
    let small = CaseDevice { queue_size: Some(8), num_queues: Some(2) };
    assert_eq!(device("[case.device]\nqueue-size = 8\nnum-queues = 2"), Some(small));
}

#[test]
fn a_range_has_three_forms() {
    let range = |range: &str| parse(&format!("[place]\np = {range}")).places[0].range;
    let bytes = |offset, length| Some(ByteRange { offset, length });
    assert_eq!(range("\"guest\""), None);
    assert_eq!(range(r#"{ offset = "1M", length = 512 }"#), bytes(1 << 20, 512));
    assert_eq!(range("{ sector = 2048, sectors = 128 }"), bytes(1 << 20, 64 << 10));
    assert_eq!(range("{ block = 512, blocks = 16 }"), bytes(2 << 20, 64 << 10));
    assert_eq!(range(r#"{ block = 512, blocks = 16, block-size = "1k" }"#), bytes(512 << 10, 16 << 10));
}

#[test]
fn names_are_declared() {
    let policy = parse(NAMES);
    let named = |source, name: &str| NamedEvent { source, name: name.to_owned() };
    let events = [named(Source::Guest, "g"), named(Source::Control, "c"), named(Source::Policy, "p")];
    assert_eq!(policy.events, events);
    let states: Vec<_> = policy.states.iter().map(|state| (state.name.as_str(), state.on)).collect();
    assert_eq!(states, [("off", false), ("on", true)]);
}

#[test]
fn keys_say_which_requests_are_meant() {
    let ops = OpSet::of(&[Op::Read, Op::Discard]);
    let classes = ClassSet::of(&[Class::BlockBitmap, Class::InodeBitmap, Class::Directory]);
    let range = Where::Range(ByteRange { offset: 4096, length: 512 });
    let write = OpSet::of(&[Op::Write]);
    let table = [
        ("", any()),
        (r#"op = "any""#, any()),
        (r#"op = "write""#, Filter { ops: write, ..any() }),
        (r#"op = ["read", "discard"]"#, Filter { ops, ..any() }),
        (r#"place = "fixed""#, Filter { range: Some(Where::Place(1)), ..any() }),
        ("place = { sector = 8, sectors = 1 }", Filter { range: Some(range), ..any() }),
        (r#"length = "4k""#, Filter { length_min: 4096, length_max: 4096, ..any() }),
        (r#"length = { min = "4k" }"#, Filter { length_min: 4096, ..any() }),
        ("length = { max = 512 }", Filter { length_max: 512, ..any() }),
        ("queue = 3", Filter { queue: Some(3), ..any() }),
        (r#"class = ["bitmap", "directory"]"#, Filter { class: Some(classes), ..any() }),
        (r#"op = "write", payload = "zero""#, Filter { ops: write, probe: Some(0), ..any() }),
        (r#"op = "write", flush-follows = true"#, Filter { ops: write, flush_follows: true, ..any() }),
        (r#"after = "A.arrived""#, Filter { when: Some(arrived(1)), ..any() }),
        (r#"before = "A.arrived""#, Filter { when: Some(not(arrived(1))), ..any() }),
    ];
    for (keys, filter) in table {
        assert_eq!(point(keys), filter, "{keys}");
    }
    let all = point(r#"after = "A.arrived", before = "guest.g", when = "state.on""#);
    let before = not(event(Event::Guest("g".into())));
    assert_eq!(all.when, Some(Expr::All(vec![arrived(1), before, Expr::State(StateIndex(1))])));
}

#[test]
fn a_point_is_one_request_unless_it_says_several() {
    let turn = |from, every, probability, count| Turn { from, every, probability, count };
    let table = [
        ("nth = 3", turn(3, u64::MAX, None, Some(1))),
        ("from = 3", turn(3, 1, None, None)),
        ("every = 2", turn(1, 2, None, None)),
        ("count = 4", turn(1, 1, None, Some(4))),
        ("probability = 0.5", turn(1, 1, Some(0.5), None)),
        ("from = 3, every = 2, count = 4, probability = 1", turn(3, 2, Some(1.0), Some(4))),
    ];
    for (keys, turn) in table {
        assert_eq!(point(keys).turn, turn, "{keys}");
    }
    assert_eq!(rule("gate = \"submit\"\npass = true").filter.turn, Turn::EACH);
    assert_eq!(rule("gate = \"submit\"\npass = true\nnth = 2").filter.turn, Turn::nth(2));
}

#[test]
fn the_same_payload_is_tested_once() {
    let policy = parse(
        r#"
[point]
A = { op = "write", payload = { offset = "1k", bytes = "c0 3b 39 98" } }
B = { op = "write", payload = "zero" }
C = { op = "write", payload = { offset = 1024, bytes = "C03B3998" } }
D = { op = "write", payload = { offset = 0, text = "hé" } }
"#,
    );
    let bytes = |offset, bytes: &[u8]| Probe::Bytes { offset, bytes: bytes.to_vec() };
    let probes = [bytes(1024, &[0xc0, 0x3b, 0x39, 0x98]), Probe::Zero, bytes(0, "hé".as_bytes())];
    assert_eq!(policy.probes, probes);
    let indexes: Vec<_> = policy.points.iter().map(|point| point.filter.probe).collect();
    assert_eq!(indexes, [Some(0), Some(1), Some(0), Some(2)]);
}

#[test]
fn an_expression_is_an_event_a_state_or_a_comparison() {
    let in_flight = |least| Expr::Gauge(Gauge::InFlight, least);
    let table = [
        ("\"A.arrived\"", arrived(1)),
        ("\"A.completed\"", event(Event::Point(PointIndex(0), Life::Completed))),
        ("\"guest.g\"", event(Event::Guest("g".into()))),
        ("\"control.c\"", event(Event::Control("c".into()))),
        ("\"policy.p\"", event(Event::Policy("p".into()))),
        ("\"attempt.finished\"", event(Event::Finished)),
        ("\"attempt.stalled\"", event(Event::Stalled)),
        ("\"state.off\"", Expr::State(StateIndex(0))),
        ("\"A.arrived >= 3\"", arrived(3)),
        ("\"A.arrived>2\"", arrived(3)),
        ("\"A.arrived < 3\"", not(arrived(3))),
        ("\"A.arrived <= 3\"", not(arrived(4))),
        ("\"A.arrived == 3\"", Expr::All(vec![arrived(3), not(arrived(4))])),
        ("\"A.arrived == 0\"", not(arrived(1))),
        ("\"in-flight >= 8\"", in_flight(8)),
        ("\"held < 4\"", not(Expr::Gauge(Gauge::Held, 4))),
        ("{ not = \"in-flight >= 8\" }", not(in_flight(8))),
        ("{ any = [\"A.arrived\", \"held > 0\"] }", Expr::Any(vec![arrived(1), Expr::Gauge(Gauge::Held, 1)])),
        ("{ all = [{ not = \"A.arrived\" }] }", Expr::All(vec![not(arrived(1))])),
    ];
    for (written, expr) in table {
        assert_eq!(point(&format!("when = {written}")).when, Some(expr), "{written}");
    }
}

#[test]
fn a_rule_says_what_becomes_of_a_request() {
    let verdict = |lines: &str| rule(&format!("gate = \"complete\"\n{lines}")).verdict;
    assert_eq!(verdict("set = \"off\""), None);
    assert_eq!(verdict("pass = true"), Some(Verdict { wait: None, fail: None }));
    assert_eq!(verdict("fail = \"io-error\""), Some(Verdict { wait: None, fail: Some(Status::IoError) }));
    let wait = Some(Wait::Until(arrived(1)));
    let both = Verdict { wait, fail: Some(Status::Aborted) };
    assert_eq!(verdict("until = \"A.arrived\"\nfail = \"aborted\""), Some(both));
}

#[test]
fn a_rule_notes_what_it_sees() {
    let one = rule("gate = \"submit\"\nset = \"off\"\nemit = \"p\"");
    assert_eq!(one.notes, Notes { set: vec![StateIndex(0)], clear: vec![], emit: vec!["p".into()] });
    let list = rule("gate = \"submit\"\nclear = [\"off\", \"on\"]\nemit = [\"p\"]");
    let clear = vec![StateIndex(0), StateIndex(1)];
    assert_eq!(list.notes, Notes { set: vec![], clear, emit: vec!["p".into()] });
}

#[test]
fn rules_have_names_points_and_watchdogs() {
    let policy = parse(
        r#"
watchdog = "2s"
[point]
A = { op = "write" }
[[rule]]
name = "gc"
gate = "complete"
point = "A"
until = "A.arrived"
[[rule]]
gate = "submit"
delay = "1ms"
watchdog = "3s"
"#,
    );
    let seen: Vec<_> = policy
        .rules
        .iter()
        .map(|rule| (rule.name.as_str(), rule.gate, rule.filter.point, rule.watchdog_ns / MS))
        .collect();
    let expected =
        [("gc", Gate::Complete, Some(PointIndex(0)), 2_000), ("rule-2", Gate::Submit, None, 3_000)];
    assert_eq!(seen, expected);
}

#[test]
fn a_delay_has_a_shape_and_bounds() {
    let table = [
        (r#""5ms""#, Shape::Fixed(5 * MS)),
        (r#"{ uniform = ["1ms", "5ms"] }"#, Shape::Uniform(MS, 5 * MS)),
        (
            r#"{ normal = { mean = "5ms", deviation = "1ms" } }"#,
            Shape::Normal { mean_ns: 5 * MS, deviation_ns: MS },
        ),
        (
            r#"{ lognormal = { median = "100us", p99 = "5ms" } }"#,
            Shape::LogNormal { median_ns: MS / 10, p99_ns: 5 * MS },
        ),
        (r#"{ pareto = { least = "100us", shape = 1.5 } }"#, Shape::Pareto { least_ns: MS / 10, shape: 1.5 }),
        (r#"{ table = [["80us", 80], ["5ms", 0.5]] }"#, Shape::Table(vec![(80_000, 80.0), (5 * MS, 0.5)])),
    ];
    for (written, shape) in table {
        let delay = Delay { shape, min_ns: 0, max_ns: WATCHDOG_NS_DEFAULT };
        assert_eq!(wait(&format!("delay = {written}")), Wait::Delay(delay), "{written}");
    }
    let bounded = wait(r#"delay = { uniform = ["1ms", "20s"], min = "2ms", max = "3ms" }"#);
    let shape = Shape::Uniform(MS, 20_000 * MS);
    assert_eq!(bounded, Wait::Delay(Delay { shape, min_ns: 2 * MS, max_ns: 3 * MS }));
}

#[test]
fn a_reorder_has_an_order_and_an_end() {
    let window = |requests, within_ns| Close::Window { requests, within_ns };
    let table = [
        ("reorder = \"last-first\"\nwindow = 4", Order::LastFirst, window(4, None)),
        ("reorder = \"random\"\nwindow = 4\nwithin = \"10ms\"", Order::Random, window(4, Some(10 * MS))),
        ("reorder = \"by-sector\"\nuntil = \"A.arrived\"", Order::BySector, Close::Until(arrived(1))),
        ("reorder = [3, 1, 2]", Order::Written(vec![2, 0, 1]), window(3, None)),
        ("reorder = [2, 1]\nwindow = 4", Order::Written(vec![1, 0]), window(4, None)),
    ];
    for (lines, order, close) in table {
        assert_eq!(wait(lines), Wait::Reorder(Reorder { order, close }), "{lines}");
    }
    let between = rule("gate = \"submit\"\nreorder = \"random\"\nafter = \"guest.g\"\nuntil = \"A.arrived\"");
    assert_eq!(between.filter.when, Some(event(Event::Guest("g".into()))));
}

#[test]
fn a_slow_disk_is_limited_stalls_and_pauses() {
    let limit = |of, per_second, burst| Wait::Limit(Limit { of, per_second, burst });
    let pause = |scope, until| Wait::Pause(Pause { scope, until });
    let stall = Wait::Stall(Stall { every_ns: 1_000 * MS, for_ns: 50 * MS });
    let table = [
        ("limit = { iops = 500 }", limit(Share::Requests, 500, 1)),
        ("limit = { iops = 500, burst = 8 }", limit(Share::Requests, 500, 8)),
        ("limit = { bandwidth = \"10M\" }", limit(Share::Bytes, 10 << 20, 1)),
        ("limit = { bandwidth = \"10M\", burst = \"1M\" }", limit(Share::Bytes, 10 << 20, 1 << 20)),
        ("stall = { every = \"1s\", for = \"50ms\" }", stall),
        ("pause = \"ring\"", pause(Scope::Ring, None)),
        ("pause = \"disk\"\nuntil = \"A.arrived\"", pause(Scope::Disk, Some(arrived(1)))),
    ];
    for (lines, expected) in table {
        assert_eq!(wait(lines), expected, "{lines}");
    }
}

/// Reads `main.toml` among these files, with these parameters.
fn read(files: &[(&str, &str)], set: &[(&str, &str)]) -> Policy {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut include =
        |path: &str| files.get(path).map(|text| (*text).to_owned()).ok_or("no such file".into());
    let settings = Settings { set, seed: None };
    Policy::read("main.toml", files["main.toml"], &settings, &mut include)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .policy
}

#[test]
fn parameters_have_types() {
    let text = r#"
[parameter]
op = "write"
n = 2
chance = 0.5
seed = 7
free = { about = "a place" }
[[rule]]
name = "${op}-$$-${n}"
gate = "submit"
op = "$op"
from = "$n"
probability = "$chance"
length = "${n}k"
queue = "$free"
fail = "io-error"
"#;
    let text = text.replace("-$$-", "-").replace("seed = 7\n", "");
    let rule = |set: &[(&str, &str)]| read(&[("main.toml", &text)], set).rules[0].clone();
    let default = rule(&[("free", "1")]);
    assert_eq!((default.name.as_str(), default.filter.queue), ("write-2", Some(1)));
    assert_eq!(default.filter.turn, Turn { from: 2, probability: Some(0.5), ..Turn::EACH });
    let set = rule(&[("free", "3"), ("n", "4"), ("op", "read"), ("chance", "1")]);
    assert_eq!((set.name.as_str(), set.filter.length_min, set.filter.queue), ("read-4", 4096, Some(3)));
    assert_eq!(set.filter.turn, Turn { from: 4, probability: Some(1.0), ..Turn::EACH });
}

#[test]
fn two_dollars_are_one() {
    let policy = read(&[("main.toml", "[sign]\ns = { kernel-log = \"$$5 off\" }")], &[]);
    assert!(format!("{:?}", policy.signs).contains("\"$5 off\""), "{:?}", policy.signs);
}

#[test]
fn own_rules_come_before_those_of_included_files() {
    let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\ngate = \"submit\"\npass = true\n");
    let main = format!("include = [\"lib/a.toml\", \"b.toml\"]\n[point]\nM = {{}}\n{}", rule("main"));
    let a = format!(
        "include = [\"../c.toml\"]\nwatchdog = \"1s\"\n[point]\nA = {{ after = \"M.done\" }}\n{}",
        rule("a")
    );
    let b = format!("include = [\"./c.toml\"]\n{}", rule("b"));
    let c = rule("c");
    let files = [("main.toml", &*main), ("lib/a.toml", &*a), ("b.toml", &*b), ("c.toml", &*c)];
    let policy = read(&files, &[]);
    let rules: Vec<_> = policy.rules.iter().map(|rule| (rule.name.as_str(), rule.watchdog_ns / MS)).collect();
    assert_eq!(rules, [("main", 10_000), ("a", 1_000), ("b", 10_000), ("c", 10_000)]);
    let included: Vec<_> = policy.written.included.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(included, ["lib/a.toml", "c.toml", "b.toml"]);
}

#[test]
fn an_included_file_is_given_parameters() {
    let main = r#"
include = [{ path = "${which}.toml", set = { op = "$op" } }]
[parameter]
op = "read"
which = "slow"
"#;
    let slow = "[parameter]\nop = {}\n[[rule]]\ngate = \"submit\"\nop = \"$op\"\ndelay = \"1ms\"";
    let files = [("main.toml", main), ("slow.toml", slow)];
    assert_eq!(read(&files, &[]).rules[0].filter.ops, OpSet::of(&[Op::Read]));
    assert_eq!(read(&files, &[("op", "write")]).rules[0].filter.ops, OpSet::of(&[Op::Write]));
}

#[test]
fn what_was_read_can_be_read_again() {
    let files = [
        ("main.toml", "include = [\"a.toml\"]\nseed = 3\n[parameter]\nn = 1\n[point]\nM = { nth = \"$n\" }"),
        ("a.toml", "[[rule]]\ngate = \"submit\"\npoint = \"M\"\nfail = \"io-error\""),
    ];
    let policy = read(&files, &[("n", "5")]);
    assert_eq!(policy.points[0].filter.turn, Turn::nth(5));
    assert_eq!(Policy::reread(&policy.written).as_ref(), Ok(&policy));
}

#[test]
fn a_seed_from_outside_goes_before() {
    let settings = Settings { seed: Some(9), ..Settings::default() };
    let mut none = |_: &str| Err("none".to_owned());
    let checked = Policy::read("my.toml", "seed = 1", &settings, &mut none).expect("a good policy");
    assert_eq!((checked.policy.seed, checked.policy.written.seed), (9, Some(9)));
}

#[test]
fn a_rule_knows_every_key_of_a_point() {
    assert!(grammar::POINT.iter().all(|key| grammar::RULE.contains(key)));
    let ranges = [grammar::RANGE_BYTES, grammar::RANGE_SECTORS, grammar::RANGE_BLOCKS].concat();
    assert_eq!(grammar::RANGE, ranges);
}

#[test]
fn large_policies_are_read_in_no_time() {
    let points = (0..10_000).map(|n| match n {
        0 => "[point]\nP0 = {}\n".to_owned(),
        _ => format!("P{n} = {{ after = \"P{}.completed\" }}\n", n - 1),
    });
    let holds =
        (1..10_000).map(|n| format!("[[hold]]\ngate = \"P{n}.submit\"\nuntil = \"P{}.done\"\n", n - 1));
    let rules = (0..10_000).map(|n| {
        format!("[[rule]]\ngate = \"submit\"\nplace = {{ block = {n}, blocks = 1 }}\ndelay = \"1ms\"\n")
    });
    let text: String = points.chain(holds).chain(rules).collect();
    let start = std::time::Instant::now();
    let policy = parse(&text);
    assert_eq!((policy.points.len(), policy.holds.len(), policy.rules.len()), (10_000, 9_999, 10_000));
    assert!(start.elapsed().as_secs() < 20, "{:?}: something is quadratic", start.elapsed());
}
