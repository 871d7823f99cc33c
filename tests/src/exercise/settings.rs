//! Settings of an exerciser, as its command line has them.

use std::collections::BTreeMap;

/// Numbers by their names.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<String, u64>);

/// Reads `KEY=NUMBER`s.
#[track_caller]
pub fn read(words: &[String]) -> Settings {
    let pair = |word: &String| {
        let (key, number) = word.split_once('=').expect("KEY=NUMBER");
        (key.to_owned(), number.parse().expect("a number"))
    };
    Settings(words.iter().map(pair).collect())
}

impl Settings {
    /// A number, or what it usually is.
    pub fn get(&self, key: &str, usual: u64) -> u64 {
        self.0.get(key).copied().unwrap_or(usual)
    }
}
