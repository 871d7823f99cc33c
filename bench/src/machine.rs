//! What it is measured on, and whether that was calm.

use blkstay_tests::daemon::Daemon;
use serde::Serialize;
use std::fmt;
use std::time::Instant;

/// A load average of which everything is far enough from busy.
const CALM: f64 = 0.5;

/// The machine, as it was before anything was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    cores: usize,
    kernel: String,
    /// Average of the last minute.
    load: f64,
    calm: bool,
}

impl Machine {
    /// This one, now.
    pub fn seen() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let load =
            read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN);
        let release = read("/proc/sys/kernel/osrelease");
        let kernel = release.split('-').next().unwrap_or_default().trim().to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Machine { cores, kernel, load, calm: load < CALM }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, kernel, load, calm } = self;
        write!(f, "{cores} cores, Linux {kernel}, load {load}")?;
        if *calm { Ok(()) } else { write!(f, ": not calm, so figures may be worse than they are") }
    }
}

/// What others do to the figures: how much of the machine somebody else has had since a moment.
pub struct Others<'d> {
    daemon_ns: Box<dyn Fn() -> u64 + 'd>,
    since: Instant,
    busy_ns: u64,
    ours_ns: u64,
}

impl Others<'_> {
    /// From now on.
    pub fn since_now(daemon: &Daemon) -> Others<'_> {
        Others::beside(|| daemon.cpu_ns(None))
    }

    /// From now on, with something else than a daemon of the tests; it says for how long it has run on CPUs.
    pub fn beside<'d>(daemon_ns: impl Fn() -> u64 + 'd) -> Others<'d> {
        let ours_ns = own_ns() + daemon_ns();
        Others { daemon_ns: Box::new(daemon_ns), since: Instant::now(), busy_ns: busy_ns(), ours_ns }
    }

    /// CPUs that they had on average.
    pub fn cpus(&self) -> f64 {
        let busy = busy_ns().saturating_sub(self.busy_ns) as f64;
        let ours = (own_ns() + (self.daemon_ns)()).saturating_sub(self.ours_ns) as f64;
        ((busy - ours) / self.since.elapsed().as_nanos() as f64).max(0.0)
    }
}

/// A tick of the kernel's accounting, as every program sees it.
pub const TICK_NS: u64 = 10_000_000;

/// Time for which any CPU was not idle, and for which the machine below did not give us one.
fn busy_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let is_idle = |column: &usize| [3, 4].contains(column);
    let columns = fields.enumerate().filter(|(column, _)| !is_idle(column));
    columns.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum::<u64>() * TICK_NS
}

fn own_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own = text.split_whitespace().next().and_then(|time| time.parse::<u64>().ok());
    own.unwrap_or(0)
}
