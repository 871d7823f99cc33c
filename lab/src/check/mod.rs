//! `blkstay check`: are these policies right, and what will they do?

mod against;
mod document;

use crate::cli::Check;
use crate::out;
use crate::policy::{self, Unusable, warn};
use anyhow::Result;
use blkstay_engine::diagnostic::Severity;
use blkstay_engine::policy::{Checked, Policy};
use document::{Document, FileResult};
use std::path::Path;
use std::process::ExitCode;

/// Exit status when the command line is wrong in a way that its parser does not know.
const WRONG_COMMAND_LINE: u8 = 2;

/// Checks every file, prints every mistake.
///
/// # Errors
/// A journal that cannot be read, or standard output that cannot be written. A policy that cannot be read counts as
/// a mistake and ends nothing early.
pub fn check(args: &Check) -> Result<ExitCode> {
    if let Some(journal) = &args.against {
        return match args.policies.as_slice() {
            [policy] => against::against(args, policy, journal),
            _ => {
                crate::out::tell(format_args!("blkstay: `--against` is for one policy at a time"));
                Ok(ExitCode::from(WRONG_COMMAND_LINE))
            }
        };
    }
    let mut document = Document { good: true, files: Vec::new() };
    for path in &args.policies {
        let loaded = policy::load_with_script(path, &args.with.settings());
        let good = loaded.as_ref().is_ok_and(|checked| is_good(args, checked));
        document.good &= good;
        if args.json {
            document.files.push(FileResult::new(path, good, &loaded, args.explain));
        } else {
            tell(path, &loaded, args)?;
        }
    }
    if args.json {
        out::print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
    }
    Ok(if document.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a policy without mistakes is good enough.
fn is_good(args: &Check, checked: &Checked) -> bool {
    !args.deny_warnings || checked.warnings.list.is_empty()
}

/// Tells a person about one file: mistakes on standard error, all else on standard output.
fn tell(path: &Path, loaded: &Result<Checked, Unusable>, args: &Check) -> Result<()> {
    match loaded {
        Ok(checked) => {
            warn(&checked.warnings);
            let warnings = match checked.warnings.list.len() {
                0 => String::new(),
                number => format!("; {}", count(number, "warning")),
            };
            let verdict = if is_good(args, checked) { "good" } else { "not good" };
            out::print(&format!("{}: {verdict}; {}{warnings}\n", path.display(), summary(&checked.policy)))?;
            if args.explain {
                out::print(&format!("\n{}\n", checked.policy.explain()))?;
            }
        }
        Err(unusable) => crate::out::tell(format_args!("{}", unusable.render(out::colour()))),
    }
    Ok(())
}

/// How many there are of what counts.
fn summary(policy: &Policy) -> String {
    let parts = [
        count(policy.points.len(), "point"),
        count(policy.holds.len(), "hold"),
        count(policy.rules.len(), "rule"),
        count(policy.signs.len(), "sign"),
    ];
    parts.join(", ")
}

/// `1 hold`, `2 holds`.
fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// The word for it in documents.
fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
