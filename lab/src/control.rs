//! `blkstay control`: asks a running daemon for one thing and waits for its answer.

use crate::cli::{Control, Verb};
use crate::link::Link;
use crate::log::cause_words;
use crate::{out, policy};
use anyhow::{Context, Result};
use blkstay_engine::control::{Answer, Command, ExprText};
use blkstay_engine::policy::Checked;
use blkstay_engine::report::{AttemptReport, HeldRequest, Latency, StatsReport};
use blkstay_engine::request::{Nanos, RequestId};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Sends the call, prints the answer.
///
/// # Errors
/// Nobody listens, the daemon went away, or the policy to load has mistakes. What is refused is printed.
pub fn control(args: &Control) -> Result<ExitCode> {
    let Asking { command, warned } = asking(&args.verb)?;
    let (line, reply) = Link::connect(&args.socket)?.ask(command)?;
    let refused = matches!(reply.answer, Answer::Error { .. });
    for warning in reply.warnings.iter().filter(|warning| !warned.contains(warning)) {
        crate::out::tell(format_args!("{}\n", warning.trim_end()));
    }
    match &reply.answer {
        _ if args.json => out::print(&format!("{line}\n"))?,
        Answer::Error { message } => crate::out::tell(format_args!("blkstay: {}", message.trim_end())),
        answer => out::print(&words(answer))?,
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is to be asked for.
struct Asking {
    command: Command,
    /// What a person has been warned of already.
    warned: Vec<String>,
}

/// What the words on the command line mean.
fn asking(verb: &Verb) -> Result<Asking> {
    let mut warned = Vec::new();
    let command = match verb {
        Verb::Load { policy, with, disarmed } => {
            let Checked { policy, warnings } = policy::checked(policy, &with.settings())?;
            warned = warnings.render_each(false);
            Command::load_written(policy.written, !disarmed)
        }
        Verb::Arm => Command::Arm,
        Verb::Disarm => Command::Disarm,
        Verb::Pause { queue, watchdog } => Command::Pause { queue: *queue, watchdog_ns: *watchdog },
        Verb::Resume => Command::Resume,
        Verb::Held => Command::Held,
        Verb::Release { request, point } => {
            Command::Release { request: request.map(RequestId), point: point.clone() }
        }
        Verb::Emit { event, detail } => Command::Emit { event: event.clone(), detail: detail.clone() },
        Verb::Await { until } => Command::Await { until: expression(until)? },
        Verb::Status => Command::Status,
        Verb::Stats => Command::Stats,
        Verb::Resize { bytes } => Command::Resize { bytes: *bytes },
    };
    Ok(Asking { command, warned })
}

fn expression(text: &str) -> Result<ExprText> {
    match text.trim_start().starts_with('{') {
        true => {
            serde_json::from_str(text).context("not an expression: write {\"all\":[\"A.done\",\"B.done\"]}")
        }
        false => Ok(ExprText::Event(text.to_owned())),
    }
}

/// An answer as people read it. `Done` needs no words.
fn words(answer: &Answer) -> String {
    match answer {
        Answer::Done | Answer::Error { .. } => String::new(),
        Answer::Attempt { attempt, arm } => format!("attempt {attempt}, {arm}\n"),
        Answer::Released { count } => format!("released {count}\n"),
        Answer::Stats(stats) => stats_text(stats),
        Answer::Held { requests } if requests.is_empty() => "nothing is held\n".to_owned(),
        Answer::Held { requests } => requests.iter().map(held).collect(),
        Answer::Report(report) => report_words(report),
    }
}

/// `#7 write 4096+512 at A.complete until R.arrived, at most until 12.000000`.
fn held(request: &HeldRequest) -> String {
    let at_latest = seconds(request.deadline_ns);
    out::printable(&format!("{}, at {at_latest} s at the latest", standing(request))) + "\n"
}

/// `#7 write 4096+512 at A.complete until R.arrived`.
pub fn standing(request: &HeldRequest) -> String {
    let HeldRequest { id, op, offset, length, point, rule, gate, until, .. } = request;
    let place = if op.has_range() { format!(" {offset}+{length}") } else { String::new() };
    let gate = match (point.as_str(), rule) {
        ("", None) => format!("{gate} by hand"),
        ("", Some(rule)) => format!("{gate} by {rule}"),
        (point, None) => format!("{point}.{gate}"),
        (point, Some(rule)) => format!("{point}.{gate} by {rule}"),
    };
    format!("{id} {op}{place} at {gate} until {until}")
}

fn seconds(time: Nanos) -> String {
    format!("{:.6}", time as f64 / 1e9)
}

fn report_words(report: &AttemptReport) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = writeln!(text, "{}", out::printable(&words));
    };
    let so_far = seconds(report.ended_ns.saturating_sub(report.began_ns));
    line(format!("attempt {}, {}, for {so_far} s", report.attempt, report.arm));
    for place in &report.unbound {
        line(format!("place   {place} is not bound"));
    }
    for (name, point) in &report.points {
        let which = match (point.request, point.requests) {
            (None, _) => "has not been seen".to_owned(),
            (Some(id), 1) => format!("is {id}"),
            (Some(id), requests) => format!("is {requests} requests, the first of them {id}"),
        };
        line(format!("point   {name} {which}"));
    }
    for hold in &report.holds {
        let state = match (&hold.cause, hold.held, hold.reached_ns, hold.true_ns) {
            (Some(cause), ..) => format!("is over: {}", cause_words(cause)),
            (None, true, ..) => "stands".to_owned(),
            (None, false, Some(_), _) => "was passed".to_owned(),
            (None, false, None, Some(_)) => "will not hold: what it waits for has come".to_owned(),
            (None, false, None, None) => "has not been reached".to_owned(),
        };
        line(format!("hold    {} until {} {state}", hold.gate, hold.until));
    }
    for (name, rule) in &report.rules {
        line(format!("rule    {name} was for {} of {} that match", rule.taken, rule.matched));
    }
    for event in &report.events {
        line(format!("event   {} {}", seconds(event.t), event.event));
    }
    for (name, value) in &report.reports {
        line(format!("report  {name} = {value}"));
    }
    for words in &report.kernel_log {
        line(format!("kernel  {words}"));
    }
    if let Some(exit) = report.exit {
        line(format!("the guest's script ended with status {exit}"));
    }
    text
}

/// One line an operation.
fn stats_text(stats: &StatsReport) -> String {
    let mut text = format!("{} in flight, {} held\n", stats.in_flight + stats.passing, stats.held);
    for op in &stats.ops {
        let us = |ns: u64| ns as f64 / 1000.0;
        let Latency { p50_ns, p99_ns, max_ns, .. } = op.latency;
        text += &format!(
            "{:12} {:>10}  {:>12} bytes  {:>6} errors  p50 {:.1} µs  p99 {:.1} µs  max {:.1} µs\n",
            op.op.name(),
            op.requests,
            op.bytes,
            op.errors,
            us(p50_ns),
            us(p99_ns),
            us(max_ns),
        );
    }
    text
}
