//! The same comparison in a guest: a stock kernel on an emulated processor, with its own block layer and driver.

mod initramfs;
pub mod load;

use super::contest::{Hall, ROUNDS};
use super::contestant::{Contestant, Ours, Served, Theirs};
use super::image::Image;
use super::server::Server;
use crate::figure::{Bound, Figure, Row as Line, median};
use anyhow::{Context, Result, ensure};
use blkstay_lab::kernel::{self, Cache, Need};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The guest's kernel.
const KERNEL: &str = "debian:6.12";

/// Memory of a guest, in megabytes.
const MEMORY_MB: u32 = 512;

/// Longest that a guest may take, from its start to its end, beside what it measures.
const PATIENCE: Duration = Duration::from_secs(120);

/// The storage daemon's best way to serve a file in memory.
const THEIRS: Theirs = Theirs { aio: Some("io_uring"), direct: false, poll_ns_max: None };

/// A kernel and a root to boot.
struct Bootable {
    kernel: PathBuf,
    initramfs: PathBuf,
    _directory: tempfile::TempDir,
}

/// What a guest measured.
#[derive(Clone, Copy, Debug)]
struct Run {
    reads: f64,
    writes: f64,
    /// Nanoseconds of the server's CPU time for each request, booting included.
    cpu_ns: f64,
}

/// Reads and writes in a guest.
///
/// # Errors
/// A guest cannot be booted, or does not say what it measured.
pub fn measure(hall: &Hall, image: &Image) -> Result<Vec<Line>> {
    let whom = [Contestant::Ours(Ours::PLAIN), Contestant::Theirs(THEIRS)];
    for one in whom {
        if let Some(reason) = one.lacks(hall.programs, &image.place) {
            return Ok(vec![Line::new("guest".to_owned(), Vec::new()).note(reason)]);
        }
    }
    let bootable = bootable(hall)?;
    let mut runs = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for turn in [0, 1] {
            let which = (round + turn) % 2;
            eprintln!("disk: guest, {}", whom[which]);
            runs[which].push(run(hall, image, whom[which], &bootable)?);
        }
    }
    let [ours, theirs] = &runs;
    let over = |runs: &[Run], what: fn(&Run) -> f64| median(runs.iter().map(what).collect());
    let line = |what: &str, which: fn(&Run) -> f64| {
        let (us, them) = (over(ours, which), over(theirs, which));
        let (our_ns, their_ns) = (over(ours, |run| run.cpu_ns), over(theirs, |run| run.cpu_ns));
        let figures = vec![
            Figure::new("blkstayd", us, "/s"),
            Figure::new("beside", them, "/s"),
            Figure::new("ratio", us / them, "").bound(Bound::AtLeast(1.0)),
            Figure::new("CPU/request", our_ns, "ns"),
            Figure::new("beside", their_ns, "ns"),
            Figure::new("ratio of CPU", our_ns / their_ns, "").bound(Bound::AtMost(1.0)),
        ];
        let note = format!("beside {}; CPU of reads and writes together", whom[1]);
        Line::new(format!("in a guest (TCG), tmpfs, {what}, depth 32"), figures).note(note)
    };
    Ok(vec![line("reads", |run| run.reads), line("writes", |run| run.writes)])
}

fn bootable(hall: &Hall) -> Result<Bootable> {
    let cache = Cache::from_env()?;
    let kernel = kernel::resolve(KERNEL, &cache, &|doing| eprintln!("disk: {doing}"))?;
    let modules = kernel.need(&[Need::VIRTIO_PCI, Need::VIRTIO_BLK])?;
    let directory = tempfile::Builder::new().prefix("blkstay-guest-").tempdir_in(hall.within)?;
    let initramfs = directory.path().join("initramfs");
    initramfs::write(&initramfs, &modules, hall.measured)?;
    Ok(Bootable { kernel: kernel.image, initramfs, _directory: directory })
}

fn run(hall: &Hall, image: &Image, whom: Contestant, bootable: &Bootable) -> Result<Run> {
    let served = Served { place: &image.place, queues: 1 };
    let server = whom.start(hall.programs, served, hall.within, false, Server::start)?;
    let console = server.socket().with_file_name("console");
    // A worker ends with its guest.
    let spent = server.cpu_ns_of_all();
    let mut qemu = Qemu::start(bootable, &server.socket(), &console)?;
    qemu.wait(PATIENCE + hall.measured * 3)?;
    let spent = server.cpu_ns_of_all().saturating_sub(spent) as f64;
    let said = std::fs::read_to_string(&console).context("the guest's console")?;
    let number = |what: &str| {
        let mut lines =
            said.lines().filter_map(|line| line.trim().strip_prefix(load::SAYS)?.trim().strip_prefix(what));
        let number = lines.next().and_then(|number| number.trim().parse::<f64>().ok());
        number.with_context(|| format!("the guest did not say {what}; it said {:?}", last_lines(&said)))
    };
    Ok(Run { reads: number("Read ")?, writes: number("Write ")?, cpu_ns: spent / number("Total ")? })
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

/// A QEMU that ends when this is dropped.
struct Qemu(Child);

impl Qemu {
    fn start(bootable: &Bootable, socket: &Path, console: &Path) -> Result<Qemu> {
        let memory = format!("memory-backend-memfd,id=mem,size={MEMORY_MB}M,share=on");
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-machine",
                "q35,accel=tcg,memory-backend=mem",
                "-cpu",
                "max",
                "-smp",
                "1",
                "-display",
                "none",
            ])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-m", &MEMORY_MB.to_string(), "-object", &memory])
            .args(["-chardev", &format!("socket,id=disk,path={}", socket.display())])
            .args(["-device", "vhost-user-blk-pci,chardev=disk,num-queues=1"])
            .args(["-serial", &format!("file:{}", console.display())])
            .arg("-kernel")
            .arg(&bootable.kernel)
            .arg("-initrd")
            .arg(&bootable.initramfs)
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off audit=0"]);
        let started = crate::pin::to_any_cpu(|| command.stdin(Stdio::null()).stdout(Stdio::null()).spawn());
        Ok(Qemu(started.context("cannot start qemu-system-x86_64; `make setup` installs it")?))
    }

    /// Waits for the guest to end.
    fn wait(&mut self, limit: Duration) -> Result<()> {
        let started = Instant::now();
        while self.0.try_wait().context("QEMU's exit status")?.is_none() {
            ensure!(started.elapsed() < limit, "the guest runs for more than {limit:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
