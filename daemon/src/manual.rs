//! Completions and the manual page of `blkstayd`, from the same definitions as `--help`.

use crate::cli::Cli;
use clap::{ArgMatches, CommandFactory};
use clap_complete::Shell;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Prints what was asked for in place of serving a disk; `None` if nothing was.
pub fn asked(matches: &ArgMatches) -> Option<ExitCode> {
    let mut text = Vec::new();
    let made = match matches.get_one::<Shell>("completions") {
        Some(shell) => {
            clap_complete::generate(*shell, &mut Cli::command(), "blkstayd", &mut text);
            Ok(())
        }
        None if matches.get_flag("man") => clap_mangen::Man::new(Cli::command()).render(&mut text),
        None => return None,
    };
    Some(match made.and_then(|()| io::stdout().write_all(&text)) {
        // A reader that has seen enough is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            crate::tell(format_args!("blkstayd: cannot write standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    })
}
