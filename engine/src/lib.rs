//! The pure core of blkstay: what a request, a policy and a journal are, and the engine that decides.
//!
//! Nothing here does I/O, reads a clock, starts a thread or is unsafe. Events and the time go in,
//! actions come out, so the same input gives the same output, always.
#![forbid(unsafe_code)]

pub mod buckets;
pub mod class;
pub mod control;
pub mod diagnostic;
pub mod dryrun;
pub mod engine;
pub mod event;
pub mod journal;
pub mod policy;
pub mod replay;
pub mod report;
pub mod request;
