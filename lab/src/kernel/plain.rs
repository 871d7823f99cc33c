//! A kernel without its wrapping. An emulated guest takes two seconds to unpack its own kernel; the host takes less
//! than one, once.

use super::cache::Cache;
use super::compression;
use crate::digest;
use anyhow::{Context, Result};
use object::LittleEndian;
use object::elf::NoteType;
use object::read::elf::{ElfFile64, ProgramHeader};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Fields of a bzImage's header (`Documentation/arch/x86/boot.rst`).
const SETUP_SECTORS_AT: usize = 0x1f1;
const PAYLOAD_OFFSET_AT: usize = 0x248;
const PAYLOAD_LENGTH_AT: usize = 0x24c;

/// Sectors of setup code where the header says 0.
const SETUP_SECTORS: usize = 4;
const SECTOR: usize = 512;

/// The note by which QEMU finds where to enter an unpacked kernel (Xen's `PHYS32_ENTRY`, `CONFIG_PVH`).
const ENTRY_NOTE: (&[u8], NoteType) = (b"Xen", NoteType(18));

/// Where these kernels are in the cache.
const DIRECTORY: &str = "unpacked";

/// The kernel in a bzImage as an ELF file that QEMU can enter; none if it has none, or is packed in a way not known here.
///
/// # Errors
/// The image cannot be read, or the cache not be written.
pub fn unpacked(image: &Path, cache: &Cache) -> Result<Option<PathBuf>> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let path = cache.directory(DIRECTORY)?.join(digest::of([&bytes]));
    if path.is_file() {
        return Ok(Some(path));
    }
    let Some(kernel) = payload(&bytes).and_then(|packed| compression::decompress(packed.to_vec()).ok())
    else {
        return Ok(None);
    };
    if !can_be_entered(&kernel) {
        return Ok(None);
    }
    let write = || -> Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(path.parent().context("no directory")?)?;
        file.write_all(&kernel)?;
        file.persist(&path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(path))
}

/// What the image's own code would unpack.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let sectors = match usize::from(*image.get(SETUP_SECTORS_AT)?) {
        0 => SETUP_SECTORS,
        sectors => sectors,
    };
    let from = ((sectors + 1) * SECTOR).checked_add(number(PAYLOAD_OFFSET_AT)?)?;
    image.get(from..from.checked_add(number(PAYLOAD_LENGTH_AT)?)?)
}

fn can_be_entered(kernel: &[u8]) -> bool {
    let Ok(file) = ElfFile64::<LittleEndian>::parse(kernel) else { return false };
    let (endian, data) = (file.endian(), file.data());
    let mut notes = file.elf_program_headers().iter().filter_map(|header| header.notes(endian, data).ok()?);
    notes.any(|mut notes| {
        std::iter::from_fn(|| notes.next().ok().flatten())
            .any(|note| (note.name(), note.n_type(endian)) == ENTRY_NOTE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with this payload after one sector of setup code.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR];
        image[SETUP_SECTORS_AT] = 1;
        image[PAYLOAD_OFFSET_AT..PAYLOAD_OFFSET_AT + 4].copy_from_slice(&16u32.to_le_bytes());
        let length = u32::try_from(payload.len()).expect("short");
        image[PAYLOAD_LENGTH_AT..PAYLOAD_LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
        image.extend([[0; 16].as_slice(), payload, b"relocations"].concat());
        image
    }

    #[test]
    fn the_payload_is_what_the_header_says() {
        assert_eq!(payload(&image(b"kernel")), Some(b"kernel".as_slice()));
        assert_eq!(payload(&image(b"kernel")[..2 * SECTOR + 18]), None, "it is cut short");
        assert_eq!(payload(b"MZ"), None);
    }

    #[test]
    fn what_is_no_kernel_that_can_be_entered_is_left_packed() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::at(&directory.path().join("cache")).expect("a cache");
        let path = directory.path().join("bzImage");
        for payload in [b"LZ4?".as_slice(), b"\x28\xb5\x2f\xfdbroken", b"\x7fELF"] {
            fs::write(&path, image(payload)).expect("written");
            assert_eq!(unpacked(&path, &cache).expect("no error"), None, "{payload:?}");
        }
    }
}
