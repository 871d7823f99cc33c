//! Ways from a request to a medium.

pub mod null;
pub mod ring;
pub mod threads;
pub mod uring;
