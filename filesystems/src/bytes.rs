//! Numbers in bytes. What lies past the end is 0, as in a structure that is shorter than its newest version.

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let end = at.saturating_add(N);
    bytes.get(at..end).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// A number whose halves are in different places, both little-endian.
pub(crate) fn le64_of(bytes: &[u8], low_at: usize, high_at: usize) -> u64 {
    u64::from(le32(bytes, low_at)) | u64::from(le32(bytes, high_at)) << 32
}
