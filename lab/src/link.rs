//! A connection to a daemon's control socket on which one command after the other is sent.

use anyhow::{Context, Result, anyhow, bail};
use blkstay_engine::control::{Answer, Call, Command, Reply};
use blkstay_engine::report::StatsReport;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection.
pub struct Link {
    read: BufReader<UnixStream>,
    socket: String,
    next_id: u64,
}

impl Link {
    /// Connects; answers are waited for as long as they take.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path) -> Result<Link> {
        let socket = path.display().to_string();
        let stream = UnixStream::connect(path)
            .with_context(|| format!("{socket}: cannot connect; is blkstayd --control there?"))?;
        Ok(Link { read: BufReader::new(stream), socket, next_id: 1 })
    }

    /// The same, but a daemon that does not answer for so long counts as gone.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn impatient(path: &Path, limit: Duration) -> Result<Link> {
        let link = Link::connect(path)?;
        link.read
            .get_ref()
            .set_read_timeout(Some(limit))
            .context("the control socket takes no time limit")?;
        Ok(link)
    }

    /// Sends a command and waits for its answer, which may be a refusal; also the line that it came in.
    ///
    /// # Errors
    /// The daemon is gone, or what answers is none.
    pub fn ask(&mut self, command: Command) -> Result<(String, Reply)> {
        self.exchange(command).with_context(|| self.socket.clone())
    }

    /// The counters.
    ///
    /// # Errors
    /// The same, or the socket is a guest's.
    pub fn stats(&mut self) -> Result<StatsReport> {
        match self.ask(Command::Stats)?.1.answer {
            Answer::Stats(stats) => Ok(*stats),
            Answer::Error { message } => bail!("{}: {}", self.socket, message.trim_end()),
            _ => bail!("{}: the daemon's answer makes no sense", self.socket),
        }
    }

    fn exchange(&mut self, command: Command) -> Result<(String, Reply)> {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Call::new(id, command))?;
        line.push(b'\n');
        self.read.get_mut().write_all(&line).context("the daemon is gone")?;
        loop {
            let mut line = String::new();
            let length = self.read.read_line(&mut line).map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => anyhow!("the daemon does not answer"),
                _ => anyhow!("the daemon is gone: {error}"),
            })?;
            if length == 0 {
                bail!("the daemon is gone");
            }
            let reply: Reply = serde_json::from_str(&line).context("the daemon's answer makes no sense")?;
            // What could not be read as a command is refused without its name: one is under way, so it is that one.
            if reply.id == id || (reply.id == 0 && matches!(reply.answer, Answer::Error { .. })) {
                return Ok((line.trim_end().to_owned(), reply));
            }
        }
    }
}
