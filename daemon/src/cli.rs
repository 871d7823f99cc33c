//! The command line of `blkstayd`.

use crate::device::QUEUES_MAX;
use blkstay_engine::policy::Settings;
use clap::Parser;
use std::path::PathBuf;

/// Serves a disk to a QEMU guest whose completions obey a policy.
///
/// Prints the QEMU arguments that attach it, then one line that starts with `ready`. Stays up when
/// the guest goes away and serves the next one. SIGTERM and SIGINT end it; requests that are held
/// then are given up, and the journal says so.
///
/// Exit status: 0 ended as told; 1 it could not start or go on; 2 the command line is wrong.
#[derive(Debug, Parser)]
#[command(name = "blkstayd", version)]
pub struct Cli {
    /// Unix socket that QEMU connects to (vhost-user)
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,

    /// Raw image or block device to serve
    #[arg(long, value_name = "PATH")]
    pub image: PathBuf,

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

    /// Most queues that the guest may use
    #[arg(long, value_name = "N", default_value_t = QUEUES_MAX, value_parser = clap::value_parser!(u16).range(1..=i64::from(QUEUES_MAX)))]
    pub num_queues: u16,

    /// Spend a CPU on delays while they follow each other closely: they are then right to a few microseconds
    #[arg(long)]
    pub busy_poll: bool,
}

impl Cli {
    /// What the policy is read with.
    pub fn settings(&self) -> Settings {
        Settings { set: self.parameters.iter().cloned().collect(), seed: self.seed }
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`; write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
