//! Decompression of module files, by what they hold rather than by their names.

use anyhow::{Context, Result};
use std::fs;
use std::io::Read;
use std::path::Path;

const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Reads a file, decompressing it if it is an xz, zstd or gzip file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    decompress(bytes).with_context(|| format!("cannot decompress {}", path.display()))
}

/// The same of bytes.
pub fn decompress(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    if bytes.starts_with(XZ) {
        lzma_rust2::XzReader::new(bytes.as_slice(), true).read_to_end(&mut plain)?;
    } else if bytes.starts_with(ZSTD) {
        ruzstd::decoding::StreamingDecoder::new(bytes.as_slice())?.read_to_end(&mut plain)?;
    } else if bytes.starts_with(GZIP) {
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain)?;
    } else {
        return Ok(bytes);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf module` through `xz`, `zstd` and `gzip -n`.
    const MODULE_XZ: &[u8] = b"\xfd7zXZ\x00\x00\x01i\x22\xde6\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x05module\x00\x00\x00(&$\x0c\x00\x01\x1a\x06\xc5\xea\xc8y\x90B\x99\x0d\x01\x00\x00\x00\x00\x01YZ";
    const MODULE_ZSTD: &[u8] = b"(\xb5/\xfd\x04X1\x00\x00module]\x89\xa9\x8d";
    const MODULE_GZIP: &[u8] =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xcdO)\xcdI\x05\x00(&$\x0c\x06\x00\x00\x00";

    #[test]
    fn every_compression_of_modules_is_known() {
        for compressed in [MODULE_XZ, MODULE_ZSTD, MODULE_GZIP, b"module"] {
            assert_eq!(decompress(compressed.to_vec()).unwrap(), b"module");
        }
    }

    #[test]
    fn damage_is_an_error() {
        for compressed in [MODULE_XZ, MODULE_ZSTD, MODULE_GZIP] {
            let mut short = compressed.to_vec();
            short.truncate(short.len() - 5);
            assert!(decompress(short).is_err());
        }
    }
}
