//! A scene as lines of text.

use super::scene::{Group, Kind, Scene, words_of};
use super::stand::ended;
use super::story::{Life, What};
use super::task::{self, Task};
use super::text::{COLUMNS, wrapped};
use super::words;
use crate::out::printable;
use blkstay_engine::request::Nanos;
use std::fmt::Write;

/// Fewest columns for what happens, however many there are before it.
const TEXT_COLUMNS_MIN: usize = 30;

/// So many other requests in a row are told one by one; more are counted.
const OTHERS_MAX: usize = 2;

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
    let head = format!("{since:>11}  {}  ", cells.join(" "));
    let below = below(scene, row.t);
    let width = COLUMNS.saturating_sub(below.chars().count()).max(TEXT_COLUMNS_MIN);
    for (index, part) in wrapped(printable(&row.text).split(' '), width).iter().enumerate() {
        let line = format!("{}{part}", if index == 0 { &head } else { &below });
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// What stands before the rest of a text that is wrapped: how everything stands then.
fn below(scene: &Scene, t: Nanos) -> String {
    let cell = |column: Column| format!("{:<width$}", column.state(t), width = column.head().chars().count());
    let cells: Vec<String> = columns(scene).into_iter().map(cell).collect();
    format!("{:>11}  {}  ", "", cells.join(" "))
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
