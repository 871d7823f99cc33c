//! What each query came to, so that a second run needs neither apt nor a network.

use super::super::cache::Cache;
use super::Unpacked;
use super::index::{Build, Package};
use super::query::Query;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FILE: &str = "kernels/answers.json";
/// An answer older than this is looked up again if that is possible.
const AGE_MAX_S: u64 = 7 * 24 * 60 * 60;
/// When it was not possible, the next try comes this much later.
const RETRY_S: u64 = 24 * 60 * 60;

/// The answers so far, by query.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Answers(BTreeMap<String, Answer>);

/// What a query came to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Answer {
    package: String,
    /// In the cache.
    directory: String,
    /// When the suites said so, in seconds since 1970.
    asked: u64,
    newer_in_security: Option<String>,
}

impl Answer {
    /// The answer `build`, given now.
    pub fn new(build: &Build, now_s: u64) -> Answer {
        Answer {
            package: build.image.title(),
            directory: directory(&build.image),
            asked: now_s,
            newer_in_security: build.newer_in_security.clone(),
        }
    }

    /// None if the kernel is not in the cache any more.
    fn unpacked(&self, cache: &Cache) -> Option<Unpacked> {
        let directory = cache.path(&self.directory);
        directory.is_dir().then(|| Unpacked {
            package: self.package.clone(),
            directory,
            newer_in_security: self.newer_in_security.clone(),
        })
    }
}

/// Where in the cache a kernel of this package is unpacked.
pub fn directory(image: &Package) -> String {
    format!("kernels/{}_{}", image.name, image.version.replace(':', "%"))
}

impl Answers {
    /// Reads the answers recorded.
    pub fn load(cache: &Cache) -> Answers {
        cache.load(FILE).unwrap_or_default()
    }

    /// An answer that needs no second look.
    pub fn recent(&self, query: &Query, now_s: u64, cache: &Cache) -> Option<Unpacked> {
        let answer = self.0.get(&query.to_string())?;
        if answer.asked + AGE_MAX_S > now_s { answer.unpacked(cache) } else { None }
    }

    /// An answer of any age.
    pub fn old(&self, query: &Query, cache: &Cache) -> Option<Unpacked> {
        self.0.get(&query.to_string())?.unpacked(cache)
    }

    /// Records an answer and returns what it stands for.
    pub fn record(&mut self, query: &Query, answer: Answer, cache: &Cache) -> Result<Unpacked> {
        let unpacked = Unpacked {
            package: answer.package.clone(),
            directory: cache.path(&answer.directory),
            newer_in_security: answer.newer_in_security.clone(),
        };
        self.0.insert(query.to_string(), answer);
        cache.store(FILE, self)?;
        Ok(unpacked)
    }

    /// Lets an old answer stand for a while.
    pub fn postpone(&mut self, query: &Query, now_s: u64, cache: &Cache) -> Result<Unpacked> {
        let old = self.0.get(&query.to_string()).cloned();
        let mut answer = old.ok_or_else(|| anyhow::anyhow!("no answer to postpone"))?;
        answer.asked = (now_s + RETRY_S).saturating_sub(AGE_MAX_S);
        self.record(query, answer, cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const DAY_S: u64 = 24 * 60 * 60;
    const ASKED_S: u64 = 1_000 * DAY_S;

    /// A cache in which `debian:6.12` was resolved, and the directory that is to hold the kernel.
    fn answered() -> (TempDir, Cache, Query) {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path()).unwrap();
        let query = Query::parse("6.12").unwrap();
        let image = Package {
            name: "linux-image-6.12.38-amd64".into(),
            version: "6.12.38-1".into(),
            ..Package::default()
        };
        cache.directory(&directory(&image)).unwrap();
        let answer = Answer::new(&Build { image, parts: Vec::new(), newer_in_security: None }, ASKED_S);
        Answers::load(&cache).record(&query, answer, &cache).unwrap();
        (root, cache, query)
    }

    #[test]
    fn an_answer_is_recent_for_a_week() {
        let (_root, cache, query) = answered();
        let answers = Answers::load(&cache);
        let recent = answers.recent(&query, ASKED_S + 6 * DAY_S, &cache).unwrap();
        assert_eq!(recent.package, "linux-image-6.12.38-amd64 6.12.38-1");
        assert!(recent.directory.ends_with("kernels/linux-image-6.12.38-amd64_6.12.38-1"));
        assert!(answers.recent(&query, ASKED_S + 8 * DAY_S, &cache).is_none());
        assert!(answers.old(&query, &cache).is_some());
    }

    #[test]
    fn flavours_are_answered_apart() {
        let (_root, cache, _) = answered();
        let generic = Query::parse("6.12/generic").unwrap();
        assert!(Answers::load(&cache).recent(&generic, ASKED_S, &cache).is_none());
    }

    #[test]
    fn an_old_answer_that_cannot_be_renewed_stands_for_another_day() {
        let (_root, cache, query) = answered();
        let later_s = ASKED_S + 30 * DAY_S;
        Answers::load(&cache).postpone(&query, later_s, &cache).unwrap();
        let answers = Answers::load(&cache);
        assert!(answers.recent(&query, later_s + DAY_S / 2, &cache).is_some());
        assert!(answers.recent(&query, later_s + DAY_S, &cache).is_none());
    }

    #[test]
    fn a_kernel_that_was_deleted_is_no_answer() {
        let (_root, cache, query) = answered();
        std::fs::remove_dir_all(cache.path("kernels/linux-image-6.12.38-amd64_6.12.38-1")).unwrap();
        let answers = Answers::load(&cache);
        assert!(answers.recent(&query, ASKED_S, &cache).is_none());
        assert!(answers.old(&query, &cache).is_none());
    }
}
