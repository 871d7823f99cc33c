//! What a module says about itself, in its ELF section `.modinfo`.

use anyhow::{Context, Result};
use object::{Object, ObjectSection};
use std::path::Path;

/// The parts of `.modinfo` that decide what is loaded, and in which order.
#[derive(Debug, Default, PartialEq)]
pub struct ModInfo {
    /// Modules whose symbols this one uses, under canonical names.
    pub depends: Vec<String>,
    /// Modules or aliases to load first if they exist, as written.
    pub softdeps_pre: Vec<String>,
    /// Other names of the module, as written.
    pub aliases: Vec<String>,
}

impl ModInfo {
    /// Reads the section from a module, decompressed.
    pub fn read(module: &[u8]) -> Result<ModInfo> {
        let file = object::File::parse(module).context("not an ELF file")?;
        let section = file.section_by_name(".modinfo").context("no .modinfo section: not a kernel module")?;
        Ok(ModInfo::parse(section.data().context("damaged .modinfo section")?))
    }

    /// Parses the section's bytes: `key=value` strings, each ended by NUL.
    fn parse(section: &[u8]) -> ModInfo {
        let mut info = ModInfo::default();
        for (key, value) in entries(section) {
            match key {
                "depends" => {
                    info.depends.extend(value.split(',').filter(|name| !name.is_empty()).map(canonical))
                }
                "softdep" => info.softdeps_pre.extend(softdeps_pre(value)),
                "alias" => info.aliases.push(value.to_owned()),
                _ => {}
            }
        }
        info
    }
}

/// The kernel that a module is for, and how both are configured: one that differs is not loaded.
pub fn vermagic(module: &[u8]) -> Result<String> {
    let file = object::File::parse(module).context("not an ELF file")?;
    let section = file.section_by_name(".modinfo").context("no .modinfo section: not a kernel module")?;
    let data = section.data().context("damaged .modinfo section")?;
    let magic = entries(data).find(|(key, _)| *key == "vermagic").map(|(_, value)| value.trim().to_owned());
    magic.context("no vermagic")
}

/// A module's name as the kernel has it: files may be spelled with `-` where the kernel says `_`.
pub fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether an uncompressed module file is that of the module with this name.
pub fn is_file_of(file: &Path, name: &str) -> bool {
    file.file_stem().is_some_and(|stem| canonical(&stem.to_string_lossy()) == name)
}

/// The `key=value` strings in a `.modinfo` section or in `modules.builtin.modinfo`.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    bytes.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
}

/// The names after `pre:` in a softdep like `pre: a b post: c`.
fn softdeps_pre(value: &str) -> Vec<String> {
    let mut pre = false;
    let mut names = Vec::new();
    for word in value.split_whitespace() {
        match word {
            "pre:" => pre = true,
            "post:" => pre = false,
            name if pre => names.push(name.to_owned()),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use object::write;
    use object::{Architecture, BinaryFormat, Endianness, SectionKind};

    /// An ELF file with nothing but this `.modinfo`.
    pub fn synthetic(modinfo: &str) -> Vec<u8> {
        let mut file = write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let section = file.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
        file.append_section_data(section, modinfo.as_bytes(), 1);
        file.write().unwrap()
    }

    #[test]
    fn dependencies_softdeps_and_aliases_are_read() {
        let module = synthetic(
            "license=GPL\0softdep=pre: crypto-crc32c nls post: late\0alias=fs-ext4\0alias=ext3\0\
             depends=jbd2,crc16,mb-cache\0name=ext4\0",
        );
        let info = ModInfo::read(&module).unwrap();
        assert_eq!(info.depends, ["jbd2", "crc16", "mb_cache"]);
        assert_eq!(info.softdeps_pre, ["crypto-crc32c", "nls"]);
        assert_eq!(info.aliases, ["fs-ext4", "ext3"]);
    }

    #[test]
    fn no_dependencies_are_written_as_an_empty_list() {
        assert_eq!(ModInfo::read(&synthetic("depends=\0name=virtio_blk\0")).unwrap(), ModInfo::default());
    }

    #[test]
    fn other_files_are_refused() {
        let error = ModInfo::read(b"#!/bin/sh\n").unwrap_err().to_string();
        assert_eq!(error, "not an ELF file");
        let empty =
            write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little).write().unwrap();
        let error = ModInfo::read(&empty).unwrap_err().to_string();
        assert_eq!(error, "no .modinfo section: not a kernel module");
    }
}
