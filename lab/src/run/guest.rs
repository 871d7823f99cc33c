//! One guest on one disk: a daemon, a QEMU, and the words between them and the lab.

use super::accel::Accel;
use super::booted::Booted;
use super::case::Case;
use super::client::Client;
use super::daemon::{Daemon, Sockets};
use super::kept;
use super::lab::Lab;
use super::subject::Subject;
use super::temporary::Temporary;
use super::traffic::{self, Traffic};
use super::{disk, initramfs, process, qemu};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long QEMU and the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often QEMU is started again for one guest.
const ABORTS_MAX: u32 = 3;

/// A guest that has been started. Dropping it ends it.
pub struct Guest {
    /// The lab's connection to the daemon.
    pub client: Client,
    /// What started QEMU, and can again.
    command: Command,
    qemu: Child,
    /// How often QEMU has aborted.
    aborts: u32,
    daemon: Daemon,
    accel: Accel,
    directory: Directory,
    /// Sockets get a short path of their own: a kept directory's may be too long for one.
    _sockets: Temporary,
    /// What it goes on from is there as long as it is.
    booted: Option<Rc<Booted>>,
}

/// Where a guest's files are: kept for the user, or gone with the guest.
enum Directory {
    Kept(PathBuf),
    Temporary(Temporary),
}

impl Directory {
    fn make(keep: Option<&Path>, resumes: bool) -> Result<Directory> {
        match keep {
            Some(path) => kept::make(path, resumes).map(|()| Directory::Kept(path.to_owned())),
            None => Temporary::new().map(Directory::Temporary),
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
    /// Makes the disk, starts the daemon and boots the guest, or has it go on from one that others have in common; does
    /// not wait for it.
    ///
    /// # Errors
    /// Something that is needed is missing; the message says what.
    pub async fn start(case: &Case, subject: &Subject, lab: &Lab, keep: Option<&Path>) -> Result<Guest> {
        let program = qemu::program()?;
        let directory = Directory::make(keep, lab.resumes)?;
        let at = |name: &str| directory.path().join(name);
        let booted = lab.boots.of(subject, lab).await;
        match booted {
            Some(_) => initramfs::write_case(&at("case"), case)?,
            None => initramfs::write(&at("initramfs"), &subject.modules, case)?,
        }
        disk::make(&case.recipe.image, &at("disk.img")).await?;
        let kernel = &subject.kernel;
        let accel = lab.accel(&kernel.image, &at("initramfs")).await;

        let sockets_at = Temporary::new()?;
        let sockets = Sockets::within(sockets_at.path());
        let daemon = Daemon::start(&at("disk.img"), &at("journal"), &at("daemon.log"), &sockets, &[]).await?;
        let mut client = Client::connect(&sockets.control).await?;
        client.load(&case.policy.written).await?;
        lab.progress.say(&format!("booting {} ({accel})", kernel.release.as_deref().unwrap_or(&kernel.spec)));
        let mut command = process::tied(&program);
        command.args(qemu::machine(accel, lab.cpus, qemu::MEMORY_MB));
        command.args(qemu::disk("disk", &sockets.disk, case.recipe.device)).args(qemu::port(&sockets.guest));
        let qemu = match &booted {
            Some(booted) => {
                command.args(qemu::archive(&at("case"))).args(booted.arguments());
                qemu::boot(&mut command, booted.image(), booted.directory(), directory.path())?
            }
            None => {
                let image = qemu::image(kernel, accel, lab).await?;
                qemu::boot(&mut command, &image, directory.path(), directory.path())?
            }
        };
        Ok(Guest { client, command, qemu, aborts: 0, daemon, accel, directory, _sockets: sockets_at, booted })
    }

    /// How it runs.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// Whether it goes on from a guest that booted for several cells.
    pub fn has_shared_boot(&self) -> bool {
        self.booted.is_some()
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

    /// Starts QEMU once more if it has aborted, which is a fault of QEMU's own and not the guest's; says whether it has. One
    /// that emulates several processors does so now and then while a guest sets up its devices (`iotlb_to_section`).
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn boot_again(&mut self) -> Result<bool> {
        let ended = self.qemu.try_wait().context("nobody knows what became of QEMU")?;
        let has_aborted = ended.is_some_and(|status| status.signal() == Some(Signal::SIGABRT as i32));
        if !has_aborted || self.aborts >= ABORTS_MAX {
            return Ok(false);
        }
        self.aborts += 1;
        self.qemu = self.command.spawn().context("cannot start QEMU again")?;
        Ok(true)
    }

    /// The last lines of what guest, QEMU and daemon said, for messages about guests that were lost.
    pub fn last_words(&self) -> String {
        qemu::last_words(self.directory.path(), &["console.log", "qemu.log", "daemon.log"])
    }

    /// Ends it; its journal is complete then, and what the disk did in these phases is counted.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn end(mut self, phases: &[String]) -> Result<Traffic> {
        process::end(&mut self.qemu, PATIENCE).await;
        self.daemon.end().await;
        if matches!(self.directory, Directory::Kept(_)) {
            for name in ["initramfs", "case"] {
                let _ = std::fs::remove_file(self.directory.path().join(name));
            }
        }
        traffic::read(&self.directory.path().join("journal"), phases)
    }
}
