//! What is told on standard error, by BLKSTAY_LOG.

use anyhow::{Context, Result, ensure};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "BLKSTAY_LOG";

/// Begins to tell.
///
/// # Errors
/// The variable says nothing that is understood.
pub fn begin() -> Result<()> {
    let asked = match std::env::var_os(VARIABLE) {
        None => String::new(),
        Some(asked) => asked.into_string().ok().with_context(|| format!("{VARIABLE} is no text"))?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter(&asked)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}

/// Nothing is `warn`. A word that is no level would be taken for a part of the program, and all others would be silent.
fn filter(asked: &str) -> Result<EnvFilter> {
    let parts = asked.split(',').map(str::trim).filter(|part| !part.is_empty());
    for part in parts {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        ensure!(
            level.parse::<LevelFilter>().is_ok(),
            "{VARIABLE}={asked}: `{level}` is no level; write `off`, `error`, `warn`, `info`, `debug` or `trace`"
        );
    }
    let asked = if asked.trim().is_empty() { "warn" } else { asked };
    EnvFilter::try_new(asked).with_context(|| format!("{VARIABLE}={asked} is not understood"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_understood_and_other_words_are_refused() {
        for (asked, understood) in [
            ("", "warn"),
            ("INFO", "info"),
            ("off", "off"),
            ("warn,blkstayd::ring=debug", "blkstayd::ring=debug,warn"),
        ] {
            assert_eq!(filter(asked).unwrap().to_string(), understood);
        }
        for (asked, word) in
            [("verbose", "verbose"), ("warn,blkstayd", "blkstayd"), ("blkstayd=loud", "loud")]
        {
            let message = filter(asked).unwrap_err().to_string();
            assert!(message.contains(&format!("`{word}` is no level; write")), "{message}");
        }
    }
}
