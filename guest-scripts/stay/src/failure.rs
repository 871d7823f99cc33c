//! What can go wrong, and the exit status that says so to a script.

use std::fmt::Display;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It failed or was refused. Exit status 1.
    #[error("{0}")]
    Refused(String),
    /// The command line is wrong. Exit status 2.
    #[error("{0}")]
    Usage(String),
    /// No agent answers. Exit status 3.
    #[error("{0}")]
    NoAgent(String),
}

impl Failure {
    /// A failure of `what`, because of `why`.
    pub fn of(what: impl Display, why: impl Display) -> Self {
        Failure::Refused(format!("{what}: {why}"))
    }

    /// The exit status of a command that failed so.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Refused(_) => 1,
            Failure::Usage(_) => 2,
            Failure::NoAgent(_) => 3,
        })
    }
}
