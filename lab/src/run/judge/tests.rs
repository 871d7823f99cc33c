//! What recorded attempts and made-up ones are judged to be.

use super::*;
use blkstay_engine::report::{HoldReport, PointReport};
use blkstay_engine::request::RequestId;
use std::collections::BTreeMap;

/// A case with these lines.
fn case(lines: &str) -> Case {
    let text = format!(
        "[case]\nabout = \"A meets R\"\nguest = \"a.sh\"\n{lines}\n\
         [case.image]\nsize = \"1M\"\nfilesystem = \"ext4\"\n\
         [event]\na-reaped = \"guest\"\n[point]\nA = {{ op = \"write\" }}\nR = {{ op = \"read\" }}\n"
    );
    let policy = Policy::parse("test", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    policy.case.expect("a case")
}

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
    assert_eq!(attempt(&case(""), &forced(), &[Seen::No, Seen::Yes]).0, Outcome::Open);
    assert_eq!(attempt(&case(""), &forced(), &[Seen::No, Seen::Muted]).0, Outcome::Survived);
    assert_eq!(attempt(&case(""), &forced(), &[Seen::No, Seen::Unreported]).0, Outcome::Lost);
}

#[test]
fn a_hold_that_was_never_needed_still_counts_as_forced() {
    let report = report(Arm::Forced, [until("R.arrived"), None]);
    assert_eq!(attempt(&case(""), &report, &[Seen::Yes]).0, Outcome::Open);
}

#[test]
fn a_watchdog_is_closed_whatever_came_after_it() {
    let mut report = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: false }), None]);
    let (outcome, why) = attempt(&case(""), &report, &[Seen::No]);
    assert_eq!(
        (outcome, why.as_str()),
        (Outcome::Closed, "R.arrived did not come while A.complete was held")
    );
    report.points.insert("R".to_owned(), PointReport::default());
    assert_eq!(attempt(&case(""), &report, &[Seen::No]).0, Outcome::Closed);
}

#[test]
fn a_symptom_is_never_called_closed() {
    let expired = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: false }), None]);
    assert_eq!(attempt(&case(""), &expired, &[Seen::Yes]).0, Outcome::Open);
}

#[test]
fn a_guest_that_may_be_merely_slow_is_lost() {
    let silent = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: true }), None]);
    assert_eq!(attempt(&case(""), &silent, &[Seen::No]).0, Outcome::Lost);
    for (stuck, outcome) in [("R", Outcome::Lost), ("D inode_dio_wait", Outcome::Closed)] {
        let mut slow = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: false }), None]);
        slow.reports.insert("stuck".to_owned(), stuck.to_owned());
        assert_eq!(attempt(&case("witness = true"), &slow, &[Seen::No]).0, outcome);
        slow.reports.clear();
        assert_eq!(attempt(&case("witness = true"), &slow, &[Seen::No]).0, Outcome::Lost);
    }
}

#[test]
fn a_point_that_is_not_reached_is_missed_in_both_arms() {
    for arm in [Arm::Control, Arm::Forced] {
        let mut report = report(arm, [None, None]);
        report.points.insert("R".to_owned(), PointReport::default());
        let (outcome, why) = attempt(&case(""), &report, &[Seen::Yes]);
        assert_eq!((outcome, why.as_str()), (Outcome::Missed, "never reached: R"));
    }
}

#[test]
fn a_script_that_fails_or_never_ends_is_lost() {
    for exit in [None, Some(1)] {
        let report = AttemptReport { exit, ..forced() };
        assert_eq!(attempt(&case(""), &report, &[Seen::Yes]).0, Outcome::Lost);
    }
}

#[test]
fn an_order_that_somebody_interfered_with_is_lost() {
    for cause in [Cause::Hand, Cause::AttemptEnd, Cause::RingStop, Cause::PolicyReplaced] {
        let report = report(Arm::Forced, [Some(cause), None]);
        assert_eq!(attempt(&case(""), &report, &[Seen::Yes]).0, Outcome::Lost);
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
