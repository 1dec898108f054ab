//! # What is written
//!
//! Every sector says which file, offset and generation it is of, and the rest of it follows from that and the key: a
//! sector that is found anywhere is known, or was written by nobody. What it says is hidden under random numbers, so that
//! no byte of it is the same in another generation, and a part of a sector is known too by whoever knows what to look
//! for.

use crate::rng::Rng;

/// Bytes of the smallest unit that a device tears at.
pub(crate) const SECTOR: usize = 512;

const MAGIC: u64 = u64::from_le_bytes(*b"odiocrsh");

/// What was written, where, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) file: u32,
    /// In the file, of the sector.
    pub(crate) offset: u64,
    /// 0 is what was there before the first op.
    pub(crate) generation: u32,
}

/// What a part of a file, or a name, was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The name leads to nothing.
    NoFile,
    /// The name leads to a file of so many bytes.
    File(u64),
    /// The file ends before it.
    Nothing,
    Zeros,
    Written(Written),
    /// It begins with these bytes.
    Foreign([u8; 8]),
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Found::NoFile => f.write_str("no file of this name"),
            Found::File(length) => write!(f, "a file of {length} bytes"),
            Found::Nothing => f.write_str("the end of the file"),
            Found::Zeros => f.write_str("zeros"),
            Found::Written(Written {
                file,
                offset,
                generation,
            }) => {
                write!(
                    f,
                    "generation {generation} of offset {offset} of file {file}"
                )
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

/// The whole sector of a write.
pub(crate) fn sector(key: u64, written: Written) -> [u8; SECTOR] {
    let Written {
        file,
        offset,
        generation,
    } = written;
    let [file, generation] = [file, generation].map(u64::from);
    let first = Rng::of(&[key, file, offset, generation]).next();
    let mut rng = Rng::of(&[key, first]);
    let told = [MAGIC, file, offset, generation].map(|word| word ^ rng.next());
    let words = [first].into_iter().chain(told);
    let rest = std::iter::repeat_with(|| rng.next());
    let mut bytes = [0; SECTOR];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words.chain(rest)) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Fills the bytes with what a file has from `offset` on.
pub(crate) fn fill(bytes: &mut [u8], key: u64, file: u32, offset: u64, generation: u32) {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let skip = (at % SECTOR as u64) as usize;
        let length = (SECTOR - skip).min(bytes.len() - done);
        let whole = sector(
            key,
            Written {
                file,
                offset: at - skip as u64,
                generation,
            },
        );
        bytes[done..done + length].copy_from_slice(&whole[skip..skip + length]);
        done += length;
    }
}

/// What these bytes of a file are: a sector, or less where the file ends.
pub(crate) fn identify(bytes: &[u8], key: u64) -> Found {
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
    if bytes.len() < SECTOR {
        return foreign;
    }
    let mut rng = Rng::of(&[key, u64::from_le_bytes(first)]);
    let mut word = |number: usize| {
        let at = 8 * number;
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes")) ^ rng.next()
    };
    let [magic, file, offset, generation] = [1, 2, 3, 4].map(&mut word);
    let (Ok(file), Ok(generation)) = (u32::try_from(file), u32::try_from(generation)) else {
        return foreign;
    };
    let written = Written {
        file,
        offset,
        generation,
    };
    match magic == MAGIC && sector(key, written) == *bytes {
        true => Found::Written(written),
        false => foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Written = Written {
        file: 2,
        offset: 1024,
        generation: 7,
    };

    #[test]
    fn a_sector_is_known_again() {
        let whole = sector(1, ONE);
        assert_eq!(identify(&whole, 1), Found::Written(ONE));
        // And whichever way it was written.
        let mut three = [0; 3 * SECTOR];
        fill(&mut three[..700], 1, 2, 512, 7);
        fill(&mut three[700..], 1, 2, 512 + 700, 7);
        assert_eq!(three[SECTOR..2 * SECTOR], whole);
    }

    #[test]
    fn any_changed_byte_makes_it_foreign() {
        let whole = sector(1, ONE);
        for at in 0..SECTOR {
            let mut changed = whole;
            changed[at] ^= 1;
            let found = identify(&changed, 1);
            assert!(matches!(found, Found::Foreign(_)), "{at}: {found}");
        }
        assert!(matches!(identify(&whole, 2), Found::Foreign(_)));
        assert!(matches!(identify(&whole[..100], 1), Found::Foreign(_)));
    }

    /// So that a few bytes of one never pass for those of another.
    #[test]
    fn no_eight_bytes_are_the_same_in_another_generation_or_file() {
        let others = [
            Written {
                generation: 6,
                ..ONE
            },
            Written { file: 3, ..ONE },
            Written { offset: 512, ..ONE },
        ];
        let whole = sector(1, ONE);
        for other in others.map(|other| sector(1, other)) {
            let same = |at: &usize| whole[*at..*at + 8] == other[*at..*at + 8];
            assert_eq!((0..SECTOR - 8).find(same), None);
        }
    }

    #[test]
    fn nothing_and_zeros_are_told_apart() {
        assert_eq!(identify(&[], 1), Found::Nothing);
        assert_eq!(identify(&[0; SECTOR], 1), Found::Zeros);
    }
}
