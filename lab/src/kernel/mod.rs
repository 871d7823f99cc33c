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
//! | `variant:NAME`, `variant:NAME@debian:6.12` | a stock kernel with a changed module, by a file in `variants/` |
//! | `path/to/fix.toml`, `path/to/fix.toml@debian:6.12` | the same by a file anywhere |
//!
//! Everything here blocks: call it where blocking is allowed.

mod bzimage;
mod cache;
pub mod command;
mod compression;
mod config;
mod debian;
mod directory;
pub(crate) mod modinfo;
mod module_tree;
mod need;
pub(crate) mod plain;
pub(crate) mod process;
mod spec;

pub use cache::Cache;
pub use debian::{Listed, Source, apt_configuration, debian_sources, list};
pub use need::{Module, Need};

use crate::variant::{self, Record};
use anyhow::{Context, Result, bail};
use bzimage::BzImage;
use debian::Query;
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
    /// Name and version of the package, for a kernel of Debian's.
    pub package: Option<String>,
    /// The version of a newer build of the series that was asked for, in Debian's security archive.
    pub newer_in_security: Option<String>,
    /// What it was changed by, for a variant.
    pub variant: Option<Record>,
    modules: Option<ModuleTree>,
    /// Files of modules that are loaded in place of its own.
    replaced: Vec<PathBuf>,
}

/// Says at once what is wrong with a spec, as far as that can be said without looking for the kernel.
///
/// # Errors
///
/// It is no spec, or the file that it names is not there.
pub fn check_spec(spec: &str) -> Result<()> {
    match Spec::parse(spec)? {
        Spec::Variant { name, .. } => variant::file::find(&name).map(drop),
        _ => Ok(()),
    }
}

/// The release that a spec names or that the header of its image says, as far as that can be said without looking for
/// the kernel.
pub fn release_of(spec: &str) -> Option<String> {
    match Spec::parse(spec).ok()? {
        Spec::File(path) => BzImage::read(&path).ok()?.release,
        Spec::Directory(path) => BzImage::read(&directory::only_image(&path).ok()?).ok()?.release,
        Spec::Debian(query) => {
            // Its names of ABIs have a 0 for whatever the third number is: 6.1.0-56.
            let release = query.version.split('-').next()?;
            Some(release.strip_suffix(".0").unwrap_or(release).to_owned())
        }
        Spec::Variant { .. } => None,
    }
}

/// Finds the kernel that `spec` names, fetching it if it is Debian's and not in the cache yet, and building its module
/// if it is a variant.
///
/// `progress` is told, in a few words, about whatever takes time.
///
/// # Errors
///
/// When there is no such kernel, when a file is not a bzImage, and when fetching or building fails; the message says
/// what would have been possible.
pub fn resolve(spec: &str, cache: &Cache, progress: &dyn Fn(&str)) -> Result<Kernel> {
    let found = match Spec::parse(spec)? {
        Spec::File(path) => Kernel::from_file(&path),
        Spec::Directory(path) => Kernel::from_directory(&path),
        Spec::Debian(query) => Kernel::from_debian(&query, cache, progress),
        Spec::Variant { name, kernel } => Kernel::from_variant(&name, kernel.as_deref(), cache, progress),
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
        let order = need::load_order(tree, &self.replaced, wanted).with_context(|| match &self.release {
            Some(release) => format!("kernel `{}` ({release})", self.spec),
            None => format!("kernel `{}`", self.spec),
        })?;
        let loads = |file: &PathBuf| order.iter().any(|module| modinfo::is_file_of(file, &module.name));
        match &self.variant {
            Some(variant) if !self.replaced.iter().any(loads) => {
                bail!(
                    "kernel `{}`: the guest loads nothing of {}, so the change would not be tried",
                    self.spec,
                    variant.module
                )
            }
            _ => Ok(order),
        }
    }

    /// The kernel's own module of this name, decompressed; none if it has none, or has it built in.
    ///
    /// # Errors
    ///
    /// When its modules cannot be read.
    pub fn stock_module(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(tree) = &self.modules else { return Ok(None) };
        tree.read()?.file(name).map(compression::read).transpose()
    }

    /// Whether anything is known of modules that it has.
    pub fn has_modules(&self) -> bool {
        self.modules.is_some()
    }

    /// Copies all its modules into a directory, as an installed kernel has them in `lib/modules/RELEASE`. Those that were
    /// changed are in `updates/`, where depmod looks first.
    ///
    /// # Errors
    ///
    /// When one cannot be read or written.
    pub fn copy_modules(&self, directory: &Path) -> Result<()> {
        let Some(tree) = &self.modules else { return Ok(()) };
        tree.copy_to(directory)?;
        for file in &self.replaced {
            module_tree::copy(file, &directory.join("updates").join(file.file_name().unwrap_or_default()))?;
        }
        Ok(())
    }

    /// What to call it in a message: its package, its release, or what was written.
    pub fn title(&self) -> &str {
        self.package.as_deref().or(self.release.as_deref()).unwrap_or(&self.spec)
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
            variant: None,
            modules,
            replaced: Vec::new(),
        })
    }

    fn from_directory(path: &Path) -> Result<Kernel> {
        Kernel::from_file(&directory::only_image(path)?)
    }

    fn from_debian(query: &Query, cache: &Cache, progress: &dyn Fn(&str)) -> Result<Kernel> {
        let unpacked = debian::resolve(query, cache, progress)?;
        let kernel = Kernel::from_directory(&unpacked.directory)?;
        let newer_in_security = unpacked.newer_in_security;
        Ok(Kernel { package: Some(unpacked.package), newer_in_security, ..kernel })
    }

    fn from_variant(
        name: &str,
        kernel: Option<&str>,
        cache: &Cache,
        progress: &dyn Fn(&str),
    ) -> Result<Kernel> {
        let variant = variant::file::read(&variant::file::find(name)?)?;
        let base = kernel.unwrap_or(&variant.kernel);
        let Spec::Debian(query) = Spec::parse(base)? else {
            bail!(
                "`{base}`: a variant is made of one of Debian's kernels, like `debian:6.12`; for a kernel that \
                 you build yourself, change its source and give its build tree"
            );
        };
        let query = query.generic()?;
        debian::ask_for_headers(&query, cache, progress)?;
        let base = Kernel::from_debian(&query, cache, progress)?;
        let package = base.package.clone().unwrap_or_default();
        let (image, version) = package.split_once(' ').context("a package has a name and a version")?;
        let mut source = debian::source(image, version, cache, progress)?;
        let built = variant::build(&variant, &base, &mut source, cache, progress)?;
        Ok(Kernel { variant: Some(built.record), replaced: built.modules, ..base })
    }
}
