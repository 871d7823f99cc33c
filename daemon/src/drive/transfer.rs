//! Moves data between a file and a guest's memory.

use crate::chain::Submitted;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use vm_memory::GuestMemoryBackend;

/// `preadv` or `pwritev`.
type Vectored = unsafe extern "C" fn(i32, *const libc::iovec, i32, libc::off_t) -> isize;

/// Moves a request's data between the file and the guest's memory, without a copy in between.
pub fn transfer(file: &File, request: &Submitted, vectored: Vectored) -> io::Result<()> {
    let mut slices = Vec::with_capacity(request.segments().len());
    for (at, length) in request.segments() {
        for slice in request.memory().get_slices(*at, *length) {
            slices.push(slice.map_err(io::Error::other)?);
        }
    }
    let guards: Vec<_> = slices.iter().map(|slice| slice.ptr_guard_mut()).collect();
    let mut vectors: Vec<libc::iovec> = guards
        .iter()
        .map(|guard| libc::iovec { iov_base: guard.as_ptr().cast(), iov_len: guard.len() })
        .collect();
    let mut offset = request.asked().range.offset;
    let mut rest = vectors.as_mut_slice();
    while !rest.is_empty() {
        let count = rest.len().min(libc::UIO_MAXIOV as usize) as i32;
        // SAFETY: each vector lies within the guest's memory, which `request` keeps mapped, and
        // which the kernel, like the guest, may change at any time without breaking a Rust value.
        let moved = unsafe { vectored(file.as_raw_fd(), rest.as_ptr(), count, offset as libc::off_t) };
        match moved {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the image ends there")),
            1.. => {
                offset += moved as u64;
                rest = advance(rest, moved as usize);
            }
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// What is left of some vectors after their first bytes were moved.
fn advance(mut vectors: &mut [libc::iovec], mut moved: usize) -> &mut [libc::iovec] {
    while let Some(first) = vectors.first_mut() {
        if moved < first.iov_len {
            first.iov_base = first.iov_base.wrapping_byte_add(moved);
            first.iov_len -= moved;
            break;
        }
        moved -= first.iov_len;
        vectors = &mut vectors[1..];
    }
    vectors
}
