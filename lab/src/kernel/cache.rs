//! The directory for what can be fetched or computed again.

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A cache directory, which need not exist yet.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// The sole right to change a part of the cache, until dropped.
#[derive(Debug)]
pub struct CacheLock {
    _file: Flock<File>,
}

impl Cache {
    /// `$BLKSTAY_CACHE`, else `$XDG_CACHE_HOME/blkstay`, else `~/.cache/blkstay`.
    ///
    /// # Errors
    ///
    /// When none of the variables, `$HOME` included, is set.
    pub fn from_env() -> Result<Cache> {
        Cache::from_variables(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Cache> {
        let root = variable("BLKSTAY_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("blkstay")))
            .or_else(|| variable("HOME").map(|path| path.join(".cache/blkstay")));
        match root {
            Some(root) => Cache::at(&root),
            None => bail!("no place for a cache: set BLKSTAY_CACHE, XDG_CACHE_HOME or HOME"),
        }
    }

    /// A cache in this directory.
    ///
    /// # Errors
    ///
    /// When the path is relative and the working directory is gone.
    pub fn at(root: &Path) -> Result<Cache> {
        let root = std::path::absolute(root).with_context(|| format!("cache {}", root.display()))?;
        Ok(Cache { root })
    }

    /// The path of something in the cache.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a directory in the cache and returns its path.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the cache directory {}", path.display()))?;
        Ok(path)
    }

    /// Waits until no other process holds the lock of this name; `progress` hears about it if there is a wait.
    ///
    /// # Errors
    ///
    /// When the lock file cannot be made.
    pub fn lock(&self, name: &str, progress: &dyn Fn(&str)) -> Result<CacheLock> {
        let path = self.directory("")?.join(format!("{name}.lock"));
        let context = || format!("cannot lock {}", path.display());
        let file = File::options().create(true).append(true).open(&path).with_context(context)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(CacheLock { _file: held }),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(errno).with_context(context),
        };
        progress("waiting for another run that is fetching");
        let held =
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).with_context(context)?;
        Ok(CacheLock { _file: held })
    }

    /// Reads a JSON file; one that is absent or not understood counts as absent, since it can be made again.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    /// Writes a JSON file at once: a reader sees either the old one or the new one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn store<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = self.path(name);
        let write = || -> Result<()> {
            let directory = path.parent().context("no directory")?;
            fs::create_dir_all(directory)?;
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(&serde_json::to_vec_pretty(value)?)?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(set: &[(&str, &str)]) -> PathBuf {
        let variable =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Cache::from_variables(variable).unwrap().path("x")
    }

    #[test]
    fn the_most_specific_variable_decides() {
        let all = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("BLKSTAY_CACHE", "/b")];
        assert_eq!(chosen(&all), Path::new("/b/x"));
        assert_eq!(chosen(&all[..2]), Path::new("/x/blkstay/x"));
        assert_eq!(chosen(&all[..1]), Path::new("/h/.cache/blkstay/x"));
    }

    #[test]
    fn no_variable_is_an_error() {
        let error = Cache::from_variables(|_| None).unwrap_err().to_string();
        assert_eq!(error, "no place for a cache: set BLKSTAY_CACHE, XDG_CACHE_HOME or HOME");
    }

    #[test]
    fn what_is_stored_is_loaded_and_damage_counts_as_absent() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path()).unwrap();
        assert_eq!(cache.load::<u32>("part/number.json"), None);
        cache.store("part/number.json", &7).unwrap();
        assert_eq!(cache.load::<u32>("part/number.json"), Some(7));
        fs::write(cache.path("part/number.json"), "{").unwrap();
        assert_eq!(cache.load::<u32>("part/number.json"), None);
    }

    #[test]
    fn a_second_run_waits_for_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path()).unwrap();
        let held = cache.lock("kernels", &|_| panic!("nobody to wait for")).unwrap();
        std::thread::scope(|scope| {
            let (told, waiting) = std::sync::mpsc::channel();
            let second = scope.spawn(move || {
                cache.lock("kernels", &|text| told.send(text.to_owned()).unwrap()).unwrap();
            });
            assert_eq!(waiting.recv().unwrap(), "waiting for another run that is fetching");
            drop(held);
            second.join().unwrap();
        });
    }
}
