//! What an attempt showed, from its report alone; and a kernel's verdict, from its attempts.

use super::word::BYPASSED;
use blkstay_engine::journal::{Arm, Cause, Outcome};
use blkstay_engine::policy::{Case, DirectWrite, Policy, SignTest};
use blkstay_engine::report::{AttemptReport, Expired, STUCK};
use blkstay_engine::request::Nanos;

/// Whether a sign of the symptom was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// The guest did not report what it is judged by.
    Unreported,
    /// It could not have been: the kernel has printed the line as often as it does in one boot.
    Muted,
}

/// Counts what the kernel has printed in this boot, sign by sign.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    printed: Vec<u64>,
}

/// What was seen of each sign of the policy, in its order.
pub fn signs(policy: &Policy, report: &AttemptReport, boot: &mut Boot) -> Vec<Seen> {
    boot.printed.resize(policy.signs.len(), 0);
    let each = policy.signs.iter().zip(&mut boot.printed);
    each.map(|(sign, printed)| match &sign.test {
        SignTest::Report { name, is } => {
            report.reports.get(name).map_or(Seen::Unreported, |value| seen(value == is))
        }
        SignTest::KernelLog { text, per_boot_max } => {
            let lines = report.kernel_log.iter().filter(|line| line.contains(text)).count() as u64;
            let muted = lines == 0 && per_boot_max.is_some_and(|max| *printed >= max);
            *printed += lines;
            if muted { Seen::Muted } else { seen(lines > 0) }
        }
    })
    .collect()
}

fn seen(yes: bool) -> Seen {
    if yes { Seen::Yes } else { Seen::No }
}

/// What one attempt showed, and why, in words.
pub fn attempt(case: &Case, report: &AttemptReport, signs: &[Seen]) -> (Outcome, String) {
    if report.exit.is_none() {
        return (Outcome::Lost, "the guest's script did not come to its end".to_owned());
    }
    if let Some(exit) = report.exit.filter(|exit| *exit != 0) {
        return (Outcome::Lost, format!("the guest's script failed with status {exit}"));
    }
    if let Some(problem) = report.reports.get("problem") {
        return (Outcome::Lost, format!("the guest has a problem: {problem}"));
    }
    // Before anything is said of holds: what they wait for may have had no reason to come.
    let bypassed = case.direct.iter().find_map(|direct| bypassed(direct, report));
    if let Some(why) = bypassed {
        return match signs.contains(&Seen::Yes) {
            true => (Outcome::Open, format!("the symptom appeared, though {why}")),
            false => (Outcome::Closed, format!("{BYPASSED}: no direct write to race with; {why}")),
        };
    }
    // A hold that its watchdog ended is looked at first: what comes after it in the forced order
    // may then never come, and that is the answer. A symptom is one however it came about.
    match &report.expired {
        Some(_) if signs.contains(&Seen::Yes) => {
            return (
                Outcome::Open,
                "the symptom appeared, after a watchdog had ended the forcing".to_owned(),
            );
        }
        Some(expired) => return closed(case, report, expired),
        None => {}
    }
    let unreached: Vec<&str> = report
        .points
        .iter()
        .filter(|(_, point)| point.request.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if !unreached.is_empty() {
        let unbound = match report.unbound.join(", ") {
            none if none.is_empty() => String::new(),
            places => format!("; never bound: {places}"),
        };
        return (Outcome::Missed, format!("never reached: {}{unbound}", unreached.join(", ")));
    }
    if report.arm == Arm::Control {
        return (Outcome::Reached, "every point was reached".to_owned());
    }
    let forced = |cause: &Option<Cause>| matches!(cause, None | Some(Cause::Until { .. }));
    if let Some(hold) = report.holds.iter().find(|hold| !forced(&hold.cause)) {
        return (Outcome::Lost, format!("{} was released, but not by {}", hold.gate, hold.until));
    }
    if signs.contains(&Seen::Yes) {
        (Outcome::Open, "the order was forced and the symptom appeared".to_owned())
    } else if signs.contains(&Seen::Unreported) {
        (Outcome::Lost, "the guest never reported what a sign is judged by".to_owned())
    } else {
        (Outcome::Survived, "the order was forced and there was no symptom".to_owned())
    }
}

/// Says so if the guest saw a write complete before the disk had completed any for its range, and the page cache had
/// what it wrote: it was no direct write, and there is no completion of one to hold.
fn bypassed(direct: &DirectWrite, report: &AttemptReport) -> Option<String> {
    let at = |name: &str| {
        report
            .events
            .iter()
            .position(|event| event.event == name)
            .map(|index| (index, report.events[index].t))
    };
    let point = &direct.point;
    let (seen, seen_ns) = at(&format!("guest.{}", direct.seen))?;
    let pages = report.reports.get(&format!("{point}-pages")).filter(|pages| has_unwritten(pages))?;
    let request = report.points.get(point).and_then(|point| point.request);
    let request = request.map_or(String::new(), |id| format!(" by request {id}"));
    let became = match (at(&format!("{point}.arrived")), at(&format!("{point}.completed"))) {
        (_, Some((completed, _))) if completed < seen => return None,
        (None, _) => {
            format!("with no request for its range ({pages}), and nothing was written there in this attempt")
        }
        (Some((written, _)), _) if written < seen => {
            format!("while it was still being written there{request} ({pages})")
        }
        (Some((written, written_ns)), _) => {
            let before = report.events.iter().take(written).rev();
            let since = before.map(|event| &event.event).find(|event| event.starts_with("guest."));
            let since = since.map_or(String::new(), |event| format!(", after {event}"));
            let later = milliseconds(written_ns.saturating_sub(seen_ns));
            format!(
                "with no request for its range ({pages}), and it was first written there {later} later{request}{since}"
            )
        }
    };
    Some(format!("{point} went through the page cache: the guest saw it complete {became}"))
}

/// Whether pages, as `stay cached` tells of them, have what is not on the disk: dirty, or on their way.
fn has_unwritten(pages: &str) -> bool {
    let words: Vec<&str> = pages.split(' ').collect();
    let some = |name: &str| words.windows(2).any(|pair| pair[0] == name && pair[1] != "0");
    some("dirty") || some("writeback")
}

fn milliseconds(ns: Nanos) -> String {
    format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10)
}

/// Whether the guest waited while a hold stood, or was merely slow: its script may say where it stood
/// (`stuck`: the process if the case names some, its state, as in proc_pid_stat(5), and the kernel functions
/// it is in, innermost first).
fn closed(case: &Case, report: &AttemptReport, expired: &Expired) -> (Outcome, String) {
    let what = format!("{} did not come while {} was held", expired.until, expired.gate);
    let stuck = report.reports.get(STUCK);
    match stuck {
        None if case.witness => {
            return (Outcome::Lost, format!("{what}, and the guest did not say where it stood"));
        }
        _ if expired.unheard => {
            return (Outcome::Lost, format!("{what}, and the guest did not say in time where it stood"));
        }
        None => return (Outcome::Closed, what),
        Some(_) => {}
    }
    let stuck = stuck.map_or("", String::as_str);
    let (process, stands) = match case.waits.is_empty() {
        true => (None, stuck),
        false => stuck.split_once(' ').map_or((None, stuck), |(process, rest)| (Some(process), rest)),
    };
    if !stands.starts_with(['D', 'S']) {
        return (Outcome::Lost, format!("{what}, but the guest did not sleep: {stuck}"));
    }
    let Some(process) = process else { return (Outcome::Closed, what) };
    let innermost = stands.split_whitespace().nth(1).unwrap_or("nowhere");
    // The compiler's own copies of a function: `f.isra.0`, `f.constprop.0`.
    let plain = innermost.split('.').next().unwrap_or(innermost);
    let wait =
        case.waits.iter().find(|wait| wait.process == process && wait.functions.iter().any(|f| f == plain));
    match wait {
        Some(wait) => (Outcome::Closed, format!("{what}: {}, in {plain}", wait.means)),
        None => (
            Outcome::Lost,
            format!("{what}, but {process} sleeps where the case does not look for it: {stands}"),
        ),
    }
}

/// The verdict of a case on a kernel. One symptom when forced is enough for `open`. Short of that, a
/// point that the control arm misses makes whatever the forced arm shows worthless, and a lost
/// attempt leaves it unknown.
pub fn kernel(control: &[Outcome], forced: &[Outcome]) -> Outcome {
    let order = [
        (forced, Outcome::Open),
        (control, Outcome::Lost),
        (control, Outcome::Missed),
        (forced, Outcome::Lost),
        (forced, Outcome::Missed),
        (forced, Outcome::Survived),
        (forced, Outcome::Closed),
    ];
    // A control attempt is closed only if there was nothing to hold; one that had something says that the
    // kernel does not always do so, and then forced attempts of the first kind say nothing of the others.
    if control.contains(&Outcome::Closed) && !control.iter().all(|outcome| *outcome == Outcome::Closed) {
        return if forced.contains(&Outcome::Open) { Outcome::Open } else { Outcome::Lost };
    }
    let first = order.into_iter().find(|(outcomes, wanted)| outcomes.contains(wanted));
    first.map_or(Outcome::Lost, |(_, verdict)| verdict)
}

/// The same, where so many attempts in which nothing was held had a sign of the symptom: a kernel that shows it by itself is
/// not closed, whatever became of the order that was forced.
pub fn with_symptoms(verdict: Outcome, unforced: u64) -> Outcome {
    match verdict {
        Outcome::Closed | Outcome::Survived if unforced > 0 => Outcome::Open,
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests;
