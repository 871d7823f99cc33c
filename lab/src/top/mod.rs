//! `blkstay top`: what a running daemon does, on a terminal or a line at a time.

#[cfg(test)]
mod fixed;
mod interval;
mod screen;
mod view;
mod words;

use crate::cli::Top;
use crate::link::Link;
use crate::out;
use anyhow::{Context, Result};
use blkstay_engine::control::{Answer, Command};
use interval::{Interval, Look};
use nix::sys::signal::{SigSet, Signal};
use ratatui::crossterm::event::{self, Event};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use view::{View, Wish};

/// How long a daemon may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Shows a daemon until it ends or a person has seen enough.
///
/// # Errors
/// Nobody listens, or the daemon is gone; the terminal cannot be used.
pub fn top(args: &Top) -> Result<ExitCode> {
    let link = Link::impatient(&args.socket, ANSWER_LIMIT)?;
    match args.once || args.json || !std::io::stdout().is_terminal() {
        true => lines(args, link)?,
        false => live(args, link)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn look(link: &mut Link) -> Result<Look> {
    let stats = link.stats()?;
    let held = match link.ask(Command::Held)?.1.answer {
        Answer::Held { requests } => requests,
        _ => Vec::new(),
    };
    Ok(Look { stats, held })
}

/// A line an interval.
fn lines(args: &Top, mut link: Link) -> Result<()> {
    let mut before = None;
    let mut next = Instant::now();
    loop {
        let now = look(&mut link)?;
        if args.once || before.is_some() {
            let interval = Interval::new(before.as_ref(), &now);
            let line = if args.json { serde_json::to_string(&interval)? } else { words::line(&interval) };
            if !out::offer(&format!("{line}\n"))? || args.once {
                return Ok(());
            }
        }
        before = Some(now.stats);
        next += args.interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// What the live view hears of.
enum News {
    Look(Look),
    Lost(String),
    Said(String),
    Terminal(Event),
    Ended,
}

fn live(args: &Top, link: Link) -> Result<()> {
    // Inherited by every thread: only the one that waits for them gets them, so that the terminal is put in order.
    let ending = SigSet::from_iter([Signal::SIGTERM, Signal::SIGHUP]);
    ending.thread_block().context("cannot wait for signals")?;
    let (news, heard) = channel();
    let (wishes, wished) = channel();
    spawn(&news, move |news| {
        let _ = ending.wait();
        let _ = news.send(News::Ended);
    })?;
    let (socket, period) = (args.socket.clone(), args.interval);
    spawn(&news, move |news| watch(&socket, link, period, &wished, news))?;
    let mut terminal = ratatui::try_init().context("the terminal cannot show this; pipe it for lines")?;
    let keys = spawn(&news, |news| {
        while let Ok(event) = event::read() {
            if news.send(News::Terminal(event)).is_err() {
                break;
            }
        }
        let _ = news.send(News::Ended);
    });
    let mut view = View::new(args.socket.display().to_string(), period);
    let shown = keys.and_then(|()| show(&mut terminal, &mut view, &heard, &wishes));
    ratatui::restore();
    shown
}

fn spawn(news: &Sender<News>, run: impl FnOnce(&Sender<News>) + Send + 'static) -> Result<()> {
    let news = news.clone();
    std::thread::Builder::new().spawn(move || run(&news)).map(drop).context("cannot start a thread")
}

/// Looks at the daemon once a period and whenever something was asked of it; connects again if it was gone.
fn watch(socket: &Path, link: Link, period: Duration, wished: &Receiver<Command>, news: &Sender<News>) {
    let mut link = Some(link);
    let mut next = Instant::now();
    let mut wish = None;
    loop {
        let told = with(&mut link, socket, |link| {
            if let Some(command) = wish.take() {
                let said = said(link, command)?;
                let _ = news.send(News::Said(said));
            }
            look(link)
        });
        let told = told.map_or_else(|error| News::Lost(format!("{error:#}")), News::Look);
        if news.send(told).is_err() {
            return;
        }
        if next <= Instant::now() {
            next = Instant::now().max(next + period);
        }
        match wished.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(command) => wish = Some(command),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn with<T>(link: &mut Option<Link>, socket: &Path, ask: impl FnOnce(&mut Link) -> Result<T>) -> Result<T> {
    let mut connected = match link.take() {
        Some(link) => link,
        None => Link::impatient(socket, ANSWER_LIMIT)?,
    };
    let told = ask(&mut connected)?;
    *link = Some(connected);
    Ok(told)
}

/// Asks for what a key wants; how that went.
fn said(link: &mut Link, command: Command) -> Result<String> {
    let done = match command {
        Command::Resume => "every pause is over",
        _ => "the disk is paused: p lets it go on",
    };
    Ok(match link.ask(command)?.1.answer {
        Answer::Error { message } => out::printable(message.trim_end()),
        Answer::Released { count } => format!("released {count}"),
        _ => done.to_owned(),
    })
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut View,
    heard: &Receiver<News>,
    wishes: &Sender<Command>,
) -> Result<()> {
    loop {
        terminal.draw(|frame| screen::draw(frame, view)).context("the terminal is gone")?;
        match heard.recv() {
            Ok(News::Look(look)) => view.look(look),
            Ok(News::Lost(why)) => view.lose(why),
            Ok(News::Said(words)) => view.said = words,
            Ok(News::Terminal(Event::Key(key))) => match view.key(key) {
                Wish::Nothing => {}
                Wish::Quit => return Ok(()),
                Wish::Ask(command) => {
                    let _ = wishes.send(command);
                }
            },
            // Drawing looks at the terminal's size.
            Ok(News::Terminal(_)) => {}
            Ok(News::Ended) | Err(_) => return Ok(()),
        }
    }
}
