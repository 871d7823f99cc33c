//! The source of a module, in memory: a few megabytes of text.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Files by their path from the module's directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree(pub BTreeMap<String, String>);

impl Tree {
    /// Reads every file below a directory.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn read(root: &Path) -> Result<Tree> {
        let mut files = BTreeMap::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            let context = || format!("cannot read {}", directory.display());
            for entry in fs::read_dir(&directory).with_context(context)? {
                let path = entry.with_context(context)?.path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                files.insert(name, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Ok(Tree(files))
    }

    /// Makes a directory hold these files. One that has the same text already is not touched, so that `make` builds
    /// only what has changed; what else is there, such as what was built before, stays.
    ///
    /// # Errors
    /// One cannot be written.
    pub fn write(&self, root: &Path) -> Result<()> {
        for (name, text) in &self.0 {
            let path = root.join(name);
            if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                continue;
            }
            let directory = path.parent().unwrap_or(root);
            fs::create_dir_all(directory)
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The names of the files in C.
    pub fn c_files(&self) -> Vec<&str> {
        self.0
            .keys()
            .map(String::as_str)
            .filter(|name| name.ends_with(".c") || name.ends_with(".h"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_written() {
        let root = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        tree.0.insert("file.c".into(), "old\n".into());
        tree.0.insert("sub/same.c".into(), "same\n".into());
        tree.write(root.path()).unwrap();
        assert_eq!(Tree::read(root.path()).unwrap(), tree);
        let time = |name: &str| fs::metadata(root.path().join(name)).unwrap().modified().unwrap();
        let early = std::time::SystemTime::UNIX_EPOCH;
        for name in ["file.c", "sub/same.c"] {
            fs::File::options()
                .write(true)
                .open(root.path().join(name))
                .unwrap()
                .set_modified(early)
                .unwrap();
        }
        tree.0.insert("file.c".into(), "new\n".into());
        tree.write(root.path()).unwrap();
        assert_ne!(time("file.c"), early);
        assert_eq!(time("sub/same.c"), early);
    }
}
