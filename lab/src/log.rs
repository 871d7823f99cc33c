//! `blkstay log`: prints a journal, or verifies it.

use crate::cli::{Log, LogFormat};
use crate::journal::{self, Odd};
use crate::out;
use crate::out::printable;
use anyhow::{Context, Result};
use blkstay_engine::event::Gate;
use blkstay_engine::journal::{Cause, Line, Record};
use blkstay_engine::replay;
use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

/// Exit status when everything is as it should be, or not.
fn exit(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints every record, or verifies them. A line that is none is called out on standard error, and the rest is
/// printed.
///
/// # Errors
/// The journal cannot be read, or standard output cannot be written.
pub fn log(args: &Log) -> Result<ExitCode> {
    if args.verify {
        return verify(args);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut is_read = true;
    let odd = journal::each(&args.journal, |line| match print(&mut out, &line, args.format) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            is_read = false;
            Ok(false)
        }
        printed => printed.context("cannot write standard output").map(|()| true),
    })?;
    match out.flush() {
        _ if !is_read => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write standard output")
        }
        _ => Ok(exit(odd.bad == 0)),
    }
}

/// Feeds the journal back, and says whether the same is decided again.
fn verify(args: &Log) -> Result<ExitCode> {
    let path = args.journal.display();
    let read = journal::read(&args.journal)?;
    if read.odd != Odd::default() {
        crate::out::tell(format_args!("{path}: cannot be verified with records missing"));
        return Ok(ExitCode::FAILURE);
    }
    if read.lines.is_empty() {
        crate::out::tell(format_args!(
            "{path}: there is no record in it; give it what `blkstayd --journal` wrote"
        ));
        return Ok(ExitCode::FAILURE);
    }
    match replay::refeed(read.lines) {
        Ok(refed) => {
            let missing = match refed.missing {
                0 => String::new(),
                missing => format!("; {missing} of a killed daemon's last records are missing"),
            };
            let (lines, daemons) = (refed.lines, refed.daemons);
            let by = if daemons == 1 { "1 daemon".to_owned() } else { format!("{daemons} daemons") };
            out::print(&format!("{path}: agrees; {lines} lines of {by}{missing}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(difference) => {
            let difference = format!("{path}: differs at {difference}");
            crate::out::tell(format_args!("{}", printable(&difference)));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn print(out: &mut impl Write, line: &Line, format: LogFormat) -> std::io::Result<()> {
    match format {
        LogFormat::Jsonl => writeln!(out, "{}", serde_json::to_string(line)?),
        LogFormat::Text => {
            writeln!(out, "{:>14.6}  {}", line.t as f64 / 1e9, printable(&words(&line.record)))
        }
    }
}

fn words(record: &Record) -> String {
    match record {
        Record::Journal { version, image, image_bytes, .. } => {
            format!("journal    version {version}, image {image}, {image_bytes} bytes")
        }
        Record::Policy { written, armed } => {
            format!("policy     {}{}", written.origin, if *armed { ", armed" } else { "" })
        }
        Record::Connected => "guest      connected".to_owned(),
        Record::Disconnected => "guest      disconnected".to_owned(),
        Record::AttemptBegan { attempt, arm, .. } => format!("attempt    {attempt} began, {arm}"),
        Record::AttemptEnded { attempt } => format!("attempt    {attempt} ended"),
        Record::Verdict { attempt, outcome, why } => {
            format!("verdict    attempt {attempt}: {outcome}: {why}")
        }
        Record::Arrived { request, point, passed, resubmitted } => {
            let point = point.as_ref().map(|point| format!(", point {point}")).unwrap_or_default();
            let again = if *resubmitted { ", again" } else { "" };
            let (id, op, range) = (request.id, request.op, request.range);
            let class = match request.class.is_empty() {
                true => String::new(),
                false => format!(" {}", request.class),
            };
            let place = format!("{}+{}{class}", range.offset, range.length);
            format!(
                "arrived    {id} {op} {place} queue {}{point}{again}{}",
                request.queue,
                passed_words(*passed)
            )
        }
        Record::Submitted { id } => format!("submitted  {id}"),
        Record::Done { id, status, error, .. } => format!("done       {id} {status}{}", error_words(error)),
        Record::Completed { id, status, passed, error } => {
            format!("completed  {id} {status}{}{}", error_words(error), passed_words(*passed))
        }
        Record::Abandoned { id, stage, why, passed } => {
            format!("abandoned  {id} {stage}, {why}{}", passed_words(*passed))
        }
        Record::Decided { id, gate, rule, does, wait_ns, status } => {
            let wait = wait_ns.map(|wait| format!(" {} µs", wait / 1000)).unwrap_or_default();
            let status = status.map(|status| format!(", ends with {status}")).unwrap_or_default();
            format!("decided    {id} at {gate} by {rule}: {does}{wait}{status}")
        }
        Record::Held { id, point, rule, gate, until, .. } => {
            format!("held       {id} at {} until {until}", gate_words(point, rule.as_deref(), *gate))
        }
        Record::Stalled { id, point, rule, gate } => {
            format!("stalled    {id} at {}", gate_words(point, rule.as_deref(), *gate))
        }
        Record::Released { id, point, rule, gate, cause } => {
            let gate = match cause {
                // What stood in a pause stood for no one's sake of its own.
                Cause::Resumed if point.is_empty() && rule.is_none() => gate.to_string(),
                _ => gate_words(point, rule.as_deref(), *gate),
            };
            format!("released   {id} from {gate}: {}", cause_words(cause))
        }
        Record::State { state, on } => format!("state      {state} is {}", if *on { "on" } else { "off" }),
        Record::Paused { queue, rule, .. } => {
            format!("paused     {} by {}", ring_words(*queue), rule.as_deref().unwrap_or("hand"))
        }
        Record::Resumed { queue, cause, .. } => {
            format!("resumed    {}: {}", ring_words(*queue), cause_words(cause))
        }
        Record::Resume => "resume     asked for".to_owned(),
        Record::Armed { armed } => format!("policy     {}", if *armed { "armed" } else { "disarmed" }),
        Record::Release { request, point } => {
            let what = request.map(|id| id.to_string()).or_else(|| point.clone());
            format!("release    {} asked for", what.unwrap_or_else(|| "of all".to_owned()))
        }
        Record::Awaiting { until, .. } => {
            format!("awaiting   {}", serde_json::to_string(until).unwrap_or_default())
        }
        Record::Forgotten { .. } => "forgotten  who awaited is gone".to_owned(),
        Record::RingStopped { queue } => format!("ring       {queue} stopped by the guest"),
        Record::Bound { place, range } => format!("bound      {place} = {}+{}", range.offset, range.length),
        Record::Event { source, event, detail } => {
            let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("event      {source}.{event}{detail}")
        }
        Record::Report { name, value } => format!("report     {name} = {value}"),
        Record::Log { line } => format!("kernel     {line}"),
        Record::Finished { exit } => format!("finished   exit status {exit}"),
        Record::BadRequest { queue, why } => format!("bad        queue {queue}: {why}"),
        Record::Resized { bytes } => format!("resized    the disk has {bytes} bytes"),
        Record::Stopped => "stopped".to_owned(),
    }
}

fn passed_words(passed: bool) -> &'static str {
    if passed { ", no policy's" } else { "" }
}

/// What the host said.
fn error_words(error: &Option<String>) -> String {
    error.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
}

/// `A.complete`, or `complete by slow-flush (A)`.
fn gate_words(point: &str, rule: Option<&str>, gate: Gate) -> String {
    match (point, rule) {
        (point, None) if !point.is_empty() => format!("{point}.{gate}"),
        ("", rule) => format!("{gate} by {}", rule.unwrap_or("hand")),
        (point, rule) => format!("{gate} by {} ({point})", rule.unwrap_or("hand")),
    }
}

fn ring_words(queue: Option<u16>) -> String {
    queue.map_or_else(|| "the disk".to_owned(), |queue| format!("ring {queue}"))
}

/// Why something that stood goes on.
pub fn cause_words(cause: &Cause) -> String {
    match cause {
        Cause::Until { event } => event.clone(),
        Cause::Watchdog { limit_ns, unheard } => {
            let unheard = if *unheard { ", the guest said nothing" } else { "" };
            format!("watchdog of {} ms{unheard}", limit_ns / 1_000_000)
        }
        Cause::WatchdogOf { gate } => format!("the watchdog of {gate}"),
        Cause::Delay => "its delay has passed".to_owned(),
        Cause::Limit => "its share has come".to_owned(),
        Cause::Stall => "the stall is over".to_owned(),
        Cause::Window { requests } => format!("the window of {requests} is closed"),
        Cause::Resumed => "resumed".to_owned(),
        Cause::Hand => "by hand".to_owned(),
        Cause::Disarmed => "the policy was disarmed".to_owned(),
        Cause::AttemptEnd => "the attempt ended".to_owned(),
        Cause::PolicyReplaced => "the policy was replaced".to_owned(),
        Cause::RingStop => "the guest stopped the ring".to_owned(),
    }
}
