//! # What is written
//!
//! Every sector says which file, offset and generation it is of, and the rest of it follows from that and the seed: a
//! sector that is found anywhere is known, or was written by nobody.

use crate::rng::Rng;

/// Bytes of the smallest unit that is looked at, and that a device tears at.
pub(crate) const SECTOR: usize = 512;

const MAGIC: &[u8; 8] = b"odiocrsh";

/// What a sector was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The file ends before it.
    Nothing,
    Zeros,
    Written {
        offset: u64,
        generation: u32,
    },
    /// It begins with these bytes.
    Foreign([u8; 8]),
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Found::Nothing => f.write_str("the end of the file"),
            Found::Zeros => f.write_str("zeros"),
            Found::Written { offset, generation } => {
                write!(f, "generation {generation} of offset {offset}")
            }
            Found::Foreign(bytes) => {
                write!(
                    f,
                    "what nobody wrote: {:016x}...",
                    u64::from_be_bytes(*bytes)
                )
            }
        }
    }
}

/// The sector at `offset` as the write number `generation` makes it; 0 is what was there before all of them.
pub(crate) fn sector(seed: u64, offset: u64, generation: u32) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&offset.to_le_bytes());
    bytes[16..24].copy_from_slice(&u64::from(generation).to_le_bytes());
    let mut rng = Rng::of(&[seed, offset, u64::from(generation)]);
    for word in bytes[24..].chunks_exact_mut(8) {
        word.copy_from_slice(&rng.next().to_le_bytes());
    }
    bytes
}

/// Fills whole sectors from `offset` on.
pub(crate) fn fill(bytes: &mut [u8], seed: u64, offset: u64, generation: u32) {
    for (i, part) in bytes.chunks_exact_mut(SECTOR).enumerate() {
        part.copy_from_slice(&sector(seed, offset + (i * SECTOR) as u64, generation));
    }
}

/// What these bytes of a file are; fewer than a sector where the file ends.
pub(crate) fn identify(bytes: &[u8], seed: u64) -> Found {
    if bytes.is_empty() {
        return Found::Nothing;
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Found::Zeros;
    }
    let mut first = [0; 8];
    let known = bytes.len().min(8);
    first[..known].copy_from_slice(&bytes[..known]);
    let foreign = Found::Foreign(first);
    if bytes.len() < SECTOR || first != *MAGIC {
        return foreign;
    }
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let Ok(generation) = u32::try_from(word(16)) else {
        return foreign;
    };
    let offset = word(8);
    match sector(seed, offset, generation) == *bytes {
        true => Found::Written { offset, generation },
        false => foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_is_known_again() {
        let written = Found::Written {
            offset: 1024,
            generation: 7,
        };
        assert_eq!(identify(&sector(1, 1024, 7), 1), written);
        let mut two = [0; 2 * SECTOR];
        fill(&mut two, 1, 512, 7);
        assert_eq!(identify(&two[SECTOR..], 1), written);
    }

    #[test]
    fn any_changed_byte_makes_it_foreign() {
        let whole = sector(1, 1024, 7);
        for at in 0..SECTOR {
            let mut changed = whole;
            changed[at] ^= 1;
            let found = identify(&changed, 1);
            assert!(matches!(found, Found::Foreign(_)), "{at}: {found}");
        }
        assert!(matches!(identify(&whole, 2), Found::Foreign(_)));
        assert!(matches!(identify(&whole[..100], 1), Found::Foreign(_)));
    }

    #[test]
    fn nothing_and_zeros_are_told_apart() {
        assert_eq!(identify(&[], 1), Found::Nothing);
        assert_eq!(identify(&[0; SECTOR], 1), Found::Zeros);
    }
}
