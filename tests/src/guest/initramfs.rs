//! The root of a guest: busybox, drivers, the exerciser with its libraries, and a script.

use blkstay_lab::kernel::Module;
use cpio::newc::{Builder, ModeFileType, trailer};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes it; `files` are at its root, by their names there.
#[track_caller]
pub fn write(to: &Path, modules: &[Module], programs: &[PathBuf], files: &[(&str, PathBuf)], init: &str) {
    let mut archive = Archive { out: Vec::new(), inode: 1, directories: BTreeSet::new() };
    for directory in ["dev", "mnt", "proc", "run", "sys", "tmp"] {
        archive.directory(directory.as_ref());
    }
    for program in programs {
        let name = program.file_name().expect("a program has a name");
        archive.copy(&Path::new("bin").join(name), program);
        for library in libraries(program) {
            archive.copy(library.strip_prefix("/").expect("an absolute path"), &library);
        }
    }
    for module in modules {
        archive.file(format!("modules/{}.ko", module.name).as_ref(), &module.bytes);
    }
    for (name, path) in files {
        archive.copy(name.as_ref(), path);
    }
    archive.file("init".as_ref(), init.as_bytes());
    std::fs::write(to, trailer(archive.out).expect("the end of the archive")).expect("write the initramfs");
}

/// The libraries that a program needs, its loader among them; none if it is static.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(|word| PathBuf::from(word.trim_end_matches(':'))).collect()
}

struct Archive {
    out: Vec<u8>,
    inode: u32,
    directories: BTreeSet<PathBuf>,
}

impl Archive {
    fn directory(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || !self.directories.insert(path.to_owned()) {
            return;
        }
        self.directory(path.parent().unwrap_or(Path::new("")));
        self.entry(path, ModeFileType::Directory, &[]);
    }

    fn copy(&mut self, name: &Path, from: &Path) {
        let bytes = std::fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.file(name, &bytes);
    }

    fn file(&mut self, name: &Path, bytes: &[u8]) {
        if self.directories.insert(name.to_owned()) {
            self.directory(name.parent().unwrap_or(Path::new("")));
            self.entry(name, ModeFileType::Regular, bytes);
        }
    }

    fn entry(&mut self, name: &Path, kind: ModeFileType, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("a file that fits");
        let builder = Builder::new(&name.display().to_string()).ino(self.inode).mode(0o755);
        self.inode += 1;
        let mut entry = builder.set_mode_file_type(kind).write(&mut self.out, length);
        entry.write_all(bytes).expect("write an entry");
        entry.finish().expect("write an entry");
    }
}
