//! The command line of `blkstayd`.

use crate::device::{Model, QUEUES_MAX, SERIAL_BYTES_MAX};
use crate::patience::Polling;
use crate::timer;
use blkstay_drives::{Aio, End, ImageSpec, Overlay, Spec, parse_size};
use blkstay_engine::policy::Settings;
use blkstay_engine::request::SERIAL;
use clap::Parser;
use clap_complete::Shell;
use std::num::NonZero;
use std::path::PathBuf;

/// Serves a disk to a QEMU guest whose completions obey a policy.
///
/// Prints the QEMU arguments that attach it, then one line that starts with `ready`. Stays up when
/// the guest goes away and serves the next one. SIGTERM, SIGINT and SIGHUP end it; requests that are held
/// then are given up, and the journal says so.
///
/// BLKSTAY_LOG says what is told on standard error: `warn` (the default), `info`, `debug`.
///
/// Exit status: 0 ended as told; 1 it could not start or go on; 2 the command line is wrong.
#[derive(Debug, Parser)]
#[command(name = "blkstayd", version)]
pub struct Cli {
    /// Unix socket that QEMU connects to (vhost-user)
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,

    /// Raw image or block device to serve; `memory:SIZE` for a disk in memory, `null:SIZE` for one that keeps nothing
    #[arg(long, value_name = "IMAGE")]
    pub image: ImageSpec,

    /// Policy file that requests obey; it is armed from the start
    #[arg(long, value_name = "PATH")]
    pub policy: Option<PathBuf>,

    /// Value of one of the policy's parameters; may be given for each
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "policy", value_parser = parameter)]
    pub parameters: Vec<(String, String)>,

    /// What the policy draws chance from, instead of its own seed
    #[arg(long, value_name = "N", requires = "policy")]
    pub seed: Option<u64>,

    /// File that every request is logged to; appended to if it exists
    #[arg(long, value_name = "PATH")]
    pub journal: Option<PathBuf>,

    /// Unix socket for commands; PATH.guest is made too, for the guest's virtio-serial port
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// Log what the blocks of each request are to the filesystem, also when the policy does not ask
    #[arg(long)]
    pub classes: bool,

    /// Refuse writes and open the image for reading only
    #[arg(long)]
    pub read_only: bool,

    /// Go past the host's page cache (O_DIRECT)
    #[arg(long)]
    pub direct: bool,

    /// How requests go to the image: `auto` is io_uring, or threads where that is refused
    #[arg(long, value_name = "auto|io_uring|threads", default_value = "auto")]
    pub aio: Aio,

    /// Leave the image as it is and keep what is written in `memory` or in a sparse file (a path or a directory)
    #[arg(long, value_name = "memory|PATH")]
    pub overlay: Option<Overlay>,

    /// What becomes of the overlay when the daemon ends as told
    #[arg(long, value_name = "drop|commit", default_value = "drop", requires = "overlay")]
    pub overlay_end: End,

    /// Most queues that the guest may use
    #[arg(long, value_name = "N", default_value_t = QUEUES_MAX, value_parser = clap::value_parser!(u16).range(1..=i64::from(QUEUES_MAX)))]
    pub num_queues: u16,

    /// Threads that serve the queues [default: one for each CPU, at most one for each queue]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(QUEUES_MAX)))]
    pub threads: Option<u16>,

    /// Longest time in microseconds that a thread looks for requests before it sleeps; it adapts, 0 is never
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 32, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub poll_max: u64,

    /// Never sleep: the threads look for requests all the time, and delays are right to a few microseconds
    #[arg(long)]
    pub busy_poll: bool,

    /// Bytes of a logical block: 512 or 4096
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = one_of(&[512, 4096]))]
    pub block_size: u32,

    /// Bytes of a physical block [default: those of a logical one]
    #[arg(long, value_name = "BYTES", value_parser = one_of(&[512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]))]
    pub physical_block_size: Option<u32>,

    /// Most data segments in a request
    #[arg(long, value_name = "N", default_value_t = 254, value_parser = clap::value_parser!(u32).range(1..=1022))]
    pub seg_max: u32,

    /// Most bytes in a segment, a multiple of 4096; K and M are powers of 1024
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = segment_bytes)]
    pub size_max: u32,

    /// Serial number, at most 20 ASCII characters
    #[arg(long, value_name = "TEXT", default_value = SERIAL, value_parser = serial)]
    pub serial: String,

    /// Print completions of these options for a shell, and serve nothing
    #[arg(long, value_name = "SHELL", exclusive = true)]
    pub completions: Option<Shell>,

    /// Print the manual page, and serve nothing
    #[arg(long, exclusive = true)]
    pub man: bool,
}

impl Cli {
    /// What the policy is read with.
    pub fn settings(&self) -> Settings {
        Settings { set: self.parameters.iter().cloned().collect(), seed: self.seed }
    }

    /// How the image is served.
    pub fn spec(&self) -> Spec {
        Spec {
            image: self.image.clone(),
            read_only: self.read_only,
            direct: self.direct,
            aio: self.aio,
            overlay: self.overlay.clone(),
            end: self.overlay_end,
            lanes: self.lanes(),
            block_bytes: self.block_size,
        }
    }

    /// How many threads serve the queues.
    pub fn lanes(&self) -> usize {
        let threads = self.threads.map_or(cpus(), usize::from);
        threads.min(usize::from(self.num_queues))
    }

    /// How many queues a guest on this machine can make use of: it has one for each of its CPUs at most.
    pub fn queues_wanted(&self) -> usize {
        cpus().min(usize::from(self.num_queues))
    }

    /// How many descriptors a ring needs for the longest request with its header and status, at least QEMU's own number:
    /// a guest without indirect descriptors would wait for ever to place one that does not fit.
    pub fn ring_wanted(&self) -> u32 {
        (self.seg_max + 2).next_power_of_two().max(128)
    }

    /// Who looks at the clock: the timer's thread, if the queues leave a CPU for it.
    pub fn timer_polling(&self) -> timer::Polling {
        match self.busy_poll {
            _ if cpus() <= self.lanes() => timer::Polling::Worker,
            true => timer::Polling::Busy,
            false => timer::Polling::Brief,
        }
    }

    /// What the guest sees; `discard_bytes`: what discards are best a multiple of.
    pub fn model(&self, discard_bytes: u32) -> Model {
        Model {
            read_only: self.read_only,
            queues: self.num_queues,
            block_bytes: self.block_size,
            physical_block_bytes: self.physical_block_size.unwrap_or(0).max(self.block_size),
            segments_max: self.seg_max,
            segment_bytes_max: self.size_max,
            discard_bytes,
            serial: self.serial.clone(),
        }
    }

    /// How long threads look for requests before they sleep.
    pub fn polling(&self) -> Polling {
        if self.busy_poll { Polling::Always } else { Polling::UpTo(self.poll_max * 1000) }
    }
}

/// How many CPUs the daemon may use.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`; write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn one_of(sizes: &'static [u32]) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let found = text.parse().ok().filter(|size| sizes.contains(size));
        let list = || sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| format!("it is one of {}", list()))
    }
}

fn segment_bytes(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    let fits = (4096..=1 << 30).contains(&bytes) && bytes.is_multiple_of(4096);
    match u32::try_from(bytes) {
        Ok(bytes) if fits => Ok(bytes),
        _ => Err("a multiple of 4096 bytes, at most 1 GiB, is needed".to_owned()),
    }
}

fn serial(text: &str) -> Result<String, String> {
    let fits =
        (1..=SERIAL_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match fits {
        true => Ok(text.to_owned()),
        false => Err(format!("1 to {SERIAL_BYTES_MAX} printable ASCII characters without blanks are needed")),
    }
}
