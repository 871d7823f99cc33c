//! A `blkstayd` of a test's own, with everything it needs in a directory that goes away.

use crate::client::{Client, Setup};
use crate::control::Control;
use crate::random::Random;
use crate::request::Request;
use crate::{binary, fed_back, journal, wait_for};
use blkstay_engine::control::{Answer, Command as Call};
use blkstay_engine::journal::{Line, Record};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use tempfile::TempDir;
use virtio_bindings::virtio_blk::VIRTIO_BLK_F_RO;

/// Bytes of the image unless a test says otherwise.
pub const IMAGE_BYTES: u64 = 1 << 20;

/// How a daemon is started.
#[derive(Debug)]
pub struct Recipe {
    directory: TempDir,
    image: Option<PathBuf>,
    image_bytes: u64,
    is_blank: bool,
    options: Options,
}

/// What a daemon is started with beside its usual arguments.
#[derive(Clone, Debug, Default)]
struct Options {
    arguments: Vec<String>,
    /// Variables of its environment that are not the test's.
    environment: Vec<(String, String)>,
    /// Whether nothing is logged.
    no_journal: bool,
    /// Whether its arguments name an image.
    names_image: bool,
    /// Longest file it can write, in blocks of 512 bytes.
    file_blocks_max: Option<u32>,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe::new()
    }
}

impl Recipe {
    /// A daemon with a journal and a control socket, and no policy.
    pub fn new() -> Recipe {
        Recipe::within(&std::env::temp_dir())
    }

    /// The same with its files in a new directory within this one.
    pub fn within(directory: &Path) -> Recipe {
        let directory =
            tempfile::Builder::new().prefix("blkstay-").tempdir_in(directory).expect("a directory");
        Recipe {
            directory,
            image: None,
            image_bytes: IMAGE_BYTES,
            is_blank: false,
            options: Options::default(),
        }
    }

    /// The same with an image of that many bytes.
    pub fn image_bytes(mut self, bytes: u64) -> Recipe {
        self.image_bytes = bytes;
        self
    }

    /// The same with an image of that many zeros.
    pub fn blank(self, bytes: u64) -> Recipe {
        Recipe { image_bytes: bytes, is_blank: true, ..self }
    }

    /// The same with somebody else's image.
    pub fn image(mut self, image: &Path) -> Recipe {
        self.image = Some(image.to_owned());
        self
    }

    /// The same with a policy.
    pub fn policy(mut self, text: &str) -> Recipe {
        let path = self.directory.path().join("policy.toml");
        std::fs::write(&path, text).expect("the policy");
        self.options.arguments.extend(["--policy".to_owned(), path.display().to_string()]);
        self
    }

    /// The same with another file beside the policy; its name may begin with directories.
    pub fn file(self, name: &str, text: &str) -> Recipe {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("its directory");
        std::fs::write(path, text).expect("the file");
        self
    }

    /// The same with another argument.
    pub fn argument(mut self, argument: &str) -> Recipe {
        self.options.arguments.push(argument.to_owned());
        self
    }

    /// The same with an image that is no file.
    pub fn image_spec(mut self, spec: &str) -> Recipe {
        self.options.names_image = true;
        self.argument("--image").argument(spec)
    }

    /// The same with a variable in its environment.
    pub fn environment(mut self, name: &str, value: &str) -> Recipe {
        self.options.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without a journal.
    pub fn no_journal(mut self) -> Recipe {
        self.options.no_journal = true;
        self
    }

    /// The same where no file can be longer than that many blocks of 512 bytes, the journal too.
    pub fn file_blocks_max(mut self, blocks: u32) -> Recipe {
        self.options.file_blocks_max = Some(blocks);
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let disk = self.directory.path().join("disk");
        match &self.image {
            Some(image) => std::os::unix::fs::symlink(image, disk).expect("a link to the image"),
            None if self.is_blank => {
                File::create(disk).and_then(|file| file.set_len(self.image_bytes)).expect("the image");
            }
            None => std::fs::write(disk, Random::new(1).bytes(self.image_bytes as usize)).expect("the image"),
        }
        Daemon::launch(self.directory, self.options)
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
    options: Options,
    directory: TempDir,
    /// Whether a test has done something to the journal that no daemon does.
    spoilt: bool,
}

impl Daemon {
    /// A daemon with a journal and a control socket, and no policy.
    #[track_caller]
    pub fn start() -> Daemon {
        Recipe::new().start()
    }

    #[track_caller]
    fn launch(directory: TempDir, options: Options) -> Daemon {
        let path = |name: &str| directory.path().join(name);
        let (child, announcement) = spawn(directory.path(), &options);
        Daemon {
            socket: path("blk.sock"),
            control: path("ctl"),
            guest: path("ctl.guest"),
            image: path("disk"),
            journal: path("journal"),
            announcement,
            child,
            options,
            directory,
            spoilt: false,
        }
    }

    /// Puts something else into its journal, that is not expected to be one.
    #[track_caller]
    pub fn spoil_journal(&mut self, content: &[u8]) {
        self.spoilt = true;
        std::fs::write(&self.journal, content).expect("write the journal");
    }

    /// Starts another like it when it has ended.
    #[track_caller]
    pub fn start_again(&mut self) {
        (self.child, self.announcement) = spawn(self.directory.path(), &self.options);
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

    /// The same with the times.
    #[track_caller]
    pub fn lines(&self) -> Vec<Line> {
        journal::lines(&self.journal)
    }

    /// Waits until the journal has records that `find` finds something in.
    #[track_caller]
    pub fn wait_for_record<T>(&self, what: &str, find: impl Fn(&[Record]) -> Option<T>) -> T {
        wait_for(what, || find(&self.records()))
    }

    /// Fails unless every request that arrived ends in exactly one way. What the drive has when a guest goes, it finishes
    /// afterwards.
    #[track_caller]
    pub fn assert_accounted_for(&self) {
        let all_have_ended = |records: &[Record]| journal::have_all_ended(records).then_some(());
        self.wait_for_record("every request to end", all_have_ended);
        journal::assert_accounted_for(&self.records());
    }

    /// Waits until no guest is connected; the last one's requests have ended then.
    #[track_caller]
    pub fn wait_until_guest_is_gone(&self) {
        wait_for("the last guest to be gone", || match self.control().call(Call::Stats) {
            Answer::Stats(stats) => (!stats.connected).then_some(()),
            other => panic!("{other:?}"),
        });
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

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its exit status").is_some()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the daemon to end", || self.child.try_wait().expect("its exit status"))
    }

    /// Reads again and again until it has ended by itself; how many reads were through.
    #[track_caller]
    pub fn read_until_it_ends(&mut self) -> usize {
        let mut client = self.connect_with(Setup { queue_size: 256, ..Setup::default() });
        let (mut seen, unused) = (0, client.allocate(0));
        loop {
            client.allocate_from(unused);
            let read = client.start(&Request::read(0, 512));
            wait_for("the read or the end", || (client.is_done(&read) || self.has_ended()).then_some(()));
            if !client.is_done(&read) {
                return seen;
            }
            client.wait(&read);
            seen += 1;
        }
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

    /// Fails unless a new guest is served in full, and the control socket answers. The image keeps
    /// its content.
    #[track_caller]
    pub fn assert_serves(&self) {
        let mut client = self.connect();
        let sector = client.read(0, 512);
        if client.offered & (1 << VIRTIO_BLK_F_RO) == 0 {
            client.write(0, &sector);
            assert_eq!(client.read(0, 512), sector);
        }
        self.control().tell(blkstay_engine::control::Command::Ping);
    }

    /// Nanoseconds for which it has run on CPUs; only its threads of that name if there is one.
    #[track_caller]
    pub fn cpu_ns(&self, thread: Option<&str>) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs").flatten();
        let is_meant = |task: &PathBuf| {
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            thread.is_none_or(|thread| name.trim() == thread)
        };
        let run = |task: PathBuf| {
            let statistics = std::fs::read_to_string(task.join("schedstat")).ok()?;
            statistics.split_whitespace().next()?.parse::<u64>().ok()
        };
        tasks.map(|task| task.path()).filter(is_meant).filter_map(run).sum()
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let pieces = blkstay_engine::journal::contents(&std::fs::read(&self.journal).unwrap_or_default());
            let tail = &pieces[pieces.len().saturating_sub(20)..];
            eprintln!("blkstayd said:\n{}\nits journal ends:\n{tail:#?}", self.errors());
        } else if !self.spoilt && !self.options.no_journal {
            fed_back::assert_agrees(&self.journal);
        }
    }
}

fn command(file_blocks_max: Option<u32>) -> Command {
    let program = binary::path("blkstayd");
    let Some(blocks) = file_blocks_max else { return Command::new(program) };
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -f {blocks}; exec \"$0\" \"$@\"")).arg(program);
    shell
}

/// Starts a daemon on what is in `directory` and waits until it is ready.
#[track_caller]
fn spawn(directory: &Path, options: &Options) -> (Child, Vec<String>) {
    let errors = directory.join("stderr");
    let mut command = command(options.file_blocks_max);
    if !options.no_journal {
        command.arg("--journal").arg(directory.join("journal"));
    }
    if !options.names_image {
        command.arg("--image").arg(directory.join("disk"));
    }
    let mut child = command
        .arg("--socket")
        .arg(directory.join("blk.sock"))
        .arg("--control")
        .arg(directory.join("ctl"))
        .args(&options.arguments)
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
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
