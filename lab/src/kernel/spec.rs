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
    /// A stock kernel with a changed module.
    Variant {
        /// Its name in `variants/`, or the path of its file.
        name: String,
        /// Spec of the kernel to make it of, instead of its own.
        kernel: Option<String>,
    },
}

impl Spec {
    /// Reads a spec as written on the command line or in a case file.
    pub fn parse(spec: &str) -> Result<Spec> {
        if let Some(query) = spec.strip_prefix("debian:") {
            return Query::parse(query).map(Spec::Debian);
        }
        if let Some(variant) = Spec::variant(spec) {
            return Ok(variant);
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
        } else if Path::new("variants").join(format!("{spec}.toml")).is_file() {
            format!("; did you mean `variant:{spec}`?")
        } else {
            String::new()
        };
        bail!(
            "kernel `{spec}`: no such file{hint}\n\
             a kernel is a bzImage, a directory that holds one, a version in Debian's archive like `debian:6.12`, \
             or a variant of one like `variant:NAME` or `my-fix.toml@debian:6.12`"
        )
    }

    /// `variant:NAME[@KERNEL]`, or the path of a variant's file, with or without `@KERNEL`.
    fn variant(spec: &str) -> Option<Spec> {
        let named = spec.strip_prefix("variant:");
        let written = named.unwrap_or(spec);
        let (name, kernel) = match written.rsplit_once('@') {
            Some((name, kernel)) if named.is_some() || name.ends_with(".toml") => {
                (name, Some(kernel.to_owned()))
            }
            _ => (written, None),
        };
        let wanted = named.is_some() || (name.ends_with(".toml") && !Path::new(name).is_dir());
        wanted.then(|| Spec::Variant { name: name.to_owned(), kernel })
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
             a kernel is a bzImage, a directory that holds one, a version in Debian's archive like `debian:6.12`, \
             or a variant of one like `variant:NAME` or `my-fix.toml@debian:6.12`"
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

    #[test]
    fn a_variant_is_named_or_a_file_and_may_say_of_which_kernel() {
        let variant = |name: &str, kernel: Option<&str>| Spec::Variant {
            name: name.to_owned(),
            kernel: kernel.map(str::to_owned),
        };
        let parse = |spec| Spec::parse(spec).unwrap();
        assert_eq!(parse("variant:fix"), variant("fix", None));
        assert_eq!(parse("variant:fix@debian:6.12"), variant("fix", Some("debian:6.12")));
        assert_eq!(parse("my/fix.toml"), variant("my/fix.toml", None));
        assert_eq!(parse("a@b/fix.toml@debian:7.3"), variant("a@b/fix.toml", Some("debian:7.3")));
        assert_eq!(parse("a@b/fix.toml"), variant("a@b/fix.toml", None));
    }
}
