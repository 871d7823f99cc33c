//! What the user writes to name a kernel.

use super::debian::Query;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// A kernel spec, parsed; files have been looked at, but not read.
#[derive(Debug, PartialEq)]
pub enum Spec {
    /// A bzImage.
    File(PathBuf),
    /// An unpacked kernel package, or a kernel build tree.
    Directory(PathBuf),
    /// A build in Debian's archive.
    Debian(Query),
}

impl Spec {
    /// Reads a spec as written on the command line or in a case file.
    pub fn parse(spec: &str) -> Result<Spec> {
        if let Some(query) = spec.strip_prefix("debian:") {
            return Query::parse(query).map(Spec::Debian);
        }
        let path = Path::new(spec);
        if path.is_dir() {
            return Ok(Spec::Directory(path.to_owned()));
        }
        if path.exists() {
            return Ok(Spec::File(path.to_owned()));
        }
        let hint = if Query::parse(spec).is_ok() {
            format!("; did you mean `debian:{spec}`?")
        } else {
            String::new()
        };
        bail!(
            "kernel `{spec}`: no such file{hint}\n\
             a kernel is a bzImage, a directory that holds one, or a version in Debian's archive like `debian:6.12`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_version_gets_a_hint() {
        let error = Spec::parse("6.12").unwrap_err().to_string();
        assert_eq!(
            error,
            "kernel `6.12`: no such file; did you mean `debian:6.12`?\n\
             a kernel is a bzImage, a directory that holds one, or a version in Debian's archive like `debian:6.12`"
        );
    }

    #[test]
    fn a_missing_path_gets_none() {
        let error = Spec::parse("no/such/bzImage").unwrap_err().to_string();
        assert!(error.starts_with("kernel `no/such/bzImage`: no such file\n"), "{error}");
    }

    #[test]
    fn files_and_directories_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bzImage");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(Spec::parse(file.to_str().unwrap()).unwrap(), Spec::File(file));
        let path = directory.path();
        assert_eq!(Spec::parse(path.to_str().unwrap()).unwrap(), Spec::Directory(path.to_owned()));
    }
}
