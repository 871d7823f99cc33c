//! Many writes of one file, some of them in flight at a time: what a case about costs measures.

use super::aio::{Context, Iocb};
use super::direct::{Prepared, Transfer};
use super::errno::Outcome;
use crate::failure::Failure;
use nix::errno::Errno;

/// Most writes in flight.
pub const DEPTH_MAX: u32 = 256;

/// Writes to do: the first as the transfer says, each of the others `step` bytes further on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The first.
    pub transfer: Transfer,
    /// How many.
    pub times: u64,
    /// Bytes from the beginning of one to that of the next.
    pub step: u64,
    /// How many may be in flight at a time, 1 to [`DEPTH_MAX`].
    pub depth: u32,
}

impl Load {
    /// Number of bytes that all of them write.
    pub fn length(&self) -> u64 {
        self.transfer.length.saturating_mul(self.times)
    }

    /// Does them all; the outcome is the number of bytes written, or the first error.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn run(&self) -> Result<Outcome, Failure> {
        let mut prepared = self.transfer.prepare()?;
        Ok(self.go(&mut prepared))
    }

    fn go(&self, prepared: &mut Prepared) -> Outcome {
        let context = Context::new(self.depth)?;
        let mut slots: Vec<Box<Iocb>> = Vec::new();
        let (mut started, mut written, mut failed) = (0, 0, None);
        let mut flying = 0;
        let mut free = Vec::new();
        while flying > 0 || (started < self.times && failed.is_none()) {
            if started < self.times && failed.is_none() && flying < self.depth {
                let slot = free.pop().unwrap_or(slots.len());
                let offset = self.transfer.offset.checked_add(self.step * started).ok_or(Errno::EFBIG)?;
                let request = Box::new(prepared.iocb_at(offset, slot as u64));
                if slot == slots.len() {
                    slots.push(request)
                } else {
                    slots[slot] = request
                }
                // SAFETY: the buffer is `prepared`'s, which nobody changes and which outlives the context.
                match unsafe { context.submit(&mut slots[slot]) } {
                    Ok(()) => flying += 1,
                    Err(errno) => failed = Some(errno),
                }
                started += 1;
                continue;
            }
            let (slot, outcome) = context.wait_for_any()?;
            free.push(slot as usize);
            flying -= 1;
            match outcome {
                Ok(bytes) => written += bytes,
                Err(errno) => failed = failed.or(Some(errno)),
            }
        }
        failed.map_or(Ok(written), Err)
    }
}
