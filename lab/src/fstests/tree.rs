//! The user's checkout of fstests.

use anyhow::{Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What `make` in it makes, and `check` cannot do without.
const BUILT: [&str; 3] = ["ltp/fsstress", "ltp/fsx", "tests/generic/group.list"];

/// What Debian calls the packages that are needed to build it.
const BUILD_PACKAGES: &str = "automake gcc libacl1-dev libaio-dev libcap-dev libgdbm-compat-dev libgdbm-dev libtool \
                              libtool-bin liburing-dev make pkgconf uuid-dev xfslibs-dev";

/// Looks whether it is one, and built.
///
/// # Errors
/// It is not; the message says what to do.
pub fn check(tree: &Path) -> Result<()> {
    let at = |name: &str| tree.join(name);
    if !is_program(&at("check")) || !at("tests/generic").is_dir() || !at("common").is_dir() {
        bail!(
            "{}: no checkout of fstests: it should have `check`, `common/` and `tests/generic/`",
            tree.display()
        );
    }
    let missing: Vec<&str> = BUILT.into_iter().filter(|name| !at(name).is_file()).collect();
    if !missing.is_empty() {
        bail!(
            "{}: it is not built: {} is missing; install what Debian calls {BUILD_PACKAGES}, and run `make` in it",
            tree.display(),
            missing.join(", ")
        );
    }
    Ok(())
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_no_checkout_or_not_built_is_told_with_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let refused = || check(directory.path()).expect_err("refused").to_string();
        assert!(refused().contains("no checkout of fstests"), "{}", refused());
        for name in ["common", "ltp", "tests/generic"] {
            fs::create_dir_all(directory.path().join(name)).expect("a directory");
        }
        let program = directory.path().join("check");
        fs::write(&program, "").expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        fs::write(directory.path().join("ltp/fsx"), "").expect("a file");
        let words =
            "it is not built: ltp/fsstress, tests/generic/group.list is missing; install what Debian calls";
        assert!(refused().contains(words) && refused().ends_with("run `make` in it"), "{}", refused());
        for name in BUILT {
            fs::write(directory.path().join(name), "").expect("a file");
        }
        check(directory.path()).expect("a checkout that is built");
    }
}
