//! The kernel in a directory: an unpacked package, a root file system, or a kernel build tree.

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Finds the one kernel in `directory`.
///
/// # Errors
///
/// When there is none, or several, which the message lists.
pub fn only_image(directory: &Path) -> Result<PathBuf> {
    let mut found = images(directory);
    match found.len() {
        0 => bail!(
            "no kernel in {}: it has neither boot/vmlinuz-*, [usr/]lib/modules/*/vmlinuz nor arch/x86/boot/bzImage",
            directory.display()
        ),
        1 => Ok(found.remove(0)),
        _ => {
            let list: Vec<String> = found.iter().map(|path| format!("\n  {}", path.display())).collect();
            bail!("several kernels in {}; give one of them:{}", directory.display(), list.concat())
        }
    }
}

/// One image for each release; a release may be in `boot` and beside its modules too.
fn images(directory: &Path) -> Vec<PathBuf> {
    let mut found = BTreeMap::new();
    for modules in ["lib/modules", "usr/lib/modules"] {
        for (name, path) in entries(&directory.join(modules)) {
            let image = path.join("vmlinuz");
            if image.is_file() {
                found.insert(name, image);
            }
        }
    }
    for (name, path) in entries(&directory.join("boot")) {
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            found.entry(release.to_owned()).or_insert(path);
        }
    }
    let built = directory.join("arch/x86/boot/bzImage");
    if built.is_file() {
        found.insert("build tree".to_owned(), built);
    }
    found.into_values().collect()
}

fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().into_string().ok()?, entry.path()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn holding(files: &[&str]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    fn found(files: &[&str]) -> PathBuf {
        let root = holding(files);
        only_image(root.path()).unwrap().strip_prefix(root.path()).unwrap().to_owned()
    }

    #[test]
    fn every_layout_is_known() {
        assert_eq!(found(&["boot/vmlinuz-6.1", "boot/config-6.1"]), Path::new("boot/vmlinuz-6.1"));
        assert_eq!(found(&["usr/lib/modules/7.3/vmlinuz"]), Path::new("usr/lib/modules/7.3/vmlinuz"));
        assert_eq!(found(&["lib/modules/7.3/vmlinuz"]), Path::new("lib/modules/7.3/vmlinuz"));
        assert_eq!(found(&["arch/x86/boot/bzImage"]), Path::new("arch/x86/boot/bzImage"));
    }

    #[test]
    fn one_release_in_two_places_is_one_kernel() {
        let image = found(&["boot/vmlinuz-7.3", "usr/lib/modules/7.3/vmlinuz"]);
        assert_eq!(image, Path::new("usr/lib/modules/7.3/vmlinuz"));
    }

    #[test]
    fn several_kernels_are_listed() {
        let root = holding(&["boot/vmlinuz-6.1", "boot/vmlinuz-6.12"]);
        let path = root.path().display();
        assert_eq!(
            only_image(root.path()).unwrap_err().to_string(),
            format!(
                "several kernels in {path}; give one of them:\n  {path}/boot/vmlinuz-6.1\n  {path}/boot/vmlinuz-6.12"
            )
        );
    }

    #[test]
    fn a_directory_without_a_kernel_is_an_error() {
        let root = holding(&["boot/config-6.1"]);
        let error = only_image(root.path()).unwrap_err().to_string();
        assert!(error.starts_with("no kernel in "), "{error}");
    }
}
