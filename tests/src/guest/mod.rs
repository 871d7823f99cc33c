//! A guest in QEMU that does what a script says, and talks with the test over its console.

mod initramfs;
mod qmp;

pub use qmp::Qmp;

use crate::exercise::SAYS;
use blkstay_lab::kernel::{self, Cache, Module, Need};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// How long a guest may be silent while something is expected of it: `BLKSTAY_PATIENCE` seconds.
#[track_caller]
pub fn patience() -> Duration {
    Duration::from_secs(crate::number("BLKSTAY_PATIENCE", 120))
}

/// The kernel, unless `BLKSTAY_GUEST_KERNEL` names another.
const KERNEL: &str = "debian:6.12";

/// What every script can use.
const PRELUDE: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
stty -echo </dev/ttyS0
exec </dev/ttyS0 >/dev/ttyS0 2>&1
say() { echo "guest: $*"; }
appear() { n=0; until [ -e "$1" ]; do n=$((n + 1)); [ $n -lt 600 ] || { say "no $1"; break; }; sleep 0.1; done; }
vanish() { n=0; while [ -e "$1" ]; do n=$((n + 1)); [ $n -lt 600 ] || { say "still $1"; break; }; sleep 0.1; done; }
"#;

/// Where a guest's disk comes from.
#[derive(Clone, Copy, Debug)]
pub enum Disk<'a> {
    /// A daemon.
    Served(&'a Path),
    /// QEMU itself, from a raw image.
    Raw(&'a Path),
}

/// A guest that can be booted.
#[derive(Clone, Debug)]
pub struct Boot {
    script: String,
    cpus: u16,
    needs: Vec<Need>,
    programs: Vec<PathBuf>,
    reboots: bool,
    /// Bytes of a block of QEMU's own disk.
    block_bytes: u64,
    /// Image of a second disk, QEMU's own.
    beside: Option<PathBuf>,
    /// What a second kernel does, which the first one boots.
    then: Option<String>,
}

impl Boot {
    /// A guest with one processor and one queue that does what a shell script says.
    pub fn new(script: &str) -> Boot {
        Boot {
            script: script.to_owned(),
            cpus: 1,
            needs: vec![Need::VIRTIO_PCI, Need::VIRTIO_BLK],
            programs: vec![on_path("busybox"), exerciser()],
            reboots: false,
            block_bytes: 512,
            beside: None,
            then: None,
        }
    }

    /// The same with so many processors, and a queue for each.
    pub fn cpus(self, cpus: u16) -> Boot {
        Boot { cpus, ..self }
    }

    /// The same with a filesystem.
    pub fn filesystem(self, filesystem: &str) -> Boot {
        self.driver(match filesystem {
            "xfs" => Need::new("xfs", "CONFIG_XFS_FS"),
            _ => Need::EXT4,
        })
    }

    /// The same with another driver.
    pub fn driver(mut self, need: Need) -> Boot {
        self.needs.push(need);
        self
    }

    /// The same with a second disk, QEMU's own, from a raw image.
    pub fn beside(self, image: &Path) -> Boot {
        Boot { beside: Some(image.to_owned()), ..self }
    }

    /// The same with its own kernel as `/kernel`, and as `/then` a root for it that does what a script says.
    pub fn then(self, script: &str) -> Boot {
        Boot { then: Some(script.to_owned()), ..self }
    }

    /// The same, QEMU's own disk with blocks of so many bytes.
    pub fn blocks_of(self, block_bytes: u64) -> Boot {
        Boot { block_bytes, ..self }
    }

    /// The same with another program in its `/bin`, which is on the host's path.
    #[track_caller]
    pub fn program(mut self, name: &str) -> Boot {
        self.programs.push(on_path(name));
        self
    }

    /// The same that boots again when it is reset.
    pub fn reboots(self) -> Boot {
        Boot { reboots: true, ..self }
    }

    /// Boots it.
    #[track_caller]
    pub fn start(&self, disk: Disk<'_>) -> Guest {
        let directory = TempDir::with_prefix("blkstay-").expect("a directory");
        let cache = Cache::from_env().expect("the cache of kernels");
        let spec = std::env::var("BLKSTAY_GUEST_KERNEL").unwrap_or_else(|_| KERNEL.to_owned());
        let kernel = kernel::resolve(&spec, &cache, &|_| {}).expect("a kernel");
        let modules = kernel.need(&self.needs).expect("its modules");
        let root = directory.path().join("initramfs");
        let mut files = Vec::new();
        if let Some(script) = &self.then {
            let then = directory.path().join("then");
            initramfs::write(&then, &modules, &self.programs, &[], &init(&modules, script));
            files.extend([("kernel", kernel.image.clone()), ("then", then)]);
        }
        initramfs::write(&root, &modules, &self.programs, &files, &init(&modules, &self.script));
        self.run(disk, &kernel.image, &root, directory)
    }

    #[track_caller]
    fn run(&self, disk: Disk<'_>, kernel: &Path, root: &Path, directory: TempDir) -> Guest {
        let at = |name: &str| directory.path().join(name);
        let listen = |name: &str| UnixListener::bind(at(name)).expect("listen");
        let (console, monitor) = (listen("console"), listen("monitor"));
        let mut command = Command::new("qemu-system-x86_64");
        command.args(machine(self.cpus)).args(device(disk, self.cpus, self.block_bytes));
        if let Some(image) = &self.beside {
            command.args([
                "-drive",
                &format!("if=none,id=beside,format=raw,discard=unmap,file={}", image.display()),
            ]);
            command.args(["-device", "virtio-blk-pci,drive=beside,bus=port1,id=vdb"]);
        }
        for (id, path) in [("console", at("console")), ("monitor", at("monitor"))] {
            command.args(["-chardev", &format!("socket,id={id},path={}", path.display())]);
        }
        command.args(["-serial", "chardev:console", "-mon", "chardev=monitor,mode=control"]);
        command.args(["-append", "console=ttyS0 quiet panic=-1 oops=panic mitigations=off audit=0"]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(root);
        if !self.reboots {
            command.arg("-no-reboot");
        }
        let errors = std::fs::File::create(at("qemu.log")).expect("a file for QEMU's errors");
        let qemu = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        let qemu = qemu.expect("start qemu-system-x86_64; `make setup` installs it");
        let (console, _) = console.accept().expect("QEMU's console");
        let (monitor, _) = monitor.accept().expect("QEMU's monitor");
        let said = Arc::new(Mutex::new(Vec::new()));
        let (lines, write) = (listen_to(&console, said.clone()), console);
        let mut guest = Guest { qmp: Qmp::new(monitor), qemu, lines, write, said, directory };
        guest.qmp.greet();
        guest
    }
}

/// Process 1.
fn init(modules: &[Module], script: &str) -> String {
    let insert: String =
        modules.iter().map(|module| format!("insmod /modules/{}.ko\n", module.name)).collect();
    format!("{PRELUDE}{insert}{script}\nsay end\npoweroff -f\n")
}

/// Reads a console to its end.
fn listen_to(console: &UnixStream, said: Arc<Mutex<Vec<String>>>) -> Receiver<String> {
    let (sender, lines) = channel();
    let read = BufReader::new(console.try_clone().expect("clone"));
    std::thread::spawn(move || {
        for line in read.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            said.lock().expect("what was said").push(line.clone());
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A guest that runs.
pub struct Guest {
    /// QEMU's monitor.
    pub qmp: Qmp,
    qemu: Child,
    lines: Receiver<String>,
    write: UnixStream,
    said: Arc<Mutex<Vec<String>>>,
    directory: TempDir,
}

impl Guest {
    /// Waits until the guest says something that begins so; the rest of that.
    #[track_caller]
    pub fn expect(&self, what: &str) -> String {
        self.expect_any(&[what]).1
    }

    /// The same for one of several; which it was.
    #[track_caller]
    pub fn expect_any(&self, whats: &[&str]) -> (usize, String) {
        loop {
            let line = self.lines.recv_timeout(patience());
            let line = line.unwrap_or_else(|_| panic!("the guest did not say {whats:?}"));
            let Some((_, words)) = line.split_once(SAYS) else { continue };
            let words = words.trim();
            for (index, what) in whats.iter().enumerate() {
                if let Some(rest) = words.strip_prefix(what) {
                    return (index, rest.trim().to_owned());
                }
            }
        }
    }

    /// Says a line to the guest's script, which has to read it.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        self.write.write_all(format!("{line}\n").as_bytes()).expect("the guest's console");
    }

    /// Waits for the guest's own end.
    #[track_caller]
    pub fn end(mut self) {
        self.expect("end");
        crate::wait_for("QEMU's end", || self.qemu.try_wait().expect("its exit status"));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if std::thread::panicking() {
            let said = self.said.lock().expect("what was said");
            let tail = &said[said.len().saturating_sub(40)..];
            let log = std::fs::read_to_string(self.directory.path().join("qemu.log")).unwrap_or_default();
            eprintln!("the guest said:\n{}\nQEMU said:\n{log}", tail.join("\n"));
        }
    }
}

fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {name}; `make setup` installs it"))
}

/// The program that cargo builds beside the tests.
fn exerciser() -> PathBuf {
    let own = std::env::current_exe().expect("the path of the test itself");
    let directory = own.ancestors().nth(2).expect("a test is run from a target directory");
    directory.join("exercise")
}

fn machine(cpus: u16) -> Vec<String> {
    let accel = std::env::var("BLKSTAY_ACCEL").unwrap_or_else(|_| "tcg".to_owned());
    let cpu = if accel == "kvm" { "host" } else { "max" };
    let (machine, cpus) = (format!("q35,accel={accel},memory-backend=mem"), cpus.to_string());
    let arguments = [
        ["-machine", &machine],
        ["-cpu", cpu],
        ["-smp", &cpus],
        ["-m", "512"],
        ["-object", "memory-backend-memfd,id=mem,size=512M,share=on"],
        ["-display", "none"],
        ["-device", "pcie-root-port,id=port0,chassis=1,slot=1"],
        ["-device", "pcie-root-port,id=port1,chassis=2,slot=2"],
    ];
    let flags = ["-nodefaults", "-no-user-config"];
    flags.iter().chain(arguments.iter().flatten()).map(|word| (*word).to_owned()).collect()
}

fn device(disk: Disk<'_>, queues: u16, block_bytes: u64) -> Vec<String> {
    let arguments = match disk {
        Disk::Served(socket) => {
            let chardev = format!("socket,id=disk,path={},reconnect-ms=20", socket.display());
            let device = format!("vhost-user-blk-pci,chardev=disk,num-queues={queues},bus=port0,id=vda");
            ["-chardev".to_owned(), chardev, "-device".to_owned(), device]
        }
        Disk::Raw(image) => {
            let drive = format!("if=none,id=disk,format=raw,discard=unmap,file={}", image.display());
            let device = format!(
                "virtio-blk-pci,drive=disk,num-queues={queues},logical_block_size={block_bytes},physical_block_size={block_bytes},bus=port0,id=vda"
            );
            ["-drive".to_owned(), drive, "-device".to_owned(), device]
        }
    };
    arguments.to_vec()
}
