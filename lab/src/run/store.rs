//! A file of finished cells, from which an interrupted run goes on: a JSON object a line.

use super::document::Cell;
use super::schedule::Times;
use anyhow::{Context, Result, anyhow, bail};
use blkstay_engine::journal::Outcome;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What a cell is the result of: a cell of another key is another cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Name of the case.
    pub case: String,
    /// Package, release or spec of the kernel, with the variant's name.
    pub kernel: String,
    /// How many attempts, in which arms.
    #[serde(flatten)]
    pub times: Times,
    /// Hash of everything that the result hangs on: the policy's text with what it includes and was given, the guest's
    /// script, the kernel's image and modules, the guest's own programs.
    pub made_of: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: Key,
    cell: Cell,
}

/// The file, open; nobody else writes it meanwhile.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: Flock<File>,
    known: Vec<(Key, Cell)>,
}

impl Store {
    /// Opens a file of results, or makes it. A last line that was not written to its end is cut off.
    ///
    /// # Errors
    /// It cannot be read or written, another run writes it, or it is no file of results.
    pub fn open(path: &Path) -> Result<Store> {
        let context = || format!("{}: cannot open it", path.display());
        let file = File::options().read(true).append(true).create(true).open(path).with_context(context)?;
        let mut file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
                nix::errno::Errno::EWOULDBLOCK => anyhow!("{}: another run is writing it", path.display()),
                other => anyhow!("{}: cannot lock it: {other}", path.display()),
            })?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(context)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let known = parse(&text[..whole]).with_context(|| path.display().to_string())?;
        if whole == 0 && !text.is_empty() && !text.starts_with(b"{\"key\":") {
            bail!("{}: it is no file of results; choose another one", path.display());
        }
        file.set_len(whole as u64).with_context(context)?;
        Ok(Store { path: path.to_owned(), file, known })
    }

    /// The last complete result of this key; one that was lost is not complete.
    pub fn find(&self, key: &Key) -> Option<Cell> {
        let complete = |(known, cell): &&(Key, Cell)| known == key && cell.verdict != Outcome::Lost;
        self.known.iter().rev().find(complete).map(|(_, cell)| Cell { resumed: true, ..cell.clone() })
    }

    /// Adds a finished cell, at once.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn append(&mut self, key: &Key, cell: &Cell) -> Result<()> {
        let cell = Cell { expected: None, as_expected: None, ..cell.clone() };
        let mut line = serde_json::to_vec(&Line { key: key.clone(), cell: cell.clone() })?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("{}: cannot write it", self.path.display()))?;
        self.known.push((key.clone(), cell));
        Ok(())
    }
}

fn parse(text: &[u8]) -> Result<Vec<(Key, Cell)>> {
    let lines = text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let cells = lines.map(|(index, line)| {
        let Line { key, cell } = serde_json::from_slice(line)
            .with_context(|| format!("line {} is no result; choose another file", index + 1))?;
        Ok((key, cell))
    });
    cells.collect()
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::cell;
    use super::*;

    fn key(made_of: &str) -> Key {
        let times = Times { each: 10, natural: false };
        Key { case: "race".to_owned(), kernel: "linux 1".to_owned(), times, made_of: made_of.to_owned() }
    }

    fn path() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("results");
        (directory, path)
    }

    #[test]
    fn what_was_finished_is_found_again_by_what_it_was_made_of() {
        let (_directory, path) = path();
        let done = cell("race", "debian:6.12", Outcome::Open);
        Store::open(&path).expect("a new file").append(&key("a"), &done).expect("written");
        let store = Store::open(&path).expect("the same file");
        assert_eq!(store.find(&key("a")), Some(Cell { resumed: true, ..done }));
        assert_eq!(store.find(&key("b")), None, "a changed policy is another cell");
        let more = Key { times: Times { each: 20, natural: false }, ..key("a") };
        assert_eq!(store.find(&more), None, "more attempts are another cell");
        let natural = Key { times: Times { each: 10, natural: true }, ..key("a") };
        assert_eq!(store.find(&natural), None, "another arm is another cell");
    }

    #[test]
    fn what_was_lost_is_tried_again_and_the_last_result_counts() {
        let (_directory, path) = path();
        let mut store = Store::open(&path).expect("a new file");
        for (verdict, found) in [
            (Outcome::Lost, None),
            (Outcome::Open, Some(Outcome::Open)),
            (Outcome::Missed, Some(Outcome::Missed)),
        ] {
            store.append(&key("a"), &cell("race", "debian:6.12", verdict)).expect("written");
            assert_eq!(store.find(&key("a")).map(|cell| cell.verdict), found);
        }
    }

    #[test]
    fn a_line_that_was_cut_short_is_forgotten_and_the_next_one_is_whole() {
        let (_directory, path) = path();
        let mut store = Store::open(&path).expect("a new file");
        for made_of in ["a", "b"] {
            store.append(&key(made_of), &cell("race", "debian:6.12", Outcome::Open)).expect("written");
        }
        drop(store);
        let text = std::fs::read(&path).expect("the file");
        std::fs::write(&path, &text[..text.len() - 5]).expect("cut short");
        let mut store = Store::open(&path).expect("still a file of results");
        assert!(store.find(&key("a")).is_some() && store.find(&key("b")).is_none());
        store.append(&key("c"), &cell("race", "debian:6.12", Outcome::Closed)).expect("written");
        drop(store);
        let store = Store::open(&path).expect("a good file");
        assert!(store.find(&key("a")).is_some() && store.find(&key("c")).is_some());
    }

    #[test]
    fn two_runs_do_not_write_the_same_file_and_no_other_file_is_touched() {
        let (_directory, path) = path();
        let _first = Store::open(&path).expect("a new file");
        let refused = Store::open(&path).expect_err("it is in use").to_string();
        assert!(refused.ends_with("another run is writing it"), "{refused}");
        for text in ["something else", "{\"a\": 1}\n"] {
            let other = path.with_extension("other");
            std::fs::write(&other, text).expect("a file");
            assert!(Store::open(&other).is_err());
            assert_eq!(std::fs::read_to_string(&other).expect("the file"), text);
        }
    }
}
