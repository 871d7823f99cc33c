//! What the page cache has of a range of a file.

mod flags;

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
#[derive(Debug, Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    in_writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// `cached 1 dirty 1 writeback 0 of 1 pages`; before Linux 6.5 from the pages' flags, or `unknown` where these are not
/// to be had. The range grows to whole pages.
pub fn describe(path: &Path, offset: u64, length: u64) -> Result<String, Failure> {
    let file = File::open(path).map_err(|error| Failure::of(path.display(), error))?;
    let start = offset / PAGE * PAGE;
    let range = Range { offset: start, length: offset.saturating_add(length).saturating_sub(start) };
    let pages = match asked(&file, &range) {
        Err(Errno::ENOSYS) => match flags::read(&file, &range) {
            Ok(pages) => pages,
            Err(_) => return Ok("unknown".to_owned()),
        },
        asked => asked.map_err(|errno| Failure::of(path.display(), errno))?,
    };
    let Pages { cached, dirty, in_writeback, .. } = pages;
    let all = range.length.div_ceil(PAGE);
    Ok(format!("cached {cached} dirty {dirty} writeback {in_writeback} of {all} pages"))
}

/// What cachestat(2) says.
fn asked(file: &File, range: &Range) -> Result<Pages, Errno> {
    let mut pages = Pages::default();
    // SAFETY: both structures are as the kernel has them and live through the call.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const *range, &raw mut pages, 0_u32) };
    Errno::result(result).map(|_| pages)
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

    /// Not on every machine's kernel, and only for root, are both to be had.
    #[test]
    fn what_flags_tell_is_what_the_kernel_says_itself() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 3 * 4096]).expect("a file");
        let file = std::fs::File::open(&path).expect("a file");
        let range = super::Range { offset: 4096, length: 4 * 4096 };
        let (Ok(asked), Ok(read)) = (super::asked(&file, &range), super::flags::read(&file, &range)) else {
            eprintln!("skipped: cachestat(2) or /proc/kpageflags is not to be had here");
            return;
        };
        let told = |pages: &super::Pages| (pages.cached, pages.dirty + pages.in_writeback);
        assert_eq!(told(&read), told(&asked), "what is beyond the file's end is not there");
        assert_eq!(read.cached, 2, "{read:?}");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        assert!(describe(std::path::Path::new("/nowhere/file"), 0, 1).is_err());
    }
}
