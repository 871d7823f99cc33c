//! How requests stood and ended, in words.

use super::story::{End, Stand};
use super::words;
use blkstay_engine::journal::Cause;
use blkstay_engine::request::{Nanos, Status};

/// What it stood for and why that ended.
pub fn why(stand: &Stand) -> String {
    let rule = || match (&stand.rule, stand.does) {
        (Some(rule), Some(does)) => format!("by {rule} ({does})"),
        (Some(rule), None) => format!("by {rule}"),
        (None, _) => "by hand".to_owned(),
    };
    match (&stand.until, &stand.released) {
        (Some(until), Some((_, Cause::Until { .. }))) => format!("until {until}"),
        (Some(until), Some((_, Cause::Watchdog { .. }))) => format!("for {until}, ended by its watchdog"),
        (Some(until), Some((_, cause))) => format!("for {until}, ended by {}", words::cause(cause)),
        (Some(until), None) => format!("for {until}"),
        (None, Some((_, cause))) => format!("{}: {}", rule(), words::cause(cause)),
        (None, None) => rule(),
    }
}

/// How long it stood, what for, and why that ended.
pub fn stood(stand: &Stand, over: Nanos) -> String {
    let to = stand.released.as_ref().map_or(over, |(t, _)| *t);
    format!("held {} {}", words::time(to.saturating_sub(stand.from_ns)), why(stand))
}

/// How it ended, in a word or two.
pub fn ended(end: End) -> String {
    match end {
        End::Completed(Status::Ok) => "completes".to_owned(),
        End::Completed(status) => format!("completes: {status}"),
        End::Abandoned(_) => "is given up".to_owned(),
    }
}

/// Whether the guest was told that all is well.
pub fn is_good(end: End) -> bool {
    end == End::Completed(Status::Ok)
}

/// Whether a watchdog had to end it.
pub fn is_expired(stand: &Stand) -> bool {
    matches!(stand.released, Some((_, Cause::Watchdog { .. } | Cause::WatchdogOf { .. })))
}

/// That so many like it were held, and how long if it is one.
pub fn held(count: usize, stand: &Stand) -> String {
    match &stand.released {
        Some((t, _)) if count == 1 => format!("held {}", words::time(t.saturating_sub(stand.from_ns))),
        None if count == 1 => "held".to_owned(),
        _ => format!("{count} held"),
    }
}
