//! The lab: boots guests on blkstay disks, runs cases in them and judges what happened.

pub mod bisect;
pub mod check;
pub mod cli;
pub mod control;
mod digest;
pub mod fstests;
mod journal;
pub mod kernel;
mod link;
pub mod log;
pub mod manual;
pub mod metrics;
pub mod misuse;
pub mod out;
pub mod policy;
pub mod report;
pub mod run;
pub mod schema;
pub mod stay;
mod tie;
pub mod top;
pub mod variant;
