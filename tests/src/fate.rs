//! What becomes of nonsense in a ring: a status, or a ring that is stopped. Nothing else may.

use crate::client::Client;
use crate::daemon::Daemon;
use crate::request::UNWRITTEN;
use crate::{journal, wait_for};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It got a status.
    Status(u8),
    /// Its ring is stopped.
    Stopped,
}

/// What became of it, and what the journal says was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What became of it.
    pub fate: Fate,
    /// What was wrong.
    pub why: String,
}

/// Has `offer` put something wrong into queue 0, and waits for what becomes of it. `offer` returns
/// where the status byte is, if there is one.
#[track_caller]
pub fn of(daemon: &Daemon, client: &mut Client, offer: impl FnOnce(&mut Client) -> Option<u64>) -> Verdict {
    let known = journal::bad_requests(&daemon.records()).len();
    let used = client.queues[0].used_index();
    let status_at = offer(client);
    client.queues[0].kick();
    let why = wait_for("the journal to call it bad", || {
        journal::bad_requests(&daemon.records()).into_iter().nth(known)
    });
    if let Some(why) = why.strip_suffix("; the ring is stopped") {
        assert_eq!(client.queues[0].used_index(), used, "something was used in a ring that is stopped");
        return Verdict { fate: Fate::Stopped, why: why.to_owned() };
    }
    let next = used.wrapping_add(1);
    wait_for("its completion", || (client.queues[0].used_index() == next).then_some(()));
    let status = status_at.map_or(UNWRITTEN, |at| client.memory.read(at, 1)[0]);
    Verdict { fate: Fate::Status(status), why }
}
