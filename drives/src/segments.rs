//! Where a request has its data in memory, in a form that the kernel takes.

use std::ptr;

/// How many bytes of zeros can be written from one place.
const ZEROS: usize = 1 << 16;

/// How many such places are given to the kernel at once.
const ZEROS_REPEATED: usize = 64;

#[repr(align(4096))]
struct Zeros([u8; ZEROS]);

static ALL_ZEROS: Zeros = Zeros([0; ZEROS]);

/// Pieces of memory, used from the front. Its memory is kept when it is cleared.
#[derive(Debug, Default)]
pub struct Segments {
    vectors: Vec<libc::iovec>,
    /// The first that is not used up.
    first: usize,
    /// The bytes from there on.
    bytes: u64,
}

// SAFETY: the pointers are to memory that any thread may use, as `push` demands.
unsafe impl Send for Segments {}

impl Segments {
    /// Adds a piece at the end.
    ///
    /// # Safety
    /// `length` bytes at `at` are valid, for any thread, until this is cleared, dropped or used up: for reads, and for
    /// writes if data is read into them. Others may read and write them at the same time.
    pub unsafe fn push(&mut self, at: *mut u8, length: usize) {
        if length > 0 {
            self.vectors.push(libc::iovec { iov_base: at.cast(), iov_len: length });
            self.bytes = self.bytes.saturating_add(length as u64);
        }
    }

    /// The bytes that are left.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Forgets all pieces.
    pub fn clear(&mut self) {
        self.vectors.clear();
        self.first = 0;
        self.bytes = 0;
    }

    /// Zeros to be written from, `bytes` of them or as many as make a large write.
    pub(crate) fn zeros(bytes: u64) -> Segments {
        let mut zeros = Segments::default();
        let most = (ZEROS * ZEROS_REPEATED) as u64;
        let mut left = bytes.min(most) as usize;
        while left > 0 {
            let length = left.min(ZEROS);
            // SAFETY: the zeros are there for ever, and are only written from.
            unsafe { zeros.push(ALL_ZEROS.0.as_ptr().cast_mut(), length) };
            left -= length;
        }
        zeros
    }

    /// What is left, in a form that the kernel takes; as much as it takes at once.
    pub(crate) fn vectors(&self) -> &[libc::iovec] {
        let left = self.vectors.get(self.first..).unwrap_or_default();
        left.get(..libc::UIO_MAXIOV as usize).unwrap_or(left)
    }

    /// Whether every address and every length that is left is a multiple of `align`.
    pub(crate) fn aligned(&self, align: usize) -> bool {
        let odd = |vector: &libc::iovec| {
            !vector.iov_base.addr().is_multiple_of(align) || !vector.iov_len.is_multiple_of(align)
        };
        !self.vectors.iter().skip(self.first).any(odd)
    }

    /// Uses up the first `bytes`, or all if there are fewer.
    pub(crate) fn advance(&mut self, bytes: u64) {
        let mut left = bytes.min(self.bytes);
        self.bytes -= left;
        while let Some(vector) = self.vectors.get_mut(self.first) {
            if left < vector.iov_len as u64 {
                vector.iov_base = vector.iov_base.wrapping_byte_add(left as usize);
                vector.iov_len -= left as usize;
                return;
            }
            left -= vector.iov_len as u64;
            self.first += 1;
        }
    }

    /// The first `bytes` of what is left, which are used up by that.
    pub(crate) fn take(&mut self, bytes: u64) -> Segments {
        let mut taken = Segments::default();
        while taken.bytes < bytes {
            let Some(vector) = self.vectors.get(self.first) else { break };
            let length = (bytes - taken.bytes).min(vector.iov_len as u64);
            // SAFETY: it is a part of a piece that was pushed here.
            unsafe { taken.push(vector.iov_base.cast(), length as usize) };
            self.advance(length);
        }
        taken
    }

    /// Puts bytes from `from` into all that is left.
    ///
    /// # Safety
    /// As many bytes as are left here are valid at `from` for reads.
    pub(crate) unsafe fn fill(&mut self, mut from: *const u8) {
        for vector in self.vectors.iter().skip(self.first) {
            // SAFETY: the piece is valid (`push`), `from` has as many bytes (the caller). A piece that overlaps what
            // is copied (a guest's mistake) is copied as by `memmove`. What others write meanwhile makes the bytes
            // undefined in value, not in meaning: nothing here looks at them.
            unsafe {
                libc::memmove(vector.iov_base, from.cast(), vector.iov_len);
                from = from.add(vector.iov_len);
            }
        }
        self.clear();
    }

    /// Puts the bytes of all that is left to `to`.
    ///
    /// # Safety
    /// As many bytes as are left here are valid at `to` for writes.
    pub(crate) unsafe fn drain(&mut self, mut to: *mut u8) {
        for vector in self.vectors.iter().skip(self.first) {
            // SAFETY: as in `fill`, the other way round.
            unsafe {
                libc::memmove(to.cast(), vector.iov_base, vector.iov_len);
                to = to.add(vector.iov_len);
            }
        }
        self.clear();
    }

    /// Puts as many bytes as are left from a buffer into them.
    pub(crate) fn fill_from(&mut self, buffer: &[u8]) {
        let mut part = self.take(buffer.len() as u64);
        // SAFETY: the part is no longer than the buffer.
        unsafe { part.fill(buffer.as_ptr()) };
    }

    /// Puts the next bytes into all of a buffer, or as many as are left.
    pub(crate) fn drain_into(&mut self, buffer: &mut [u8]) {
        let mut part = self.take(buffer.len() as u64);
        // SAFETY: the part is no longer than the buffer.
        unsafe { part.drain(buffer.as_mut_ptr()) };
    }
}

/// Does something with one buffer as segments, which it is for no longer than that.
pub(crate) fn with_buffer<T>(buffer: &mut [u8], use_it: impl FnOnce(&mut Segments) -> T) -> T {
    let mut segments = Segments::default();
    // SAFETY: the buffer is borrowed for as long as the segments live.
    unsafe { segments.push(buffer.as_mut_ptr(), buffer.len()) };
    use_it(&mut segments)
}

/// Fills `length` bytes at `at` with zeros.
///
/// # Safety
/// They are valid for writes. Others may use them at the same time.
pub(crate) unsafe fn clear_memory(at: *mut u8, length: usize) {
    // SAFETY: as the caller says.
    unsafe { ptr::write_bytes(at, 0, length) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &mut [Vec<u8>]) -> Segments {
        let mut segments = Segments::default();
        for piece in pieces {
            // SAFETY: the tests keep the pieces longer.
            unsafe { segments.push(piece.as_mut_ptr(), piece.len()) };
        }
        segments
    }

    #[test]
    fn what_is_taken_in_parts_is_the_whole() {
        let mut pieces = [vec![1, 2, 3], vec![], vec![4], vec![5, 6, 7, 8, 9]];
        for step in 1..=10 {
            let mut segments = of(&mut pieces);
            assert_eq!(segments.bytes(), 9);
            let mut seen = Vec::new();
            while segments.bytes() > 0 {
                let mut part = segments.take(step);
                let mut bytes = vec![0; part.bytes() as usize];
                part.drain_into(&mut bytes);
                seen.extend(bytes);
            }
            assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9], "in steps of {step}");
            assert!(segments.vectors().is_empty());
        }
    }

    #[test]
    fn a_part_that_was_moved_is_not_moved_again() {
        let mut pieces = [vec![0; 3], vec![0; 4]];
        let mut segments = of(&mut pieces);
        segments.advance(2);
        segments.fill_from(&[7; 3]);
        assert_eq!(segments.bytes(), 2);
        assert_eq!(pieces, [vec![0, 0, 7], vec![7, 7, 0, 0]]);
    }

    #[test]
    fn zeros_are_as_long_as_asked_but_for_very_long_ones() {
        assert_eq!(Segments::zeros(100_000).bytes(), 100_000);
        assert_eq!(Segments::zeros(u64::MAX).bytes(), (ZEROS * ZEROS_REPEATED) as u64);
        assert!(Segments::zeros(1 << 20).aligned(4096));
    }
}
