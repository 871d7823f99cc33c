//! From package files to a directory that holds a kernel.

use super::super::process;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// How the names of directories begin that are not complete yet.
const SCRATCH_PREFIX: &str = ".incomplete-";

/// What no guest here has hardware for, and what is no part of a kernel. This halves a generic kernel.
const NOT_WANTED: [&str; 9] = [
    "./usr/share",
    "./boot/System.map*",
    "*/System.map",
    "*/kernel/sound",
    "*/kernel/drivers/gpu",
    "*/kernel/drivers/media",
    "*/kernel/drivers/net/ethernet",
    "*/kernel/drivers/net/wireless",
    "*/kernel/drivers/staging",
];

/// A directory beside the kernels that vanishes when dropped.
pub fn scratch(kernels: &Path) -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix(SCRATCH_PREFIX).tempdir_in(kernels);
    made.with_context(|| format!("cannot make a directory in {}", kernels.display()))
}

/// Removes what interrupted runs have left. The caller holds the lock: no other run is at work.
pub fn remove_leftovers(kernels: &Path) {
    for entry in fs::read_dir(kernels).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCRATCH_PREFIX) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Unpacks all package files in `debs` into `target`, which appears only when it is complete.
pub fn unpack_all(debs: &Path, kernels: &Path, target: &Path) -> Result<()> {
    let tree = scratch(kernels)?;
    for deb in package_files(debs)? {
        unpack(&deb, tree.path()).with_context(|| format!("cannot unpack {}", deb.display()))?;
    }
    fs::rename(tree.path(), target).with_context(|| format!("cannot make {}", target.display()))
}

/// The package files in a directory.
pub fn package_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// Unpacks a package file into a directory that is there, but for what is not wanted.
pub fn unpack(deb: &Path, tree: &Path) -> Result<()> {
    let mut dpkg = Command::new("dpkg-deb");
    let dpkg = dpkg.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut dpkg = dpkg.spawn().context("cannot run `dpkg-deb`")?;
    let archive = dpkg.stdout.take().context("no output")?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "--no-same-owner", "-C"]).arg(tree);
    tar.args(NOT_WANTED.map(|pattern| format!("--exclude={pattern}")));
    let unpacked = process::output(tar.stdin(archive))?;
    let read = dpkg.wait_with_output()?;
    if !read.status.success() && read.status.code().is_some() {
        bail!("{}", process::complaint(&read));
    }
    if !unpacked.status.success() {
        bail!("{}", process::complaint(&unpacked));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package that holds these empty files.
    fn deb(directory: &Path, files: &[&str]) {
        let tree = directory.join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control =
            "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.invalid>\nDescription: x\n";
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        for file in files {
            fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
            fs::write(tree.join(file), "").unwrap();
        }
        process::stdout(Command::new("dpkg-deb").arg("-b").arg(tree).arg(directory.join("x.deb"))).unwrap();
    }

    #[test]
    fn only_the_kernel_is_unpacked() {
        let root = tempfile::tempdir().unwrap();
        deb(
            root.path(),
            &[
                "boot/vmlinuz-6.12",
                "boot/System.map-6.12",
                "usr/share/doc/x",
                "lib/modules/6.12/kernel/drivers/block/virtio_blk.ko",
                "lib/modules/6.12/kernel/sound/snd.ko",
            ],
        );
        let target = root.path().join("kernel");
        unpack_all(root.path(), root.path(), &target).unwrap();
        assert!(target.join("boot/vmlinuz-6.12").exists());
        assert!(target.join("lib/modules/6.12/kernel/drivers/block/virtio_blk.ko").exists());
        for absent in ["boot/System.map-6.12", "usr/share", "lib/modules/6.12/kernel/sound"] {
            assert!(!target.join(absent).exists(), "{absent}");
        }
    }

    #[test]
    fn a_damaged_package_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("x.deb"), "junk").unwrap();
        let target = root.path().join("kernel");
        let error = format!("{:#}", unpack_all(root.path(), root.path(), &target).unwrap_err());
        assert!(error.contains("x.deb: dpkg-deb: error: "), "{error}");
        let left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["x.deb"]);
    }

    #[test]
    fn leftovers_are_removed_and_kernels_kept() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(".incomplete-1/boot")).unwrap();
        fs::create_dir(root.path().join("linux-image-6.12_1")).unwrap();
        remove_leftovers(root.path());
        let left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["linux-image-6.12_1"]);
    }
}
