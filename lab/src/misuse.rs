//! A mistake on the command line that shows only once files have been read.

use std::fmt;

/// What is wrong. It ends the program with the status that a command line has which cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse(pub String);

/// The exit status, as clap has it.
pub const STATUS: u8 = 2;

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}
