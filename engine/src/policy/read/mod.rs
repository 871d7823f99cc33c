//! From the texts of a policy to a [`Policy`], or to all of its mistakes.
//!
//! First the files are read and parameters put in ([`load`]), then the names of all files are collected, then
//! everything is resolved against them.

mod case;
mod delay;
mod filter;
mod hold;
mod include;
mod load;
mod parameter;
mod parts;
mod payload;
mod place;
mod recover;
mod rule;
mod sign;
mod sound;
mod wait;
mod witness;

use self::filter::Subject;
use self::load::Loaded;
use super::circle::{self, Circle};
use super::names::{Index, Names, SOURCES};
use super::table::{Mistakes, Table, one_of};
use super::tree::{Entry, Value};
use super::warn;
use super::{Checked, Filter, NamedEvent, Point, Policy, Probe, Settings, State, Written, grammar};
use crate::diagnostic::{Diagnostic, Diagnostics, File, Severity, Spot};
use crate::request::Probes;

pub use parts::Parts;
pub use sound::{Read, Sound};

/// Gets an included file's text, or why there is none.
pub type Include<'i> = &'i mut dyn FnMut(&str) -> Result<String, String>;

/// Gets a guest script by its name, or why there is none; `None` if nobody has looked.
pub type GetScript<'s> = &'s mut dyn FnMut(&str) -> Option<Result<String, String>>;

pub fn read(
    origin: &str,
    text: &str,
    settings: &Settings,
    include: Include<'_>,
    script: GetScript<'_>,
) -> Result<Checked, Diagnostics> {
    let mut loaded = load::load(origin, text, settings, include);
    let policy = compile(&mut loaded, settings, script);
    let Loaded { files, mut list, .. } = loaded;
    list.sort_by_key(|one| (one.at.file, one.at.span.start));
    match policy {
        Some(mut policy) if list.iter().all(|one| one.severity != Severity::Error) => {
            policy.written = written(&files, settings);
            Ok(Checked { policy, warnings: Diagnostics { files, list } })
        }
        _ => Err(Diagnostics { files, list }),
    }
}

fn written(files: &[File], settings: &Settings) -> Written {
    let included = files
        .iter()
        .skip(1)
        .map(|file| super::Included { path: file.origin.clone(), text: file.text.clone() });
    Written {
        origin: files[0].origin.clone(),
        text: files[0].text.clone(),
        included: included.collect(),
        set: settings.set.clone(),
        seed: settings.seed,
    }
}

/// `None` if there are mistakes.
fn compile(loaded: &mut Loaded, settings: &Settings, script: GetScript<'_>) -> Option<Policy> {
    let mut mistakes = Mistakes::new();
    let parts = Parts::of(&loaded.roots, &mut mistakes);
    let mut policy = Policy { watchdog_ns: parts.watchdog_ns, ..Policy::none() };
    policy.seed = settings.seed.or(parts.seed).unwrap_or(0);
    let (mistakes, mut sound) = {
        let mut reader = Reader::new(&parts, mistakes);
        let sound = reader.policy(&parts, &mut policy);
        (reader.mistakes, sound)
    };
    sound.is_whole = loaded.is_whole;
    if loaded.is_cut {
        sound.cut(&parts, |at| loaded.is_in_cut(at));
    }
    // What stands where a parameter could not be put in is wrong because of that.
    let mut list = std::mem::take(&mut loaded.list);
    // Where a file is missing, a name that nobody gives may be in there.
    let may_be_known = |one: &Diagnostic| {
        let names = ["point `", "place `", "state `", "guest event `", "control event `", "policy event `"];
        let unknown = one.message.strip_prefix("unknown ");
        !loaded.is_whole && unknown.is_some_and(|what| names.iter().any(|name| what.starts_with(name)))
    };
    // What a table lacks may be in the line that it has lost.
    let is_certain = |one: &Diagnostic| {
        let message = one.message.as_str();
        let is_of_word = message.starts_with("unknown ") || message.contains(" has no key `");
        is_of_word || message.contains(" is not a ") || !loaded.is_in_cut(&one.at)
    };
    let mistakes = mistakes.into_iter().filter(|one| !may_be_known(one) && is_certain(one));
    list.extend(mistakes.filter(|one| !loaded.unfilled.contains(&one.at)));
    let read = parts.read(&sound);
    let circles = circle::find_all(&policy);
    tell_circles(&circles, &read, &mut list);
    warn::warn(&policy, &read, &sound, &circles, &mut list);
    warn::warn_of_script(&read, script, &mut list);
    let good = list.iter().all(|one| one.severity != Severity::Error);
    loaded.list = list;
    good.then_some(policy)
}

/// Resolves what is written against the names of the policy.
struct Reader<'n> {
    places: Index<'n>,
    names: Names<'n>,
    probes: Vec<Probe>,
    /// Which points are known only when a flush follows.
    by_flush: Vec<bool>,
    mistakes: Mistakes,
}

impl<'n> Reader<'n> {
    fn new(parts: &Parts<'n>, mistakes: Mistakes) -> Reader<'n> {
        let index = |entries: &[&'n Entry]| entries.iter().map(|entry| entry.name.as_str()).collect();
        let events = SOURCES.map(|(source, word)| {
            let entries = parts.events.iter().filter(|entry| entry.node.text() == Some(word));
            (source, entries.map(|entry| entry.name.as_str()).collect())
        });
        let has_source = |entry: &&Entry| SOURCES.iter().any(|(_, word)| entry.node.text() == Some(*word));
        let sourceless = parts.events.iter().copied().filter(|entry| !has_source(entry));
        let names = Names {
            points: index(&parts.points),
            states: index(&parts.states),
            events: events.into(),
            sourceless: sourceless.map(|entry| entry.name.as_str()).collect(),
            free: |_| false,
        };
        Reader { places: index(&parts.places), names, probes: Vec::new(), by_flush: Vec::new(), mistakes }
    }

    /// Reads everything; says what of it was read without mistakes.
    fn policy(&mut self, parts: &Parts<'_>, policy: &mut Policy) -> Sound {
        let mut sound = Sound::default();
        let before = self.mistakes.len();
        policy.case = parts.case.and_then(|node| case::read(node, &mut self.mistakes));
        sound.is_case = policy.case.is_some() == parts.case.is_some() && self.mistakes.len() == before;
        if let Some(node) = parts.case {
            let before = self.mistakes.len();
            let (direct, phases) = (self.direct(node), self.phases(node));
            sound.is_case &= self.mistakes.len() == before;
            if let Some(case) = &mut policy.case {
                (case.direct, case.phases) = (direct, phases);
            }
        }
        for entry in &parts.places {
            let before = self.mistakes.len();
            policy.places.push(place::read(entry, &mut self.mistakes));
            sound.places.push(self.read(before, true));
        }
        policy.events = parts.events.iter().filter_map(|entry| self.event(entry)).collect();
        for entry in &parts.states {
            let before = self.mistakes.len();
            policy.states.push(self.state(entry));
            sound.states.push(self.read(before, true));
        }
        policy.signs = parts.signs.iter().filter_map(|entry| sign::read(entry, &mut self.mistakes)).collect();
        for entry in &parts.points {
            let before = self.mistakes.len();
            policy.points.push(self.point(entry));
            sound.points.push(self.read(before, true));
            sound.take_words(&entry.node, sound.points.last().copied());
        }
        self.by_flush = policy.points.iter().map(|point| point.filter.flush_follows).collect();
        for (node, watchdog_ns) in &parts.holds {
            let before = self.mistakes.len();
            let hold = self.hold(node, *watchdog_ns);
            sound.holds.push(self.read(before, hold.is_some()));
            sound.take_words(node, sound.holds.last().copied());
            policy.holds.extend(hold);
        }
        for (index, (node, watchdog_ns)) in parts.rules.iter().enumerate() {
            let before = self.mistakes.len();
            let rule = self.rule(node, parts.rule_name(index), *watchdog_ns);
            sound.rules.push(self.read(before, rule.is_some()));
            sound.take_words(node, sound.rules.last().copied());
            policy.rules.extend(rule);
        }
        policy.probes = std::mem::take(&mut self.probes);
        sound
    }

    /// How well something was read since there were so many mistakes.
    fn read(&self, before: usize, is_there: bool) -> Read {
        match is_there {
            true if self.mistakes.len() == before => Read::Well,
            true => Read::InPart,
            false => Read::Not,
        }
    }

    fn mistake(&mut self, at: &Spot, message: impl Into<String>) {
        self.mistakes.push(Diagnostic::error(at.clone(), message));
    }

    fn event(&mut self, entry: &Entry) -> Option<NamedEvent> {
        let names = SOURCES.map(|(_, word)| word);
        let source = one_of("source of an event", &entry.node, &names, &mut self.mistakes)?;
        Some(NamedEvent { source: SOURCES[source].0, name: entry.name.clone() })
    }

    fn state(&mut self, entry: &Entry) -> State {
        let on = match entry.node.value {
            Value::Bool(on) => on,
            _ => {
                let message = format!("state `{}` must be `true` or `false`", entry.name);
                self.mistakes.push(
                    Diagnostic::error(entry.node.at.clone(), message)
                        .help("it says whether the state is on when an attempt begins"),
                );
                false
            }
        };
        State { name: entry.name.clone(), on }
    }

    /// A point that is wrong still counts as known, so that only its own mistake is reported.
    fn point(&mut self, entry: &Entry) -> Point {
        let what = format!("point `{}`", entry.name);
        let table = Table::of(what, grammar::POINT, &entry.node, &mut self.mistakes);
        let filter = table.map(|table| self.filter(&table, Subject::Point));
        Point { name: entry.name.clone(), filter: filter.unwrap_or(Filter::ANY) }
    }

    /// The index of a payload test; the same test is the same index.
    fn probe(&mut self, probe: Probe, at: &Spot) -> Option<u8> {
        let known = self.probes.iter().position(|known| *known == probe);
        let index = known.unwrap_or_else(|| {
            self.probes.push(probe);
            self.probes.len() - 1
        });
        if index == Probes::MAX && known.is_none() {
            let message = format!("a policy can have {} different payloads, this is one more", Probes::MAX);
            self.mistake(at, message);
        }
        u8::try_from(index).ok()
    }
}

/// Reports every circle of what waits for itself.
fn tell_circles(circles: &[Circle], parts: &Parts<'_>, mistakes: &mut Mistakes) {
    mistakes.extend(circles.iter().map(|circle| {
        match circle {
            Circle::Points(point) => {
                let entry = parts.points[point.get()];
                let message =
                    format!("point `{}` can never arrive: what it comes after waits for it", entry.name);
                Diagnostic::error(entry.at.clone(), message)
                    .label("in a circle")
                    .help("let one of the points come after nothing, or after an event of the guest")
            }
            Circle::Holds { hold, words } => Diagnostic::error(
                parts.holds[*hold].0.at.clone(),
                format!("holds wait in a circle: {words}"),
            )
            .label("this hold can never end but by its watchdog")
            .help(
                "let one of them wait for something that comes before its own release, or for a guest \
                     event",
            ),
        }
    }));
}
