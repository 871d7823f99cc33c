//! From a changed source to a module, with what was built before.

use super::toolchain::Compiler;
use crate::kernel::process;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Options of a kernel build that a module for a guest does not need: type and line information, and signatures,
/// for which only the distribution has the key.
const LEFT_OUT: [&str; 3] =
    ["CONFIG_DEBUG_INFO=", "CONFIG_DEBUG_INFO_BTF_MODULES=", "CONFIG_MODULE_SIG_ALL="];

/// Most lines of the compiler's complaints that are shown.
const COMPLAINTS_MAX: usize = 12;

/// Builds the modules in `directory`, whose objects of the last time are used where their sources are the same.
///
/// # Errors
/// It does not compile: the compiler's complaints.
pub fn make(headers: &Path, directory: &Path, compiler: &Compiler) -> Result<Vec<PathBuf>> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.arg("-C").arg(headers).arg(format!("M={}", directory.display()));
    make.arg(format!("CC={}", compiler.command)).args(LEFT_OUT).args(compiler.settings());
    make.arg(format!("-j{jobs}")).arg("modules").stdin(Stdio::null());
    // What a person has set for other builds is not for this one.
    for variable in
        ["MAKEFLAGS", "MFLAGS", "KCFLAGS", "ARCH", "CROSS_COMPILE", "KBUILD_OUTPUT", "O", "W", "V"]
    {
        make.env_remove(variable);
    }
    let output = process::output(&mut make)?;
    if !output.status.success() {
        bail!("it does not build:\n{}", complaints(&output, directory));
    }
    modules(directory)
}

/// The lines that name an error, with paths as the source has them; else the last lines.
fn complaints(output: &Output, directory: &Path) -> String {
    let text = String::from_utf8_lossy(&output.stderr).replace(&format!("{}/", directory.display()), "");
    let lines: Vec<&str> = text.lines().collect();
    let named: Vec<&str> = lines
        .iter()
        .filter(|line| line.contains("error:") || line.contains("ERROR:"))
        .copied()
        .take(COMPLAINTS_MAX)
        .collect();
    match named.as_slice() {
        [] => lines[lines.len().saturating_sub(COMPLAINTS_MAX)..].join("\n"),
        named => named.join("\n"),
    }
}

fn modules(directory: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read {}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension() == Some(OsStr::new("ko")) {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("the build made no module: this kernel does not have it as one");
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn of_a_failed_build_the_errors_are_shown() {
        let stderr = "/b/ext4/file.c: In function 'f':\n/b/ext4/file.c:9:2: error: no semicolon\nmake: *** [x] Error 2\n";
        let output = Output { status: ExitStatus::from_raw(2), stdout: Vec::new(), stderr: stderr.into() };
        assert_eq!(complaints(&output, Path::new("/b/ext4")), "file.c:9:2: error: no semicolon");
        let output = Output { stderr: "make: no rule\n".into(), ..output };
        assert_eq!(complaints(&output, Path::new("/b/ext4")), "make: no rule");
    }
}
