//! What a search found, for people and programs. Fields are only added.

use super::candidates::Candidates;
use super::search::{Next, Side};
use crate::cli::Bisect;
use crate::run::document::Cell as Tried;
use crate::run::format;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use std::fmt::Write;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The first kernel after the change is known.
    Found,
    /// It is one of several: those between say nothing.
    Narrowed,
    /// The good or the bad kernel got no verdict that says on which side it is.
    Undecided,
    /// The good one is open, or the bad one is not.
    Contradicted,
}

/// What a search found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Name of the case.
    pub case: String,
    /// The good kernel, as written.
    pub good: String,
    /// The bad kernel, as written.
    pub bad: String,
    /// How it ended.
    pub status: Status,
    /// Every kernel that was in question, oldest first.
    pub order: Vec<String>,
    /// The last one before the change.
    pub before: Option<String>,
    /// The first one that is known to be after it.
    pub after: Option<String>,
    /// Those between the two, which say nothing.
    pub between: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// The kernels that were tried, oldest first, as in `blkstay run --json`.
    pub tried: Vec<Tried>,
}

impl Found {
    /// Puts together what is known; `cells` has what came out for each candidate that was tried.
    pub fn new(
        case: &str,
        args: &Bisect,
        candidates: &Candidates,
        cells: Vec<Option<Tried>>,
        end: &Next,
    ) -> Found {
        let specs = &candidates.specs;
        let (status, change) = match end {
            Next::Changed(change) if change.len() == 1 => (Status::Found, Some(change)),
            Next::Changed(change) => (Status::Narrowed, Some(change)),
            Next::EndWrong(_) => (Status::Contradicted, None),
            Next::EndUnknown(_) | Next::Try(_) => (Status::Undecided, None),
        };
        let between = change.map_or(&[][..], |change| &specs[change.start + 1..change.end]);
        Found {
            case: case.to_owned(),
            good: args.good.clone(),
            bad: args.bad.clone(),
            status,
            order: specs.clone(),
            before: change.map(|change| specs[change.start].clone()),
            after: change.map(|change| specs[change.end].clone()),
            between: between.to_vec(),
            notes: notes(candidates, &cells, end),
            tried: cells.into_iter().flatten().collect(),
        }
    }

    /// The table of what was tried, what follows from it, and the two sides beside each other.
    pub fn draw(&self) -> String {
        let mut table = table(&["kernel", "verdict", "forced", "control"]);
        for cell in &self.tried {
            let (forced, control) = (format::forced(&cell.forced), format::control(&cell.control));
            table.add_row([cell.title(), cell.word().to_string(), forced, control]);
        }
        let mut out =
            format!("{}: tried {} of {} kernels\n{table}\n", self.case, self.tried.len(), self.order.len());
        let sides = [&self.before, &self.after]
            .map(|spec| self.tried.iter().find(|cell| Some(&cell.spec) == spec.as_ref()));
        if let [Some(before), Some(after)] = sides {
            let _ = writeln!(out, "{}\n{}", self.headline(before, after), side_by_side(before, after));
        }
        for note in &self.notes {
            let _ = writeln!(out, "{note}");
        }
        out
    }

    fn headline(&self, before: &Tried, after: &Tried) -> String {
        let change = format!("{} → {}", before.word(), after.word());
        match self.between.len() {
            0 => format!("{change}: first in {}", after.title()),
            _ => format!("{change}: first in one of {}, {}", self.between.join(", "), after.spec),
        }
    }
}

fn notes(candidates: &Candidates, cells: &[Option<Tried>], end: &Next) -> Vec<String> {
    let mut notes: Vec<String> = candidates.disorder().into_iter().collect();
    let verdict = |index: usize| {
        cells.get(index).and_then(Option::as_ref).map_or(String::new(), |cell| cell.verdict.to_string())
    };
    match end {
        Next::EndWrong(index) => {
            let good = (candidates.first == Side::Good) == (*index == 0);
            let (flag, wanted) = if good { ("--good", "not open") } else { ("--bad", "open") };
            notes.push(format!(
                "{flag} {} is {}, though it was said to be {wanted}: there is no change to look for between these two, \
                 or there are several",
                candidates.specs[*index],
                verdict(*index)
            ));
        }
        Next::EndUnknown(index) => notes.push(format!(
            "{} is {}, which does not say on which side it is; choose another one",
            candidates.specs[*index],
            verdict(*index)
        )),
        Next::Try(_) | Next::Changed(_) => {}
    }
    let silent = cells.iter().flatten().filter(|cell| Side::of(cell.verdict).is_none());
    notes.extend(silent.flat_map(|cell| cell.notes.iter().map(|note| format!("{}: {note}", cell.title()))));
    let series = candidates.series();
    if series.len() > 1 {
        notes.push(format!(
            "the kernels are of several series ({}); each gets its fixes by itself, so there may be more than one change: \
             search within a series, too",
            series.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    notes
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

fn side_by_side(before: &Tried, after: &Tried) -> Table {
    let mut table = table(&["", "before", "after"]);
    let mut row = |name: &str, value: &dyn Fn(&Tried) -> String| {
        table.add_row([name.to_owned(), value(before), value(after)]);
    };
    row("kernel", &Tried::title);
    row("package", &|cell| cell.package.clone().unwrap_or_default());
    row("verdict", &|cell| cell.word().to_string());
    row("forced", &|cell| format::forced(&cell.forced));
    row("control", &|cell| format::control(&cell.control));
    row("signs when forced", &|cell| format::signs(cell).join("\n"));
    row("where the guest stood", &|cell| {
        let places = cell.forced.stuck.iter().map(|stuck| stuck.place.replace(' ', "\n"));
        places.collect::<Vec<_>>().join("\n\n")
    });
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::document::tests::cell;
    use blkstay_engine::journal::Outcome;
    use clap::Parser;

    const SPECS: [&str; 4] = ["debian:6.12.1", "debian:6.12.2", "debian:6.12.3", "debian:6.12.4"];

    fn found(verdicts: [Option<Outcome>; 4], end: &Next) -> Found {
        let words = ["blkstay", "bisect", "race", "--good", SPECS[3], "--bad", SPECS[0]];
        let crate::cli::Command::Bisect(args) = crate::cli::Cli::parse_from(words).command else {
            panic!("not a bisection")
        };
        let candidates = Candidates { specs: SPECS.map(str::to_owned).to_vec(), first: Side::Bad };
        let cells = SPECS.iter().zip(verdicts).map(|(spec, verdict)| Some(cell("race", spec, verdict?)));
        Found::new("race", &args, &candidates, cells.collect(), end)
    }

    #[test]
    fn what_was_found_is_shown_with_both_sides() {
        let verdicts =
            [Some(Outcome::Open), Some(Outcome::Open), Some(Outcome::Closed), Some(Outcome::Closed)];
        let found = found(verdicts, &Next::Changed(1..2));
        assert_eq!(
            (found.status, found.before.as_deref(), found.after.as_deref()),
            (Status::Found, Some(SPECS[1]), Some(SPECS[2]))
        );
        let drawn = found.draw();
        assert!(drawn.contains("open → closed: first in 6.12.3-amd64"), "{drawn}");
        assert!(drawn.contains("tried 4 of 4 kernels"), "{drawn}");
    }

    #[test]
    fn what_could_only_be_narrowed_names_all_that_it_may_be() {
        let verdicts = [Some(Outcome::Open), None, Some(Outcome::Lost), Some(Outcome::Closed)];
        let found = found(verdicts, &Next::Changed(1..3));
        assert_eq!((found.status, found.between.as_slice()), (Status::Narrowed, &[SPECS[2].to_owned()][..]));
    }

    #[test]
    fn an_end_that_is_not_as_it_was_said_to_be_is_named() {
        let found = found([Some(Outcome::Closed), None, None, None], &Next::EndWrong(0));
        assert_eq!(found.status, Status::Contradicted);
        assert!(
            found.notes[0].starts_with("--bad debian:6.12.1 is closed, though it was said to be open"),
            "{:?}",
            found.notes
        );
    }
}
