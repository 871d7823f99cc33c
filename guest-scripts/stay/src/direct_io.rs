//! Whether direct I/O on a file is direct: some filesystems take it and go through the page cache.

use crate::failure::Failure;
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `direct MEMORY OFFSET`, the alignments in bytes; `page-cache`; or `unknown` (statx(2), STATX_DIOALIGN, Linux 6.1).
pub fn describe(path: &Path) -> Result<String, Failure> {
    let c_path =
        CString::new(path.as_os_str().as_bytes()).map_err(|error| Failure::of(path.display(), error))?;
    // SAFETY: statx is plain data, for which all zeroes is a value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte, and both live through the call.
    let result =
        unsafe { libc::statx(libc::AT_FDCWD, c_path.as_ptr(), 0, libc::STATX_DIOALIGN, &raw mut found) };
    Errno::result(result).map_err(|error| Failure::of(path.display(), error))?;
    Ok(match (found.stx_mask & libc::STATX_DIOALIGN != 0, found.stx_dio_offset_align) {
        (false, _) => "unknown".to_owned(),
        (true, 0) => "page-cache".to_owned(),
        (true, offset) => format!("direct {} {offset}", found.stx_dio_mem_align),
    })
}
