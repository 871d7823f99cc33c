//! Policies of the whole language, as text. What is written follows from numbers, so that a failing one shrinks.

use blkstay_engine::policy::Policy;
use proptest::collection::vec;
use proptest::prelude::*;

/// Watchdog of a generated policy, in nanoseconds; rules have this or less.
pub const WATCHDOG_NS: u64 = 2_000;

/// What a generated policy may have.
#[derive(Clone, Copy, Debug)]
pub struct Language {
    /// Chance decides whose turn it is, and points are known only when a flush follows.
    pub unforeseeable: bool,
}

/// A policy without mistakes.
pub fn policies(language: Language) -> impl Strategy<Value = String> {
    let tables = |numbers, most| vec(vec(any::<u16>(), numbers), 0..most);
    (tables(24, 5), tables(10, 4), tables(40, 6), any::<u8>())
        .prop_map(move |(points, holds, rules, seed)| write(language, &points, &holds, &rules, seed))
        .prop_filter("has a mistake", |text| Policy::parse("test", text).is_ok())
}

fn write(
    language: Language,
    points: &[Vec<u16>],
    holds: &[Vec<u16>],
    rules: &[Vec<u16>],
    seed: u8,
) -> String {
    let mut text = format!("seed = {seed}\nwatchdog = \"{WATCHDOG_NS}ns\"\n");
    text += "event = { x = \"guest\", y = \"guest\", z = \"control\", p = \"policy\", q = \"policy\" }\n";
    text += "state = { s = false, t = true }\n[place]\ng = \"guest\"\n";
    text += "p0 = { offset = 0, length = 4096 }\np1 = { block = 1, blocks = 2 }\n[point]\n";
    let count = points.len();
    for (index, numbers) in points.iter().enumerate() {
        // A point comes only after those before it.
        let mut writer = Writer { numbers: numbers.iter(), points: index, language };
        let keys = writer.keys(true);
        text += &format!("P{index} = {{ {} }}\n", keys.join(", "));
    }
    for numbers in holds.iter().filter(|_| count > 0) {
        let mut writer = Writer { numbers: numbers.iter(), points: count, language };
        let (point, gate) = (writer.pick(count), writer.gate());
        text += &format!("[[hold]]\ngate = \"P{point}.{gate}\"\nuntil = {}\n", writer.until());
        text += &writer.watchdog();
    }
    for numbers in rules {
        let mut writer = Writer { numbers: numbers.iter(), points: count, language };
        text += &format!("[[rule]]\n{}", writer.rule());
    }
    text
}

/// Writes what the next of its numbers say.
struct Writer<'n> {
    numbers: std::slice::Iter<'n, u16>,
    /// How many points there are to speak of.
    points: usize,
    language: Language,
}

impl Writer<'_> {
    fn pick(&mut self, of: usize) -> usize {
        usize::from(self.numbers.next().copied().unwrap_or(0)) % of
    }

    fn one<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.pick(words.len())]
    }

    fn gate(&mut self) -> &'static str {
        self.one(&["complete", "submit"])
    }

    fn event(&mut self) -> String {
        let others = ["guest.x", "guest.y", "control.z", "policy.p", "policy.q", "attempt.finished"];
        match self.pick(others.len() + 4 * self.points) {
            index if index < others.len() => others[index].to_owned(),
            index => {
                let (point, life) = ((index - others.len()) / 4, (index - others.len()) % 4);
                format!("P{point}.{}", ["arrived", "submitted", "done", "completed"][life])
            }
        }
    }

    fn until(&mut self) -> String {
        match self.pick(10) {
            0 => format!("{{ any = [{}, {}] }}", self.leaf(), self.leaf()),
            1 => format!("{{ all = [{}, {}] }}", self.leaf(), self.leaf()),
            2 => format!("{{ not = {} }}", self.leaf()),
            _ => self.leaf(),
        }
    }

    fn leaf(&mut self) -> String {
        match self.pick(8) {
            0 => format!("\"state.{}\"", self.one(&["s", "t"])),
            1 => format!("\"in-flight {} {}\"", self.one(&[">=", "<", "=="]), 1 + self.pick(4)),
            2 => format!("\"held {} {}\"", self.one(&[">=", "<", "<="]), 1 + self.pick(3)),
            3 => {
                let (event, operator) = (self.event(), self.one(&[">=", "==", "<=", "<"]));
                format!("\"{event} {operator} {}\"", 1 + self.pick(3))
            }
            _ => format!("\"{}\"", self.event()),
        }
    }

    fn watchdog(&mut self) -> String {
        match self.pick(4) {
            0 => format!("watchdog = \"{}ns\"\n", 1_000 + self.pick(1_000)),
            _ => String::new(),
        }
    }

    /// The keys that say which requests are meant.
    fn keys(&mut self, of_point: bool) -> Vec<String> {
        let mut keys = Vec::new();
        let op = self.one(&["\"write\"", "\"any\"", "\"read\"", "\"flush\"", "[\"write\", \"discard\"]"]);
        keys.push(format!("op = {op}"));
        if op != "\"flush\"" {
            let inline = "{ sector = 8, sectors = 9 }";
            let place = self.one(&["", "", "\"p0\"", "\"p1\"", "\"g\"", inline]);
            keys.extend((!place.is_empty()).then(|| format!("place = {place}")));
        }
        let lengths = ["\"4k\"", "{ min = \"4k\" }", "{ max = \"4k\" }", "{ min = \"2k\", max = \"8k\" }"];
        if self.pick(4) == 0 {
            keys.push(format!("length = {}", self.one(&lengths)));
        }
        if self.pick(5) == 0 {
            keys.push(format!("queue = {}", self.pick(2)));
        }
        if self.pick(6) == 0 {
            keys.push(format!("class = {}", self.one(&["\"journal\"", "[\"file-data\", \"metadata\"]"])));
        }
        if self.pick(6) == 0 && op == "\"write\"" {
            keys.push(format!("payload = {}", self.one(&["\"zero\"", "{ offset = 0, text = \"x\" }"])));
        }
        for key in ["after", "before", "when"] {
            if self.pick(6) == 0 {
                keys.push(format!("{key} = {}", self.leaf()));
            }
        }
        if of_point && self.language.unforeseeable && op == "\"write\"" && self.pick(4) == 0 {
            keys.push("flush-follows = true".to_owned());
        }
        keys.extend(self.turn());
        keys
    }

    fn turn(&mut self) -> Vec<String> {
        let several = [format!("from = {}", 1 + self.pick(2)), format!("every = {}", 1 + self.pick(3))];
        match self.pick(6) {
            0 => vec![format!("nth = {}", 1 + self.pick(3))],
            1 => several.to_vec(),
            2 => several.into_iter().chain([format!("count = {}", 1 + self.pick(3))]).collect(),
            3 if self.language.unforeseeable => vec!["probability = 0.5".to_owned()],
            _ => Vec::new(),
        }
    }

    fn rule(&mut self) -> String {
        let gate = self.gate();
        let mut lines = vec![format!("gate = \"{gate}\"")];
        let keys = self.keys(false);
        // Of a read, a payload is known only at the complete gate; of a write, whether a flush follows.
        lines.extend(keys);
        if gate == "complete" && lines[1] == "op = \"write\"" && self.pick(5) == 0 {
            lines.push("flush-follows = true".to_owned());
        }
        if self.points > 0 && self.pick(6) == 0 {
            lines.push(format!("point = \"P{}\"", self.pick(self.points)));
        }
        lines.extend(self.notes());
        lines.push(self.watchdog());
        let wait = self.wait();
        match (wait.is_empty(), self.pick(4)) {
            (_, 0) => lines.push("fail = \"io-error\"".to_owned()),
            (true, 1 | 2) => lines.push("pass = true".to_owned()),
            _ => {}
        }
        lines.push(wait);
        if lines.iter().all(|line| !["pass", "fail", "emit", "set"].iter().any(|key| line.starts_with(key))) {
            lines.push("clear = \"t\"".to_owned());
        }
        lines.into_iter().filter(|line| !line.is_empty()).map(|line| format!("{}\n", line.trim())).collect()
    }

    fn notes(&mut self) -> Vec<String> {
        let note =
            ["set = \"s\"", "clear = \"s\"", "set = [\"s\", \"t\"]", "emit = \"p\"", "emit = [\"p\", \"q\"]"];
        if self.pick(3) == 0 { vec![self.one(&note).to_owned()] } else { Vec::new() }
    }

    /// What a request waits for; nothing, one time in three.
    fn wait(&mut self) -> String {
        let until = self.until();
        let time = 1 + self.pick(900);
        match self.pick(18) {
            0 | 1 => format!("until = {until}"),
            2 => format!("delay = \"{time}ns\""),
            3 => format!("delay = {{ uniform = [\"0ns\", \"{time}ns\"] }}"),
            4 => format!("delay = {{ normal = {{ mean = \"{time}ns\", deviation = \"300ns\" }} }}"),
            5 => format!(
                "delay = {{ lognormal = {{ median = \"{time}ns\", p99 = \"990ns\" }}, max = \"1us\" }}"
            ),
            6 => format!("delay = {{ pareto = {{ least = \"{time}ns\", shape = 1.5 }} }}"),
            7 => format!("delay = {{ table = [[\"{time}ns\", 8], [\"0ns\", 2]] }}"),
            8 => format!("reorder = {}\nwindow = {}", self.one(&ORDERS), 2 + self.pick(3)),
            9 => format!("reorder = [3, 1, 2]\nwithin = \"{time}ns\""),
            10 => format!("reorder = {}\nuntil = {until}", self.one(&ORDERS)),
            11 => format!("limit = {{ iops = {}, burst = {} }}", 1_000_000 + 1_000 * time, 1 + self.pick(3)),
            12 => format!("limit = {{ bandwidth = \"{}M\" }}", 1_000 + time),
            13 => "stall = { every = \"1us\", for = \"300ns\" }".to_owned(),
            14 => format!("pause = \"{}\"\nuntil = {until}", self.one(&["disk", "ring"])),
            15 => format!("pause = \"{}\"", self.one(&["ring", "disk"])),
            _ => String::new(),
        }
    }
}

const ORDERS: [&str; 3] = ["\"last-first\"", "\"random\"", "\"by-sector\""];
