//! The disk of a case, made by its recipe.

use super::daemon::on_path;
use anyhow::{Context, Result, bail};
use blkstay_engine::policy::ImageRecipe;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Makes a sparse image with a filesystem in it.
///
/// # Errors
/// The disk is full, or the filesystem's maker is missing or refuses.
pub async fn make(recipe: &ImageRecipe, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("{}: cannot make it", path.display()))?;
    file.set_len(recipe.size_bytes)
        .with_context(|| format!("{}: cannot make it as large", path.display()))?;
    let mkfs = format!("mkfs.{}", recipe.filesystem);
    let program = find_program(&mkfs)?;
    let quiet = if recipe.filesystem == "ext4" { "-F" } else { "-f" };
    let made = super::process::tied(&program)
        .args(["-q", quiet])
        .args(&recipe.options)
        .arg(path)
        .output()
        .await
        .with_context(|| format!("cannot start {mkfs}"))?;
    if !made.status.success() {
        let said = [made.stdout, made.stderr].concat();
        bail!("{mkfs} {}: {}", recipe.options.join(" "), String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

/// A tool of an administrator: often not on the path of people who are not root.
///
/// # Errors
/// It is not installed; the message says how it can be.
pub fn find_program(name: &str) -> Result<PathBuf> {
    let sbin = ["/usr/sbin", "/sbin"].map(|directory| Path::new(directory).join(name));
    let found = on_path(name).or_else(|| sbin.into_iter().find(|path| path.is_file()));
    let setup = if ["mmdebstrap", "depmod"].contains(&name) { "make setup-fstests" } else { "make setup" };
    found.with_context(|| format!("{name} is not installed; `{setup}` installs it"))
}
