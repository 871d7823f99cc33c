//! Ways from a request to a medium.

pub mod null;
pub mod ring;
mod slot;
pub mod threads;
pub mod uring;
