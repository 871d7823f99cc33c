//! Where a disk of blkstay keeps its bytes, and how requests get there.
//!
//! [`open`] makes a [`Drive`] from a [`Spec`]. Behind every drive is something that holds bytes: a raw file or a block
//! device, memory, a copy-on-write overlay, or nothing. In front of it is a way there: what needs no waiting is
//! done on the thread that submits; the rest goes through io_uring, or to threads where io_uring is refused.
//!
//! A drive has **lanes**, one for each thread that collects what has ended. Any thread may submit to any lane.

mod bell;
mod drive;
mod engine;
mod image;
mod media;
mod open;
mod segments;
mod spec;

pub use drive::{Drive, Ended, Operation, Request};
pub use image::{Image, Mode};
pub use open::{Opened, open};
pub use segments::Segments;
pub use spec::{Aio, End, ImageSpec, Overlay, Spec, parse_size};
