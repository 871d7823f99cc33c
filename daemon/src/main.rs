//! `blkstayd`: a vhost-user disk whose completions obey a policy.

mod chain;
mod classes;
mod cli;
mod control;
mod core;
mod device;
mod drive;
mod frontend;
mod image;
mod inner;
mod journal;
mod payload;
mod socket;
mod timer;

use crate::classes::Classes;
use crate::cli::Cli;
use crate::core::Core;
use crate::device::Device;
use crate::drive::RawFile;
use crate::frontend::Frontend;
use crate::image::Image;
use crate::journal::Journal;
use crate::socket::{Socket, SocketPath};
use crate::timer::Polling;
use anyhow::{Context, Result, anyhow, ensure};
use blkstay_engine::journal::Source;
use blkstay_engine::policy::{Policy, Settings};
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vhost_user_backend::VhostUserDaemon;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("BLKSTAY_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blkstayd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the control socket's runtime")?;
    // From here on a signal ends the daemon in order: no socket stays behind.
    let signals = runtime.block_on(async { Signals::catch() })?;
    ensure!(
        cli.control.as_ref() != Some(&cli.socket),
        "--control and --socket are the same path, {}; give each its own",
        cli.socket.display()
    );
    let policy = cli.policy.as_deref().map(|path| read_policy(path, &cli.settings())).transpose()?;
    let image = Image::open(&cli.image, cli.read_only)?;
    let journal = cli.journal.as_deref().map(Journal::open).transpose()?;
    let journal = journal.unwrap_or_else(Journal::none);
    let socket = Socket::bind("--socket", &cli.socket)?;
    let control = cli.control.as_deref().map(ControlSockets::bind).transpose()?;

    let device = Device { bytes: image.bytes, read_only: cli.read_only, queues: cli.num_queues };
    let (failed, failure) = unbounded_channel();
    let read = image.file.try_clone().context("cannot open the image a second time")?;
    let core = Core::new(journal, Classes::new(read, image.bytes, cli.classes), failed);
    core.begin_journal(cli.image.display().to_string(), image.bytes);
    if let Some(policy) = policy {
        core.load(policy);
    }
    start_drive(&core, image)?;
    start_timer(&core, if cli.busy_poll { Polling::BUSY } else { Polling::BRIEF })?;
    start_front_end(&core, device, socket.listener)?;
    runtime.block_on(serve(cli, core, control, signals, failure, socket.path))
}

/// The signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> Result<Signals> {
        let terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        Ok(Signals { terminate, interrupt })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn read_policy(path: &Path, settings: &Settings) -> Result<Policy> {
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("policy {origin}: cannot read it"))?;
    let colour = std::io::stderr().is_terminal();
    let mut include = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    let checked = Policy::read(&origin, &text, settings, &mut include).map_err(|mistakes| {
        anyhow!("the policy has mistakes; nothing was served\n{}", mistakes.render(colour))
    })?;
    if !checked.warnings.list.is_empty() {
        eprintln!("{}\n", checked.warnings.render(colour));
    }
    Ok(checked.policy)
}

/// A socket for people and the lab, and one that QEMU connects a guest's port to: a guest cannot
/// pretend to be anything else.
struct ControlSockets {
    full: Socket,
    guest: Socket,
}

impl ControlSockets {
    fn bind(path: &Path) -> Result<ControlSockets> {
        let full = Socket::bind("--control", path)?;
        let guest = Socket::bind("--control", &guest_path(path))?;
        Ok(ControlSockets { full, guest })
    }
}

fn guest_path(control: &Path) -> PathBuf {
    let mut path = control.as_os_str().to_owned();
    path.push(".guest");
    path.into()
}

fn start_drive(core: &Arc<Core>, image: Image) -> Result<()> {
    let weak = Arc::downgrade(core);
    let on_finish = Arc::new(move |id, request: chain::Finished, status| match weak.upgrade() {
        Some(core) => core.finished(id, request, status),
        None => request.abandon(),
    });
    core.set_drive(Box::new(RawFile::start(image.file, on_finish).context("cannot start the drive")?));
    Ok(())
}

fn start_timer(core: &Arc<Core>, polling: Polling) -> Result<()> {
    let core = core.clone();
    let run = move || core.timer().run(polling, || core.now(), || core.tick());
    std::thread::Builder::new().name("timer".into()).spawn(run).context("cannot start the timer")?;
    Ok(())
}

fn start_front_end(core: &Arc<Core>, device: Device, listener: UnixListener) -> Result<()> {
    let core = core.clone();
    let run = move || serve_guests(&core, device, listener);
    std::thread::Builder::new().name("front-end".into()).spawn(run).context("cannot start the front end")?;
    Ok(())
}

/// Serves one guest after another, for ever.
fn serve_guests(core: &Arc<Core>, device: Device, listener: UnixListener) {
    let mut listener = vhost::vhost_user::Listener::from(listener);
    loop {
        if let Err(error) = serve_guest(core, device, &mut listener) {
            tracing::info!(%error, "the guest's connection ended");
        }
    }
}

fn serve_guest(core: &Arc<Core>, device: Device, listener: &mut vhost::vhost_user::Listener) -> Result<()> {
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let frontend = Arc::new(Frontend::new(core.clone(), device, memory.clone()));
    let mut daemon =
        VhostUserDaemon::new("vhost-user".into(), frontend, memory).map_err(|e| anyhow!("{e}"))?;
    daemon.start(listener).map_err(|e| anyhow!("{e}"))?;
    core.connected();
    let ended = daemon.wait().map_err(|e| anyhow!("{e}"));
    // The ring's workers have ended when it is dropped, so nothing arrives after this.
    drop(daemon);
    core.disconnected();
    ended
}

async fn serve(
    cli: &Cli,
    core: Arc<Core>,
    control: Option<ControlSockets>,
    mut signals: Signals,
    mut failure: UnboundedReceiver<String>,
    _socket: SocketPath,
) -> Result<()> {
    let mut paths = Vec::new();
    if let Some(ControlSockets { full, guest }) = control {
        for (socket, source) in [(full, Source::Control), (guest, Source::Guest)] {
            paths.push(socket.path);
            tokio::spawn(control::serve(socket.listener, source, core.clone()));
        }
    }
    announce(cli).context("cannot say that it is ready")?;
    let failed = tokio::select! {
        () = signals.any() => None,
        message = failure.recv() => message,
    };
    core.shut_down();
    match failed {
        None => Ok(()),
        Some(message) => Err(anyhow!(message)),
    }
}

/// Prints how to attach the disk, and that it is there.
fn announce(cli: &Cli) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "attach it to QEMU with these arguments (the memory's size is the guest's, -m):")?;
    writeln!(out, "  -m 1G -object memory-backend-memfd,id=blkstay-mem,size=1G,share=on \\")?;
    writeln!(out, "  -machine memory-backend=blkstay-mem \\")?;
    writeln!(out, "  -chardev socket,id=blkstay-disk,path={} \\", quoted(&cli.socket))?;
    write!(out, "  -device vhost-user-blk-pci,chardev=blkstay-disk,num-queues=1")?;
    if let Some(control) = &cli.control {
        writeln!(out, " \\")?;
        writeln!(out, "  -chardev socket,id=blkstay-port,path={} \\", quoted(&guest_path(control)))?;
        write!(out, "  -device virtio-serial-pci -device virtserialport,chardev=blkstay-port,name=blkstay")?;
    }
    writeln!(out, "\nready: serving {} at {}", cli.image.display(), cli.socket.display())?;
    out.flush()
}

/// A path as a shell and QEMU's option parser take it: a comma is doubled, the rest single-quoted.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace(',', ",,");
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+,@%".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
