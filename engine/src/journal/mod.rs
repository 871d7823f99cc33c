//! The journal: what happened, in the one order in which the engine saw it, and how that is written.
//!
//! A journal is a sequence of [`Line`]s, the first of them [`Record::Journal`]. A step of the engine begins with the
//! record of what came in and goes on with what follows from it; where nothing came in, time has passed. So a
//! journal can be fed back ([`crate::replay`]). Fields are only ever added.
//!
//! A file of them consists of chunks ([`chunk`]), each with frames ([`frame`]) of one record each ([`codec`]) or
//! of a run of short ones ([`run`]); a
//! [`Reader`] merges what the lanes of a session have into one sequence. `docs/journal.md` has every layout. The same
//! lines as JSON, one a line, are what journals are exported as.

pub mod chunk;
pub mod codec;
pub mod frame;
mod frames;
mod gates;
mod reader;
mod record;
pub mod run;
mod trouble;
mod words;

pub use reader::{Piece, Reader, contents};
pub use record::{Line, Record};
pub use trouble::{Trouble, What};
pub use words::{Abandon, Arm, Cause, Does, Outcome, Source, Stage};

/// Version of the records' schema, in the first line of every session.
pub const VERSION: u32 = 1;
