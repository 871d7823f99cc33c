//! Standard output of every command: a reader that has seen enough is no error.

use anyhow::{Context, Result, anyhow};
use std::fs::{self, File};
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

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

/// Files that a result is written to once there is one.
pub struct Files<'p>(&'p [PathBuf]);

impl<'p> Files<'p> {
    /// Sees to it that they can be written, before work is done that would be lost. What they hold stays there.
    ///
    /// # Errors
    /// One cannot.
    pub fn open(paths: &'p [PathBuf]) -> Result<Files<'p>> {
        for path in paths {
            let opened = File::options().append(true).create(true).open(path);
            opened.with_context(|| format!("{}: cannot write it", path.display()))?;
        }
        Ok(Files(paths))
    }

    /// Writes each, also if another cannot be.
    ///
    /// # Errors
    /// All that went wrong.
    pub fn write(&self, text: impl Fn(&Path) -> Result<String>) -> Result<()> {
        let write = |path: &PathBuf| {
            let written = text(path).and_then(|text| Ok(fs::write(path, text)?));
            written.with_context(|| format!("{}: cannot write it", path.display())).err()
        };
        let wrong: Vec<String> = self.0.iter().filter_map(write).map(|error| format!("{error:#}")).collect();
        if wrong.is_empty() { Ok(()) } else { Err(anyhow!(wrong.join("; "))) }
    }
}

/// What somebody else says may hold anything; it must not forge lines or steer a terminal.
pub fn printable(words: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    words.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::Files;

    #[test]
    fn files_that_cannot_be_written_are_told_before_and_keep_no_other_from_being_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let [good, bad] = ["good", "none/bad"].map(|name| directory.path().join(name));
        std::fs::write(&good, "old").expect("a file");
        let error = Files::open(&[good.clone(), bad.clone()]).err().expect("no such directory");
        assert!(
            format!("{error:#}").starts_with(&format!("{}: cannot write it: ", bad.display())),
            "{error:#}"
        );
        assert_eq!(std::fs::read_to_string(&good).expect("a file"), "old");
        let gone = directory.path().join("gone");
        std::fs::create_dir(&gone).expect("a directory");
        let paths = [gone.join("bad"), good.clone()];
        let files = Files::open(&paths).expect("all can be written");
        std::fs::remove_dir_all(&gone).expect("it is gone");
        assert!(files.write(|_| Ok("new".to_owned())).is_err());
        assert_eq!(std::fs::read_to_string(&good).expect("a file"), "new");
    }
}
