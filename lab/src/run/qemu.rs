//! QEMU: its arguments, and how it is started.

use super::accel::Accel;
use super::daemon::on_path;
use super::lab::Lab;
use crate::kernel::{Kernel, plain};
use anyhow::{Context, Result, anyhow};
use blkstay_engine::policy::CaseDevice;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// What the guest's kernel is told. It panics into a reboot, which ends QEMU. It does not try its timer's interrupts: on a
/// host that is busy an emulated one may be so late that the kernel takes it for broken, and panics. Against attackers that
/// it does not have it does nothing: under emulation that is a tenth of its time.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 oops=panic no_timer_check audit=0 lsm=capability \
     mitigations=off init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off";

/// Memory of a case's guest, in megabytes.
pub const MEMORY_MB: u64 = 512;

/// Has a guest that is kept in a file keep each page in a place of its own there, and none that is empty (QEMU 9.0 and later).
pub const KEPT_APART: [&str; 2] = ["-global", "migration.mapped-ram=on"];

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
        // What it has not does not have to be emulated: page tables of five levels, and checks of whose memory is touched.
        Accel::Tcg => "max,-la57,-smap,-smep",
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

/// What is booted: a kernel, with the `initramfs` of a directory.
pub fn kernel(image: &Path, directory: &Path) -> Vec<OsString> {
    let initramfs = directory.join("initramfs").into();
    ["-kernel".into(), image.into(), "-initrd".into(), initramfs, "-append".into(), COMMAND_LINE.into()]
        .into()
}

/// What QEMU boots: under emulation the kernel without its wrapping, if it can be had.
///
/// # Errors
/// The kernel cannot be read, or the cache not be written.
pub async fn image(kernel: &Kernel, accel: Accel, lab: &Lab) -> Result<PathBuf> {
    let packed = kernel.image.clone();
    if accel == Accel::Kvm {
        return Ok(packed);
    }
    let cache = lab.cache.clone();
    let unpack = move || -> Result<PathBuf> { Ok(plain::unpacked(&packed, &cache)?.unwrap_or(packed)) };
    tokio::task::spawn_blocking(unpack).await.context("unpacking a kernel was cut short")?
}

/// A drive that QEMU serves itself, and the guest only reads.
pub fn archive(path: &Path) -> Vec<OsString> {
    let mut drive = OsString::from("if=none,id=case,format=raw,readonly=on,file=");
    drive.push(value(path));
    vec!["-drive".into(), drive, "-device".into(), "virtio-blk-pci,drive=case".into()]
}

/// A path as the value of one of several options that commas are between: its own are doubled.
pub fn value(path: &Path) -> OsString {
    let parts: Vec<&[u8]> = path.as_os_str().as_bytes().split(|byte| *byte == b',').collect();
    OsString::from_vec(parts.join(&b",,"[..]))
}

/// Starts a guest with the `initramfs` of a directory; what it and QEMU say goes to `console.log` and `qemu.log` of another.
///
/// # Errors
/// QEMU cannot be started.
pub fn boot(command: &mut Command, image: &Path, boots: &Path, directory: &Path) -> Result<Child> {
    let mut console = OsString::from("file:");
    console.push(directory.join("console.log"));
    let errors = std::fs::File::create(directory.join("qemu.log"));
    let errors = errors.context("QEMU's error output cannot be kept")?;
    command.args(kernel(image, boots)).arg("-serial").arg(console);
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
