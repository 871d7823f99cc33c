//! The disk under a filesystem, and where on it the filesystem begins.

use blkstay_engine::request::SERIAL;
use nix::libc;
use nix::sys::stat::{major, minor};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Sysfs counts sectors of this size, whatever the disk's own.
const SECTOR_BYTES: u64 = 512;

/// A block device that is a disk or a partition of one, and nothing stacked on others.
#[derive(Debug, PartialEq, Eq)]
pub struct Disk {
    device: u64,
    name: String,
    /// Where on the disk it begins, in bytes: 0 unless it is a partition.
    pub start: u64,
}

impl Disk {
    /// Looks a device number up in a sysfs.
    pub fn of_device(sysfs: &Path, device: u64) -> Result<Self, String> {
        let number = format!("{}:{}", major(device), minor(device));
        let node = sysfs.join("dev/block").join(&number);
        let node = fs::canonicalize(node)
            .map_err(|_| format!("its filesystem is not on one block device (device {number})"))?;
        let name = node.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_partition = node.join("partition").exists();
        let whole = if is_partition { node.parent().unwrap_or(&node) } else { &node };
        if let Some(why) = stacked(whole) {
            return Err(format!(
                "its filesystem is on {name}, which {why}: offsets there are not the disk's"
            ));
        }
        let serial = fs::read_to_string(whole.join("serial")).unwrap_or_default();
        if serial.trim() != SERIAL {
            return Err(format!(
                "its filesystem is on {name}, which is not a blkstay disk by its serial number"
            ));
        }
        let start = if is_partition { start_of(&node)? } else { 0 };
        Ok(Disk { device, name, start })
    }

    /// Opens it for reading, without readahead, which would warm blocks that nobody asked for.
    pub fn open(&self) -> Result<File, String> {
        let path = Path::new("/dev").join(&self.name);
        let about = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let file = File::open(&path).map_err(|error| about(&error))?;
        let found = file.metadata().map_err(|error| about(&error))?.rdev();
        if found != self.device {
            return Err(about(&"not the device of the filesystem"));
        }
        // SAFETY: posix_fadvise takes no pointers. It is advice: if it is not taken, reads are slower or warmer.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
        Ok(file)
    }
}

fn stacked(disk: &Path) -> Option<&'static str> {
    let has_slaves = fs::read_dir(disk.join("slaves")).is_ok_and(|mut slaves| slaves.next().is_some());
    if disk.join("dm").exists() {
        Some("is a device-mapper device")
    } else if disk.join("md").exists() {
        Some("is a RAID array")
    } else if disk.join("loop").exists() {
        Some("is a loop device")
    } else if has_slaves {
        Some("is stacked on another device")
    } else {
        None
    }
}

fn start_of(partition: &Path) -> Result<u64, String> {
    let path = partition.join("start");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let sectors: Option<u64> = text.trim().parse().ok();
    sectors
        .and_then(|sectors| sectors.checked_mul(SECTOR_BYTES))
        .ok_or_else(|| format!("{}: `{}` is no sector", path.display(), text.trim()))
}

#[cfg(test)]
mod tests {
    use super::Disk;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A sysfs with vda (254:0), its partition vda2 (254:2), dm-0 (253:0) and loop0 (7:0).
    fn sysfs() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let devices = root.path().join("devices");
        for directory in [
            "vda/vda2",
            "vdb",
            "vda/slaves",
            "dm-0/dm",
            "dm-0/slaves/vda2",
            "loop0/loop",
            "bcache0/slaves/vda",
        ] {
            fs::create_dir_all(devices.join(directory)).expect("a device");
        }
        fs::write(devices.join("vda/vda2/partition"), "2\n").expect("a file");
        fs::write(devices.join("vda/vda2/start"), "2048\n").expect("a file");
        fs::write(devices.join("vda/serial"), "blkstay\n").expect("a file");
        let block = root.path().join("dev/block");
        fs::create_dir_all(&block).expect("a directory");
        for (number, device) in [
            ("254:0", "vda"),
            ("254:2", "vda/vda2"),
            ("254:16", "vdb"),
            ("253:0", "dm-0"),
            ("7:0", "loop0"),
            ("252:0", "bcache0"),
        ] {
            symlink(devices.join(device), block.join(number)).expect("a link");
        }
        root
    }

    fn look_up(sysfs: &Path, major: u64, minor: u64) -> Result<(String, u64), String> {
        Disk::of_device(sysfs, nix::sys::stat::makedev(major, minor)).map(|disk| (disk.name, disk.start))
    }

    #[test]
    fn a_partition_begins_where_sysfs_says() {
        let sysfs = sysfs();
        assert_eq!(look_up(sysfs.path(), 254, 0), Ok(("vda".to_owned(), 0)));
        assert_eq!(look_up(sysfs.path(), 254, 2), Ok(("vda2".to_owned(), 1 << 20)));
    }

    #[test]
    fn other_disks_are_refused() {
        let sysfs = sysfs();
        let refusal = look_up(sysfs.path(), 254, 16).expect_err("a refusal");
        assert!(refusal.contains("vdb, which is not a blkstay disk"));
    }

    #[test]
    fn stacked_devices_are_refused() {
        let sysfs = sysfs();
        let refusal = |major| look_up(sysfs.path(), major, 0).expect_err("a refusal");
        assert!(refusal(253).contains("dm-0, which is a device-mapper device"));
        assert!(refusal(7).contains("loop0, which is a loop device"));
        assert!(refusal(252).contains("bcache0, which is stacked on another device"));
        assert_eq!(refusal(0), "its filesystem is not on one block device (device 0:0)");
    }
}
