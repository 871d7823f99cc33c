//! QEMU: its arguments, and how it is started.

use super::accel::Accel;
use super::daemon::on_path;
use anyhow::{Context, Result, anyhow};
use blkstay_engine::policy::CaseDevice;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// What the guest's kernel is told. It panics into a reboot, which ends QEMU. It does not try its timer's interrupts: on a
/// host that is busy an emulated one may be so late that the kernel takes it for broken, and panics.
const COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 oops=panic no_timer_check mitigations=off audit=0 selinux=0 apparmor=0";

/// The emulator, from the `PATH`.
///
/// # Errors
/// It is not installed.
pub fn program() -> Result<PathBuf> {
    let name = "qemu-system-x86_64";
    on_path(name).ok_or_else(|| anyhow!("{name} is not installed; `make setup` installs it"))
}

/// The machine. Its memory is shared, as vhost-user needs it.
pub fn machine(accel: Accel, cpus: u16, memory_mb: u64) -> Vec<OsString> {
    let cpu = match accel {
        Accel::Kvm => "host",
        Accel::Tcg => "max",
    };
    let memory = format!("memory-backend-memfd,id=mem,size={memory_mb}M,share=on");
    let machine = format!("q35,accel={accel},memory-backend=mem");
    let arguments = [
        ["-machine", &machine],
        ["-cpu", cpu],
        ["-smp", &cpus.to_string()],
        ["-m", &memory_mb.to_string()],
        ["-object", &memory],
        ["-display", "none"],
    ];
    let flags = ["-nodefaults", "-no-user-config", "-no-reboot"];
    flags.iter().chain(arguments.iter().flatten()).map(OsString::from).collect()
}

/// A disk that a daemon serves.
pub fn disk(id: &str, socket: &Path, device: CaseDevice) -> Vec<OsString> {
    let queues = device.num_queues.unwrap_or(1);
    let size = device.queue_size.map_or_else(String::new, |size| format!(",queue-size={size}"));
    vec![
        "-chardev".into(),
        chardev(id, socket),
        "-device".into(),
        format!("vhost-user-blk-pci,chardev={id},num-queues={queues}{size}").into(),
    ]
}

/// The port on which the guest talks to a daemon.
pub fn port(socket: &Path) -> Vec<OsString> {
    vec![
        "-device".into(),
        "virtio-serial-pci".into(),
        "-chardev".into(),
        chardev("port", socket),
        "-device".into(),
        "virtserialport,chardev=port,name=blkstay".into(),
    ]
}

fn chardev(id: &str, socket: &Path) -> OsString {
    let mut argument = OsString::from(format!("socket,id={id},path="));
    argument.push(socket);
    argument
}

/// Starts a guest with the `initramfs` of a directory; what it and QEMU say goes to `console.log` and `qemu.log` there.
///
/// # Errors
/// QEMU cannot be started.
pub fn boot(mut command: Command, kernel: &Path, directory: &Path) -> Result<Child> {
    let mut console = OsString::from("file:");
    console.push(directory.join("console.log"));
    let errors = std::fs::File::create(directory.join("qemu.log"));
    let errors = errors.context("QEMU's error output cannot be kept")?;
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(directory.join("initramfs"));
    command.args(["-append", COMMAND_LINE]).arg("-serial").arg(console);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    command.spawn().context("cannot start QEMU")
}

/// The last lines of what a guest, QEMU and daemons said, for messages about guests that were lost.
pub fn last_words(directory: &Path, files: &[&str]) -> String {
    let read = |name: &&str| std::fs::read(directory.join(name)).unwrap_or_default();
    let said = files.iter().map(read).collect::<Vec<_>>().concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // What a guest prints must not steer the user's terminal.
    lines[lines.len().saturating_sub(3)..].join(" / ").replace(char::is_control, "?")
}
