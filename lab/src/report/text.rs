//! The report as plain text, for the body of a mail; and a scene as lines.

use super::cell::Cell;
use super::input::by_case;
use super::scene::{Group, Kind, Scene, words_of};
use super::stand::ended;
use super::story::{Life, What};
use super::task::{self, Task};
use super::{tell, words};
use crate::out::printable;
use crate::run::traffic::Phase;
use blkstay_engine::journal::Arm;
use blkstay_engine::request::Nanos;
use std::fmt::Write;

/// Columns that prose is wrapped at.
const COLUMNS: usize = 76;

/// So many other requests in a row are told one by one; more are counted.
const OTHERS_MAX: usize = 2;

/// Writes the report.
pub fn write(cells: &[Cell]) -> String {
    let mut out = String::new();
    for (index, (case, cells)) in by_case(cells).into_iter().enumerate() {
        if index > 0 {
            out += "\n\n";
        }
        let (about, _) = tell::question(&cells);
        paragraph(&mut out, "", &about.map_or(case.to_owned(), |about| format!("{case}: {about}")));
        out += "\n";
        table(&mut out, &cells);
        for cell in &cells {
            out += "\n";
            describe(&mut out, cell);
        }
    }
    out += "\n";
    for word in tell::words(cells) {
        paragraph(&mut out, "", &format!("{word}: {}", word.meaning()));
    }
    paragraph(&mut out, "", "In brackets: the 95 % bounds of a rate (Clopper and Pearson).");
    paragraph(&mut out, "", tell::METHOD);
    out
}

fn table(out: &mut String, cells: &[&Cell]) {
    let rates = |cell: &Cell, arm| {
        let rates = cell.rates(arm);
        let words = rates.iter().map(|(word, rate)| format!("{word} {}", rate.words()));
        words.collect::<Vec<_>>().join(", ")
    };
    for cell in cells {
        let _ = writeln!(out, "  {:<9} {}", cell.word().to_string(), printable(&name(cell)));
        for arm in [Arm::Forced, Arm::Control] {
            let symptoms = cell.symptoms(arm);
            let symptom =
                if symptoms.of > 0 { format!("; symptom in {}", symptoms.words()) } else { String::new() };
            let _ = writeln!(out, "            {arm}: {}{symptom}", rates(cell, arm));
        }
        if let Some(rate) = cell.by_chance() {
            let _ = writeln!(out, "            by chance: symptom in {}", rate.words());
        }
    }
}

fn name(cell: &Cell) -> String {
    let variant = cell.variant().map(|variant| format!(" with {}", variant.name));
    let set: String = cell.settings().iter().map(|setting| format!(", {setting}")).collect();
    format!("{}{}{set}", cell.release(), variant.unwrap_or_default())
}

fn describe(out: &mut String, cell: &Cell) {
    let title = printable(&format!("{} on {}", cell.word(), name(cell)));
    let _ = writeln!(out, "{title}\n{}", "-".repeat(title.chars().count().min(COLUMNS)));
    cell.build().iter().for_each(|build| paragraph(out, "", build));
    for (arm, phases) in cell.traffic() {
        let _ = writeln!(out, "\n{arm} arm, {}", tell::COSTS);
        costs(out, phases);
    }
    let Some(story) = cell.story.as_ref().filter(|_| cell.traffic().is_empty()) else {
        ending(out, cell);
        return;
    };
    for arm in [Arm::Control, Arm::Forced] {
        let Some((attempt, count)) = story.typical(arm) else { continue };
        let scene = Scene::new(attempt, story.policy.as_ref());
        out.push('\n');
        paragraph(out, "", &tell::heading(attempt, count, story.arm(arm).count()));
        tell::facts(&scene).iter().for_each(|fact| paragraph(out, "- ", fact));
        out.push('\n');
        *out += &timeline(&scene);
    }
    ending(out, cell);
}

/// What phases cost, column by column.
fn costs(out: &mut String, phases: &[Phase]) {
    let rows: Vec<[String; 8]> =
        std::iter::once(Phase::HEADER.map(str::to_owned)).chain(phases.iter().map(Phase::row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in &rows {
        let cells =
            row.iter().enumerate().map(|(column, text)| format!("{text:>width$}", width = width(column)));
        let _ = writeln!(out, "  {}", printable(&cells.collect::<Vec<_>>().join("  ")));
    }
}

fn ending(out: &mut String, cell: &Cell) {
    if cell.story.is_none() {
        paragraph(out, "", "Its journal is not among what this report was made from.");
    }
    cell.notes().iter().for_each(|note| paragraph(out, "\nnote: ", note));
    let _ = writeln!(out, "\nTo see it again:\n  {}", printable(&cell.command()));
}

/// Wraps a text; what follows its first line is indented as far as `mark` is wide.
fn paragraph(out: &mut String, mark: &str, text: &str) {
    let indent = mark.trim_start_matches('\n').chars().count();
    let mut line = mark.to_owned();
    let mut used = indent;
    for (index, word) in printable(text).split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && used + 1 + length > COLUMNS {
            let _ = write!(line, "\n{}", " ".repeat(indent));
            used = indent;
        } else if index > 0 {
            line.push(' ');
            used += 1;
        }
        line += word;
        used += length;
    }
    let _ = writeln!(out, "{line}");
}

/// A line of a timeline.
struct Row<'a> {
    t: Nanos,
    /// Of the same time, causes come before what they cause.
    rank: u8,
    lane: Option<usize>,
    mark: char,
    text: String,
    other: Option<&'a Life>,
}

/// What has a column of its own.
enum Column<'s, 'a> {
    Lane(&'s Group<'a>),
    Task(&'s Task<'a>),
}

impl Column<'_, '_> {
    /// What stands above it.
    fn head(&self) -> String {
        let name = match self {
            Column::Task(task) => &task.name,
            Column::Lane(Group { kind: Kind::Point(name) | Kind::Rule(name), .. }) => *name,
            Column::Lane(_) => "",
        };
        printable(&words::short(name, 12))
    }

    /// How it stands at a time.
    fn state(&self, t: Nanos) -> char {
        match self {
            Column::Lane(group) => state(&group.requests, t),
            Column::Task(task) if task.from_ns <= t && task.to_ns.is_none_or(|to| to > t) => '|',
            Column::Task(_) => ' ',
        }
    }
}

/// The columns, in the order of a drawing's lanes.
fn columns<'s, 'a>(scene: &'s Scene<'a>) -> Vec<Column<'s, 'a>> {
    let lanes = scene.lanes.iter().filter(|lane| lane.kind != Kind::Other).map(Column::Lane);
    let (writers, others) = (lanes.clone().take(scene.actors), lanes.skip(scene.actors));
    writers.chain(scene.tasks.iter().map(Column::Task)).chain(others).collect()
}

/// A scene from top to bottom: the time, a column for each point, task or rule (`|` on its way, `#` held), and what
/// happens.
pub fn timeline(scene: &Scene) -> String {
    let mut rows = rows(scene);
    rows.sort_by_key(|row| (row.t, row.rank));
    let heads: Vec<String> = columns(scene).iter().map(Column::head).collect();
    let mut out = format!("{:>11}  {}\n", "", heads.join(" "));
    let mut others: Vec<&Row> = Vec::new();
    for row in &rows {
        if row.other.is_some() {
            others.push(row);
            continue;
        }
        flush(&mut out, scene, &mut others);
        line(&mut out, scene, row);
    }
    flush(&mut out, scene, &mut others);
    out
}

fn flush(out: &mut String, scene: &Scene, others: &mut Vec<&Row>) {
    let told = if others.len() > OTHERS_MAX { 0 } else { others.len() };
    others.iter().take(told).for_each(|row| line(out, scene, row));
    if let Some(first) = others.first().filter(|_| told == 0) {
        let text = format!("({} other requests)", others.len());
        line(out, scene, &Row { t: first.t, rank: 0, lane: None, mark: ' ', text, other: None });
    }
    others.clear();
}

fn line(out: &mut String, scene: &Scene, row: &Row) {
    let cell = |(index, column): (usize, Column)| {
        let mark = if row.lane == Some(index) { row.mark } else { column.state(row.t) };
        format!("{mark:<width$}", width = column.head().chars().count())
    };
    let cells: Vec<String> = columns(scene).into_iter().enumerate().map(cell).collect();
    let since = words::time(row.t.saturating_sub(scene.from_ns));
    let text = format!("{since:>11}  {}  {}", cells.join(" "), printable(&row.text));
    let _ = writeln!(out, "{}", text.trim_end());
}

/// How requests of a lane stand at a time.
fn state(requests: &[&Life], t: Nanos) -> char {
    let held = |life: &&Life| {
        life.stands
            .iter()
            .any(|stand| stand.from_ns <= t && stand.released.as_ref().is_none_or(|(to, _)| *to > t))
    };
    let alive = |life: &&Life| life.arrived_ns <= t && life.end_ns(Nanos::MAX) > t;
    if requests.iter().any(held) {
        '#'
    } else if requests.iter().any(alive) {
        '|'
    } else {
        ' '
    }
}

fn rows<'a>(scene: &Scene<'a>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (index, column) in columns(scene).into_iter().enumerate() {
        let name = column.head();
        match column {
            Column::Lane(group) => group.requests.iter().for_each(|life| live(&mut rows, index, &name, life)),
            Column::Task(task) => work(&mut rows, index, &name, task),
        }
    }
    for life in scene.lanes.iter().filter(|lane| lane.kind == Kind::Other).flat_map(|lane| &lane.requests) {
        let took =
            life.ended.map(|(t, end)| format!(", {} after {}", ended(end), words::time(t - life.arrived_ns)));
        let text = format!("{}{}", words::request(&life.request), took.unwrap_or_default());
        rows.push(Row {
            t: life.arrived_ns.max(scene.from_ns),
            rank: 1,
            lane: None,
            mark: ' ',
            text,
            other: Some(life),
        });
    }
    for heard in scene.said.iter().filter(|heard| !task::is_edge(&heard.said.what)) {
        let who = match heard.said.what {
            What::Log(_) => "kernel: ",
            What::Report { .. } => "guest: ",
            _ => "",
        };
        let sign = if heard.sign { "   <-- symptom" } else { "" };
        let text = format!("{who}{}{sign}", words_of(&heard.said.what));
        rows.push(Row { t: heard.said.t, rank: 0, lane: None, mark: ' ', text, other: None });
    }
    rows
}

/// What is told of a task.
fn work(rows: &mut Vec<Row>, index: usize, name: &str, task: &Task) {
    let mut add = |t, rank, mark, text: String| {
        rows.push(Row { t, rank, lane: Some(index), mark, text: format!("{name} {text}"), other: None });
    };
    add(task.from_ns, 0, '+', "begins".to_owned());
    if let Some(t) = task.to_ns {
        add(t, 5, '-', "ends".to_owned());
    }
}

/// What is told of a request that matters.
fn live(rows: &mut Vec<Row>, index: usize, name: &str, life: &Life) {
    let mut add = |t, rank, mark, text: String| {
        rows.push(Row { t, rank, lane: Some(index), mark, text: format!("{name} {text}"), other: None });
    };
    add(life.arrived_ns, 1, '+', format!("arrives: {}", words::request(&life.request)));
    for stand in &life.stands {
        let until = match (&stand.until, &stand.rule) {
            (Some(until), _) => format!(" until {until}"),
            (None, Some(rule)) => format!(" by {rule}"),
            (None, None) => String::new(),
        };
        add(stand.from_ns, 3, '#', format!("is held at {}{until}", stand.gate));
        if let Some((t, cause)) = &stand.released {
            add(*t, 4, '>', format!("goes on: {}", words::cause(cause)));
        }
    }
    if let Some((t, end)) = life.ended {
        add(t, 5, '-', ended(end));
    }
}
