//! A server under measurement: a process of its own, on CPUs of its own, for one run.

use crate::machine::TICK_NS;
use crate::pin;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest that a server may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; it ends when this is dropped, and its directory goes away.
#[derive(Debug)]
pub struct Server {
    child: Child,
    directory: TempDir,
}

/// How a server is started.
pub struct Start<'s> {
    /// The program.
    pub program: &'s Path,
    /// Its arguments, given the directory that is its own and the socket that it is to serve.
    pub arguments: &'s dyn Fn(&Path, &Path) -> Result<Vec<String>>,
    /// Whether a line of its standard output says that it serves.
    pub is_ready: fn(&str) -> bool,
    /// Where its files are.
    pub within: &'s Path,
    /// Whether it has one CPU, and not all.
    pub pinned: bool,
}

impl Server {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// It cannot be started, or ends instead; what it wrote on standard error is then in the message.
    pub fn start(start: &Start) -> Result<Server> {
        let directory = tempfile::Builder::new().prefix("blkstay-bench-").tempdir_in(start.within)?;
        let arguments = (start.arguments)(directory.path(), &directory.path().join("socket"))?;
        let errors = File::create(directory.path().join("stderr"))?;
        let mut command = Command::new(start.program);
        // Its standard input stays open: the storage daemon's monitor is there.
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let child = match start.pinned {
            true => pin::to_first_cpu(|| command.spawn()),
            false => pin::to_any_cpu(|| command.spawn()),
        };
        let child = child.with_context(|| format!("cannot run {}", start.program.display()))?;
        let mut server = Server { child, directory };
        server.wait_until(start.is_ready).with_context(|| server.complaint(start.program))?;
        Ok(server)
    }

    fn wait_until(&mut self, is_ready: fn(&str) -> bool) -> Result<()> {
        let out = BufReader::new(self.child.stdout.take().context("it has no standard output")?);
        let (sender, ready) = mpsc::channel();
        // Reads on for as long as the server writes: a full pipe would stop it.
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if is_ready(&line) {
                    let _ = sender.send(());
                }
            }
        });
        match ready.recv_timeout(PATIENCE) {
            Ok(()) => Ok(()),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("it ended before it served"),
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("it does not serve after {PATIENCE:?}"),
        }
    }

    /// What it has said on standard error, in one line.
    pub fn complaint(&self, program: &Path) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default();
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match text.trim().lines().next() {
            Some(line) => format!("{name}: {}", line.trim_start_matches(&format!("{name}: "))),
            None => format!("{name} (it said nothing)"),
        }
    }

    /// The socket that it serves.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Nanoseconds for which its threads have run on CPUs, also those that have ended, to a tick of the kernel's
    /// accounting (10 ms).
    pub fn cpu_ns_of_all(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // After the program's name, which may have spaces and ends with the last parenthesis: from the state on, the
        // 12th and 13th are the times in user and kernel mode (proc_pid_stat(5)).
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * TICK_NS
    }

    /// Nanoseconds for which its threads have run on CPUs, those of the kernel that work for it among them; without
    /// those that have ended.
    pub fn cpu_ns(&self) -> u64 {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", self.child.id())) else { return 0 };
        let ran = |task: PathBuf| {
            let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        tasks.flatten().filter_map(|task| ran(task.path())).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is killed leaves requests that keep the image in use for a while.
        if let Ok(process) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::kill(Pid::from_raw(process), Signal::SIGTERM);
        }
        let since = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if since.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
