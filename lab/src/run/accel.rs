//! Whether this machine runs guests with KVM or has to emulate.

use super::{process, qemu};
use crate::kernel::Cache;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How a guest's instructions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// By the processor.
    Kvm,
    /// By QEMU's emulator.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        })
    }
}

/// How long a guest may take under KVM to say its first word: a machine whose KVM is broken may
/// say nothing for ever.
const TRIAL: Duration = Duration::from_secs(15);

/// What the guest says on its console when it has no port to the lab.
const FIRST_WORD: &str = "blkstay: problem";

/// Decides by a trial boot, once for each boot of the host. `BLKSTAY_ACCEL=tcg` or `kvm` decides by hand.
pub async fn choose(cache: &Cache, kernel: &Path, initramfs: &Path) -> Accel {
    match std::env::var("BLKSTAY_ACCEL").as_deref() {
        Ok("kvm") => return Accel::Kvm,
        Ok("tcg") => return Accel::Tcg,
        _ => {}
    }
    let usable = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if !usable {
        return Accel::Tcg;
    }
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match cache.load::<Remembered>(REMEMBERED) {
        Some(remembered) if remembered.boot_id == boot_id => return remembered.accel,
        _ => {}
    }
    let accel = if boots(kernel, initramfs).await { Accel::Kvm } else { Accel::Tcg };
    if let Err(error) = cache.store(REMEMBERED, &Remembered { boot_id, accel }) {
        tracing::debug!(%error, "what the trial boot showed could not be kept");
    }
    accel
}

/// What a trial boot showed, under this name in the cache.
const REMEMBERED: &str = "accel.json";

#[derive(Serialize, Deserialize)]
struct Remembered {
    /// The host's, so that another kernel or machine is tried anew.
    boot_id: String,
    accel: Accel,
}

/// Boots a guest without a port: it says so and powers off.
async fn boots(kernel: &Path, initramfs: &Path) -> bool {
    let Ok(program) = qemu::program() else { return false };
    let trial = process::tied(&program)
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-machine", "q35,accel=kvm", "-cpu", "host", "-m", "256M", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 panic=-1 quiet"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match tokio::time::timeout(TRIAL, trial).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).contains(FIRST_WORD),
        _ => false,
    }
}
