//! Running the tools of a Debian machine.

use crate::tie;
use anyhow::{Context, Result, bail};
use std::process::{Command, Output, Stdio};

/// Runs a command in the C locale and returns what it printed.
///
/// # Errors
///
/// When the command cannot be started; how it ends is for the caller to judge.
pub fn output(command: &mut Command) -> Result<Output> {
    command.env("LC_ALL", "C");
    let program = command.get_program().to_string_lossy().into_owned();
    tie::to_this_thread(command);
    command.output().with_context(|| format!("cannot run `{program}`: is this a Debian machine?"))
}

/// Runs a command that must succeed, and returns its standard output.
pub fn stdout(command: &mut Command) -> Result<String> {
    let output = output(command.stdin(Stdio::null()))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", describe(command), complaint(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines of what a failed command complained about.
pub fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.as_slice() {
        [] => output.status.to_string(),
        lines => lines[lines.len().saturating_sub(3)..].join("; "),
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).take(3);
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_commands_complaint() {
        let error =
            stdout(Command::new("sh").args(["-c", "echo no luck >&2; exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c echo no luck >&2; exit 3` failed: no luck");
    }

    #[test]
    fn a_silent_failure_carries_the_status() {
        let error = stdout(&mut Command::new("false")).unwrap_err().to_string();
        assert_eq!(error, "`false` failed: exit status: 1");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = stdout(&mut Command::new("no-such-program")).unwrap_err().to_string();
        assert_eq!(error, "cannot run `no-such-program`: is this a Debian machine?");
    }
}
