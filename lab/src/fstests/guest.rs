//! One boot of a guest: two disks and their daemons, a QEMU, and the words between them and the lab.

use super::plan::{Disk, Plan};
use super::session::Boot;
use crate::run::accel::Accel;
use crate::run::client::Client;
use crate::run::daemon::{Daemon, Sockets};
use crate::run::initramfs::{self, Entry};
use crate::run::temporary::Temporary;
use crate::run::{Lab, process, qemu};
use anyhow::{Context, Result};
use blkstay_engine::journal::Arm;
use blkstay_engine::policy::CaseDevice;
use blkstay_engine::report::AttemptReport;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Child;

const INIT: &str = include_str!("../../../guest-scripts/fstests/init");
const RUN: &str = include_str!("../../../guest-scripts/fstests/run");
const LOGGER: &str = include_str!("../../../guest-scripts/fstests/logger");

/// How long QEMU may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// A guest that has been started. Dropping it ends it.
pub struct Guest {
    /// How it runs.
    pub accel: Accel,
    served: Vec<Served>,
    qemu: Child,
    directory: PathBuf,
    /// Sockets get a short path of their own: a kept directory's may be too long for one.
    _sockets: Temporary,
}

/// A disk that is served, in the order of [`Disk::BOTH`].
struct Served {
    client: Client,
    daemon: Daemon,
}

impl Guest {
    /// Starts daemons and guest; its files are in `directory`, the disks and `results.img` in `disks`.
    ///
    /// # Errors
    /// Something that is needed is missing; the message says what.
    pub async fn start(boot: &Boot<'_>, disks: &Path, directory: &Path, lab: &Lab) -> Result<Guest> {
        let (plan, kernel) = (boot.plan, &boot.subject.kernel);
        let program = qemu::program()?;
        std::fs::create_dir_all(directory)
            .with_context(|| format!("{}: cannot make it", directory.display()))?;
        write_initramfs(boot, &directory.join("initramfs"))?;
        let accel = lab.accel(&kernel.image, &directory.join("initramfs")).await;
        let sockets_at = Temporary::new()?;
        let (mut served, mut arguments) = (Vec::new(), qemu::machine(accel, lab.cpus, plan.memory_mb));
        for (disk, policy) in Disk::BOTH.into_iter().zip(&plan.policies) {
            let at = sockets_at.path().join(disk.to_string());
            std::fs::create_dir(&at).context("no place for sockets")?;
            let sockets = Sockets::within(&at);
            let name = disk.to_string();
            let image = disks.join(format!("{disk}.img"));
            let (journal, log) =
                (directory.join(format!("{disk}.journal")), directory.join(format!("{disk}.log")));
            let serial = ["--serial", &name];
            let daemon = Daemon::start(&image, &journal, &log, &sockets, &serial).await?;
            let mut client = Client::connect(&sockets.control).await?;
            if let Some(policy) = policy {
                client.load(&policy.written).await?;
            }
            arguments.extend(qemu::disk(&name, &sockets.disk, CaseDevice::default()));
            if disk == Disk::Test {
                arguments.extend(qemu::port(&sockets.guest));
            }
            served.push(Served { client, daemon });
        }
        arguments.extend(drive("root", &plan.root, "snapshot=on"));
        arguments.extend(drive("tree", &plan.tree, "snapshot=on"));
        arguments.extend(drive("results", &disks.join("results.img"), "cache=unsafe"));
        arguments.extend(boot.modules.iter().flat_map(|image| drive("modules", image, "readonly=on")));
        lab.progress.say(&format!("booting {} ({accel})", kernel.title()));
        let mut command = process::tied(&program);
        command.args(arguments);
        let qemu = qemu::boot(&mut command, &kernel.image, directory, directory)?;
        Ok(Guest { accel, served, qemu, directory: directory.to_owned(), _sockets: sockets_at })
    }

    /// Waits for any of these; `None` if the guest dies first, or it takes longer than `limit`.
    ///
    /// # Errors
    /// The daemon refuses or is gone.
    pub async fn reach(&mut self, events: &[&str], limit: Duration) -> Result<Option<()>> {
        let heard = self.served.first_mut().context("no disk")?;
        tokio::select! {
            reached = heard.client.until_any(events) => reached.map(Some),
            _ = self.qemu.wait() => Ok(None),
            () = tokio::time::sleep(limit) => Ok(None),
        }
    }

    /// Begins an attempt on both disks; on the guest's own last, since it goes on by that.
    ///
    /// # Errors
    /// A daemon refuses or is gone.
    pub async fn begin(&mut self, attempt: u64, arm: Arm) -> Result<()> {
        for served in self.served.iter_mut().rev() {
            served.client.begin(attempt, arm, None).await?;
        }
        Ok(())
    }

    /// How the attempt stands on the guest's own disk.
    ///
    /// # Errors
    /// The daemon is gone.
    pub async fn status(&mut self) -> Result<AttemptReport> {
        self.served.first_mut().context("no disk")?.client.status().await
    }

    /// Ends the attempt on both; their reports are in the order of [`Disk::BOTH`].
    ///
    /// # Errors
    /// A daemon refuses or is gone.
    pub async fn finish(&mut self) -> Result<Vec<AttemptReport>> {
        let mut reports = Vec::new();
        for served in &mut self.served {
            reports.push(served.client.end().await?);
        }
        Ok(reports)
    }

    /// Notes in both journals what an attempt showed.
    ///
    /// # Errors
    /// A daemon is gone.
    pub async fn note(&mut self, verdict: blkstay_engine::control::Command) -> Result<()> {
        for served in &mut self.served {
            served.client.call(verdict.clone()).await?;
        }
        Ok(())
    }

    /// The last lines of what guest and QEMU said.
    pub fn last_words(&self) -> String {
        qemu::last_words(&self.directory, &["console.log", "qemu.log"])
    }

    /// Ends it; its journals are complete then.
    pub async fn end(mut self) {
        process::end(&mut self.qemu, PATIENCE).await;
        for served in &mut self.served {
            served.daemon.end().await;
        }
        let _ = std::fs::remove_file(self.directory.join("initramfs"));
    }
}

/// A disk of QEMU's own.
fn drive(name: &str, image: &Path, how: &str) -> Vec<OsString> {
    let mut drive = OsString::from(format!("if=none,format=raw,id={name},{how},file="));
    drive.push(qemu::value(image));
    vec![
        "-drive".into(),
        drive,
        "-device".into(),
        format!("virtio-blk-pci,drive={name},serial={name}").into(),
    ]
}

fn write_initramfs(boot: &Boot<'_>, path: &Path) -> Result<()> {
    let plan: &Plan = boot.plan;
    let mut files = vec![
        Entry::program("init", INIT),
        Entry::text("blkstay/run", RUN),
        Entry::program("blkstay/bin/logger", LOGGER),
        Entry::text("blkstay/settings", &plan.settings),
        Entry::text("blkstay/local.config", &plan.local_config),
        Entry::text("blkstay/excluded", &plan.excluded),
    ];
    files.extend(boot.modules.map(|_| Entry::text("with-modules", "")));
    initramfs::pack(path, &boot.subject.modules, &["root", "blkstay", "blkstay/bin"], &files)
}

/// Makes the disks of a kernel's guests, empty, and the image for results.
///
/// # Errors
/// The host's disk is full, or mke2fs is missing.
pub fn make_disks(plan: &Plan, directory: &Path) -> Result<()> {
    for disk in Disk::BOTH {
        let path = directory.join(format!("{disk}.img"));
        let file = File::create(&path).with_context(|| format!("{}: cannot make it", path.display()))?;
        file.set_len(plan.disk_bytes).with_context(|| format!("{}: cannot size it", path.display()))?;
    }
    super::image::make(None, &directory.join("results.img"), RESULTS_BYTES)
}

/// Room for what tests leave, in bytes; the image is sparse.
const RESULTS_BYTES: u64 = 4 << 30;
