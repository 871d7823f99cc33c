//! `blkstay check`: are these policies right?

use crate::cli::Check;
use anyhow::Result;
use blkstay_engine::policy::Policy;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Checks every file, prints every mistake.
///
/// # Errors
/// None that ends it early: a file that cannot be read counts as a mistake.
pub fn check(args: &Check) -> Result<ExitCode> {
    let mut wrong = 0;
    for path in &args.policies {
        let origin = path.display().to_string();
        let checked = std::fs::read_to_string(path)
            .map_err(|error| format!("{origin}: cannot read it: {error}"))
            .and_then(|text| {
                let colour = std::io::stderr().is_terminal();
                Policy::parse(&origin, &text).map_err(|mistakes| mistakes.render(colour))
            });
        match checked {
            Ok(policy) => println!("{origin}: good; {}", summary(&policy)),
            Err(message) => {
                eprintln!("{message}");
                wrong += 1;
            }
        }
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(policy: &Policy) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    let parts = [
        count(policy.points.len(), "point"),
        count(policy.holds.len(), "hold"),
        count(policy.signs.len(), "sign"),
    ];
    parts.join(", ")
}
