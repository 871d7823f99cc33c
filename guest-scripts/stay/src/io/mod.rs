//! Reading, writing and flushing files, and telling what came of it.

pub mod aio;
pub mod background;
pub mod direct;
pub mod errno;
pub mod flush;
pub mod load;
