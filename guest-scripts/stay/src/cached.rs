//! What the page cache has of a range of a file.

use crate::failure::Failure;
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// cachestat(2), Linux 6.5; the number is the same on every architecture.
const SYS_CACHESTAT: libc::c_long = 451;

/// Size of a page.
const PAGE: u64 = 4096;

/// `struct cachestat_range`.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    in_writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// `cached 1 dirty 1 writeback 0 of 1 pages`, or `unknown` before Linux 6.5. The range grows to whole pages.
pub fn describe(path: &Path, offset: u64, length: u64) -> Result<String, Failure> {
    let file = File::open(path).map_err(|error| Failure::of(path.display(), error))?;
    let start = offset / PAGE * PAGE;
    let length = offset.saturating_add(length).saturating_sub(start);
    let range = Range { offset: start, length };
    let mut pages = Pages::default();
    // SAFETY: both structures are as the kernel has them and live through the call.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut pages, 0_u32) };
    match Errno::result(result) {
        Ok(_) => {
            let Pages { cached, dirty, in_writeback, .. } = pages;
            let all = length.div_ceil(PAGE);
            Ok(format!("cached {cached} dirty {dirty} writeback {in_writeback} of {all} pages"))
        }
        Err(Errno::ENOSYS) => Ok("unknown".to_owned()),
        Err(errno) => Err(Failure::of(path.display(), errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn what_was_just_written_is_in_the_cache() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 8192]).expect("a file");
        let seen = describe(&path, 4095, 2).expect("an answer");
        let known = seen == "unknown" || (seen.starts_with("cached ") && seen.ends_with(" of 2 pages"));
        assert!(known, "{seen}");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        assert!(describe(std::path::Path::new("/nowhere/file"), 0, 1).is_err());
    }
}
