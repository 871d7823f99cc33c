//! The control socket: JSON lines in, answers out, each after its effect.

use crate::core::{Core, waits_for_drive};
use crate::shortage::Shortage;
use anyhow::{Context, Result};
use blkstay_engine::control::{Answer, Call, GUEST_LINE_BYTES_MAX, LINE_BYTES_MAX, Reply};
use blkstay_engine::journal::Source;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Most calls of a client that are unanswered or whose answers it has not read: beyond that nothing is
/// read from it, so that it cannot fill memory. The engine lets fewer than that wait (4096), so those
/// that wait never keep the call out that would end their waiting.
const UNREAD_MAX: usize = 8192;

/// Serves every connection to a socket, for ever; `source` is whose connections they are.
///
/// # Errors
/// The socket is no good for asynchronous use.
pub async fn serve(listener: StdListener, source: Source, core: Arc<Core>) -> Result<()> {
    listener.set_nonblocking(true).context("control socket")?;
    let listener = UnixListener::from_std(listener).context("control socket")?;
    let shortage = Arc::new(Shortage::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (core, shortage) = (core.clone(), shortage.clone());
                tokio::spawn(async move {
                    client(stream, source, core).await;
                    shortage.is_gone();
                });
            }
            Err(error) => {
                shortage.found(core.now(), "a client of the control socket", &error);
                shortage.wait().await;
            }
        }
    }
}

async fn client(stream: UnixStream, source: Source, core: Arc<Core>) {
    let (read, write) = stream.into_split();
    let (replies, outgoing) = unbounded_channel();
    let room = Arc::new(Semaphore::new(UNREAD_MAX));
    let writer = tokio::spawn(write_replies(write, outgoing, room.clone()));
    if let Err(error) = read_calls(read, source, &core, &replies, &room).await {
        tracing::debug!(%error, "a client of the control socket is gone");
    }
    core.forget(&replies);
    drop(replies);
    let _ = writer.await;
}

async fn read_calls(
    read: OwnedReadHalf,
    source: Source,
    core: &Arc<Core>,
    replies: &UnboundedSender<Reply>,
    room: &Semaphore,
) -> std::io::Result<()> {
    let limit = match source {
        Source::Guest => GUEST_LINE_BYTES_MAX,
        Source::Control | Source::Policy => LINE_BYTES_MAX,
    };
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    while read_line(&mut read, limit, &mut line).await? {
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match room.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_) => break,
        }
        match parse(text, limit) {
            // The other clients go on while this one waits.
            Ok(call) if waits_for_drive(&call.command) => {
                let (core, replies) = (core.clone(), replies.clone());
                tokio::task::spawn_blocking(move || core.call(source, call, &replies)).await?;
            }
            Ok(call) => core.call(source, call, replies),
            Err(refusal) => {
                let _ = replies.send(refusal);
            }
        }
    }
    Ok(())
}

/// Reads a line; of one that is too long only the beginning, and the rest is skipped.
async fn read_line(
    read: &mut BufReader<OwnedReadHalf>,
    limit: usize,
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    line.clear();
    let mut limited = (&mut *read).take(limit as u64 + 1);
    limited.read_until(b'\n', line).await?;
    if line.len() > limit && line.last() != Some(&b'\n') {
        let mut rest = Vec::new();
        while !rest.ends_with(b"\n") {
            rest.clear();
            if (&mut *read).take(4096).read_until(b'\n', &mut rest).await? == 0 {
                break;
            }
        }
    }
    Ok(!line.is_empty())
}

fn parse(line: &[u8], limit: usize) -> Result<Call, Reply> {
    let refuse = |id: u64, message: String| Err(Reply::new(id, Answer::Error { message }));
    if line.len() > limit {
        return refuse(0, format!("a line of more than {limit} bytes; send less at once"));
    }
    Call::parse(line).or_else(|bad| {
        refuse(bad.id, format!("not a command: {}; send {{\"id\":1,\"do\":\"ping\"}}, say", bad.why))
    })
}

async fn write_replies(
    mut write: OwnedWriteHalf,
    mut outgoing: UnboundedReceiver<Reply>,
    room: Arc<Semaphore>,
) {
    while let Some(reply) = outgoing.recv().await {
        let Ok(mut line) = serde_json::to_vec(&reply) else { continue };
        line.push(b'\n');
        if write.write_all(&line).await.is_err() {
            break;
        }
        room.add_permits(1);
    }
    room.close();
}
