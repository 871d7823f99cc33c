//! Exercisers of disks: what was written is what is read. They run in guests, and panic when it is not.
//!
//! With the same seed they do the same in the same order, so that two disks that were exercised alike are alike.

pub mod blocks;
pub mod files;
pub mod kexec;
pub mod settings;

/// What lines begin with that are for the test outside.
pub const SAYS: &str = "guest:";

/// A number that is another for other bytes (FNV-1a, 64 bits).
pub fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |all, byte| (all ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
