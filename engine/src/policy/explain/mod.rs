//! What a policy will do, in words, in the order in which things are decided.

mod evidence;
mod requests;
mod rules;
mod words;

use super::tree::{self, Entry, Node, Value};
use super::warn::Meant;
use super::{Case, Policy, SignTest, Wait};
use crate::event::Gate;
use crate::journal::Source;
use toml::de::DeTable;
use words::{bytes, list, range, sentence, time};

/// Columns of the text.
const COLUMNS: usize = 100;

/// Most earlier points that a point is compared with.
const COMPARED_MAX: usize = 100;

impl Policy {
    /// Says in plain English what the policy will do.
    pub fn explain(&self) -> String {
        let mut text = Text::default();
        self.explain_case(&mut text);
        self.explain_names(&mut text);
        self.explain_points(&mut text);
        self.explain_gate(Gate::Submit, &mut text);
        self.explain_gate(Gate::Complete, &mut text);
        self.explain_ends(&mut text);
        self.explain_signs(&mut text);
        self.explain_parameters(&mut text);
        text.0
    }

    fn explain_case(&self, text: &mut Text) {
        let Some(Case { about, guest, limit_ns, image, device, .. }) = &self.case else { return };
        let options = image.options.iter().map(|option| format!(" {option}")).collect::<String>();
        text.head(&format!("This is a case: {}", sentence(about)));
        text.item(&format!(
            "A guest with `{guest}` runs on a disk of {}, made by `mkfs.{}{options}`.",
            bytes(image.size_bytes),
            image.filesystem
        ));
        let rings = device.num_queues.map_or("Its rings have".to_owned(), |rings| match rings {
            1 => "It has 1 ring".to_owned(),
            _ => format!("It has {rings} rings"),
        });
        match (device.num_queues, device.queue_size) {
            (None, None) => {}
            (Some(_), None) => text.item(&format!("{rings}.")),
            (None, Some(room)) => text.item(&format!("{rings} room for {room} requests each.")),
            (Some(_), Some(room)) => text.item(&format!("{rings}, with room for {room} requests each.")),
        }
        text.item(&format!("An attempt that takes longer than {} is lost.", time(*limit_ns)));
    }

    fn explain_names(&self, text: &mut Text) {
        if self.places.is_empty() && self.events.is_empty() && self.states.is_empty() {
            return;
        }
        text.head("What has a name:");
        for place in &self.places {
            let place_words = match place.range {
                Some(at) => format!("is {}.", range(at)),
                None => "is where the guest says, in each attempt; no request touches it before.".to_owned(),
            };
            text.item(&format!("Place `{}` {place_words}", place.name));
        }
        for event in &self.events {
            let who = match event.source {
                Source::Guest => "happens when the guest says so".to_owned(),
                Source::Control => "happens when somebody says so on the control socket".to_owned(),
                Source::Policy => self.who_emits(&event.name),
            };
            text.item(&format!("Event `{}.{}` {who}.", event.source, event.name));
        }
        for (index, state) in self.states.iter().enumerate() {
            let begins = if state.on { "on" } else { "off" };
            let turned = self.who_turns(index);
            text.item(&format!("State `{}` is {begins} when an attempt begins{turned}.", state.name));
        }
    }

    fn who_emits(&self, event: &str) -> String {
        let emits = self.rules.iter().filter(|rule| rule.notes.emit.iter().any(|name| name == event));
        let rules: Vec<String> = emits.map(|rule| format!("`{}`", rule.name)).collect();
        match rules.as_slice() {
            [] => "never happens: no rule emits it".to_owned(),
            rules => format!("happens when rule {} has its turn", list(rules, "or")),
        }
    }

    fn who_turns(&self, state: usize) -> String {
        let by = |turns: &dyn Fn(&super::Rule) -> bool| {
            let rules = self.rules.iter().filter(|rule| turns(rule));
            list(&rules.map(|rule| format!("`{}`", rule.name)).collect::<Vec<_>>(), "and")
        };
        let on = by(&|rule| rule.notes.set.iter().any(|set| set.get() == state));
        let off = by(&|rule| rule.notes.clear.iter().any(|clear| clear.get() == state));
        match (on.as_str(), off.as_str()) {
            ("", "") => "; no rule changes it".to_owned(),
            (on, "") => format!("; it is turned on by {on}"),
            ("", off) => format!("; it is turned off by {off}"),
            (on, off) => format!("; it is turned on by {on} and off by {off}"),
        }
    }

    fn explain_points(&self, text: &mut Text) {
        match self.points.len() {
            0 => return,
            1 => text.head("When a request arrives, it may be a point:"),
            _ => {
                text.head("When a request arrives, it is the first of these points whose turn it is, if any:")
            }
        }
        for (index, point) in self.points.iter().enumerate() {
            let mut words = self.requests(&point.filter);
            if point.filter.turn.count != Some(1) {
                words.push_str("; each of them is this point");
            } else if self.may_be_taken(index) {
                words.push_str("; if an earlier point takes that, it is the next that none takes");
            }
            if point.filter.flush_follows {
                words.push_str(
                    "; that is known when the flush arrives, and only what is in flight then can be held",
                );
            }
            text.item(&format!("{} is {words}.", point.name));
        }
    }

    /// Whether a point that is the first that is left to it may not be the first that matches.
    fn may_be_taken(&self, point: usize) -> bool {
        let filter = &self.points[point].filter;
        let own = Meant::of(self, filter);
        let mut earlier = self.points[..point].iter().take(COMPARED_MAX);
        let is_nth = filter.turn.every == u64::MAX;
        !is_nth && !filter.flush_follows && earlier.any(|one| Meant::of(self, &one.filter).meets(&own))
    }

    fn explain_ends(&self, text: &mut Text) {
        let mut items: Vec<String> = Vec::new();
        if self.forces() {
            items.push(
                "What waits for something to happen goes on at the latest after the time given with it. The journal \
                 says so then, and nothing else waits for anything to happen in that attempt."
                    .to_owned(),
            );
            items.push(
                "Whoever has the control socket can release what waits, or all of it, at any time."
                    .to_owned(),
            );
        }
        if let Some(case) = &self.case {
            items.push(
                "In the control arm of `blkstay run` points are looked for and rules note what they note, but nothing \
                 waits or fails."
                    .to_owned(),
            );
            if self.forces() {
                let measured = "How long holds may stand in the forced arm is measured there: it counts instead of \
                                the times given here.";
                items.push(measured.to_owned());
            }
            if case.witness {
                items.push(
                    "When something has stood for half of its time, `attempt.stalled` happens. The script waits for \
                     that to say where the guest stands; until it has, it may stand eight times as long."
                        .to_owned(),
                );
            }
            case.explain_evidence(&mut items);
        }
        if self.has_chance() {
            items.push(format!(
                "Chance is drawn from the seed {}: with the same seed, the same attempt of the same requests goes the \
                 same way.",
                self.seed
            ));
        }
        if !items.is_empty() {
            text.head("What else counts:");
        }
        items.iter().for_each(|item| text.item(item));
    }

    /// Whether anything waits for something to happen, rather than for a time.
    fn forces(&self) -> bool {
        let timed = |wait: &Wait| matches!(wait, Wait::Delay(_) | Wait::Limit(_) | Wait::Stall(_));
        let mut waits = self.rules.iter().filter_map(|rule| rule.verdict.as_ref()?.wait.as_ref());
        !self.holds.is_empty() || waits.any(|wait| !timed(wait))
    }

    fn explain_signs(&self, text: &mut Text) {
        if self.signs.is_empty() {
            return;
        }
        text.head("The symptom is there if any of these signs is:");
        for sign in &self.signs {
            let seen = match &sign.test {
                SignTest::KernelLog { text, per_boot_max: None } => {
                    format!("the guest's kernel log has \"{text}\"")
                }
                SignTest::KernelLog { text, per_boot_max: Some(max) } => {
                    format!(
                        "the guest's kernel log has \"{text}\", which it says at most {max} times in a boot"
                    )
                }
                SignTest::Report { name, is } => format!("the guest reports `{name}` as \"{is}\""),
            };
            text.item(&format!("{}: {seen}.", sign.name));
        }
    }

    /// Parameters of the policy's own file; those of included files are in what they are for.
    fn explain_parameters(&self, text: &mut Text) {
        let Ok(table) = DeTable::parse(&self.written.text) else { return };
        let entries = tree::entries(0, table.get_ref());
        let Some(Value::Table(parameters)) =
            entries.into_iter().find(|entry| entry.name == "parameter").map(|entry| entry.node.value)
        else {
            return;
        };
        if !parameters.is_empty() {
            text.head("Parameters:");
        }
        for parameter in parameters {
            text.item(&self.parameter(&parameter));
        }
    }

    fn parameter(&self, entry: &Entry) -> String {
        let about = entry.node.get("about").and_then(Node::text).map(|about| format!(": {about}"));
        let about = about.unwrap_or_default();
        let default = match entry.node.value {
            Value::Table(_) => entry.node.get("default"),
            _ => Some(&entry.node),
        };
        let default = default.map(|node| plain(&node.value));
        let value = match (self.written.set.get(&entry.name), default) {
            (Some(set), Some(default)) => format!("\"{set}\", instead of {default}"),
            (Some(set), None) => format!("\"{set}\""),
            (None, default) => default.unwrap_or_default(),
        };
        format!("`{}` is {value}{about}.", entry.name)
    }
}

/// A value as it is written.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Date | Value::Array(_) | Value::Table(_) => String::new(),
    }
}

/// Paragraphs, each a head with items below.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, words: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.wrap("", "", words);
    }

    fn item(&mut self, words: &str) {
        self.wrap("- ", "  ", words);
    }

    fn numbered(&mut self, number: usize, words: &str) {
        let first = format!("  {number}. ");
        let rest = " ".repeat(first.len());
        self.wrap(&first, &rest, words);
    }

    /// Breaks words into lines; `first` begins the first of them, `rest` the others.
    fn wrap(&mut self, first: &str, rest: &str, words: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in words.split_whitespace() {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
                self.0.push_str(&line);
                self.0.push('\n');
                line = rest.to_owned();
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.0.push_str(&line);
        self.0.push('\n');
    }
}
