//! `blkstayd`: a vhost-user disk whose completions obey a policy.

mod announce;
mod carried;
mod chain;
mod classes;
mod cli;
mod complaints;
mod connection;
mod control;
mod core;
mod crew;
mod cut;
mod device;
#[cfg(test)]
mod fuzz;
mod handler;
mod inner;
mod journal;
mod log;
mod manual;
mod memory;
mod onlooker;
mod passage;
mod patience;
mod payload;
mod rehearsal;
mod ring;
mod shortage;
mod signals;
mod socket;
mod stats;
mod timer;
mod urgency;

use crate::carried::Carried;
use crate::classes::Classes;
use crate::cli::Cli;
use crate::core::{Core, Parts};
use crate::device::Device;
use crate::journal::Journal;
use crate::patience::Polling as Looking;
use crate::rehearsal::Rehearsal;
use crate::signals::Signals;
use crate::socket::{Socket, SocketPath};
use crate::timer::Timer;
use anyhow::{Context, Result, anyhow, ensure};
use blkstay_drives::Drive;
use blkstay_engine::journal::Source;
use blkstay_engine::policy::{Policy, Settings};
use clap::{CommandFactory, FromArgMatches};
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    if let Some(told) = manual::asked(&matches) {
        return told;
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match log::begin().and_then(|()| run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("blkstayd: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the control socket's runtime")?;
    // From here on a signal ends the daemon in order: no socket stays behind.
    let signals = runtime.block_on(async { Signals::catch() })?;
    signals::survive().context("cannot handle signals")?;
    ensure!(
        cli.control.as_ref() != Some(&cli.socket),
        "--control and --socket are the same path, {}; give each its own",
        cli.socket.display()
    );
    ensure!(
        cli.physical_block_size.is_none_or(|physical| physical >= cli.block_size),
        "--physical-block-size is less than --block-size, {}; a physical block has one logical block at least",
        cli.block_size
    );
    let policy = cli.policy.as_deref().map(|path| read_policy(path, &cli.settings())).transpose()?;
    let drive = blkstay_drives::open::<Carried>(&cli.spec())?;
    if let Some(note) = &drive.note {
        tell(format_args!("blkstayd: {note}"));
    }
    let journal = cli.journal.as_deref().map(Journal::open).transpose()?;
    let journal = journal.unwrap_or_else(Journal::none);
    let socket = Socket::bind("--socket", &cli.socket)?;
    let control = cli.control.as_deref().map(ControlSockets::bind).transpose()?;

    let device = Device::new(cli.model(drive.discard_bytes), drive.bytes);
    let (failed, failure) = unbounded_channel();
    let (drive, bytes): (Arc<dyn Drive<Carried>>, u64) = (drive.drive.into(), drive.bytes);
    let read = drive.clone();
    let read = Arc::new(move |offset, into: &mut [u8]| read.read_at(offset, into).is_ok());
    let classes = Classes::new(read, bytes, cli.classes);
    let lanes = cli.lanes();
    let timer = Timer::new(cli.timer_polling());
    let core = Core::new(Parts { drive, lanes, device, journal, classes, timer, failed });
    core.begin(cli.image.to_string(), policy)
        .with_context(|| format!("journal {}: it cannot be begun", shown(cli.journal.as_deref())))?;
    start_timer(&core)?;
    start_front_end(&core, cli.polling(), socket.listener)?;
    let ended = runtime.block_on(serve(cli, core.clone(), control, signals, failure, socket.path));
    // Whoever still waits for the drive is not waited for.
    runtime.shutdown_background();
    // An overlay is dropped unless the daemon ends as told.
    ended?;
    core.drive().end().context("the overlay could not be committed; the image has a part of it")
}

fn shown(path: Option<&Path>) -> impl Display {
    path.unwrap_or(Path::new("")).display()
}

/// Tells a person something on standard error; if that cannot be written, there is nobody left to tell.
fn tell(words: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
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
        tell(format_args!("{}\n", checked.warnings.render(colour)));
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

fn start_timer(core: &Arc<Core>) -> Result<()> {
    let core = core.clone();
    let run = move || {
        let mut rehearsal = Rehearsal::new();
        let mut waits = |now, deadline| rehearsal.idles(&core, now, Some(deadline));
        core.timer().run(|| core.now(), || core.tick(), &mut waits)
    };
    std::thread::Builder::new().name("timer".into()).spawn(run).context("cannot start the timer")?;
    Ok(())
}

fn start_front_end(core: &Arc<Core>, polling: Looking, listener: UnixListener) -> Result<()> {
    let core = core.clone();
    let run = move || connection::serve(&core, &listener, polling);
    std::thread::Builder::new().name("front-end".into()).spawn(run).context("cannot start the front end")?;
    Ok(())
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
    if let Err(error) = announce::announce(cli) {
        core.shut_down()?;
        return Err(error).context("cannot say that it is ready");
    }
    let failed = tokio::select! {
        () = signals.any() => None,
        message = failure.recv() => message,
    };
    let is_through = core.shut_down();
    match failed {
        None => is_through,
        Some(message) => Err(anyhow!(message)),
    }
}
