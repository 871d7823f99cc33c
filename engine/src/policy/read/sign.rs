//! `[sign]`: how the symptom is seen.

use crate::diagnostic::Diagnostic;
use crate::policy::table::{Mistakes, Table};
use crate::policy::tree::Entry;
use crate::policy::{Sign, SignTest, grammar};

pub fn read(entry: &Entry, mistakes: &mut Mistakes) -> Option<Sign> {
    let name = &entry.name;
    let table = Table::of(format!("sign `{name}`"), grammar::SIGN, &entry.node, mistakes)?;
    let kernel_log = table.get_str("kernel-log", mistakes);
    let per_boot_max = table.get_number("per-boot-max", 1, u64::MAX, mistakes);
    let report = table.get_str("report", mistakes);
    let is = table.get_str("is", mistakes);
    let test = match (kernel_log, report, is) {
        (Some(text), None, None) if !text.is_empty() => {
            SignTest::KernelLog { text: text.to_owned(), per_boot_max }
        }
        (None, Some(report), Some(is)) if !table.has("per-boot-max") => {
            SignTest::Report { name: report.to_owned(), is: is.to_owned() }
        }
        _ if is_one_form(&table) => return None,
        _ => {
            let message = format!("sign `{name}` must be {{ kernel-log = … }} or {{ report = …, is = … }}");
            mistakes.push(Diagnostic::error(entry.at.clone(), message));
            return None;
        }
    };
    Some(Sign { name: name.clone(), test })
}

/// Whether it is written as a sign is, so that what is wrong with its values is told already.
fn is_one_form(table: &Table<'_>) -> bool {
    let has = |key| table.get(key).is_some_and(|node| node.text() != Some(""));
    let (log, report, is) = (has("kernel-log"), table.has("report"), table.has("is"));
    (log && !report && !is) || (!table.has("kernel-log") && report && is && !table.has("per-boot-max"))
}
