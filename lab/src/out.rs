//! Standard output of every command: a reader that has seen enough is no error.

use anyhow::{Context, Result};
use std::io::{ErrorKind, IsTerminal, Write};

/// Whether what is told on standard error may have colours: on a terminal, unless `NO_COLOR` is set.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Tells a person something, on a line of standard error; if nobody can read that, nothing is lost that one could tell.
pub fn tell(words: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}

/// Prints a text.
///
/// # Errors
/// Standard output cannot be written; one that nobody reads any more is no error.
pub fn print(text: &str) -> Result<()> {
    offer(text).map(drop)
}

/// The same; says whether anybody reads it.
///
/// # Errors
/// Standard output cannot be written; one that nobody reads any more is no error.
pub fn offer(text: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write standard output"),
    }
}

/// What somebody else says may hold anything; it must not forge lines or steer a terminal.
pub fn printable(words: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    words.chars().map(escape).collect()
}
