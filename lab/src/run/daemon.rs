//! The daemon behind a guest's disk.

use super::process;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// How long a daemon may take to end once it is told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running `blkstayd`.
pub struct Daemon {
    child: Child,
}

/// The sockets of a daemon.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// For QEMU's disk.
    pub disk: PathBuf,
    /// For the lab.
    pub control: PathBuf,
    /// For the guest's virtio-serial port.
    pub guest: PathBuf,
}

impl Sockets {
    /// Sockets in a directory.
    pub fn within(directory: &Path) -> Sockets {
        let path = |name: &str| directory.join(name);
        Sockets { disk: path("disk.sock"), control: path("control"), guest: path("control.guest") }
    }
}

impl Daemon {
    /// Starts a daemon and waits until it is ready; `log` gets what it complains about, and `more` are further
    /// arguments.
    ///
    /// # Errors
    /// It is not to be found, or it says why it cannot serve.
    pub async fn start(
        image: &Path,
        journal: &Path,
        log: &Path,
        sockets: &Sockets,
        more: &[&str],
    ) -> Result<Daemon> {
        let errors =
            std::fs::File::create(log).with_context(|| format!("{}: cannot make it", log.display()))?;
        let program = find()?;
        let mut child = process::tied(&program)
            .arg("--image")
            .arg(image)
            .arg("--journal")
            .arg(journal)
            .arg("--socket")
            .arg(&sockets.disk)
            .arg("--control")
            .arg(&sockets.control)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let out = child.stdout.take().context("the daemon has no standard output")?;
        let mut lines = BufReader::new(out).lines();
        while let Some(line) = lines.next_line().await.context("the daemon cannot be heard")? {
            if line.starts_with("ready") {
                return Ok(Daemon { child });
            }
        }
        let said = std::fs::read_to_string(log).unwrap_or_default();
        bail!("the daemon did not start: {}", said.trim())
    }

    /// Ends it; its journal is complete then.
    pub async fn end(&mut self) {
        process::end(&mut self.child, PATIENCE).await;
    }
}

/// The daemon is beside this program, or on the path.
fn find() -> Result<PathBuf> {
    let beside = std::env::current_exe().context("cannot tell where blkstay is")?.with_file_name("blkstayd");
    if beside.is_file() {
        return Ok(beside);
    }
    on_path("blkstayd").with_context(|| format!("blkstayd is neither {} nor on the PATH", beside.display()))
}

/// Finds a program on the `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}
