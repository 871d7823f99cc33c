//! What a person asks for: which image, served how.

use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// How a disk is to be kept.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Where its bytes are.
    pub image: ImageSpec,
    /// A file is not opened for writing, and may have other readers. It is the front end that refuses writes.
    pub read_only: bool,
    /// Go past the host's page cache.
    pub direct: bool,
    /// The way to a file.
    pub aio: Aio,
    /// Keep what is written apart from the image.
    pub overlay: Option<Overlay>,
    /// What becomes of that.
    pub end: End,
    /// How many threads collect what has ended; at least one.
    pub lanes: usize,
    /// The disk's logical block in bytes, 512 or 4096: requests are multiples of it.
    pub block_bytes: u32,
}

impl Spec {
    /// An image with nothing special about it: writable, buffered, one lane, blocks of 512 bytes.
    pub fn new(image: ImageSpec) -> Spec {
        Spec {
            image,
            read_only: false,
            direct: false,
            aio: Aio::Auto,
            overlay: None,
            end: End::Drop,
            lanes: 1,
            block_bytes: 512,
        }
    }
}

/// Where a disk's bytes are. As text: a path, `memory:SIZE` or `null:SIZE`; a file of such a name is `./memory:1G`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSpec {
    /// A raw file or a block device.
    File(PathBuf),
    /// Memory of so many bytes, zeros at first and gone at the end.
    Memory(u64),
    /// Nothing, so many bytes of it: writes are dropped, reads leave the buffers as they are.
    Null(u64),
}

impl FromStr for ImageSpec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<ImageSpec> {
        let sized = |size: &str, example| {
            let bytes = parse_size(size).with_context(|| format!("{text}: give a size, like {example}"))?;
            ensure!(bytes > 0, "{text}: a disk has at least one block; give a size, like {example}");
            Ok(bytes)
        };
        if let Some(size) = text.strip_prefix("memory:") {
            return sized(size, "memory:64M").map(ImageSpec::Memory);
        }
        if let Some(size) = text.strip_prefix("null:") {
            return sized(size, "null:1T").map(ImageSpec::Null);
        }
        ensure!(!text.is_empty(), "an image is a path, memory:SIZE or null:SIZE");
        Ok(ImageSpec::File(text.into()))
    }
}

impl fmt::Display for ImageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageSpec::File(path) => path.display().fmt(f),
            ImageSpec::Memory(bytes) => write!(f, "memory:{bytes}"),
            ImageSpec::Null(bytes) => write!(f, "null:{bytes}"),
        }
    }
}

/// The way requests go to a file. As text: `auto`, `io_uring` or `threads`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aio {
    /// io_uring, or threads where it is refused.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// A few threads that block.
    Threads,
}

impl FromStr for Aio {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Aio> {
        Ok(match text {
            "auto" => Aio::Auto,
            "io_uring" => Aio::Uring,
            "threads" => Aio::Threads,
            _ => bail!("{text:?}: the way to a file is auto, io_uring or threads"),
        })
    }
}

/// Where an overlay keeps what is written. As text: `memory` or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// In memory.
    Memory,
    /// In a sparse file that has no name once it is open, so that nothing is left of it however the daemon ends. In a
    /// directory, or by a path where nothing is yet.
    File(PathBuf),
}

impl FromStr for Overlay {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Overlay> {
        ensure!(!text.is_empty(), "an overlay is kept in `memory`, or in a file: give its path");
        Ok(if text == "memory" { Overlay::Memory } else { Overlay::File(text.into()) })
    }
}

/// What becomes of an overlay when [`crate::Drive::end`] is called. If it never is (the daemon was killed), it is dropped:
/// the base is not written before. As text: `drop` or `commit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It is forgotten.
    #[default]
    Drop,
    /// What was written goes to the base.
    Commit,
}

impl FromStr for End {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<End> {
        Ok(match text {
            "drop" => End::Drop,
            "commit" => End::Commit,
            _ => bail!("{text:?}: an overlay ends by drop or by commit"),
        })
    }
}

/// Reads a number of bytes: `4096`, `64M`, `1G`; K, M, G and T are powers of 1024.
///
/// # Errors
/// It is none, or more than fits a disk's 63 bits.
pub fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        unit => bail!("{text:?}: {unit:?} is no unit; a size is a number, perhaps with K, M, G or T"),
    };
    let number: u64 = digits.parse().ok().with_context(|| {
        format!("{text:?} is not a size: a size is a whole number, perhaps with K, M, G or T")
    })?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok());
    bytes.with_context(|| format!("{text:?}: more than a disk can have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("3k", 3072), ("64M", 64 << 20), ("1G", 1 << 30), ("8T", 8 << 40)]
        {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "1 G", "1GB", "1P", "8388608T", "99999999999999999999", "1é"] {
            parse_size(text).expect_err(text);
        }
    }

    #[test]
    fn images_are_told_apart_by_their_beginnings() {
        let read = |text: &str| text.parse::<ImageSpec>();
        assert_eq!(read("memory:1M").unwrap(), ImageSpec::Memory(1 << 20));
        assert_eq!(read("null:1T").unwrap(), ImageSpec::Null(1 << 40));
        assert_eq!(read("./memory:1M").unwrap(), ImageSpec::File("./memory:1M".into()));
        assert_eq!(read("disk.img").unwrap(), ImageSpec::File("disk.img".into()));
        assert!(format!("{:#}", read("memory:lots").unwrap_err()).contains("like memory:64M"));
        assert!(format!("{:#}", read("null:0").unwrap_err()).contains("at least one block"));
        read("").unwrap_err();
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["disk.img", "memory:4096", "null:512"] {
            assert_eq!(text.parse::<ImageSpec>().unwrap().to_string(), text);
        }
    }
}
