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

/// An attempt as it was recorded: `blkstay run ext4-dio-fallback --keep`, with one line of `attempts.jsonl`.
fn recorded(text: &str) -> AttemptReport {
    #[derive(serde::Deserialize)]
    struct Line {
        report: AttemptReport,
    }
    serde_json::from_str::<Line>(text).expect("a recorded attempt").report
}

const WAITS: &str = "direct = { A = \"guest.a-reaped\" }\n[case.witness]\n\
    B = [\"inode_dio_wait\", \"ext4_file_write_iter\"]\n\
    A = { in = [\"__iomap_dio_rw\"], means = \"A's own submission waits\" }";

#[test]
fn a_fix_that_makes_the_submission_wait_is_closed_by_that() {
    let report = recorded(include_str!("recorded/submission-waits.json"));
    let (outcome, why) = attempt(&case(WAITS), &report, &[Seen::No]);
    assert_eq!(outcome, Outcome::Closed);
    assert!(why.ends_with("held: A's own submission waits, in __iomap_dio_rw"), "{why}");
}

#[test]
fn a_fix_that_removes_the_direct_write_is_closed_and_says_what_became_of_it() {
    for text in
        [include_str!("recorded/bypassed-control.json"), include_str!("recorded/bypassed-forced.json")]
    {
        let report = recorded(text);
        let (outcome, why) = attempt(&case(WAITS), &report, &[Seen::No]);
        assert_eq!(outcome, Outcome::Closed);
        assert!(
            why.starts_with("by-passed: no direct write to race with; A went through the page cache"),
            "{why}"
        );
        assert!(why.contains("(cached 1 dirty 1 writeback 0 of 1 pages)"), "{why}");
        assert!(why.contains(" ms later by request #") && why.ends_with(", after guest.b-begins"), "{why}");
        // Without the case's word that A is a direct write, nothing is known of it.
        let bare = attempt(&case("witness = true"), &report, &[Seen::No]).0;
        assert_ne!(bare, Outcome::Closed);
    }
}

#[test]
fn a_write_whose_pages_are_not_dirty_has_not_been_by_passed() {
    let mut report = recorded(include_str!("recorded/bypassed-control.json"));
    for pages in ["unknown", "cached 1 dirty 0 writeback 0 of 1 pages"] {
        report.reports.insert("A-pages".to_owned(), pages.to_owned());
        assert_eq!(attempt(&case(WAITS), &report, &[Seen::No]).0, Outcome::Missed);
    }
}

#[test]
fn a_write_that_the_kernel_is_writing_out_already_has_been_by_passed_and_one_that_was_complete_has_not() {
    let mut report = recorded(include_str!("recorded/bypassed-forced.json"));
    let position = |report: &AttemptReport, name| report.events.iter().position(|event| event.event == name);
    for pages in ["cached 1 dirty 0 writeback 1 of 1 pages", "cached 1 dirty 1 writeback 0 of 1 pages"] {
        report.reports.insert("A-pages".to_owned(), pages.to_owned());
        let (seen, completed) = (position(&report, "guest.a-reaped"), position(&report, "A.completed"));
        let between = (seen.expect("an event"), completed.expect("an event") - 1);
        let reaped = report.events.remove(between.0);
        report.events.insert(between.1, reaped);
        let (outcome, why) = attempt(&case(WAITS), &report, &[Seen::No]);
        assert_eq!(outcome, Outcome::Closed, "{why}");
        assert!(why.contains("saw it complete while it was still being written there by request #"), "{why}");
        let (seen, completed) = (position(&report, "guest.a-reaped"), position(&report, "A.completed"));
        let mut direct = report.clone();
        direct.events.swap(seen.expect("an event"), completed.expect("an event"));
        assert_eq!(attempt(&case(WAITS), &direct, &[Seen::No]).0, Outcome::Missed);
    }
}

#[test]
fn a_witness_has_to_stand_where_the_case_looks_for_it() {
    for (stuck, outcome) in [
        ("B D inode_dio_wait ext4_buffered_write_iter", Outcome::Closed),
        ("B D inode_dio_wait.isra.0 ext4_buffered_write_iter", Outcome::Closed),
        ("B D rq_qos_wait wbt_wait __rq_qos_throttle ext4_file_write_iter", Outcome::Lost),
        ("B R", Outcome::Lost),
        ("B D", Outcome::Lost),
        ("B none: it is through", Outcome::Lost),
        ("A D inode_dio_wait", Outcome::Lost),
        ("C D inode_dio_wait", Outcome::Lost),
        ("D inode_dio_wait", Outcome::Lost),
    ] {
        let mut report = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: false }), None]);
        report.reports.insert("stuck".to_owned(), stuck.to_owned());
        let (seen, why) = attempt(&case(WAITS), &report, &[Seen::No]);
        assert_eq!(seen, outcome, "{stuck}: {why}");
    }
    let mut report = report(Arm::Forced, [Some(Cause::Watchdog { limit_ns: 5, unheard: false }), None]);
    let slow = "B D rq_qos_wait wbt_wait";
    report.reports.insert("stuck".to_owned(), slow.to_owned());
    let (_, why) = attempt(&case(WAITS), &report, &[Seen::No]);
    assert!(
        why.ends_with("but B sleeps where the case does not look for it: D rq_qos_wait wbt_wait"),
        "{why}"
    );
}

#[test]
fn a_kernel_that_by_passes_always_is_closed_and_one_that_does_sometimes_is_not() {
    use Outcome::{Closed, Lost, Open, Reached};
    assert_eq!(kernel(&[Closed, Closed], &[Closed]), Closed);
    assert_eq!(kernel(&[Closed, Reached], &[Closed]), Lost);
    assert_eq!(kernel(&[Closed, Reached], &[Open]), Open);
}

#[test]
fn a_kernel_that_shows_the_symptom_by_itself_is_not_closed() {
    use Outcome::{Closed, Lost, Missed, Open, Survived};
    for verdict in [Closed, Survived] {
        assert_eq!([with_symptoms(verdict, 0), with_symptoms(verdict, 1)], [verdict, Open]);
    }
    for verdict in [Open, Lost, Missed] {
        assert_eq!(with_symptoms(verdict, 1), verdict, "what could not be told stays so");
    }
}
