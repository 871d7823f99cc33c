//! Which modules a guest loads, and in which order.

use super::compression;
use super::modinfo::{ModInfo, canonical};
use super::module_tree::{Driver, Inventory, ModuleTree};
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A driver that a guest cannot do without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Need {
    /// The module's name, when it is one.
    pub module: &'static str,
    /// The configuration option that builds it, with its `CONFIG_`.
    pub option: &'static str,
}

impl Need {
    /// The PCI transport of all virtio devices.
    pub const VIRTIO_PCI: Need = Need::new("virtio_pci", "CONFIG_VIRTIO_PCI");
    /// The disk under test.
    pub const VIRTIO_BLK: Need = Need::new("virtio_blk", "CONFIG_VIRTIO_BLK");
    /// The channel to the host.
    pub const VIRTIO_CONSOLE: Need = Need::new("virtio_console", "CONFIG_VIRTIO_CONSOLE");
    /// The file system ext4.
    pub const EXT4: Need = Need::new("ext4", "CONFIG_EXT4_FS");

    /// Names a driver by its module and its option.
    pub const fn new(module: &'static str, option: &'static str) -> Need {
        Need { module, option }
    }
}

/// A module to load.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Module {
    /// Its name as `/proc/modules` has it.
    pub name: String,
    /// The ELF file, decompressed, as `finit_module` takes it.
    pub bytes: Vec<u8>,
}

/// The modules that make `wanted` work, each after those it depends on; those in `replaced` are taken instead of the
/// tree's own of their names.
pub fn load_order(tree: &ModuleTree, replaced: &[PathBuf], wanted: &[Need]) -> Result<Vec<Module>> {
    let mut inventory = tree.read()?;
    replaced.iter().for_each(|file| inventory.replace(file));
    let mut plan = Plan { inventory: &inventory, seen: HashSet::new(), order: Vec::new() };
    let mut missing = Vec::new();
    for need in wanted {
        match inventory.driver(need.module, need.option) {
            Driver::BuiltIn => {}
            Driver::Module(file) => plan.add(need.module, file)?,
            Driver::Missing(reason) => missing.push(reason),
        }
    }
    if !missing.is_empty() {
        bail!("{}; use a kernel that has this as y, or as m with its modules", missing.join("; "));
    }
    Ok(plan.order)
}

struct Plan<'a> {
    inventory: &'a Inventory,
    seen: HashSet<String>,
    order: Vec<Module>,
}

impl Plan<'_> {
    /// Adds a module after everything it needs; a second time does nothing.
    fn add(&mut self, name: &str, file: &Path) -> Result<()> {
        let name = canonical(name);
        if !self.seen.insert(name.clone()) {
            return Ok(());
        }
        let bytes = compression::read(file)?;
        let info = ModInfo::read(&bytes).with_context(|| file.display().to_string())?;
        for softdep in &info.softdeps_pre {
            self.add_softdep(softdep)?;
        }
        for dependency in &info.depends {
            self.add_dependency(&name, dependency)?;
        }
        self.order.push(Module { name, bytes });
        Ok(())
    }

    fn add_dependency(&mut self, of: &str, dependency: &str) -> Result<()> {
        match self.inventory.file(dependency) {
            Some(file) => self.add(dependency, file),
            None if self.inventory.is_builtin(dependency) => Ok(()),
            None => {
                bail!("module {of} depends on {dependency}, which is neither built in nor among the modules")
            }
        }
    }

    /// Adds what a softdep names: a module or an alias. Not to have it is fine.
    fn add_softdep(&mut self, softdep: &str) -> Result<()> {
        if let Some(file) = self.inventory.file(softdep) {
            return self.add(softdep, file);
        }
        if self.inventory.is_builtin(softdep) {
            return Ok(());
        }
        match self.module_with_alias(softdep)? {
            Some((name, file)) => self.add(&name, &file),
            None => Ok(()),
        }
    }

    /// A module that has the alias. Only those whose names contain it are opened: thousands would take seconds.
    ///
    /// Of several implementations of one algorithm (`crypto-crc32c`) the generic one works on every CPU.
    fn module_with_alias(&self, alias: &str) -> Result<Option<(String, PathBuf)>> {
        let part = alias.strip_prefix("crypto-").unwrap_or(alias);
        let mut names = self.inventory.names_containing(part);
        names.sort_by_key(|name| !name.ends_with("_generic"));
        for name in names {
            let Some(file) = self.inventory.file(name) else { continue };
            let info =
                ModInfo::read(&compression::read(file)?).with_context(|| file.display().to_string())?;
            if info.aliases.iter().any(|known| canonical(known) == canonical(alias)) {
                return Ok(Some((name.to_owned(), file.to_owned())));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::modinfo::tests::synthetic;
    use super::super::module_tree::tests::holding;
    use super::*;
    use tempfile::TempDir;

    /// A kernel 6.12 with a module for each pair of a path below `kernel/` and its `.modinfo`.
    fn kernel(builtin: &str, modules: &[(&str, &str)]) -> (TempDir, ModuleTree) {
        let elf: Vec<(String, Vec<u8>)> = modules
            .iter()
            .map(|(file, modinfo)| (format!("lib/modules/6.12/kernel/{file}"), synthetic(modinfo)))
            .collect();
        let mut files: Vec<(&str, &[u8])> =
            elf.iter().map(|(file, elf)| (file.as_str(), elf.as_slice())).collect();
        files.push(("boot/vmlinuz-6.12", b""));
        files.push(("lib/modules/6.12/modules.builtin", builtin.as_bytes()));
        let root = holding(&files);
        let tree = ModuleTree::near_image(&root.path().join("boot/vmlinuz-6.12"), Some("6.12")).unwrap();
        (root, tree)
    }

    fn names(modules: &[Module]) -> Vec<&str> {
        modules.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let (_root, tree) = kernel(
            "kernel/lib/crc16.ko\n",
            &[
                ("ext4.ko", "depends=jbd2,crc16,mbcache\0"),
                ("jbd2.ko", "depends=\0"),
                ("mbcache.ko", "depends=\0"),
                ("virtio-blk.ko", "depends=jbd2\0"),
            ],
        );
        let modules = load_order(&tree, &[], &[Need::EXT4, Need::VIRTIO_BLK]).unwrap();
        assert_eq!(names(&modules), ["jbd2", "mbcache", "ext4", "virtio_blk"]);
        assert_eq!(modules[0].bytes, synthetic("depends=\0"));
    }

    #[test]
    fn a_softdep_on_an_alias_takes_the_generic_implementation() {
        let (_root, tree) = kernel(
            "",
            &[
                ("ext4.ko", "softdep=pre: crypto-crc32c not-there\0depends=\0"),
                ("crc32c-intel.ko", "alias=crypto-crc32c\0"),
                ("crc32c_generic.ko", "alias=crypto-crc32c\0"),
                ("libcrc32c.ko", "softdep=pre: crc32c\0"),
            ],
        );
        assert_eq!(names(&load_order(&tree, &[], &[Need::EXT4]).unwrap()), ["crc32c_generic", "ext4"]);
    }

    #[test]
    fn softdeps_in_a_circle_end() {
        let (_root, tree) =
            kernel("", &[("ext4.ko", "softdep=pre: jbd2\0"), ("jbd2.ko", "softdep=pre: ext4\0")]);
        assert_eq!(names(&load_order(&tree, &[], &[Need::EXT4]).unwrap()), ["jbd2", "ext4"]);
    }

    #[test]
    fn every_missing_option_is_named() {
        let (root, tree) = kernel("kernel/virtio_pci.ko\n", &[]);
        let error = load_order(&tree, &[], &[Need::VIRTIO_PCI, Need::VIRTIO_BLK, Need::EXT4])
            .unwrap_err()
            .to_string();
        let place = root.path().canonicalize().unwrap().join("lib/modules/6.12");
        let place = place.display();
        assert_eq!(
            error,
            format!(
                "CONFIG_VIRTIO_BLK: neither built in nor a module in {place}; \
                 CONFIG_EXT4_FS: neither built in nor a module in {place}; \
                 use a kernel that has this as y, or as m with its modules"
            )
        );
    }

    #[test]
    fn a_missing_dependency_is_an_error() {
        let (_root, tree) = kernel("", &[("ext4.ko", "depends=jbd2\0")]);
        assert_eq!(
            load_order(&tree, &[], &[Need::EXT4]).unwrap_err().to_string(),
            "module ext4 depends on jbd2, which is neither built in nor among the modules"
        );
    }

    #[test]
    fn a_damaged_module_is_an_error_that_names_its_file() {
        let (root, tree) = kernel("", &[("ext4.ko", "")]);
        std::fs::write(root.path().join("lib/modules/6.12/kernel/ext4.ko"), "junk").unwrap();
        let error = format!("{:#}", load_order(&tree, &[], &[Need::EXT4]).unwrap_err());
        assert!(error.contains("ext4.ko: not an ELF file"), "{error}");
    }
}
