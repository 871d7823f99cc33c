//! Things of the host that fail when a test wants them to. They need root; a test without it is skipped, loudly.

use nix::mount::{MsFlags, mount, umount};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Says that a test was skipped, and why, where it is seen.
pub fn skipped(why: &str) {
    eprintln!("\nSKIPPED: {why}\n");
}

/// Whether a program is there; says so if not.
pub fn have(program: &str) -> bool {
    let found = Command::new(program).arg("-V").output().is_ok();
    if !found {
        skipped(&format!("there is no {program}; `make setup` installs it"));
    }
    found
}

/// A filesystem that is soon full, mounted as long as this lives.
#[derive(Debug)]
pub struct SmallFilesystem(TempDir);

impl SmallFilesystem {
    /// Mounts one; `None` if that is not allowed.
    pub fn mount(bytes: u64) -> Option<SmallFilesystem> {
        SmallFilesystem::of(Path::new("tmpfs"), "tmpfs", Some(&format!("size={bytes}")))
    }

    /// Mounts an ext4 that a device has; it is as large as that.
    pub fn ext4(device: &Path) -> Option<SmallFilesystem> {
        SmallFilesystem::of(device, "ext4", None)
    }

    fn of(source: &Path, kind: &str, options: Option<&str>) -> Option<SmallFilesystem> {
        let directory = TempDir::with_prefix("blkstay-small-").expect("a directory");
        match mount(Some(source), directory.path(), Some(kind), MsFlags::empty(), options) {
            Ok(()) => Some(SmallFilesystem(directory)),
            Err(error) => {
                skipped(&format!("a {kind} cannot be mounted here: {error}"));
                None
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallFilesystem {
    fn drop(&mut self) {
        let _ = umount(self.0.path());
    }
}

/// A block device in front of a file.
#[derive(Debug)]
pub struct Loop(PathBuf);

impl Loop {
    /// Makes one; `None` if that is not allowed.
    pub fn before(file: &Path) -> Option<Loop> {
        Loop::of_sectors(file, 512)
    }

    /// The same with sectors of so many bytes.
    pub fn of_sectors(file: &Path, bytes: u32) -> Option<Loop> {
        let sector = bytes.to_string();
        let output =
            Command::new("losetup").args(["--find", "--show", "--sector-size", &sector]).arg(file).output();
        let device = output.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        match device {
            Ok(device) if device.starts_with("/dev/") => Some(Loop(device.into())),
            _ => {
                skipped(&format!("there are no loop devices here: {output:?}"));
                None
            }
        }
    }

    /// The device.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}
