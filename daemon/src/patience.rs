//! How long a worker looks for work before it sleeps.

use blkstay_engine::request::Nanos;

/// How long a worker looks for work before it sleeps.
#[derive(Clone, Copy, Debug)]
pub enum Polling {
    /// For ever.
    Always,
    /// At most so many nanoseconds; less if that was in vain lately.
    UpTo(Nanos),
}

impl Polling {
    fn is_endless(self) -> bool {
        matches!(self, Polling::Always)
    }
}

/// What a worker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A guest's next request alone.
    Guest,
    /// The drive's answer, too.
    Drive,
    /// Several answers of the drive's.
    Several,
}

/// So many requests at the drive are several.
const SEVERAL: usize = 4;

impl WaitsFor {
    /// What it waits for while so many requests are at the drive.
    pub fn when(in_flight: usize) -> WaitsFor {
        match in_flight {
            0 => WaitsFor::Guest,
            1..SEVERAL => WaitsFor::Drive,
            SEVERAL.. => WaitsFor::Several,
        }
    }
}

/// Whether it pays to look again before sleeping: a wake-up takes longer than many a request. A guest and a drive take
/// different times, so each has a window of its own: a slow drive is no reason not to look for what a quick guest does
/// with its answer. With several requests at the drive it never pays: whoever sleeps finds several answers, and the
/// guest and the drive are called once for all.
pub struct Patience {
    polling: Polling,
    windows: [Nanos; 2],
    idle_since: Option<Nanos>,
}

/// The shortest time that is worth it, in nanoseconds.
const WINDOW_MIN: Nanos = 4_000;

/// What a guest and its thread take to wake up, in nanoseconds: as measured across the CPUs of a virtual machine.
const WAKE_UP: Nanos = 50_000;

impl Patience {
    /// None yet.
    pub fn new(polling: Polling) -> Patience {
        Patience { polling, windows: [0; 2], idle_since: None }
    }

    /// There was something to do.
    pub fn worked(&mut self) {
        self.idle_since = None;
    }

    /// Whether to look again rather than to sleep, when there was nothing to do.
    pub fn has_some(&mut self, now: Nanos, waits_for: WaitsFor) -> bool {
        let since = *self.idle_since.get_or_insert(now);
        let window = self.windows.get(waits_for as usize).copied().unwrap_or(0);
        self.polling.is_endless() || now - since < window
    }

    /// A wait that was no longer than the longest window would have been without a sleep by a longer one; a longer wait
    /// says that the window was in vain. For a guest a wake-up is added: that is the longer part of what it takes, and with
    /// its kick it is spared. A drive that is waited for costs as much CPU time as it takes, and a sleep costs less than
    /// most drives take.
    pub fn slept(&mut self, now: Nanos, waits_for: WaitsFor) {
        let waited = now - self.idle_since.take().unwrap_or(now);
        if let (Polling::UpTo(longest), Some(window)) =
            (self.polling, self.windows.get_mut(waits_for as usize))
        {
            let spared = if waits_for == WaitsFor::Guest { WAKE_UP } else { 0 };
            *window = match waited <= longest + spared {
                true => (*window * 2).clamp(WINDOW_MIN.min(longest), longest),
                false => 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WaitsFor::{Drive, Guest, Several};
    use super::*;

    /// Patience after waits of these lengths.
    fn after(waits: &[(WaitsFor, Nanos)]) -> Patience {
        let mut patience = Patience::new(Polling::UpTo(32_000));
        for (waits_for, wait) in waits {
            patience.has_some(0, *waits_for);
            patience.slept(*wait, *waits_for);
        }
        patience
    }

    #[test]
    fn patience_grows_with_short_waits_and_ends_with_a_long_one() {
        assert!(!after(&[]).has_some(0, Guest));
        let mut once = after(&[(Guest, 10_000)]);
        assert!(once.has_some(100, Guest) && once.has_some(4_099, Guest) && !once.has_some(4_100, Guest));
        let mut often = after(&[(Guest, 82_000); 10]);
        assert!(often.has_some(0, Guest) && often.has_some(31_999, Guest));
        assert!(!often.has_some(32_000, Guest));
        often.worked();
        assert!(often.has_some(40_000, Guest), "it begins anew with work");
        assert!(!after(&[(Guest, 10_000), (Guest, 82_001)]).has_some(0, Guest));
    }

    #[test]
    fn what_was_waited_before_the_sleep_counts() {
        let mut patience = after(&[(Drive, 32_000); 10]);
        assert!(patience.has_some(0, Drive) && !patience.has_some(32_000, Drive));
        patience.slept(40_000, Drive);
        assert!(!patience.has_some(0, Drive), "8 µs of sleep after 32 µs of looking");
    }

    #[test]
    fn a_slow_drive_does_not_end_the_patience_with_a_quick_guest() {
        let mut patience = after(&[(Guest, 10_000), (Drive, 100_000)]);
        assert!(patience.has_some(0, Guest));
        patience.worked();
        assert!(!patience.has_some(0, Drive));
    }

    #[test]
    fn several_answers_are_slept_for() {
        assert!(!after(&[(Several, 10), (Several, 10)]).has_some(0, WaitsFor::when(SEVERAL)));
        assert!(after(&[(Drive, 10)]).has_some(0, WaitsFor::when(SEVERAL - 1)));
    }

    #[test]
    fn who_never_polls_sleeps_at_once_and_who_always_does_never() {
        let mut never = Patience::new(Polling::UpTo(0));
        never.slept(0, Guest);
        assert!(!never.has_some(5, Guest));
        let mut always = Patience::new(Polling::Always);
        assert!(always.has_some(0, Several) && always.has_some(u64::MAX, Several));
    }
}
