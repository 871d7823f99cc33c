//! The guest's root: busybox, drivers, and this program with the libraries that it needs.

use super::load::IN_GUEST;
use anyhow::{Context, Result, ensure};
use blkstay_lab::kernel::Module;
use cpio::newc::{Builder, ModeFileType, trailer};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Writes an initramfs whose `init` runs the load for that long, and then ends the guest.
///
/// # Errors
/// There is no busybox, or something cannot be read or written.
pub fn write(path: &Path, modules: &[Module], each: Duration) -> Result<()> {
    let mut archive = Archive { out: Vec::new(), inode: 1 };
    let own = std::env::current_exe().context("the path of this program")?;
    let libraries = libraries(&own)?;
    for directory in ["bin", "dev", "modules", "proc", "sys"] {
        archive.directory(Path::new(directory))?;
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    let busybox =
        std::env::split_paths(&search).map(|directory| directory.join("busybox")).find(|at| at.exists());
    archive.copy("bin/busybox", &busybox.context("no busybox; `make setup` installs it")?)?;
    archive.copy("bin/blkstay-bench", &own)?;
    let mut made: Vec<PathBuf> = Vec::new();
    for library in &libraries {
        let inside = library.strip_prefix("/").unwrap_or(library);
        let above: Vec<&Path> = inside.ancestors().skip(1).filter(|above| *above != Path::new("")).collect();
        for directory in above.into_iter().rev() {
            if !made.iter().any(|one| one == directory) {
                archive.directory(directory)?;
                made.push(directory.to_owned());
            }
        }
        archive.copy(&inside.display().to_string(), library)?;
    }
    let mut insert = String::new();
    for module in modules {
        let name = format!("modules/{}.ko", module.name);
        archive.file(&name, &module.bytes, 0o644)?;
        insert += &format!("insmod /{name}\n");
    }
    let init = format!(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\nmount -t devtmpfs devtmpfs /dev\n\
         mount -t proc proc /proc\n{insert}{IN_GUEST}={} blkstay-bench >/dev/ttyS0 2>&1\npoweroff -f\n",
        each.as_millis()
    );
    archive.file("init", init.as_bytes(), 0o755)?;
    let out = trailer(archive.out).context("initramfs")?;
    std::fs::write(path, out).with_context(|| format!("{}: cannot write it", path.display()))
}

/// The libraries that a program needs, its loader among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    ensure!(output.status.success(), "ldd {}: {}", program.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}

struct Archive {
    out: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn directory(&mut self, path: &Path) -> Result<()> {
        self.entry(&path.display().to_string(), ModeFileType::Directory, 0o755, &[])
    }

    fn copy(&mut self, name: &str, from: &Path) -> Result<()> {
        let bytes = std::fs::read(from).with_context(|| format!("{}: cannot read it", from.display()))?;
        self.file(name, &bytes, 0o755)
    }

    fn file(&mut self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.entry(name, ModeFileType::Regular, mode, bytes)
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32, bytes: &[u8]) -> Result<()> {
        let size = u32::try_from(bytes.len()).with_context(|| format!("{name} is too large"))?;
        let builder = Builder::new(name).ino(self.inode).mode(mode).set_mode_file_type(kind);
        self.inode += 1;
        let mut entry = builder.write(&mut self.out, size);
        entry.write_all(bytes).and_then(|()| entry.finish()).with_context(|| format!("initramfs: {name}"))?;
        Ok(())
    }
}
