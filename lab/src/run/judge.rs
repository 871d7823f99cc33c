//! What an attempt showed, from its report alone; and a kernel's verdict, from its attempts.

use blkstay_engine::journal::{Arm, Cause, Outcome};
use blkstay_engine::policy::{Policy, SignTest};
use blkstay_engine::report::{AttemptReport, Expired};

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

/// What one attempt showed, and why, in words; `witness`: the case's script says where it stood.
pub fn attempt(witness: bool, report: &AttemptReport, signs: &[Seen]) -> (Outcome, String) {
    if report.exit.is_none() {
        return (Outcome::Lost, "the guest's script did not come to its end".to_owned());
    }
    if let Some(exit) = report.exit.filter(|exit| *exit != 0) {
        return (Outcome::Lost, format!("the guest's script failed with status {exit}"));
    }
    if let Some(problem) = report.reports.get("problem") {
        return (Outcome::Lost, format!("the guest has a problem: {problem}"));
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
        Some(expired) => return closed(witness, report, expired),
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

/// Whether the guest waited while a hold stood, or was merely slow: its script may say where it stood
/// (`stuck`: the state of a process, as in proc_pid_stat(5), and the kernel functions it is in).
fn closed(witness: bool, report: &AttemptReport, expired: &Expired) -> (Outcome, String) {
    let what = format!("{} did not come while {} was held", expired.until, expired.gate);
    match report.reports.get("stuck") {
        None if witness => (Outcome::Lost, format!("{what}, and the guest did not say where it stood")),
        _ if expired.unheard => {
            (Outcome::Lost, format!("{what}, and the guest did not say in time where it stood"))
        }
        Some(stuck) if !stuck.starts_with(['D', 'S']) => {
            (Outcome::Lost, format!("{what}, but the guest did not sleep: {stuck}"))
        }
        _ => (Outcome::Closed, what),
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
    let first = order.into_iter().find(|(outcomes, wanted)| outcomes.contains(wanted));
    first.map_or(Outcome::Lost, |(_, verdict)| verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use blkstay_engine::report::{HoldReport, PointReport};
    use blkstay_engine::request::RequestId;
    use std::collections::BTreeMap;

    /// A finished attempt of two points, both reached, whose two holds ended by `causes`.
    fn report(arm: Arm, causes: [Option<Cause>; 2]) -> AttemptReport {
        let hold = |gate: &str, until: &str, cause: Option<Cause>| HoldReport {
            gate: gate.to_owned(),
            until: until.to_owned(),
            reached_ns: Some(1),
            true_ns: Some(2),
            held: cause.is_some(),
            cause,
        };
        let expired = causes.iter().find_map(|cause| match cause {
            Some(Cause::Watchdog { unheard, .. }) => {
                let (gate, until) = ("A.complete".to_owned(), "R.arrived".to_owned());
                Some(Expired { gate, until, unheard: *unheard })
            }
            _ => None,
        });
        let [first, second] = causes;
        let point = |id| PointReport { request: Some(RequestId(id)), requests: 1 };
        AttemptReport {
            attempt: 1,
            arm,
            began_ns: 0,
            ended_ns: 9,
            unbound: Vec::new(),
            points: BTreeMap::from([("A".to_owned(), point(1)), ("R".to_owned(), point(2))]),
            holds: vec![hold("A.complete", "R.arrived", first), hold("R.complete", "guest.a-reaped", second)],
            expired,
            rules: BTreeMap::new(),
            events: Vec::new(),
            reports: BTreeMap::new(),
            kernel_log: Vec::new(),
            exit: Some(0),
        }
    }

    fn until(event: &str) -> Option<Cause> {
        Some(Cause::Until { event: event.to_owned() })
    }

    fn forced() -> AttemptReport {
        report(Arm::Forced, [until("R.arrived"), until("guest.a-reaped")])
    }

    #[test]
    fn a_forced_order_is_open_with_a_sign_and_survived_without() {
        assert_eq!(attempt(false, &forced(), &[Seen::No, Seen::Yes]).0, Outcome::Open);
        assert_eq!(attempt(false, &forced(), &[Seen::No, Seen::Muted]).0, Outcome::Survived);
        assert_eq!(attempt(false, &forced(), &[Seen::No, Seen::Unreported]).0, Outcome::Lost);
    }

    #[test]
    fn a_hold_that_was_never_needed_still_counts_as_forced() {
        let report = report(Arm::Forced, [until("R.arrived"), None]);
        assert_eq!(attempt(false, &report, &[Seen::Yes]).0, Outcome::Open);
    }

    #[test]
    fn a_watchdog_is_closed_whatever_came_after_it() {
        let mut report = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: false }), None]);
        let (outcome, why) = attempt(false, &report, &[Seen::No]);
        assert_eq!(
            (outcome, why.as_str()),
            (Outcome::Closed, "R.arrived did not come while A.complete was held")
        );
        report.points.insert("R".to_owned(), PointReport::default());
        assert_eq!(attempt(false, &report, &[Seen::No]).0, Outcome::Closed);
    }

    #[test]
    fn a_symptom_is_never_called_closed() {
        let expired = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: false }), None]);
        assert_eq!(attempt(false, &expired, &[Seen::Yes]).0, Outcome::Open);
    }

    #[test]
    fn a_guest_that_may_be_merely_slow_is_lost() {
        let silent = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: true }), None]);
        assert_eq!(attempt(false, &silent, &[Seen::No]).0, Outcome::Lost);
        for (stuck, outcome) in [("R", Outcome::Lost), ("D inode_dio_wait", Outcome::Closed)] {
            let mut slow = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: false }), None]);
            slow.reports.insert("stuck".to_owned(), stuck.to_owned());
            assert_eq!(attempt(true, &slow, &[Seen::No]).0, outcome);
            slow.reports.clear();
            assert_eq!(attempt(true, &slow, &[Seen::No]).0, Outcome::Lost);
        }
    }

    #[test]
    fn a_point_that_is_not_reached_is_missed_in_both_arms() {
        for arm in [Arm::Control, Arm::Forced] {
            let mut report = report(arm, [None, None]);
            report.points.insert("R".to_owned(), PointReport::default());
            let (outcome, why) = attempt(false, &report, &[Seen::Yes]);
            assert_eq!((outcome, why.as_str()), (Outcome::Missed, "never reached: R"));
        }
    }

    #[test]
    fn a_script_that_fails_or_never_ends_is_lost() {
        for exit in [None, Some(1)] {
            let report = AttemptReport { exit, ..forced() };
            assert_eq!(attempt(false, &report, &[Seen::Yes]).0, Outcome::Lost);
        }
    }

    #[test]
    fn an_order_that_somebody_interfered_with_is_lost() {
        for cause in [Cause::Hand, Cause::AttemptEnd, Cause::RingStop, Cause::PolicyReplaced] {
            let report = report(Arm::Forced, [Some(cause), None]);
            assert_eq!(attempt(false, &report, &[Seen::Yes]).0, Outcome::Lost);
        }
    }

    #[test]
    fn a_kernel_is_judged_by_all_of_its_attempts() {
        use Outcome::{Closed, Lost, Missed, Open, Reached, Survived};
        let cases: [(&[Outcome], &[Outcome], Outcome); 9] = [
            (&[Missed], &[Lost], Missed),
            (&[Reached], &[Open, Closed, Lost], Open),
            (&[Reached], &[Closed, Closed], Closed),
            (&[Reached], &[Closed, Survived], Survived),
            (&[Reached], &[Closed, Lost], Lost),
            (&[Lost], &[Closed], Lost),
            (&[Missed], &[Closed], Missed),
            (&[Reached, Missed], &[Closed], Missed),
            (&[Reached], &[], Lost),
        ];
        for (control, forced, verdict) in cases {
            assert_eq!(kernel(control, forced), verdict, "{control:?} {forced:?}");
        }
    }

    #[test]
    fn a_kernel_that_has_fallen_silent_is_not_taken_for_one_without_the_sign() {
        let text = "[sign]\nlog = { kernel-log = \"Page cache\", per-boot-max = 2 }\nfsync = { report = \"fsync\", is = \"error EIO\" }\n";
        let policy = Policy::parse("test", text).expect("a good policy");
        let mut boot = Boot::default();
        let mut seen = |lines: &[&str]| {
            let kernel_log = lines.iter().map(|line| (*line).to_owned()).collect();
            let reports = BTreeMap::from([("fsync".to_owned(), "ok".to_owned())]);
            signs(&policy, &AttemptReport { kernel_log, reports, ..forced() }, &mut boot)
        };
        assert_eq!(seen(&["other"]), [Seen::No, Seen::No]);
        assert_eq!(seen(&["[1.0] Page cache invalidation"]), [Seen::Yes, Seen::No]);
        assert_eq!(seen(&["[2.0] Page cache invalidation"]), [Seen::Yes, Seen::No]);
        assert_eq!(seen(&[]), [Seen::Muted, Seen::No]);
    }
}
