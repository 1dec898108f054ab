//! # The disk of a cut
//!
//! What is durable, and over it what this one cut left and what its mount changes, which is thrown away for the next.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::image::{BLOCK, Image};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    durable: Image,
    over: BTreeMap<u64, Box<[u8]>>,
    /// Of what is durable.
    digest: Digest,
}

/// Says whether two disks hold the same. A sum over their blocks, so that a changed block changes it by that alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Digest([u64; 2]);

impl Digest {
    /// Zeros count as nothing: an image leaves them out.
    fn of(at: u64, block: &[u8]) -> Digest {
        if block.iter().all(|byte| *byte == 0) {
            return Digest::default();
        }
        Digest([0, 1].map(|key: u64| {
            let mut hasher = DefaultHasher::new();
            (key, at, block).hash(&mut hasher);
            hasher.finish()
        }))
    }

    fn replace(&mut self, old: Digest, new: Digest) {
        for i in 0..2 {
            self.0[i] = self.0[i].wrapping_sub(old.0[i]).wrapping_add(new.0[i]);
        }
    }
}

impl Disk {
    pub(crate) fn new(durable: Image) -> Disk {
        let mut digest = Digest::default();
        for (at, block) in durable.blocks() {
            digest.replace(Digest::default(), Digest::of(at, block));
        }
        Disk {
            durable,
            over: BTreeMap::new(),
            digest,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.durable.size()
    }

    pub(crate) fn read(&self, offset: u64, to: &mut [u8]) {
        for (at, within, part) in parts(offset, to.len()) {
            let to = &mut to[part];
            match self.over.get(&at) {
                Some(block) => to.copy_from_slice(&block[within..within + to.len()]),
                None => self.durable.get(at * BLOCK as u64 + within as u64, to),
            }
        }
    }

    /// Writes what the next cut throws away.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (at, within, part) in parts(offset, bytes.len()) {
            let block = self.over.entry(at).or_insert_with(|| {
                let mut block = vec![0; BLOCK].into_boxed_slice();
                self.durable.get(at * BLOCK as u64, &mut block);
                block
            });
            let from = &bytes[part];
            block[within..within + from.len()].copy_from_slice(from);
        }
    }

    /// Writes what stays.
    pub(crate) fn write_durably(&mut self, offset: u64, bytes: &[u8]) {
        let mut block = [0; BLOCK];
        for (at, within, part) in parts(offset, bytes.len()) {
            let start = at * BLOCK as u64;
            self.durable.get(start, &mut block);
            let old = Digest::of(at, &block);
            let from = &bytes[part];
            block[within..within + from.len()].copy_from_slice(from);
            self.digest.replace(old, Digest::of(at, &block));
            self.durable.put(start, &block);
        }
    }

    /// Throws away all that is not durable.
    pub(crate) fn cut(&mut self) {
        self.over.clear();
    }

    /// Of all that is on it now.
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = self.digest;
        let mut old = [0; BLOCK];
        for (at, block) in &self.over {
            self.durable.get(at * BLOCK as u64, &mut old);
            digest.replace(Digest::of(*at, &old), Digest::of(*at, block));
        }
        digest
    }
}

/// Which blocks a range of bytes has a part of: the block, where in it the part begins, and where it is in the range.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let block = BLOCK as u64;
    let end = offset + length as u64;
    (offset / block..end.div_ceil(block)).map(move |at| {
        let from = offset.max(at * block);
        let to = end.min((at + 1) * block);
        let within = (from - at * block) as usize;
        (at, within, (from - offset) as usize..(to - offset) as usize)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: usize = 4 * BLOCK;

    #[derive(Debug, Clone)]
    enum Step {
        Write(usize, Vec<u8>),
        Durably(usize, Vec<u8>),
        Cut,
    }

    fn step() -> impl Strategy<Value = Step> {
        let write = (
            0..SIZE,
            prop_oneof![Just(0u8), any::<u8>()],
            1..2 * BLOCK + 9,
        )
            .prop_map(|(at, byte, length)| (at, vec![byte; length.min(SIZE - at)]));
        prop_oneof![
            write.clone().prop_map(|(at, bytes)| Step::Write(at, bytes)),
            write.prop_map(|(at, bytes)| Step::Durably(at, bytes)),
            Just(Step::Cut),
        ]
    }

    proptest! {
        /// Against two rows of bytes. Durable bytes show through only where this cut wrote nothing in their block.
        #[test]
        fn it_holds_what_was_written_and_its_digest_says_so(steps in prop::collection::vec(step(), 1..12)) {
            let mut disk = Disk::new(Image::new(SIZE as u64));
            let mut durable = vec![0; SIZE];
            let mut all = vec![0; SIZE];
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        disk.write(at as u64, &bytes);
                        all[at..at + bytes.len()].copy_from_slice(&bytes);
                    }
                    Step::Durably(at, bytes) => {
                        disk.cut();
                        disk.write_durably(at as u64, &bytes);
                        durable[at..at + bytes.len()].copy_from_slice(&bytes);
                        all.copy_from_slice(&durable);
                    }
                    Step::Cut => {
                        disk.cut();
                        all.copy_from_slice(&durable);
                    }
                }
                let mut found = vec![9; SIZE];
                disk.read(0, &mut found);
                prop_assert!(found == all);
                let mut part = vec![9; BLOCK + 10];
                disk.read(BLOCK as u64 - 5, &mut part);
                prop_assert!(part == all[BLOCK - 5..2 * BLOCK + 5]);
                let mut image = Image::new(SIZE as u64);
                image.put(0, &all);
                prop_assert_eq!(Disk::new(image).digest(), disk.digest());
            }
        }
    }

    #[test]
    fn the_same_block_elsewhere_is_another_disk() {
        let with = |at: u64| {
            let mut image = Image::new(SIZE as u64);
            image.put(at * BLOCK as u64, &[1; BLOCK]);
            Disk::new(image).digest()
        };
        assert_ne!(with(0), with(1));
        assert_eq!(with(1), with(1));
    }
}
