//! The lab: boots guests on blkstay disks, runs cases in them and judges what happened.

pub mod check;
pub mod cli;
pub mod kernel;
pub mod log;
pub mod run;
mod tie;
