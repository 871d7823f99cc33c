//! Results of I/O in the words that scripts compare: `ok 4096`, `error EIO`.

use nix::errno::Errno;
use std::io;

/// What came of an I/O.
pub type Outcome = Result<u64, Errno>;

/// The outcome of a call of the standard library.
pub fn outcome(result: io::Result<usize>) -> Outcome {
    result.map(|count| count as u64).map_err(errno_of)
}

/// The number behind an error of the standard library; `EIO` if there is none.
pub fn errno_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// The outcome of a request of `length` bytes in words: `ok 4096`, `short 512` or `error EIO`.
pub fn words(outcome: Outcome, length: u64) -> String {
    match outcome {
        Ok(count) if count == length => format!("ok {count}"),
        Ok(count) => format!("short {count}"),
        Err(errno) => format!("error {errno:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{errno_of, words};
    use nix::errno::Errno;
    use std::io;

    #[test]
    fn outcomes_are_named() {
        assert_eq!(words(Ok(4096), 4096), "ok 4096");
        assert_eq!(words(Ok(512), 4096), "short 512");
        assert_eq!(words(Err(Errno::EIO), 4096), "error EIO");
        assert_eq!(errno_of(io::Error::from_raw_os_error(22)), Errno::EINVAL);
        assert_eq!(errno_of(io::ErrorKind::Other.into()), Errno::EIO);
    }
}
