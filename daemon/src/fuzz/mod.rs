//! Guests and QEMUs that have lost their minds, by the million, on the real code in this process: chains and rings in
//! `chains`, vhost-user messages in `messages`. The same seed is the same run.
//!
//! Short runs here; `make fuzz` has long ones (`FUZZ_RUNS` chains and messages, `FUZZ_SEED` begins elsewhere).

mod chains;
mod compose;
mod expected;
mod held;
mod messages;
mod world;

use crate::carried::Carried;
use crate::classes::Classes;
use crate::core::{Core, Parts};
use crate::device::{Device, Model};
use crate::journal::Journal;
use crate::timer::{Polling, Timer};
use blkstay_drives::Drive;
use blkstay_engine::policy::{Policy, Settings};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// A thing takes microseconds; whatever does not get on for so long hangs.
const HANG: Duration = Duration::from_secs(30);

const SERIAL: &str = "fuzz";
const SEGMENTS_MAX: u32 = 6;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Less than `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A daemon's middle in front of a drive, with a policy.
fn core(drive: Arc<dyn Drive<Carried>>, policy: &str) -> Arc<Core> {
    let bytes = drive.bytes();
    let model = Model {
        read_only: false,
        queues: 2,
        block_bytes: 512,
        physical_block_bytes: 512,
        segments_max: SEGMENTS_MAX,
        segment_bytes_max: 1 << 20,
        discard_bytes: 512,
        serial: SERIAL.to_owned(),
    };
    let core = Core::new(Parts {
        drive,
        lanes: 1,
        device: Device::new(model, bytes),
        journal: Journal::none(),
        classes: Classes::new(Arc::new(|_, _| false), bytes, false),
        timer: Timer::new(Polling::Brief),
        failed: tokio::sync::mpsc::unbounded_channel().0,
    });
    let settings = Settings::default();
    let read = Policy::read("fuzz", policy, &settings, &mut |_| Err("there is none".to_owned()));
    core.load(read.unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false))).policy);
    core
}

/// Ends the process when a count stands still.
struct Watch {
    _over: Sender<()>,
}

impl Watch {
    fn new(name: &'static str, count: &Arc<AtomicU64>) -> Watch {
        let (over, ended) = channel::<()>();
        let count = count.clone();
        std::thread::spawn(move || {
            let mut before = u64::MAX;
            while ended.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
                let now = count.load(Ordering::Relaxed);
                if now == before {
                    eprintln!("{name}: it hangs after {now}");
                    std::process::exit(1);
                }
                before = now;
            }
        });
        Watch { _over: over }
    }
}
