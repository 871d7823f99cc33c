//! Builds `stay`, the guest's helper, as a static program, to be put into `blkstay` itself: whoever
//! has the one binary has all that a guest needs, and it fits the daemon it talks to.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Static glibc has no target of its own, and proc macros cannot be built for it on the host: hence
/// a build of its own for a named target.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for source in ["guest-scripts/stay", "engine/src", "engine/Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("stay-build");
    let status = Command::new(std::env::var_os("CARGO").expect("cargo sets CARGO"))
        .args(["build", "--package", "stay", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(&out)
        .current_dir(&root)
        .env_remove("RUSTFLAGS")
        // Scripts start it some twenty times an attempt: what would be relocated each time stays where it is.
        // Set when clippy checks this workspace; the helper is to be compiled, not checked.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Ctarget-feature=+crt-static\u{1f}-Crelocation-model=static\u{1f}-Cstrip=symbols",
        )
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "the guest's helper `stay` could not be built: see above");
    println!("cargo::rustc-env=STAY={}", out.join(TARGET).join("release/stay").display());
}
