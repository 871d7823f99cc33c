//! Images of directories: ext4, so that a guest needs no driver for them that it does not need anyway.

use crate::kernel::process;
use crate::run::find_program;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Room beside the files, in bytes.
const SPARE_BYTES: u64 = 64 << 20;

/// Inodes beside those of the files.
const SPARE_INODES: u64 = 4096;

/// Makes an image with the files of a directory in it, or an empty one, with `spare_bytes` of room.
///
/// # Errors
/// A file cannot be read, or mke2fs is missing or fails.
pub fn make(directory: Option<&Path>, image: &Path, spare_bytes: u64) -> Result<()> {
    let (bytes, files) = directory.map_or(Ok((0, 0)), size)?;
    let file = fs::File::create(image).with_context(|| format!("{}: cannot make it", image.display()))?;
    // An inode is 256 bytes, and there are bitmaps and tables.
    let bytes = bytes + bytes / 16 + files * 512 + SPARE_BYTES + spare_bytes;
    file.set_len(bytes.next_multiple_of(4096))
        .with_context(|| format!("{}: cannot size it", image.display()))?;
    let mut command = Command::new(find_program("mke2fs")?);
    command.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0"]);
    command.args(["-N", &(files + files / 4 + SPARE_INODES).to_string()]);
    if let Some(directory) = directory {
        command.arg("-d").arg(directory);
    }
    process::stdout(command.arg(image)).map(drop)
}

/// Bytes in whole blocks, and how many files there are.
fn size(directory: &Path) -> Result<(u64, u64)> {
    let (mut bytes, mut files) = (0, 0);
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let cannot = || format!("{}: cannot read it", directory.display());
        for entry in fs::read_dir(&directory).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let kind =
                entry.metadata().with_context(|| format!("{}: cannot read it", entry.path().display()))?;
            files += 1;
            bytes += kind.len().next_multiple_of(4096);
            if kind.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    Ok((bytes, files))
}

/// Makes an image consistent again that a guest was ended on: mounted as it is, what is in it would be written over.
///
/// # Errors
/// e2fsck is missing.
pub fn repair(image: &Path) -> Result<()> {
    // Its status says what it repaired; whoever reads the image next tells what remains.
    process::output(Command::new(find_program("e2fsck")?).args(["-f", "-y"]).arg(image)).map(drop)
}

/// Takes all files out of an image that a guest has written, also of one that was ended in the middle.
///
/// # Errors
/// debugfs is missing or fails.
pub fn unpack(image: &Path, into: &Path) -> Result<()> {
    repair(image)?;
    fs::create_dir_all(into).with_context(|| format!("{}: cannot make it", into.display()))?;
    let listed = process::stdout(Command::new(find_program("debugfs")?).args(["-R", "ls -p /"]).arg(image))?;
    let names = listed.lines().filter_map(|line| line.split('/').nth(5));
    for name in names.filter(|name| !["", ".", "..", "lost+found"].contains(name)) {
        let request = format!("rdump \"/{name}\" \"{}\"", into.display());
        process::stdout(Command::new(find_program("debugfs")?).args(["-R", &request]).arg(image))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_again() {
        let scratch = tempfile::tempdir().expect("a directory");
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir_all(at("in/deep/deeper")).expect("directories");
        fs::write(at("in/deep/deeper/file"), "some words").expect("a file");
        make(Some(&at("in")), &at("image"), 0).expect("an image");
        unpack(&at("image"), &at("out")).expect("its files");
        assert_eq!(fs::read_to_string(at("out/deep/deeper/file")).expect("the file"), "some words");
        assert!(!at("out/lost+found").exists());
    }
}
