//! Which kernels can be had, and which are here already.

use super::super::cache::Cache;
use super::image::ImageName;
use super::index::{Index, Package};
use super::{Archive, version};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A kernel that can be named after `--kernel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// How to name this very build.
    pub spec: String,
    /// What `uname -r` says in it.
    pub release: String,
    /// Its package's name.
    pub package: String,
    /// Its package's version.
    pub version: String,
    /// `cloud` or `generic`.
    pub flavour: String,
    /// What there is to fetch, in bytes; none if no suite has it any more.
    pub download_bytes: Option<u64>,
    /// Whether a suite of the archive itself has it, rather than the security archive alone.
    pub released: bool,
    /// What it takes in the cache, in bytes; none if it is not there.
    pub cached_bytes: Option<u64>,
}

/// Lists the builds in the suites and in the cache, oldest first. Without a way to the suites it lists what is known
/// from the last time.
///
/// # Errors
/// The suites have never been asked and cannot be reached, and the cache has no kernel either.
pub fn list(cache: &Cache, progress: &dyn Fn(&str)) -> Result<Vec<Listed>> {
    let _lock = cache.lock("kernels", progress)?;
    let cached = cached(cache);
    let index = match Archive::open(cache, progress) {
        Ok(archive) => archive.index,
        Err(error) if cached.is_empty() => return Err(error),
        Err(error) => {
            progress(&format!("{error:#}; only what is in the cache is listed"));
            Index::default()
        }
    };
    Ok(merge(&index, cached))
}

/// A package's name and version, with its size in the cache.
type Cached = BTreeMap<(String, String), u64>;

fn cached(cache: &Cache) -> Cached {
    let entries = std::fs::read_dir(cache.path("kernels")).into_iter().flatten().flatten();
    let kernels = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (package, version) = name.split_once('_')?;
        ImageName::parse(package)?;
        Some(((package.to_owned(), version.replace('%', ":")), size(&entry.path())))
    });
    kernels.collect()
}

/// Bytes in the files below a directory.
fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |data| data.len()),
        _ => 0,
    });
    sizes.sum()
}

fn merge(index: &Index, mut cached: Cached) -> Vec<Listed> {
    let mut listed: Vec<Listed> = index
        .offered()
        .into_iter()
        .filter_map(|build| {
            let size = build.packages().iter().map(|package| package.size).sum();
            let here = cached.remove(&(build.image.name.clone(), build.image.version.clone()));
            Listed::new(&build.image, Some(size), here)
        })
        .collect();
    listed.extend(cached.into_iter().filter_map(|((name, version), bytes)| {
        Listed::new(&Package { name, version, ..Package::default() }, None, Some(bytes))
    }));
    listed.sort_by(|a, b| version::compare(&a.version, &b.version).then_with(|| a.package.cmp(&b.package)));
    listed
}

impl Listed {
    fn new(image: &Package, download_bytes: Option<u64>, cached_bytes: Option<u64>) -> Option<Listed> {
        let name = ImageName::parse(&image.name)?;
        Some(Listed {
            spec: format!("debian:{}/{}", image.version, name.flavour),
            release: name.release(),
            package: image.name.clone(),
            version: image.version.clone(),
            flavour: name.flavour.to_string(),
            download_bytes,
            released: image.released,
            cached_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAGRAPHS: &str = "\
Package: linux-image-6.12.38+deb13-cloud-amd64
Version: 6.12.38-1
Installed-Size: 34930
Filename: pool/a.deb
Size: 34671208

Package: linux-image-6.12.38+deb13-cloud-amd64-unsigned
Version: 6.12.38-1
Installed-Size: 34930
Filename: pool/b.deb

Package: linux-image-6.1.0-47-amd64
Version: 6.1.170-3
Installed-Size: 400000
Filename: pool/e.deb
Size: 70000000
";

    #[test]
    fn what_is_offered_and_what_is_here_are_one_list() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path()).unwrap();
        for package in ["linux-image-6.1.0-47-amd64_6.1.170-3", "linux-image-6.0.0-1-amd64_6.0.1-1"] {
            let directory = cache.directory(&format!("kernels/{package}/boot")).unwrap();
            std::fs::write(directory.join("vmlinuz"), [0; 512]).unwrap();
        }
        let listed = merge(&Index::parse(PARAGRAPHS, "", 0), super::cached(&cache));
        let seen: Vec<_> = listed
            .iter()
            .map(|kernel| (kernel.spec.as_str(), kernel.download_bytes, kernel.cached_bytes))
            .collect();
        assert_eq!(
            seen,
            [
                ("debian:6.0.1-1/generic", None, Some(512)),
                ("debian:6.1.170-3/generic", Some(70_000_000), Some(512)),
                ("debian:6.12.38-1/cloud", Some(34_671_208), None),
            ]
        );
    }
}
