//! A progress bar on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// What the run is at. Clones show the same bar.
#[derive(Clone, Debug)]
pub struct Progress(ProgressBar);

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Progress {
    /// A bar on standard error; hidden unless that is a terminal.
    pub fn new() -> Progress {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress(bar)
    }

    /// What is done now.
    pub fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// Says something that stays to be read.
    pub fn tell(&self, line: &str) {
        self.0.suspend(|| crate::out::tell(format_args!("{line}")));
    }

    /// Counts to `total` from here on.
    pub fn count(&self, total: u64) {
        let style =
            ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} attempts, {eta} left: {wide_msg}");
        self.0.set_length(total);
        self.0.set_position(0);
        self.0.reset_eta();
        if let Ok(style) = style {
            self.0.set_style(style);
        }
    }

    /// One more.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// So many that will not be made.
    pub fn skip(&self, count: u64) {
        self.0.dec_length(count);
    }

    /// Wipes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
