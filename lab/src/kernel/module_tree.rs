//! Where a kernel's modules are, and which drivers it has without them.

use super::config::{Config, Setting};
use super::modinfo::{canonical, entries};
use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A directory of modules; its contents are read when they are asked for.
#[derive(Clone, Debug)]
pub struct ModuleTree {
    root: PathBuf,
    layout: Layout,
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// `lib/modules/RELEASE`.
    Installed,
    /// The directory a kernel was built in.
    Build,
}

impl ModuleTree {
    /// Looks for modules that belong to the image at `path`.
    pub fn near_image(path: &Path, release: Option<&str>) -> Option<ModuleTree> {
        let path = path.canonicalize().ok()?;
        ModuleTree::of_build(&path)
            .or_else(|| ModuleTree::around_image(&path, release))
            .or_else(|| ModuleTree::beside_boot(&path, release?))
    }

    /// The build tree of `…/arch/x86/boot/bzImage`.
    fn of_build(image: &Path) -> Option<ModuleTree> {
        let root = image.ancestors().nth(4)?;
        if image.parent()? != root.join("arch/x86/boot") {
            return None;
        }
        let config = root.join(".config");
        config.is_file().then(|| ModuleTree {
            root: root.to_owned(),
            layout: Layout::Build,
            config: Some(config),
        })
    }

    /// `lib/modules/RELEASE` of `lib/modules/RELEASE/vmlinuz`.
    fn around_image(image: &Path, release: Option<&str>) -> Option<ModuleTree> {
        let root = image.parent()?;
        let is_tree = root.join("modules.builtin").is_file() || root.join("kernel").is_dir();
        is_tree.then(|| ModuleTree::installed(root.to_owned(), &[], release))
    }

    /// `lib/modules/RELEASE` of `boot/vmlinuz-RELEASE`, or of an image beside `lib`.
    fn beside_boot(image: &Path, release: &str) -> Option<ModuleTree> {
        let directory = image.parent()?;
        let tops = [directory.parent(), Some(directory)];
        let roots = tops.into_iter().flatten().flat_map(|top| {
            ["lib/modules", "usr/lib/modules"].map(|modules| top.join(modules).join(release))
        });
        let root = roots.into_iter().find(|root| root.is_dir())?;
        Some(ModuleTree::installed(root, &[directory], Some(release)))
    }

    fn installed(root: PathBuf, config_directories: &[&Path], release: Option<&str>) -> ModuleTree {
        let near =
            config_directories.iter().zip(release).map(|(at, release)| at.join(format!("config-{release}")));
        let config = near.chain([root.join("config")]).find(|path| path.is_file());
        ModuleTree { root, layout: Layout::Installed, config }
    }

    /// Reads what there is.
    pub fn read(&self) -> Result<Inventory> {
        let builtin_list = fs::read_to_string(self.root.join("modules.builtin")).ok();
        let config = self.config.as_deref().and_then(Config::read);
        let files = match self.layout {
            Layout::Installed => installed_files(&self.root)?,
            Layout::Build => built_files(&self.root),
        };
        let modinfo = fs::read(self.root.join("modules.builtin.modinfo")).unwrap_or_default();
        Ok(Inventory {
            files,
            knows_builtin: builtin_list.is_some() || config.is_some(),
            builtin: builtin_names(&builtin_list.unwrap_or_default(), &modinfo),
            config,
            place: self.describe(),
        })
    }

    /// Copies all modules to where an installed kernel has them, `lib/modules/RELEASE`, with what depmod reads.
    pub fn copy_to(&self, directory: &Path) -> Result<()> {
        let inventory = self.read()?;
        let lists = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
        let lists = lists.iter().map(|name| self.root.join(name)).filter(|path| path.is_file());
        let below = match self.layout {
            Layout::Installed => directory.to_owned(),
            Layout::Build => directory.join("kernel"),
        };
        for file in inventory.files.into_values() {
            let within = file.strip_prefix(&self.root).context("a module outside its tree")?;
            copy(&file, &below.join(within))?;
        }
        for list in lists {
            let name = list.file_name().unwrap_or_default();
            copy(&list, &directory.join(name))?;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        match self.layout {
            Layout::Installed => self.root.display().to_string(),
            Layout::Build => format!("{} (`make modules` builds it)", self.root.display()),
        }
    }
}

/// The drivers a kernel has, built in or as modules.
pub struct Inventory {
    files: HashMap<String, PathBuf>,
    builtin: HashSet<String>,
    /// Is there any list of what is built in?
    knows_builtin: bool,
    config: Option<Config>,
    place: String,
}

/// What a kernel has by some name.
#[derive(Debug, PartialEq)]
pub enum Driver<'a> {
    /// Part of the kernel image.
    BuiltIn,
    /// A module, in this file.
    Module(&'a Path),
    /// Not there, for this reason.
    Missing(String),
}

impl Inventory {
    /// Finds a driver by its module's name and its configuration option.
    pub fn driver(&self, module: &str, option: &str) -> Driver<'_> {
        if let Some(file) = self.file(module) {
            return Driver::Module(file);
        }
        let setting = self.config.as_ref().map(|config| config.get(option));
        if self.is_builtin(module) || setting == Some(Setting::BuiltIn) {
            return Driver::BuiltIn;
        }
        match setting {
            Some(Setting::Module) => {
                Driver::Missing(format!("{option}=m, but {module}.ko is not in {}", self.place))
            }
            Some(_) => Driver::Missing(format!("{option} is not set")),
            None => Driver::Missing(format!("{option}: neither built in nor a module in {}", self.place)),
        }
    }

    /// The file of a module, by its name in either spelling.
    pub fn file(&self, module: &str) -> Option<&Path> {
        self.files.get(&canonical(module)).map(PathBuf::as_path)
    }

    /// Takes another file for the module that it is named after.
    pub fn replace(&mut self, file: &Path) {
        if let Some(name) = file.file_name().and_then(|name| module_name(name.to_str()?)) {
            self.files.insert(name, file.to_owned());
        }
    }

    /// Is a module or alias of this name built in? Says yes when nothing is known about what is built in.
    pub fn is_builtin(&self, name: &str) -> bool {
        !self.knows_builtin || self.builtin.contains(&canonical(name))
    }

    /// The modules whose names contain `part`, sorted.
    pub fn names_containing(&self, part: &str) -> Vec<&str> {
        let part = canonical(part);
        let mut names: Vec<&str> =
            self.files.keys().map(String::as_str).filter(|name| name.contains(&part)).collect();
        names.sort_unstable();
        names
    }
}

/// A link where that can be, else a copy: nobody writes to either.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory).with_context(|| format!("{}: cannot make it", directory.display()))?;
    }
    let copied = fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop));
    copied.with_context(|| format!("{}: cannot copy it to {}", from.display(), to.display()))
}

/// All `.ko*` files below `root`, by module name.
fn installed_files(root: &Path) -> Result<HashMap<String, PathBuf>> {
    let mut files = HashMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries =
            fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
            // `build` and `source` are links out of the tree: not followed.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(entry.path());
            } else if let Some(name) = entry.file_name().to_str().and_then(module_name) {
                files.insert(name, entry.path());
            }
        }
    }
    Ok(files)
}

/// The modules that `modules.order` lists and that have been built; `.o` there stands for `.ko` in newer kernels.
fn built_files(root: &Path) -> HashMap<String, PathBuf> {
    let order = fs::read_to_string(root.join("modules.order")).unwrap_or_default();
    let paths = order.lines().map(|line| {
        let line = line.strip_prefix("kernel/").unwrap_or(line);
        root.join(line).with_extension("ko")
    });
    paths
        .filter(|path| path.is_file())
        .filter_map(|path| Some((module_name(path.file_name()?.to_str()?)?, path)))
        .collect()
}

/// The canonical module name of a file like `dm-mod.ko.xz`.
fn module_name(file: &str) -> Option<String> {
    let (stem, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| canonical(stem))
}

/// Names from `modules.builtin` and aliases from `modules.builtin.modinfo`, in canonical spelling.
fn builtin_names(list: &str, modinfo: &[u8]) -> HashSet<String> {
    let names = list.lines().filter_map(|line| module_name(line.rsplit('/').next()?));
    let aliases =
        entries(modinfo).filter(|(key, _)| key.ends_with(".alias")).map(|(_, alias)| canonical(alias));
    names.chain(aliases).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A directory with these files in it.
    pub fn holding(files: &[(&str, &[u8])]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, contents) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        root
    }

    fn inventory(root: &TempDir, image: &str, release: &str) -> Inventory {
        ModuleTree::near_image(&root.path().join(image), Some(release)).unwrap().read().unwrap()
    }

    #[test]
    fn an_unpacked_package_says_what_is_built_in_and_what_is_a_module() {
        let root = holding(&[
            ("boot/vmlinuz-6.12", b""),
            ("boot/config-6.12", b"CONFIG_EXT4_FS=y\nCONFIG_BTRFS_FS=m\n"),
            ("lib/modules/6.12/modules.builtin", b"kernel/drivers/virtio/virtio-pci.ko\n"),
            ("lib/modules/6.12/modules.builtin.modinfo", b"crc32c_generic.alias=crypto-crc32c\0"),
            ("lib/modules/6.12/kernel/drivers/block/virtio-blk.ko.xz", b""),
        ]);
        let inventory = inventory(&root, "boot/vmlinuz-6.12", "6.12");
        let tree = root.path().canonicalize().unwrap().join("lib/modules/6.12");
        assert_eq!(inventory.driver("virtio_pci", "CONFIG_VIRTIO_PCI"), Driver::BuiltIn);
        assert_eq!(inventory.driver("ext4", "CONFIG_EXT4_FS"), Driver::BuiltIn);
        assert_eq!(
            inventory.driver("virtio_blk", "CONFIG_VIRTIO_BLK"),
            Driver::Module(&tree.join("kernel/drivers/block/virtio-blk.ko.xz"))
        );
        let reason = format!("CONFIG_BTRFS_FS=m, but btrfs.ko is not in {}", tree.display());
        assert_eq!(inventory.driver("btrfs", "CONFIG_BTRFS_FS"), Driver::Missing(reason));
        assert_eq!(
            inventory.driver("xfs", "CONFIG_XFS_FS"),
            Driver::Missing("CONFIG_XFS_FS is not set".into())
        );
        assert!(inventory.is_builtin("crypto-crc32c"));
    }

    #[test]
    fn modules_lie_around_an_image_in_their_own_directory() {
        let root = holding(&[
            ("usr/lib/modules/7.3/vmlinuz", b""),
            ("usr/lib/modules/7.3/config", b"CONFIG_EXT4_FS=y\n"),
            ("usr/lib/modules/7.3/kernel/virtio_blk.ko.zst", b""),
        ]);
        let inventory = inventory(&root, "usr/lib/modules/7.3/vmlinuz", "7.3");
        assert!(inventory.file("virtio-blk").is_some());
        assert_eq!(inventory.driver("ext4", "CONFIG_EXT4_FS"), Driver::BuiltIn);
    }

    #[test]
    fn a_build_tree_offers_what_has_been_built() {
        let root = holding(&[
            ("arch/x86/boot/bzImage", b""),
            (".config", b"CONFIG_EXT4_FS=m\nCONFIG_VIRTIO_BLK=m\nCONFIG_VIRTIO_PCI=y\n"),
            ("modules.order", b"drivers/block/virtio_blk.o\nkernel/fs/ext4/ext4.ko\n"),
            ("drivers/block/virtio_blk.ko", b""),
        ]);
        let inventory = inventory(&root, "arch/x86/boot/bzImage", "7.3");
        assert!(inventory.file("virtio_blk").is_some());
        assert_eq!(inventory.driver("virtio_pci", "CONFIG_VIRTIO_PCI"), Driver::BuiltIn);
        let Driver::Missing(reason) = inventory.driver("ext4", "CONFIG_EXT4_FS") else { panic!("found") };
        assert!(reason.ends_with("(`make modules` builds it)"), "{reason}");
    }

    #[test]
    fn a_bare_image_has_no_tree() {
        let root = holding(&[("bzImage", b"")]);
        assert!(ModuleTree::near_image(&root.path().join("bzImage"), Some("6.12")).is_none());
    }
}
