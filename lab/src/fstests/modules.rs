//! A kernel's modules as an image that a guest mounts at `/lib/modules`: tests load what they need by name.

use super::image;
use crate::kernel::{Kernel, process};
use crate::run::{Lab, find_program, subject::Subject};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The image of a kernel's modules; none if nothing is known of any. One of a package is kept in the cache.
///
/// # Errors
/// They cannot be read, or a tool is missing.
pub async fn image(subject: &Subject, scratch: &Path, lab: &Lab) -> Result<Option<PathBuf>> {
    let (kernel, cache, told) = (subject.kernel.clone(), lab.cache.clone(), lab.progress.clone());
    let scratch = scratch.to_owned();
    let make = move || -> Result<Option<PathBuf>> {
        if !kernel.has_modules() {
            return Ok(None);
        }
        let package = kernel.package.as_deref().filter(|_| kernel.variant.is_none());
        let Some(package) = package else {
            let directory = tempfile::tempdir_in(&scratch).context("no temporary directory")?.keep();
            return make(&kernel, &directory, &directory.join("modules.img")).map(Some);
        };
        let kept = cache.directory("fstests")?.join(format!("modules-{}.img", package.replace(' ', "_")));
        let _lock = cache.lock("fstests", &|message| told.say(message))?;
        if !kept.is_file() {
            told.say(&format!("packing the modules of {}", kernel.title()));
            let stage =
                tempfile::tempdir_in(cache.directory("fstests")?).context("no temporary directory")?;
            let image = stage.path().join("modules.img");
            make(&kernel, stage.path(), &image)?;
            std::fs::rename(&image, &kept).with_context(|| format!("{}: cannot write it", kept.display()))?;
        }
        Ok(Some(kept))
    };
    tokio::task::spawn_blocking(make).await.context("packing modules was cut short")?
}

fn make(kernel: &Kernel, stage: &Path, to: &Path) -> Result<PathBuf> {
    let release = kernel.release.as_deref().context("the kernel's image does not say its release")?;
    let root = stage.join("root");
    let directory = root.join("lib/modules").join(release);
    kernel.copy_modules(&directory)?;
    process::stdout(Command::new(find_program("depmod")?).arg("-b").arg(&root).arg(release))?;
    image::make(Some(&root.join("lib/modules")), to, 0)?;
    std::fs::remove_dir_all(&root).with_context(|| format!("{}: cannot remove it", root.display()))?;
    Ok(to.to_owned())
}
