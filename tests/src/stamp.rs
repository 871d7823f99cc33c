//! What a sector holds says when and where it was written.

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// What a sector holds that was written with a stamp; a sector that never was, or was zeroed, has the stamp 0.
pub fn sector(number: u64, stamp: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    if stamp != 0 {
        let mut word = stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(40);
        bytes[..8].copy_from_slice(&stamp.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        for part in bytes[16..].chunks_exact_mut(8) {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            part.copy_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

/// What some sectors hold that were written with the same stamp.
pub fn sectors(first: u64, count: u64, stamp: u64) -> Vec<u8> {
    (first..first + count).flat_map(|number| sector(number, stamp)).collect()
}

/// Fails unless sectors from `first` on hold what was written with these stamps.
#[track_caller]
pub fn assert_are(first: u64, stamps: &[u64], found: &[u8]) {
    assert_eq!(found.len(), stamps.len() * SECTOR);
    for ((number, stamp), bytes) in (first..).zip(stamps).zip(found.chunks_exact(SECTOR)) {
        if bytes != sector(number, *stamp) {
            let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
            panic!(
                "sector {number} was written last with stamp {stamp}; it begins with stamp {} for sector {}",
                word(0),
                word(8)
            );
        }
    }
}
