//! # What is on a disk
//!
//! Blocks of zeros are left out, in memory and as holes of the file that an image is kept in.

use std::{collections::BTreeMap, fs::File, io::Read, os::unix::fs::FileExt, path::Path};

use anyhow::{Context, Result};

pub(crate) const BLOCK: usize = 4096;

/// The contents of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    size: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Image {
    /// A disk of zeros.
    pub(crate) fn new(size: u64) -> Image {
        Image {
            size,
            blocks: BTreeMap::new(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Puts bytes at an offset that is a multiple of the block.
    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) {
        for (i, block) in bytes.chunks(BLOCK).enumerate() {
            let at = offset / BLOCK as u64 + i as u64;
            if block.iter().any(|byte| *byte != 0) {
                self.blocks.insert(at, block.into());
            } else {
                self.blocks.remove(&at);
            }
        }
    }

    /// The bytes at any offset.
    pub(crate) fn get(&self, mut offset: u64, mut to: &mut [u8]) {
        while !to.is_empty() {
            let within = (offset % BLOCK as u64) as usize;
            let (part, rest) = to.split_at_mut((BLOCK - within).min(to.len()));
            match self.blocks.get(&(offset / BLOCK as u64)) {
                Some(block) => part.copy_from_slice(&block[within..within + part.len()]),
                None => part.fill(0),
            }
            offset += part.len() as u64;
            to = rest;
        }
    }

    /// The blocks that are not zeros, each with its number.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.blocks.iter().map(|(at, block)| (*at, &block[..]))
    }

    /// The first `length` bytes.
    pub(crate) fn bytes(&self, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        self.get(0, &mut bytes);
        bytes
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let save = || -> Result<()> {
            let file = File::create(path)?;
            file.set_len(self.size)?;
            for (at, block) in &self.blocks {
                file.write_all_at(block, at * BLOCK as u64)?;
            }
            Ok(())
        };
        save().with_context(|| format!("{}", path.display()))
    }

    pub(crate) fn load(path: &Path) -> Result<Image> {
        let load = || -> Result<Image> {
            let mut file = File::open(path)?;
            let size = file.metadata()?.len();
            let mut image = Image::new(size);
            let mut bytes = vec![0; 1 << 20];
            let mut offset = 0;
            while offset < size {
                let length = (size - offset).min(bytes.len() as u64) as usize;
                file.read_exact(&mut bytes[..length])?;
                image.put(offset, &bytes[..length]);
                offset += length as u64;
            }
            Ok(image)
        };
        load().with_context(|| format!("{}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_was_put_and_zeros() {
        let mut image = Image::new(5 * BLOCK as u64);
        let mut bytes = vec![0; 3 * BLOCK];
        bytes[BLOCK + 7] = 1;
        image.put(BLOCK as u64, &bytes);
        assert_eq!(image.blocks.len(), 1);
        let mut all = vec![9; 5 * BLOCK];
        image.get(0, &mut all);
        assert_eq!(all.iter().position(|b| *b != 0), Some(2 * BLOCK + 7));
        image.put(2 * BLOCK as u64, &[0; BLOCK]);
        assert_eq!(image, Image::new(5 * BLOCK as u64));
    }
}
