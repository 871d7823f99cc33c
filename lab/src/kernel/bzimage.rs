//! The header of an x86 kernel image (`Documentation/arch/x86/boot.rst` in the kernel's source).

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const BOOT_FLAG_AT: usize = 0x1fe;
const MAGIC_AT: usize = 0x202;
const PROTOCOL_AT: usize = 0x206;
const KERNEL_VERSION_AT: usize = 0x20e;
const LOADFLAGS_AT: usize = 0x211;
const XLOADFLAGS_AT: usize = 0x236;

const LOADED_HIGH: u8 = 1;
const KERNEL_64: u8 = 1;
/// The boot protocol that introduced `xloadflags`.
const PROTOCOL_2_12: u16 = 0x020c;
/// `kernel_version` counts from the end of the first sector.
const SECTOR: usize = 0x200;
/// The version string lies in the setup code, of which there are at most 64 sectors.
const SETUP_BYTES_MAX: u64 = 65 * 512;

/// What a bzImage says about itself.
#[derive(Debug, PartialEq)]
pub struct BzImage {
    /// What `uname -r` will say.
    pub release: Option<String>,
}

impl BzImage {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not a 64-bit x86 bzImage; the message says what it looks like instead.
    pub fn read(path: &Path) -> Result<BzImage> {
        let mut setup = Vec::new();
        if std::fs::metadata(path).is_ok_and(|data| !data.is_file()) {
            bail!("{} is not a file", path.display());
        }
        File::open(path)
            .and_then(|file| file.take(SETUP_BYTES_MAX).read_to_end(&mut setup))
            .with_context(|| format!("cannot read {}", path.display()))?;
        BzImage::parse(&setup).with_context(|| format!("{} cannot be booted", path.display()))
    }

    fn parse(setup: &[u8]) -> Result<BzImage> {
        if bytes(setup, MAGIC_AT) != Some(*b"HdrS") || bytes(setup, BOOT_FLAG_AT) != Some([0x55, 0xaa]) {
            bail!("not a bzImage: no \"HdrS\" in its boot sector{}", looks_like(setup));
        }
        if byte(setup, LOADFLAGS_AT) & LOADED_HIGH == 0 {
            bail!("not a bzImage but a zImage, which loads below 1 MiB");
        }
        if word(setup, PROTOCOL_AT) < PROTOCOL_2_12 || byte(setup, XLOADFLAGS_AT) & KERNEL_64 == 0 {
            bail!("not a 64-bit kernel");
        }
        Ok(BzImage { release: release(setup) })
    }
}

fn bytes<const N: usize>(setup: &[u8], at: usize) -> Option<[u8; N]> {
    setup.get(at..at + N)?.try_into().ok()
}

fn byte(setup: &[u8], at: usize) -> u8 {
    setup.get(at).copied().unwrap_or(0)
}

fn word(setup: &[u8], at: usize) -> u16 {
    bytes(setup, at).map_or(0, u16::from_le_bytes)
}

/// The version string up to its first blank: `6.12.38-amd64 (builder@host) …`.
fn release(setup: &[u8]) -> Option<String> {
    let pointer = word(setup, KERNEL_VERSION_AT);
    if pointer == 0 {
        return None;
    }
    let text = setup.get(usize::from(pointer) + SECTOR..)?;
    let end = text.iter().position(|byte| !byte.is_ascii_graphic())?;
    let release = std::str::from_utf8(&text[..end]).ok()?;
    (!release.is_empty()).then(|| release.to_owned())
}

fn looks_like(start: &[u8]) -> &'static str {
    if start.is_empty() {
        "; the file is empty"
    } else if start.starts_with(b"\x7fELF") {
        "; it is an ELF file: a vmlinux? give the arch/x86/boot/bzImage made from it"
    } else if start.get(0x38..0x3c) == Some(b"ARM\x64") {
        "; it is a kernel for arm64"
    } else if start.starts_with(&[0x1f, 0x8b]) {
        "; it is a gzip file"
    } else if start.starts_with(b"!<arch>\ndebian-binary") {
        "; it is a Debian package: unpack it with `dpkg-deb -x` and give the directory"
    } else if start.starts_with(b"070701") {
        "; it is an initramfs"
    } else {
        ""
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The setup part of a 64-bit bzImage of the release given.
    pub fn synthetic(release: &str) -> Vec<u8> {
        let mut setup = vec![0; 0x400];
        setup[BOOT_FLAG_AT..][..2].copy_from_slice(&[0x55, 0xaa]);
        setup[MAGIC_AT..][..4].copy_from_slice(b"HdrS");
        setup[PROTOCOL_AT..][..2].copy_from_slice(&0x020fu16.to_le_bytes());
        setup[KERNEL_VERSION_AT..][..2].copy_from_slice(&0x100u16.to_le_bytes());
        setup[LOADFLAGS_AT] = LOADED_HIGH;
        setup[XLOADFLAGS_AT] = KERNEL_64;
        let version = format!("{release} (builder@host) #1 SMP");
        setup[0x300..][..version.len()].copy_from_slice(version.as_bytes());
        setup
    }

    fn error(setup: &[u8]) -> String {
        BzImage::parse(setup).unwrap_err().to_string()
    }

    #[test]
    fn the_release_is_the_version_strings_first_word() {
        let image = BzImage::parse(&synthetic("6.12.38+deb13-cloud-amd64")).unwrap();
        assert_eq!(image.release.as_deref(), Some("6.12.38+deb13-cloud-amd64"));
    }

    #[test]
    fn a_version_pointer_beyond_the_setup_code_is_no_release() {
        let mut setup = synthetic("6.12.38");
        setup[KERNEL_VERSION_AT..][..2].copy_from_slice(&0xfff0u16.to_le_bytes());
        assert_eq!(BzImage::parse(&setup).unwrap().release, None);
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        let none = "not a bzImage: no \"HdrS\" in its boot sector";
        assert_eq!(error(b""), format!("{none}; the file is empty"));
        assert_eq!(error(&[0; 4096]), none);
        assert_eq!(
            error(b"\x7fELF\x02\x01\x01"),
            format!("{none}; it is an ELF file: a vmlinux? give the arch/x86/boot/bzImage made from it")
        );
        assert_eq!(error(b"\x1f\x8b\x08"), format!("{none}; it is a gzip file"));
    }

    #[test]
    fn images_that_qemu_would_not_boot_are_refused() {
        let mut low = synthetic("6.12.38");
        low[LOADFLAGS_AT] = 0;
        assert_eq!(error(&low), "not a bzImage but a zImage, which loads below 1 MiB");
        let mut narrow = synthetic("6.12.38");
        narrow[XLOADFLAGS_AT] = 0;
        assert_eq!(error(&narrow), "not a 64-bit kernel");
    }
}
