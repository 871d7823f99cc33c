//! `blkstay stay`: the guest's helper, for guests that the lab does not boot.

use crate::out;
use crate::run::initramfs::STAY;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

/// Writes it to a file, or into a directory as `stay`.
///
/// # Errors
/// It cannot be written.
pub fn write(to: &Path) -> Result<ExitCode> {
    let path = if to.is_dir() { to.join("stay") } else { to.to_owned() };
    let written =
        fs::write(&path, STAY).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
    written.with_context(|| format!("{}: cannot write it", path.display()))?;
    out::print(&format!("{}: copy it into the guest; docs/own-guests.md\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}
