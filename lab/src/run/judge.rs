//! What an attempt showed, from its report alone; and a kernel's verdict, from its attempts.

use blkstay_engine::journal::{Arm, Cause, Outcome};
use blkstay_engine::policy::{Policy, SignTest};
use blkstay_engine::report::AttemptReport;

/// Whether a sign of the symptom was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was.
    Yes,
    /// It was not.
    No,
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
        SignTest::Report { name, is } => seen(report.reports.get(name).is_some_and(|value| value == is)),
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
pub fn attempt(report: &AttemptReport, signs: &[Seen]) -> (Outcome, String) {
    if report.exit.is_none() {
        return (Outcome::Lost, "the guest's script did not come to its end".to_owned());
    }
    if let Some(exit) = report.exit.filter(|exit| *exit != 0) {
        return (Outcome::Lost, format!("the guest's script failed with status {exit}"));
    }
    // A hold that its watchdog ended is looked at first: what comes after it in the forced order
    // may then never come, and that is the answer.
    let expired = report.holds.iter().find(|hold| matches!(hold.cause, Some(Cause::Watchdog { .. })));
    if let (Arm::Forced, Some(hold)) = (report.arm, expired) {
        return (Outcome::Closed, format!("{} did not come while {} was held", hold.until, hold.gate));
    }
    let unreached: Vec<&str> = report
        .points
        .iter()
        .filter(|(_, point)| point.request.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if !unreached.is_empty() {
        return (Outcome::Missed, format!("never reached: {}", unreached.join(", ")));
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
    } else {
        (Outcome::Survived, "the order was forced and there was no symptom".to_owned())
    }
}

/// The verdict of a case on a kernel. One forced symptom is enough for `open`. Short of that a lost
/// attempt leaves it unknown, and attempts that miss a point in both arms say nothing; a point that
/// the control arm never reached makes a `closed` worthless.
pub fn kernel(control: &[Outcome], forced: &[Outcome]) -> Outcome {
    let any = |outcomes: &[Outcome], wanted| outcomes.contains(&wanted);
    if any(forced, Outcome::Open) {
        Outcome::Open
    } else if forced.is_empty() || any(forced, Outcome::Lost) || any(control, Outcome::Lost) {
        Outcome::Lost
    } else if any(control, Outcome::Missed) || any(forced, Outcome::Missed) {
        Outcome::Missed
    } else if any(forced, Outcome::Survived) {
        Outcome::Survived
    } else {
        Outcome::Closed
    }
}
