//! The guest's first and only root: busybox, `stay`, modules, `init` and the case's script.

use super::case::Case;
use super::daemon::on_path;
use crate::digest;
use crate::kernel::Module;
use anyhow::{Context, Result, bail};
use cpio::newc::{Builder, ModeFileType, trailer};
use object::Object;
use object::read::File as ObjectFile;
use std::io::Write;
use std::path::Path;

/// The guest's helper, built for this very version.
pub const STAY: &[u8] = include_bytes!(env!("STAY"));

/// What runs first in the guest.
const INIT: &str = include_str!("../../../guest-scripts/init");

/// Directories that `init` mounts things on or puts links into.
const DIRECTORIES: [&str; 9] = ["bin", "sbin", "usr", "usr/bin", "usr/sbin", "dev", "proc", "sys", "run"];

/// What `init` and the case add to them.
const OWN_DIRECTORIES: [&str; 2] = ["mnt", "lib"];

/// What every `init` takes in.
const MACHINE: &str = include_str!("../../../guest-scripts/machine");

/// Bytes in a sector of a disk.
const SECTOR: usize = 512;

/// A file of an initramfs.
pub struct Entry<'a> {
    /// Its path, from the root, without a slash before it.
    pub path: String,
    /// What is in it.
    pub bytes: &'a [u8],
    /// Its permissions.
    pub mode: u32,
}

impl<'a> Entry<'a> {
    /// A file that is read.
    pub fn text(path: impl Into<String>, text: &'a str) -> Entry<'a> {
        Entry { path: path.into(), bytes: text.as_bytes(), mode: 0o644 }
    }

    /// A file that is run.
    pub fn program(path: impl Into<String>, text: &'a str) -> Entry<'a> {
        Entry { mode: 0o755, ..Entry::text(path, text) }
    }
}

/// Everything in an initramfs that is neither the kernel's nor the case's, apart from busybox, as a hash.
pub fn own_digest() -> String {
    digest::of([STAY, INIT.as_bytes(), MACHINE.as_bytes()])
}

/// Writes the initramfs of a case.
///
/// # Errors
/// No static busybox is found, or the archive cannot be written.
pub fn write(path: &Path, modules: &[Module], case: &Case) -> Result<()> {
    with_files(case, |files| {
        let init = [Entry::program("init", INIT)];
        pack(path, modules, &OWN_DIRECTORIES, init.iter().chain(files))
    })
}

/// Writes the initramfs of a guest that others go on from, each with a case that is on its second disk.
///
/// # Errors
/// No static busybox is found, or the archive cannot be written.
pub fn write_without_case(path: &Path, modules: &[Module]) -> Result<()> {
    let init = [Entry::program("init", INIT), Entry::text("case-comes-later", "")];
    pack(path, modules, &OWN_DIRECTORIES, &init)
}

/// Writes what such a guest has of its case, in whole sectors of a disk.
///
/// # Errors
/// The archive cannot be written.
pub fn write_case(path: &Path, case: &Case) -> Result<()> {
    with_files(case, |files| {
        let mut archive = Archive { out: Vec::new(), inode: 1 };
        files.iter().try_for_each(|file| archive.file(&file.path, file.bytes, file.mode))?;
        archive.write(path)
    })
}

/// Does something with the files of a case.
fn with_files<T>(case: &Case, take: impl FnOnce(&[Entry<'_>]) -> T) -> T {
    let variables = variables(&case.recipe.variables);
    let filesystem = format!("{}\n", case.recipe.image.filesystem);
    let mut files = vec![
        Entry::text("case.sh", &case.script),
        Entry::text("variables", &variables),
        Entry::text("filesystem", &filesystem),
    ];
    files.extend(case.shared.iter().map(|(name, text)| Entry::text(format!("lib/{name}"), text)));
    take(&files)
}

/// Writes an initramfs (a cpio archive in the "newc" form, as the kernel reads it): what every guest needs, its modules,
/// these directories, and these files.
///
/// # Errors
/// No static busybox is found, or the archive cannot be written.
pub fn pack<'e>(
    path: &Path,
    modules: &[Module],
    directories: &[&str],
    files: impl IntoIterator<Item = &'e Entry<'e>>,
) -> Result<()> {
    let mut archive = Archive { out: Vec::new(), inode: 1 };
    for directory in DIRECTORIES.iter().chain(directories).chain(&["modules"]) {
        archive.directory(directory)?;
    }
    archive.file("bin/busybox", &busybox()?, 0o755)?;
    archive.file("bin/stay", STAY, 0o755)?;
    archive.file("machine", MACHINE.as_bytes(), 0o644)?;
    for file in files {
        archive.file(&file.path, file.bytes, file.mode)?;
    }
    let mut order = String::new();
    for module in modules {
        let name = format!("modules/{}.ko", module.name);
        archive.file(&name, &module.bytes, 0o644)?;
        order += &format!("/{name}\n");
    }
    archive.file("modules/order", order.as_bytes(), 0o644)?;
    archive.write(path)
}

/// What `init` reads before the script, as a shell has it.
fn variables(variables: &[(String, String)]) -> String {
    let quoted = |value: &str| value.replace('\'', "'\\''");
    variables.iter().map(|(name, value)| format!("export {name}='{}'\n", quoted(value))).collect()
}

struct Archive {
    out: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(name, ModeFileType::Directory, 0o755, &[])
    }

    fn file(&mut self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.entry(name, ModeFileType::Regular, mode, bytes)
    }

    /// Ends it, with whole sectors.
    fn write(self, path: &Path) -> Result<()> {
        let mut out = trailer(self.out).context("initramfs")?;
        out.resize(out.len().next_multiple_of(SECTOR), 0);
        std::fs::write(path, out).with_context(|| format!("{}: cannot write it", path.display()))
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32, bytes: &[u8]) -> Result<()> {
        let size =
            u32::try_from(bytes.len()).with_context(|| format!("{name} is too large for an initramfs"))?;
        let builder = Builder::new(name).ino(self.inode).mode(mode).set_mode_file_type(kind);
        self.inode += 1;
        let mut entry = builder.write(&mut self.out, size);
        entry.write_all(bytes).and_then(|()| entry.finish()).with_context(|| format!("initramfs: {name}"))?;
        Ok(())
    }
}

/// A busybox that needs no libraries.
fn busybox() -> Result<Vec<u8>> {
    let Some(path) = on_path("busybox") else {
        bail!("no busybox; `make setup` installs Debian's busybox-static");
    };
    let bytes = std::fs::read(&path).with_context(|| format!("{}: cannot read it", path.display()))?;
    let file = ObjectFile::parse(&*bytes).with_context(|| format!("{}: not a program", path.display()))?;
    if file.section_by_name(".interp").is_some() {
        bail!("{} needs shared libraries; install a static one (Debian: busybox-static)", path.display());
    }
    Ok(bytes)
}
