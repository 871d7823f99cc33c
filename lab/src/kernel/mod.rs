//! The kernels that guests boot: where they come from, and the modules a guest has to load.
//!
//! A kernel is named by a *spec*:
//!
//! | spec | kernel |
//! |---|---|
//! | `path/to/bzImage` | that file; modules from the kernel's build tree or from a `lib/modules/RELEASE` near it |
//! | `path/to/directory` | the only kernel in an unpacked package or a build tree |
//! | `debian:6.12` | the newest such build in Debian's suites, fetched into the [`Cache`] |
//! | `debian:6.12.38`, `debian:6.1.0-56`, `debian:6.12.38-1` | that build, by upstream version, ABI name or package version |
//! | `debian:6.12/generic` | the same in the flavour named, `cloud` (the default where there is one) or `generic` |
//!
//! Everything here blocks: call it where blocking is allowed.

mod bzimage;
mod cache;
mod compression;
mod config;
mod debian;
mod directory;
mod modinfo;
mod module_tree;
mod need;
mod process;
mod spec;

pub use cache::Cache;
pub use need::{Module, Need};

use anyhow::{Context, Result};
use bzimage::BzImage;
use module_tree::ModuleTree;
use spec::Spec;
use std::path::{Path, PathBuf};

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What was asked for, as written.
    pub spec: String,
    /// The bzImage.
    pub image: PathBuf,
    /// What `uname -r` will say, if the image's header says so.
    pub release: Option<String>,
    /// Name and version of the package, for a `debian:` spec.
    pub package: Option<String>,
    /// The version of a newer build of the series that was asked for, in Debian's security archive.
    pub newer_in_security: Option<String>,
    modules: Option<ModuleTree>,
}

/// Finds the kernel that `spec` names, fetching it if it is Debian's and not in the cache yet.
///
/// `progress` is told, in a few words, about whatever takes time.
///
/// # Errors
///
/// When there is no such kernel, when a file is not a bzImage, and when fetching fails; the message says what would
/// have been possible.
pub fn resolve(spec: &str, cache: &Cache, progress: &dyn Fn(&str)) -> Result<Kernel> {
    let found = match Spec::parse(spec)? {
        Spec::File(path) => Kernel::from_file(&path),
        Spec::Directory(path) => Kernel::from_directory(&path),
        Spec::Debian(query) => debian::resolve(&query, cache, progress).and_then(|unpacked| {
            let (package, newer_in_security) = (Some(unpacked.package), unpacked.newer_in_security);
            Kernel::from_directory(&unpacked.directory).map(|kernel| Kernel {
                package,
                newer_in_security,
                ..kernel
            })
        }),
    };
    let kernel = found.with_context(|| format!("kernel `{spec}`"))?;
    Ok(Kernel { spec: spec.to_owned(), ..kernel })
}

impl Kernel {
    /// The modules a guest must load, dependencies first, to have every driver in `wanted`.
    ///
    /// Drivers that are built in need none. Nothing is known about the modules of a bare bzImage: the list is empty,
    /// and the guest finds out what it lacks.
    ///
    /// # Errors
    ///
    /// When something wanted is neither built in nor a module (the message names every such configuration option), or
    /// when a module cannot be read.
    pub fn need(&self, wanted: &[Need]) -> Result<Vec<Module>> {
        let Some(tree) = &self.modules else { return Ok(Vec::new()) };
        need::load_order(tree, wanted).with_context(|| match &self.release {
            Some(release) => format!("kernel `{}` ({release})", self.spec),
            None => format!("kernel `{}`", self.spec),
        })
    }

    fn from_file(path: &Path) -> Result<Kernel> {
        let image = BzImage::read(path)?;
        let modules = ModuleTree::near_image(path, image.release.as_deref());
        Ok(Kernel {
            spec: String::new(),
            image: path.to_owned(),
            release: image.release,
            package: None,
            newer_in_security: None,
            modules,
        })
    }

    fn from_directory(path: &Path) -> Result<Kernel> {
        Kernel::from_file(&directory::only_image(path)?)
    }
}
