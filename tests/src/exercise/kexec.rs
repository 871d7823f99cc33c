//! Boots another kernel from this one (kexec), without asking the drivers of this one to let go of anything.

use nix::sys::reboot::{RebootMode, reboot};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Boots a kernel with an initramfs and this one's command line.
#[track_caller]
pub fn run(kernel: &Path, initramfs: &Path) {
    let (kernel, initramfs) =
        (File::open(kernel).expect("the kernel"), File::open(initramfs).expect("its root"));
    let line = std::fs::read_to_string("/proc/cmdline").expect("the command line");
    let line = CString::new(line.trim()).expect("a command line");
    // SAFETY: the descriptors are open, and the line is as long as it says, with its final zero.
    let loaded = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initramfs.as_raw_fd(),
            line.as_bytes_with_nul().len(),
            line.as_ptr(),
            0_usize,
        )
    };
    assert_eq!(loaded, 0, "kexec_file_load: {}", std::io::Error::last_os_error());
    let Err(error) = reboot(RebootMode::RB_KEXEC);
    panic!("reboot: {error}");
}
