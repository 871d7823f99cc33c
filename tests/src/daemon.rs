//! A `blkstayd` of a test's own, with everything it needs in a directory that goes away.

use crate::client::{Client, Setup};
use crate::control::Control;
use crate::random::Random;
use crate::{binary, journal, wait_for};
use blkstay_engine::journal::Record;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use tempfile::TempDir;

/// Bytes of the image unless a test says otherwise.
pub const IMAGE_BYTES: u64 = 1 << 20;

/// How a daemon is started.
#[derive(Debug)]
pub struct Recipe {
    directory: TempDir,
    image_bytes: u64,
    arguments: Vec<String>,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe::new()
    }
}

impl Recipe {
    /// A daemon with a journal and a control socket, and no policy.
    pub fn new() -> Recipe {
        let directory = tempfile::Builder::new().prefix("blkstay-").tempdir().expect("a directory");
        Recipe { directory, image_bytes: IMAGE_BYTES, arguments: Vec::new() }
    }

    /// The same with an image of that many bytes.
    pub fn image_bytes(mut self, bytes: u64) -> Recipe {
        self.image_bytes = bytes;
        self
    }

    /// The same with a policy.
    pub fn policy(mut self, text: &str) -> Recipe {
        let path = self.directory.path().join("policy.toml");
        std::fs::write(&path, text).expect("the policy");
        self.arguments.extend(["--policy".to_owned(), path.display().to_string()]);
        self
    }

    /// The same with another argument.
    pub fn argument(mut self, argument: &str) -> Recipe {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let content = Random::new(1).bytes(self.image_bytes as usize);
        std::fs::write(self.directory.path().join("disk"), content).expect("the image");
        Daemon::launch(self.directory, self.arguments)
    }
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Daemon {
    /// Its vhost-user socket.
    pub socket: PathBuf,
    /// Its control socket.
    pub control: PathBuf,
    /// Its control socket for guests.
    pub guest: PathBuf,
    /// Its image.
    pub image: PathBuf,
    /// Its journal.
    pub journal: PathBuf,
    /// What it printed until it was ready.
    pub announcement: Vec<String>,
    child: Child,
    arguments: Vec<String>,
    directory: TempDir,
}

impl Daemon {
    /// A daemon with a journal and a control socket, and no policy.
    #[track_caller]
    pub fn start() -> Daemon {
        Recipe::new().start()
    }

    #[track_caller]
    fn launch(directory: TempDir, arguments: Vec<String>) -> Daemon {
        let path = |name: &str| directory.path().join(name);
        let (child, announcement) = spawn(directory.path(), &arguments);
        Daemon {
            socket: path("blk.sock"),
            control: path("ctl"),
            guest: path("ctl.guest"),
            image: path("disk"),
            journal: path("journal"),
            announcement,
            child,
            arguments,
            directory,
        }
    }

    /// Starts another like it when it has ended.
    #[track_caller]
    pub fn start_again(&mut self) {
        (self.child, self.announcement) = spawn(self.directory.path(), &self.arguments);
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A guest with one queue.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(&self.socket, Setup::default())
    }

    /// A guest that is set up otherwise.
    #[track_caller]
    pub fn connect_with(&self, setup: Setup) -> Client {
        Client::connect(&self.socket, setup)
    }

    /// A person at the control socket.
    #[track_caller]
    pub fn control(&self) -> Control {
        Control::connect(&self.control)
    }

    /// A guest's port.
    #[track_caller]
    pub fn guest(&self) -> Control {
        Control::connect(&self.guest)
    }

    /// The journal up to now.
    #[track_caller]
    pub fn records(&self) -> Vec<Record> {
        journal::lines(&self.journal).into_iter().map(|line| line.record).collect()
    }

    /// Waits until the journal has records that `find` finds something in.
    #[track_caller]
    pub fn wait_for_record<T>(&self, what: &str, find: impl Fn(&[Record]) -> Option<T>) -> T {
        wait_for(what, || find(&self.records()))
    }

    /// The image's bytes.
    pub fn content(&self) -> Vec<u8> {
        std::fs::read(&self.image).expect("the image")
    }

    /// What it wrote on standard error.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("a signal");
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the daemon to end", || self.child.try_wait().expect("its exit status"))
    }

    /// Ends it with a signal, and expects exit status 0 and no sockets left behind.
    #[track_caller]
    pub fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.errors());
        for socket in [&self.socket, &self.control, &self.guest] {
            assert!(!socket.exists(), "{} was left behind", socket.display());
        }
    }

    /// A number from its `/proc/PID/status`: `VmRSS` (KiB), `Threads`.
    #[track_caller]
    pub fn status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let word = line.and_then(|line| line.split_whitespace().next()).expect("the field");
        word.parse().expect("a number")
    }

    /// How many file descriptors it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// Fails unless a new guest is served in full, and the control socket answers.
    #[track_caller]
    pub fn assert_serves(&self) {
        let mut client = self.connect();
        let last = client.read(0, 512);
        client.write(0, &last);
        assert_eq!(client.read(0, 512), last);
        self.control().tell(blkstay_engine::control::Command::Ping);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let journal = std::fs::read_to_string(&self.journal).unwrap_or_default();
            let lines: Vec<&str> = journal.lines().collect();
            let tail = &lines[lines.len().saturating_sub(20)..];
            eprintln!("blkstayd said:\n{}\nits journal ends:\n{}", self.errors(), tail.join("\n"));
        }
    }
}

/// Starts a daemon on what is in `directory` and waits until it is ready.
#[track_caller]
fn spawn(directory: &Path, arguments: &[String]) -> (Child, Vec<String>) {
    let errors = directory.join("stderr");
    let mut child = Command::new(binary::path("blkstayd"))
        .arg("--socket")
        .arg(directory.join("blk.sock"))
        .arg("--image")
        .arg(directory.join("disk"))
        .arg("--journal")
        .arg(directory.join("journal"))
        .arg("--control")
        .arg(directory.join("ctl"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&errors).expect("a file for standard error"))
        .spawn()
        .expect("start blkstayd");
    let announcement = announcement(&mut child);
    let ready = announcement.last().is_some_and(|line| line.starts_with("ready"));
    if !ready {
        let _ = child.kill();
        let status = child.wait();
        let errors = std::fs::read_to_string(&errors).unwrap_or_default();
        panic!("blkstayd never got ready: {status:?}\n{}\n{errors}", announcement.join("\n"));
    }
    (child, announcement)
}

/// What a daemon prints up to and including the line that says it is ready.
#[track_caller]
fn announcement(child: &mut Child) -> Vec<String> {
    let out = BufReader::new(child.stdout.take().expect("its standard output"));
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut heard = Vec::new();
    while let Ok(line) = lines.recv_timeout(crate::WATCHDOG) {
        let ready = line.starts_with("ready");
        heard.push(line);
        if ready {
            break;
        }
    }
    heard
}
