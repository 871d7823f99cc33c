//! A kernel that is ready for cases of one filesystem, with the modules that its guests load.

use super::lab::Lab;
use crate::digest;
use crate::kernel::{self, Kernel, Module, Need};
use anyhow::{Context, Result};
use std::rc::Rc;

/// A kernel with its modules, by content.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The kernel.
    pub kernel: Kernel,
    /// What a guest loads before it looks for its disk.
    pub modules: Rc<Vec<Module>>,
    /// Hash of image and modules.
    pub digest: String,
}

/// Finds a kernel, which may take fetching and building.
///
/// # Errors
/// It is not to be had.
pub async fn find(spec: &str, lab: &Lab) -> Result<Kernel> {
    let (spec, cache, told) = (spec.to_owned(), lab.cache.clone(), lab.progress.clone());
    let resolve = move || kernel::resolve(&spec, &cache, &|message| told.say(message));
    tokio::task::spawn_blocking(resolve).await.context("finding a kernel was cut short")?
}

/// Reads what guests of a kernel load.
///
/// # Errors
/// It lacks a driver that they need, or a file of it cannot be read.
pub async fn read(kernel: &Kernel, filesystem: &str) -> Result<Subject> {
    let (kernel, needs) = (kernel.clone(), needs(filesystem));
    let read = move || -> Result<_> {
        let modules = kernel.need(&needs)?;
        let path = &kernel.image;
        let image = std::fs::read(path).with_context(|| format!("{}: cannot read it", path.display()))?;
        let parts = modules.iter().flat_map(|module| [module.name.as_bytes(), &module.bytes]);
        let digest = digest::of([&*image].into_iter().chain(parts));
        Ok((kernel, modules, digest))
    };
    let (kernel, modules, digest) =
        tokio::task::spawn_blocking(read).await.context("reading a kernel was cut short")??;
    Ok(Subject { kernel, modules: Rc::new(modules), digest })
}

/// What a guest needs of its kernel.
fn needs(filesystem: &str) -> Vec<Need> {
    let filesystem = match filesystem {
        "xfs" => Need::new("xfs", "CONFIG_XFS_FS"),
        _ => Need::EXT4,
    };
    vec![Need::VIRTIO_PCI, Need::VIRTIO_CONSOLE, Need::VIRTIO_BLK, filesystem]
}
