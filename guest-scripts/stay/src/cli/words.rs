//! The words after a command: options, taken by name, and the rest, taken in order.

use crate::failure::Failure;
use lexopt::Arg;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

/// What an option looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    /// `--name`.
    Flag(&'static str),
    /// `--name VALUE`.
    Value(&'static str),
}

/// Words that have not been taken yet.
#[derive(Debug)]
pub struct Words {
    flags: BTreeMap<&'static str, Option<OsString>>,
    rest: std::collections::VecDeque<OsString>,
}

impl Words {
    /// Reads what is left of a command line, in which these options may appear.
    pub fn read(mut parser: lexopt::Parser, known: &[Opt]) -> Result<Self, Failure> {
        let mut words = Words { flags: BTreeMap::new(), rest: Default::default() };
        while let Some(arg) = parser.next().map_err(usage)? {
            match arg {
                Arg::Value(value) => words.rest.push_back(value),
                Arg::Long(name) => {
                    let opt = known.iter().copied().find(|opt| opt.name() == name);
                    match opt {
                        Some(Opt::Flag(name)) => words.flags.insert(name, None),
                        Some(Opt::Value(name)) => {
                            words.flags.insert(name, Some(parser.value().map_err(usage)?))
                        }
                        None => return Err(usage(arg.unexpected())),
                    };
                }
                Arg::Short(_) => return Err(usage(arg.unexpected())),
            }
        }
        Ok(words)
    }

    /// Whether the flag was given.
    pub fn flag(&mut self, name: &str) -> bool {
        self.flags.remove(name).is_some()
    }

    /// The option's value, if it was given.
    pub fn option(&mut self, name: &str) -> Result<Option<String>, Failure> {
        self.flags.remove(name).flatten().map(text).transpose()
    }

    /// The option's value as a number, if it was given.
    pub fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        self.option(name)?.map(|text| parse(&format!("--{name}"), &text)).transpose()
    }

    /// The next word, which must be there; `what` is its name in the usage.
    pub fn next(&mut self, what: &str) -> Result<OsString, Failure> {
        self.rest.pop_front().ok_or_else(|| Failure::Usage(format!("{what} is missing")))
    }

    /// The next word as text.
    pub fn next_text(&mut self, what: &str) -> Result<String, Failure> {
        text(self.next(what)?)
    }

    /// The next word as a number.
    pub fn next_number<T: FromStr>(&mut self, what: &str) -> Result<T, Failure> {
        parse(what, &self.next_text(what)?)
    }

    /// Whether there is another word.
    pub fn has_more(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Checks that nothing is left.
    pub fn end(mut self) -> Result<(), Failure> {
        match self.rest.pop_front() {
            None => Ok(()),
            Some(word) => Err(Failure::Usage(format!("`{}` is one word too many", word.to_string_lossy()))),
        }
    }
}

impl Opt {
    fn name(self) -> &'static str {
        match self {
            Opt::Flag(name) | Opt::Value(name) => name,
        }
    }
}

fn parse<T: FromStr>(what: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::Usage(format!("{what} is `{text}`, which is no number that fits")))
}

fn text(word: OsString) -> Result<String, Failure> {
    word.into_string().map_err(|word| Failure::Usage(format!("`{}` is not UTF-8", word.to_string_lossy())))
}

fn usage(error: lexopt::Error) -> Failure {
    Failure::Usage(error.to_string())
}
