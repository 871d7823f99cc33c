//! Names for what is made of several parts.

use sha2::{Digest, Sha256};

/// SHA-256 of the parts, each with its length before it, in hexadecimal.
pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn where_one_part_ends_and_the_next_begins_counts() {
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
        assert_eq!(of(["ab", "c"]), of(["ab", "c"]));
        assert_eq!(of(["ab"]).len(), 64);
    }
}
