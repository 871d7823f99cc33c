//! `blkstay`: checks policies, runs cases in guests, judges verdicts.

use blkstay_lab::cli::{Cli, Command};
use blkstay_lab::{
    bisect, check, control, fstests, kernel, log, manual, metrics, misuse, report, run, schema, stay, top,
};
use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("BLKSTAY_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match &cli.command {
        Command::Check(args) => check::check(args),
        Command::Run(args) => run::run(args),
        Command::Bisect(args) => bisect::bisect(args),
        Command::Fstests(args) => fstests::fstests(args),
        Command::Stay { output } => stay::write(output),
        Command::Kernel { command } => kernel::command::kernel(command),
        Command::Log(args) => log::log(args),
        Command::Report(args) => report::report(args),
        Command::Control(args) => control::control(args),
        Command::Top(args) => top::top(args),
        Command::Metrics { socket } => metrics::metrics(socket),
        Command::Schema => schema::print(),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man { directory } => manual::man(directory.as_deref()),
    };
    done.unwrap_or_else(|error| {
        blkstay_lab::out::tell(format_args!("blkstay: {error:#}"));
        if error.is::<misuse::Misuse>() { ExitCode::from(misuse::STATUS) } else { ExitCode::FAILURE }
    })
}
