//! How a file of ext4 maps its blocks: by extents, or as ext3 did.

use crate::failure::Failure;
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// `FS_EXTENT_FL` of linux/fs.h.
const EXTENTS: libc::c_long = 0x0008_0000;

nix::ioctl_read!(get_flags, b'f', 1, libc::c_long);
nix::ioctl_write_ptr!(set_flags, b'f', 2, libc::c_long);

/// Makes the kernel map the file by blocks (chattr -e): one extent within the first twelve blocks, no more.
pub fn remove(path: &Path) -> Result<(), Failure> {
    let about = |errno: Errno| Failure::of(path.display(), errno);
    let file = File::open(path).map_err(|error| Failure::of(path.display(), error))?;
    let mut flags = 0;
    // SAFETY: the kernel writes an int into the long that is passed.
    unsafe { get_flags(file.as_raw_fd(), &raw mut flags) }.map_err(about)?;
    flags &= !EXTENTS;
    // SAFETY: the kernel reads an int out of the long that is passed.
    unsafe { set_flags(file.as_raw_fd(), &raw const flags) }.map_err(about)?;
    Ok(())
}
