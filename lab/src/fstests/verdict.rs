//! What a run of a test showed: what fstests says of it, and what the policy did meanwhile.

use super::document::KernelRun;
use super::plan::Disk;
use crate::run::judge::{self, Seen};
use anyhow::{Context, Result};
use blkstay_engine::journal::{Arm, Cause, Outcome};
use blkstay_engine::policy::Policy;
use blkstay_engine::report::AttemptReport;
use std::path::Path;

/// One run of a test.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its name.
    pub test: String,
    /// Its arm.
    pub arm: Arm,
    /// Which run of the test in this arm it was, from one.
    pub round: u64,
    /// What it showed.
    pub outcome: Outcome,
    /// Why, in words.
    pub why: String,
    /// How long it took with all that `check` does around it, in seconds.
    pub seconds: f64,
    /// What the daemons report, in the order of [`Disk::BOTH`].
    pub reports: Vec<AttemptReport>,
}

impl Attempt {
    /// fstests' own word: `passed`, `failed`, `notrun`, `expunged`, or `none`.
    pub fn word(&self) -> &str {
        self.reports.first().and_then(|report| report.reports.get("fstests")).map_or("none", String::as_str)
    }
}

/// What kernels have printed in this boot of what policies look for.
#[derive(Debug, Default)]
pub struct Signs {
    boots: [judge::Boot; 2],
}

/// Judges a run that came to its end.
pub fn judge(
    policies: &[Option<Policy>; 2],
    arm: Arm,
    reports: &[AttemptReport],
    signs: &mut Signs,
) -> (Outcome, String) {
    let Some(own) = reports.first() else { return (Outcome::Lost, "nothing was heard of it".to_owned()) };
    let symptom = symptom(policies, own, signs);
    let said = |name: &str| own.reports.get(name).map_or("", String::as_str);
    if let Some(problem) = own.reports.get("problem") {
        return (Outcome::Lost, problem.clone());
    }
    match (said("fstests"), symptom) {
        ("failed", _) => (Outcome::Open, plain(said("why"))),
        ("passed" | "notrun", Some(sign)) => {
            (Outcome::Open, format!("fstests saw nothing, but there was {sign}"))
        }
        ("notrun", None) => (Outcome::Missed, format!("not run: {}", plain(said("why")))),
        ("expunged", _) => (Outcome::Missed, "excluded".to_owned()),
        ("passed", None) if arm == Arm::Natural => (Outcome::Survived, "passed".to_owned()),
        ("passed", None) => passed(policies, reports),
        (_, _) => (Outcome::Lost, plain(said("why"))),
    }
}

/// The name of the first sign of a policy that was seen. The guest's log is in its own disk's report.
fn symptom(policies: &[Option<Policy>; 2], own: &AttemptReport, signs: &mut Signs) -> Option<String> {
    let each = policies.iter().zip(&mut signs.boots);
    let seen = each.filter_map(|(policy, boot)| {
        let policy = policy.as_ref()?;
        let seen = judge::signs(policy, own, boot);
        let index = seen.iter().position(|seen| *seen == Seen::Yes)?;
        policy.signs.get(index).map(|sign| sign.name.clone())
    });
    // All of them are looked at: each boot's count goes on.
    seen.collect::<Vec<_>>().into_iter().next()
}

/// A test that passed says something of the policy only if that did something.
fn passed(policies: &[Option<Policy>; 2], reports: &[AttemptReport]) -> (Outcome, String) {
    let each = Disk::BOTH.into_iter().zip(policies).zip(reports);
    let acted: Vec<(Disk, Result<(), String>)> = each
        .filter_map(|((disk, policy), report)| policy.as_ref().map(|policy| (disk, acted(policy, report))))
        .collect();
    let on: Vec<String> =
        acted.iter().filter(|(_, acted)| acted.is_ok()).map(|(disk, _)| disk.to_string()).collect();
    if !on.is_empty() {
        return (Outcome::Survived, format!("passed; the policy acted on {}", on.join(" and ")));
    }
    let why = acted.into_iter().filter_map(|(disk, acted)| Some(format!("on {disk} {}", acted.err()?)));
    (
        Outcome::Missed,
        format!("passed, but the policy did not do its part: {}", why.collect::<Vec<_>>().join("; ")),
    )
}

/// Whether a policy did what it is for.
fn acted(policy: &Policy, report: &AttemptReport) -> Result<(), String> {
    if let Some(expired) = &report.expired {
        return Err(format!("{} did not come while {} was held", expired.until, expired.gate));
    }
    let unreached = report.points.iter().filter(|(_, point)| point.request.is_none());
    let unreached: Vec<&str> = unreached.map(|(name, _)| name.as_str()).collect();
    if !unreached.is_empty() {
        let unbound = match report.unbound.join(", ") {
            none if none.is_empty() => String::new(),
            places => format!(", and nobody bound {places}"),
        };
        return Err(format!("never reached: {}{unbound}", unreached.join(", ")));
    }
    let forced = |cause: &Option<Cause>| matches!(cause, None | Some(Cause::Until { .. }));
    if let Some(hold) = report.holds.iter().find(|hold| !forced(&hold.cause)) {
        return Err(format!("{} was released, but not by {}", hold.gate, hold.until));
    }
    let ruled = report.rules.values().any(|rule| rule.taken > 0);
    match report.points.is_empty() && !ruled && !policy.rules.is_empty() {
        true => Err("no rule was for any request".to_owned()),
        false => Ok(()),
    }
}

/// One line, which does not steer a terminal.
fn plain(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line: String = lines.join(" / ").replace('\t', " ").replace(char::is_control, "?");
    match line.char_indices().nth(WHY_CHARS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Longest reason; the results have all of it.
const WHY_CHARS_MAX: usize = 400;

/// Writes every attempt to a file of a kept directory, a JSON object a line.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, run: &KernelRun) -> Result<()> {
    let mut lines = String::new();
    for attempt in &run.attempts {
        let line = serde_json::json!({
            "test": attempt.test,
            "arm": attempt.arm,
            "round": attempt.round,
            "fstests": attempt.word(),
            "outcome": attempt.outcome,
            "why": attempt.why,
            "seconds": attempt.seconds,
            "reports": attempt.reports,
        });
        lines += &format!("{line}\n");
    }
    std::fs::write(path, lines).with_context(|| format!("{}: cannot write it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use blkstay_engine::policy::Settings;
    use blkstay_engine::report::{Expired, PointReport, RuleReport};
    use blkstay_engine::request::RequestId;
    use std::collections::BTreeMap;

    fn policy(text: &str) -> Policy {
        let checked = Policy::read("p.toml", text, &Settings::default(), &mut |_| Err("no".to_owned()));
        checked.expect("a good policy").policy
    }

    fn report(word: &str) -> AttemptReport {
        let reports = [("fstests", word), ("why", "- output mismatch\n  -a\n")];
        AttemptReport {
            attempt: 2,
            arm: Arm::Forced,
            began_ns: 0,
            ended_ns: 1,
            unbound: Vec::new(),
            points: BTreeMap::new(),
            holds: Vec::new(),
            expired: None,
            rules: BTreeMap::new(),
            events: Vec::new(),
            reports: reports.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            kernel_log: Vec::new(),
            exit: Some(0),
        }
    }

    fn judged(policies: &[Option<Policy>; 2], arm: Arm, reports: &[AttemptReport]) -> (Outcome, String) {
        judge(policies, arm, reports, &mut Signs::default())
    }

    const POINTS: &str = "[point]\nW = { op = \"write\" }\nF = { op = \"flush\" }\n\
                          [[hold]]\ngate = \"W.complete\"\nuntil = \"F.arrived\"\n";

    #[test]
    fn without_a_policy_it_is_what_fstests_says() {
        let nothing = [None, None];
        let of = |word: &str| judged(&nothing, Arm::Natural, &[report(word), report("none")]);
        assert_eq!(of("passed"), (Outcome::Survived, "passed".to_owned()));
        assert_eq!(of("failed"), (Outcome::Open, "- output mismatch / -a".to_owned()));
        assert_eq!(of("notrun"), (Outcome::Missed, "not run: - output mismatch / -a".to_owned()));
        assert_eq!(of("none").0, Outcome::Lost);
    }

    #[test]
    fn a_test_that_passed_says_nothing_where_the_policy_did_not_do_its_part() {
        let policies = [None, Some(policy(POINTS))];
        let mut scratch = report("none");
        let reached = |request| PointReport { request, requests: u64::from(request.is_some()) };
        scratch.points =
            [("W".to_owned(), reached(Some(RequestId(1)))), ("F".to_owned(), reached(None))].into();
        let of =
            |scratch: &AttemptReport| judged(&policies, Arm::Forced, &[report("passed"), scratch.clone()]);
        let words = "passed, but the policy did not do its part: on scratch never reached: F";
        assert_eq!(of(&scratch), (Outcome::Missed, words.to_owned()));
        scratch.points.insert("F".to_owned(), reached(Some(RequestId(2))));
        assert_eq!(of(&scratch), (Outcome::Survived, "passed; the policy acted on scratch".to_owned()));
        scratch.expired =
            Some(Expired { gate: "W.complete".to_owned(), until: "F.arrived".to_owned(), unheard: false });
        let words = "passed, but the policy did not do its part: on scratch F.arrived did not come while W.complete was held";
        assert_eq!(of(&scratch), (Outcome::Missed, words.to_owned()));
        let failed = judged(&policies, Arm::Forced, &[report("failed"), scratch]);
        assert_eq!(failed.0, Outcome::Open, "a symptom is one however it came about");
    }

    #[test]
    fn rules_alone_have_to_be_for_some_request() {
        let slow = policy("[[rule]]\nname = \"slow\"\nop = \"flush\"\ngate = \"submit\"\ndelay = \"1ms\"\n");
        let policies = [Some(slow.clone()), Some(slow)];
        let mut reports = [report("passed"), report("none")];
        let (outcome, why) = judged(&policies, Arm::Forced, &reports);
        assert_eq!(outcome, Outcome::Missed);
        assert!(
            why.ends_with("on test no rule was for any request; on scratch no rule was for any request"),
            "{why}"
        );
        reports[1].rules.insert("slow".to_owned(), RuleReport { matched: 3, taken: 3 });
        assert_eq!(judged(&policies, Arm::Forced, &reports).0, Outcome::Survived);
    }

    #[test]
    fn the_symptom_of_a_policy_is_looked_for_in_the_guests_log_whatever_fstests_says() {
        let text = "[sign]\ncollision = { kernel-log = \"collision\" }\n";
        let policies = [None, Some(policy(&format!("{text}{POINTS}")))];
        let mut own = report("passed");
        own.kernel_log.push("3,1,2,-;a collision with buffered I/O".to_owned());
        let (outcome, why) = judged(&policies, Arm::Forced, &[own, report("none")]);
        assert_eq!(outcome, Outcome::Open);
        assert!(why.starts_with("fstests saw nothing, but there was "), "{why}");
    }

    #[test]
    fn reasons_are_one_line_that_steers_no_terminal_and_has_an_end() {
        assert_eq!(plain("a\n\n  b\u{1b}[31m\n"), "a / b?[31m");
        assert_eq!(plain(&"ä".repeat(1000)).chars().count(), WHY_CHARS_MAX + 1);
    }
}
