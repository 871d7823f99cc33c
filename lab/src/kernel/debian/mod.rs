//! Kernels out of Debian's archive: chosen from all its suites, fetched by apt and unpacked into the cache.
//!
//! | in the cache | what |
//! |---|---|
//! | `apt/` | apt's private state: sources, package lists |
//! | `apt/index.json` | the kernel packages in those lists |
//! | `kernels/PACKAGE_VERSION/` | an unpacked kernel |
//! | `kernels/answers.json` | what each query came to |
//! | `kernels.lock` | held by the run that changes any of this |

mod answers;
mod apt;
mod image;
mod index;
mod listing;
mod query;
mod source;
mod sources;
mod unpack;
mod version;

pub use apt::apt_configuration;
pub use listing::{Listed, list};
pub use query::Query;
pub use source::{Source, source};

use super::cache::Cache;
use answers::{Answer, Answers};
use anyhow::{Result, anyhow, bail};
use apt::Apt;
use index::{Build, Index};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const INDEX: &str = "apt/index.json";
/// The suites are asked again when the index is older than this.
const INDEX_AGE_MAX_S: u64 = 24 * 60 * 60;
/// … or when a version is not found and the index is older than this.
const MISS_AGE_MAX_S: u64 = 10 * 60;

/// A kernel of Debian's, on disk.
#[derive(Debug)]
pub struct Unpacked {
    /// Name and version of the image package.
    pub package: String,
    /// The directory it has been unpacked to.
    pub directory: PathBuf,
    /// The version of a newer build that matches too, in the security archive.
    pub newer_in_security: Option<String>,
}

/// Finds the build that `query` asks for, in the cache if the answer there is recent, else in Debian's suites.
///
/// An old answer is used when no newer one can be had.
pub fn resolve(query: &Query, cache: &Cache, progress: &dyn Fn(&str)) -> Result<Unpacked> {
    if let Some(answer) = Answers::load(cache).recent(query, now_s(), cache) {
        return Ok(answer);
    }
    let _lock = cache.lock("kernels", progress)?;
    let mut answers = Answers::load(cache);
    if let Some(answer) = answers.recent(query, now_s(), cache) {
        return Ok(answer);
    }
    match Archive::open(cache, progress).and_then(|mut archive| archive.obtain(query)) {
        Ok(build) => answers.record(query, Answer::new(&build, now_s()), cache),
        Err(error) => match answers.old(query, cache) {
            Some(old) => {
                progress(&format!("{error:#}; going on with {} from the cache", old.package));
                answers.postpone(query, now_s(), cache)
            }
            None => Err(error),
        },
    }
}

/// Sources of one release of Debian, as this machine reaches it: the contents of a `.sources` file.
///
/// # Errors
///
/// When Debian's archive is not among this machine's sources, or its keys are not here.
pub fn debian_sources(codename: &str) -> Result<String> {
    Ok(sources::Sources::of_this_machine()?.of_release(codename, &apt::keyring_of_this_machine()?))
}

/// Asks whether there are headers of the build that `query` asks for, before that is fetched. One that is in the
/// cache needs no asking: what it lacks is told soon enough.
///
/// # Errors
/// There is no such build, or there are no headers of it.
pub fn ask_for_headers(query: &Query, cache: &Cache, progress: &dyn Fn(&str)) -> Result<()> {
    if Answers::load(cache).recent(query, now_s(), cache).is_some() {
        return Ok(());
    }
    let _lock = cache.lock("kernels", progress)?;
    let mut archive = Archive::open(cache, progress)?;
    let image = archive.choose(query)?.image;
    source::ask(&image.name, &image.version, cache, &archive.apt)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Debian's suites, as far as they are known, and the way to fetch from them.
struct Archive<'a> {
    cache: &'a Cache,
    progress: &'a dyn Fn(&str),
    apt: Apt,
    index: Index,
    /// Why the suites could not be asked in this run, if they could not.
    out_of_reach: Option<String>,
}

impl<'a> Archive<'a> {
    fn open(cache: &'a Cache, progress: &'a dyn Fn(&str)) -> Result<Archive<'a>> {
        let apt = Apt::open(&cache.directory("apt")?)?;
        let index = cache.load(INDEX).unwrap_or_default();
        let mut archive = Archive { cache, progress, apt, index, out_of_reach: None };
        if let Err(error) = archive.ask_unless_newer_than(INDEX_AGE_MAX_S) {
            if archive.index.packages.is_empty() {
                return Err(error);
            }
            progress(&format!("{error:#}; going on with the lists of the last time"));
        }
        Ok(archive)
    }

    /// Chooses a build and unpacks it, unless that has been done before.
    fn obtain(&mut self, query: &Query) -> Result<Build> {
        let build = self.choose(query)?;
        match self.unpack(&build) {
            Ok(()) => Ok(build),
            // The mirror may have dropped the build since it was asked.
            Err(error) => {
                let newer =
                    self.ask_unless_newer_than(MISS_AGE_MAX_S).is_ok().then(|| self.choose(query).ok());
                match newer.flatten().filter(|newer| *newer != build) {
                    Some(newer) => self.unpack(&newer).map(|()| newer),
                    None => Err(error),
                }
            }
        }
    }

    fn choose(&mut self, query: &Query) -> Result<Build> {
        if let Some(build) = self.index.choose(query) {
            return Ok(build);
        }
        let asked = self.ask_unless_newer_than(MISS_AGE_MAX_S);
        self.index.choose(query).ok_or_else(|| {
            let missed = format!("no such build; {}", self.index.alternatives(query));
            asked.err().map_or_else(|| anyhow!("{missed}"), |error| anyhow!("{missed}; {error:#}"))
        })
    }

    /// Asks at most once in a run if there is no answer.
    fn ask_unless_newer_than(&mut self, age_s: u64) -> Result<()> {
        if self.index.asked + age_s > now_s() {
            return Ok(());
        }
        if let Some(reason) = &self.out_of_reach {
            bail!("{reason}");
        }
        (self.progress)("reading Debian's package lists");
        self.ask().inspect_err(|error| self.out_of_reach = Some(format!("{error:#}")))
    }

    fn ask(&mut self) -> Result<()> {
        self.apt.update(self.progress)?;
        self.index = self.apt.index(now_s())?;
        self.cache.store(INDEX, &self.index)
    }

    fn unpack(&self, build: &Build) -> Result<()> {
        let directory = self.cache.path(&answers::directory(&build.image));
        if directory.is_dir() {
            return Ok(());
        }
        let kernels = self.cache.directory("kernels")?;
        unpack::remove_leftovers(&kernels);
        let debs = unpack::scratch(&kernels)?;
        let packages = build.packages();
        let size_mb = packages.iter().map(|package| package.size).sum::<u64>().div_ceil(1_000_000);
        (self.progress)(&format!("fetching {} ({size_mb} MB)", build.image.title()));
        self.apt.download(&packages, debs.path())?;
        (self.progress)(&format!("unpacking {}", build.image.title()));
        unpack::unpack_all(debs.path(), &kernels, Path::new(&directory))
    }
}
