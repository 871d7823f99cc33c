//! A guest that has booted and waits for its disk, kept in a file: cells of one kernel go on from copies of it. Under emulation a
//! boot takes as long as ten attempts.
//!
//! It has neither disk nor port yet, so it can be a guest of any case. Each copy finds its own, with its case, when it goes on.

use super::accel::Accel;
use super::lab::Lab;
use super::subject::Subject;
use super::temporary::Temporary;
use super::{initramfs, process, qemu};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::OnceCell;

/// How long it may take to boot a guest and to keep it.
const LIMIT: Duration = Duration::from_secs(180);

/// What the guest says on its console when others can go on from it.
const BOOTED: &str = "blkstay: booted";

/// Fewest cells that are worth it.
const CELLS_MIN: usize = 2;

/// Bytes a second at which a guest is kept: no bound.
const BANDWIDTH: u64 = 100_000_000_000;

/// A guest that has booted. Dropping it removes its files.
pub struct Booted {
    directory: Temporary,
    image: PathBuf,
}

impl Booted {
    /// The kernel that it has booted, as QEMU was given it.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Where its `initramfs` is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What QEMU needs besides the same machine to go on from it.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut state = OsString::from("file:");
        state.push(self.state());
        [qemu::KEPT_APART.map(OsString::from).as_slice(), &["-incoming".into(), state]].concat()
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Boots a guest and keeps it; none under KVM, where a boot is short.
    async fn make(subject: &Subject, lab: &Lab) -> Result<Option<Booted>> {
        let directory = Temporary::new()?;
        let archive = directory.path().join("initramfs");
        initramfs::write_without_case(&archive, &subject.modules)?;
        let accel = lab.accel(&subject.kernel.image, &archive).await;
        if accel == Accel::Kvm {
            return Ok(None);
        }
        let image = qemu::image(&subject.kernel, accel, lab).await?;
        let booted = Booted { directory, image };
        lab.progress.say(&format!("booting {} for all of its cases", subject.kernel.title()));
        tokio::time::timeout(LIMIT, booted.boot(accel, lab)).await.context("it takes too long")??;
        Ok(Some(booted))
    }

    async fn boot(&self, accel: Accel, lab: &Lab) -> Result<()> {
        let monitor = self.directory.path().join("monitor");
        let mut listen = OsString::from("unix:");
        listen.push(&monitor);
        listen.push(",server=on,wait=off");
        let mut command = process::tied(&qemu::program()?);
        command.args(qemu::machine(accel, lab.cpus, qemu::MEMORY_MB)).args(qemu::KEPT_APART);
        command.args(qemu::kernel(&self.image, self.directory.path()));
        command.args(["-serial", "stdio", "-qmp"]).arg(listen);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guest = command.spawn().context("cannot start QEMU")?;
        heard(guest.stdout.take().context("the guest has no console")?).await?;
        keep(&monitor, &self.state()).await?;
        guest.kill().await.context("QEMU does not end")
    }
}

/// Waits until a guest says that it has booted.
async fn heard(console: impl AsyncRead + Unpin) -> Result<()> {
    let mut lines = BufReader::new(console).split(b'\n');
    while let Some(line) = lines.next_segment().await.context("the guest cannot be heard")? {
        if String::from_utf8_lossy(&line).contains(BOOTED) {
            return Ok(());
        }
    }
    bail!("the guest ended before it had booted")
}

/// Has QEMU write a running guest to a file (QEMU Machine Protocol: `migrate`).
async fn keep(monitor: &Path, state: &Path) -> Result<()> {
    let stream = UnixStream::connect(monitor).await.context("QEMU's monitor cannot be reached")?;
    let (answers, mut commands) = stream.into_split();
    let uri = format!("file:{}", state.display());
    let asked = [
        json!({"execute": "qmp_capabilities"}),
        json!({"execute": "migrate-set-capabilities", "arguments": {"capabilities": [{"capability": "events", "state": true}]}}),
        json!({"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": BANDWIDTH}}),
        json!({"execute": "migrate", "arguments": {"uri": uri}}),
    ];
    for command in asked {
        commands.write_all(format!("{command}\n").as_bytes()).await.context("QEMU's monitor is gone")?;
    }
    let mut lines = BufReader::new(answers).lines();
    while let Some(line) = lines.next_line().await.context("QEMU's monitor is gone")? {
        let said: Value = serde_json::from_str(&line).context("QEMU's monitor makes no sense")?;
        match (said.get("error"), said.pointer("/data/status").and_then(Value::as_str)) {
            (Some(error), _) => bail!("QEMU cannot keep a guest: {error}"),
            (None, Some("completed")) => return Ok(()),
            (None, Some("failed")) => bail!("QEMU could not keep the guest"),
            (None, _) => {}
        }
    }
    bail!("QEMU ended before it had kept the guest")
}

/// The guests from which the cells of a run go on, by what they have booted. Each is there from when the first cell
/// needs it until the last has it no more.
#[derive(Default)]
pub struct Boots(RefCell<BTreeMap<String, Shared>>);

#[derive(Default)]
struct Shared {
    /// Cells that are not finished.
    cells: usize,
    /// None if they boot for themselves.
    booted: Option<Rc<OnceCell<Option<Rc<Booted>>>>>,
}

impl Boots {
    /// Says that there will be a cell of this kernel with these modules.
    pub fn announce(&self, subject: &Subject) {
        let mut all = self.0.borrow_mut();
        let shared = all.entry(subject.digest.clone()).or_default();
        shared.cells += 1;
        if shared.cells >= CELLS_MIN {
            shared.booted.get_or_insert_default();
        }
    }

    /// A guest to go on from, which may first have to boot; none if this cell is to boot its own. What is wrong with a guest is told
    /// by those that boot their own.
    pub async fn of(&self, subject: &Subject, lab: &Lab) -> Option<Rc<Booted>> {
        let shared = self.0.borrow().get(&subject.digest)?.booted.clone()?;
        let make = async || match Booted::make(subject, lab).await {
            Ok(booted) => booted.map(Rc::new),
            Err(error) => {
                tracing::debug!("each case on {} boots its own guest: {error:#}", subject.kernel.title());
                None
            }
        };
        shared.get_or_init(make).await.clone()
    }

    /// Says that a cell that was announced is finished.
    pub fn finished(&self, subject: &Subject) {
        let mut all = self.0.borrow_mut();
        if let Some(shared) = all.get_mut(&subject.digest) {
            shared.cells = shared.cells.saturating_sub(1);
            if shared.cells == 0 {
                all.remove(&subject.digest);
            }
        }
    }
}
