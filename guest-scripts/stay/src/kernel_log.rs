//! The kernel's log, from where it was last read: lines of level warning and worse.

use nix::libc;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The mildest level that is kept: `KERN_WARNING`.
const LEVEL_MAX: u32 = 4;

/// Longer than any record of `/dev/kmsg`.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// An open `/dev/kmsg`.
pub struct KernelLog {
    kmsg: File,
}

impl KernelLog {
    /// Opens it at its end: what was logged before is not read.
    pub fn open() -> io::Result<Self> {
        let path = Path::new("/dev/kmsg");
        let mut kmsg = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        kmsg.seek(SeekFrom::End(0))?;
        Ok(KernelLog { kmsg })
    }

    /// Every line since the last call, oldest first. Where the kernel threw records away before they were read, a
    /// line says so.
    pub fn read(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut record = vec![0; RECORD_BYTES_MAX];
        loop {
            match self.kmsg.read(&mut record) {
                Ok(0) => return Ok(lines),
                Ok(count) => lines.extend(line_of(&record[..count])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(lines),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                    lines.push("[stay: kernel log lines were lost before they could be read]".to_owned());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The line of a record, as `dmesg` shows it; `None` if it is milder than a warning, or not the kernel's.
///
/// A record is `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS…;TEXT` and lines of properties that begin with a space
/// (Documentation/ABI/testing/dev-kmsg). Priority is facility times 8 plus level; the kernel is facility 0.
fn line_of(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (prefix, rest) = record.split_once(';')?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let micros: u64 = fields.nth(1)?.parse().ok()?;
    let text = rest.lines().next().unwrap_or_default();
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    (priority <= LEVEL_MAX).then(|| format!("[{seconds:5}.{micros:06}] {text}"))
}

/// Cuts lines into batches of at most `bytes_max` bytes as JSON strings; a line too long for one is cut short.
pub fn batches(lines: Vec<String>, bytes_max: usize) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut left = 0;
    for mut line in lines {
        while json_bytes(&line) > bytes_max {
            line = line.chars().take(line.chars().count() / 2).collect();
        }
        let bytes = json_bytes(&line);
        if bytes > left {
            batches.push(Vec::new());
            left = bytes_max;
        }
        left -= bytes;
        if let Some(batch) = batches.last_mut() {
            batch.push(line);
        }
    }
    batches
}

/// An upper bound of what a string takes in JSON, with quotes and comma: a byte becomes at most `\u00XX`.
fn json_bytes(line: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    line.bytes().map(escaped).sum::<usize>() + 3
}

#[cfg(test)]
mod tests {
    use super::{batches, line_of};

    #[test]
    fn a_warning_is_shown_as_dmesg_shows_it() {
        let record = b"2,1042,12345678,-;Page cache invalidation failure on direct I/O.\n SUBSYSTEM=block\n";
        let line = "[   12.345678] Page cache invalidation failure on direct I/O.";
        assert_eq!(line_of(record).as_deref(), Some(line));
        assert_eq!(line_of(b"4,1,7,-,caller=T1;a;b\n").as_deref(), Some("[    0.000007] a;b"));
    }

    #[test]
    fn milder_lines_and_those_of_programs_are_left_out() {
        assert_eq!(line_of(b"6,1,7,-;EXT4-fs (vda): mounted\n"), None);
        assert_eq!(line_of(b"12,1,7,-;a program wrote this\n"), None);
        assert_eq!(line_of(b"no record"), None);
    }

    #[test]
    fn a_batch_is_no_longer_than_allowed() {
        let lines = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert!(batches(Vec::new(), 10).is_empty());
        assert_eq!(batches(lines(&["ab", "cd", "ef"]), 10), [lines(&["ab", "cd"]), lines(&["ef"])]);
        assert_eq!(batches(lines(&["0123456789"]), 10), [lines(&["01234"])]);
        assert_eq!(batches(lines(&["\"\"\"\"", "é"]), 11), [lines(&["\"\"\"\""]), lines(&["é"])]);
    }
}
