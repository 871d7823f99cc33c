//! One guest on one disk: a daemon, a QEMU, and the words between them and the lab.

use super::accel::Accel;
use super::case::Case;
use super::client::Client;
use super::daemon::{Daemon, Sockets, on_path};
use super::lab::Lab;
use super::subject::Subject;
use super::traffic::{self, Traffic};
use super::{disk, initramfs, process};
use crate::kernel::{Kernel, plain};
use anyhow::{Context, Result, anyhow, ensure};
use blkstay_engine::policy::CaseDevice;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Memory of a guest, in megabytes.
const MEMORY_MB: u32 = 512;

/// What the guest's kernel is told. It panics into a reboot, which ends QEMU. It does not try its timer's interrupts: on a
/// host that is busy an emulated one may be so late that the kernel takes it for broken, and panics.
const COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 oops=panic no_timer_check mitigations=off audit=0 selinux=0 apparmor=0";

/// How long QEMU and the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// A guest that has been started. Dropping it ends it.
pub struct Guest {
    /// The lab's connection to the daemon.
    pub client: Client,
    qemu: Child,
    daemon: Daemon,
    accel: Accel,
    directory: Directory,
    /// Sockets get a short path of their own: a kept directory's may be too long for one.
    _sockets: TempDir,
}

/// Where a guest's files are: kept for the user, or gone with the guest.
enum Directory {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Directory {
    fn make(keep: Option<&Path>) -> Result<Directory> {
        match keep {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .with_context(|| format!("{}: cannot make it", path.display()))?;
                // An earlier run's journal would be appended to.
                for name in ["journal", "console.log", "attempts.jsonl"] {
                    let old = path.join(name);
                    ensure!(
                        !old.exists(),
                        "{}: an earlier run's file is there; choose another directory",
                        old.display()
                    );
                }
                Ok(Directory::Kept(path.to_owned()))
            }
            None => {
                Ok(Directory::Temporary(TempDir::with_prefix("blkstay-").context("no temporary directory")?))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Directory::Kept(path) => path,
            Directory::Temporary(directory) => directory.path(),
        }
    }
}

impl Guest {
    /// Makes the disk, starts the daemon and boots the guest; does not wait for it.
    ///
    /// # Errors
    /// Something that is needed is missing; the message says what.
    pub async fn start(case: &Case, subject: &Subject, lab: &Lab, keep: Option<&Path>) -> Result<Guest> {
        let program = qemu()?;
        let directory = Directory::make(keep)?;
        let at = |name: &str| directory.path().join(name);
        initramfs::write(&at("initramfs"), &subject.modules, case)?;
        disk::make(&case.recipe.image, &at("disk.img")).await?;
        let kernel = &subject.kernel;
        let accel = lab.accel(&kernel.image, &at("initramfs")).await;

        let sockets_at = TempDir::with_prefix("blkstay-").context("no temporary directory")?;
        let sockets = Sockets::within(sockets_at.path());
        let daemon = Daemon::start(&at("disk.img"), &at("journal"), &at("daemon.log"), &sockets).await?;
        let mut client = Client::connect(&sockets.control).await?;
        client.load(&case.policy.written).await?;
        lab.progress.say(&format!("booting {} ({accel})", kernel.release.as_deref().unwrap_or(&kernel.spec)));
        let mut command = process::tied(&program);
        command.args(machine(accel, lab.cpus)).args(disk_and_port(&sockets, case.recipe.device));
        command.arg("-kernel").arg(image(kernel, accel, lab).await?).arg("-initrd").arg(at("initramfs"));
        command.args(["-append", COMMAND_LINE]);
        let qemu = spawn(command, &at("console.log"), &at("qemu.log"))?;
        Ok(Guest { client, qemu, daemon, accel, directory, _sockets: sockets_at })
    }

    /// How it runs.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// Waits for something the guest has to do; `None` if it dies first, or takes longer than `limit`.
    ///
    /// # Errors
    /// The daemon refuses or is gone.
    pub async fn reach(&mut self, event: &str, limit: Duration) -> Result<Option<()>> {
        tokio::select! {
            reached = self.client.until(event) => reached.map(Some),
            _ = self.qemu.wait() => Ok(None),
            () = tokio::time::sleep(limit) => Ok(None),
        }
    }

    /// The last lines of what guest, QEMU and daemon said, for messages about guests that were lost.
    pub fn last_words(&self) -> String {
        let read = |name| std::fs::read(self.directory.path().join(name)).unwrap_or_default();
        let said = [read("console.log"), read("qemu.log"), read("daemon.log")].concat();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        // What a guest prints must not steer the user's terminal.
        lines[lines.len().saturating_sub(3)..].join(" / ").replace(char::is_control, "?")
    }

    /// Ends it; its journal is complete then, and what the disk did in these phases is counted.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn end(mut self, phases: &[String]) -> Result<Traffic> {
        process::end(&mut self.qemu, PATIENCE).await;
        self.daemon.end().await;
        if matches!(self.directory, Directory::Kept(_)) {
            let _ = std::fs::remove_file(self.directory.path().join("initramfs"));
        }
        traffic::read(&self.directory.path().join("journal"), phases)
    }
}

/// The emulator, from the `PATH`.
///
/// # Errors
/// It is not installed.
pub fn qemu() -> Result<PathBuf> {
    let name = "qemu-system-x86_64";
    on_path(name).ok_or_else(|| anyhow!("{name} is not installed; `make setup` installs it"))
}

/// What QEMU boots: under emulation the kernel without its wrapping, if it can be had.
async fn image(kernel: &Kernel, accel: Accel, lab: &Lab) -> Result<PathBuf> {
    let packed = kernel.image.clone();
    if accel == Accel::Kvm {
        return Ok(packed);
    }
    let cache = lab.cache.clone();
    let unpack = move || -> Result<PathBuf> { Ok(plain::unpacked(&packed, &cache)?.unwrap_or(packed)) };
    tokio::task::spawn_blocking(unpack).await.context("unpacking a kernel was cut short")?
}

/// The machine. Its memory is shared, as vhost-user needs it.
fn machine(accel: Accel, cpus: u16) -> Vec<OsString> {
    let cpu = match accel {
        Accel::Kvm => "host",
        Accel::Tcg => "max",
    };
    let memory = format!("memory-backend-memfd,id=mem,size={MEMORY_MB}M,share=on");
    let machine = format!("q35,accel={accel},memory-backend=mem");
    let arguments = [
        ["-machine", &machine],
        ["-cpu", cpu],
        ["-smp", &cpus.to_string()],
        ["-m", &MEMORY_MB.to_string()],
        ["-object", &memory],
        ["-display", "none"],
    ];
    let flags = ["-nodefaults", "-no-user-config", "-no-reboot"];
    flags.iter().chain(arguments.iter().flatten()).map(OsString::from).collect()
}

/// The disk, and the port on which the guest talks to the daemon.
fn disk_and_port(sockets: &Sockets, device: CaseDevice) -> Vec<OsString> {
    let queues = device.num_queues.unwrap_or(1);
    let size = device.queue_size.map_or_else(String::new, |size| format!(",queue-size={size}"));
    let chardev = |id: &str, path: &Path| {
        let mut argument = OsString::from(format!("socket,id={id},path="));
        argument.push(path);
        argument
    };
    vec![
        "-chardev".into(),
        chardev("disk", &sockets.disk),
        "-device".into(),
        format!("vhost-user-blk-pci,chardev=disk,num-queues={queues}{size}").into(),
        "-device".into(),
        "virtio-serial-pci".into(),
        "-chardev".into(),
        chardev("port", &sockets.guest),
        "-device".into(),
        "virtserialport,chardev=port,name=blkstay".into(),
    ]
}

fn spawn(mut command: Command, console: &Path, errors: &Path) -> Result<Child> {
    let mut argument = OsString::from("file:");
    argument.push(console);
    let errors = std::fs::File::create(errors).context("QEMU's error output cannot be kept")?;
    command.arg("-serial").arg(argument);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    command.spawn().context("cannot start QEMU")
}
