//! # The disk that is written to
//!
//! A filesystem is made on it once. After each case what the case wrote, which its log tells, is put back.

use std::{collections::BTreeSet, path::Path};

use anyhow::Result;

use crate::{
    device::Device,
    filesystem::Filesystem,
    image::{BLOCK, Image},
    log::{Flags, Log},
};

/// The disk that is written to, and the one that its log is on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disks<'a> {
    pub(crate) disk: &'a Path,
    pub(crate) log: &'a Path,
}

/// A disk as it is before each case.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) filesystem: Filesystem,
    pub(crate) disks: Disks<'a>,
    pub(crate) image: Image,
}

impl Ground<'_> {
    /// Makes the filesystem.
    pub(crate) fn make(filesystem: Filesystem, disks: Disks<'_>) -> Result<Ground<'_>> {
        filesystem.make(disks.disk, filesystem.disk)?;
        let image = Device::open(disks.disk)?.image(filesystem.disk)?;
        Ok(Ground {
            filesystem,
            disks,
            image,
        })
    }

    /// Takes back all that was written.
    pub(crate) fn restore(&self, log: &Log) -> Result<()> {
        let block = BLOCK as u64;
        let sector = u64::from(log.sector);
        let written = log.entries.iter().filter(|e| !e.flags.has(Flags::MARK));
        let blocks: BTreeSet<u64> = written
            .flat_map(|entry| {
                let start = entry.sector * sector;
                start / block..(start + entry.sectors * sector).div_ceil(block)
            })
            .collect();
        let blocks: Vec<u64> = blocks.into_iter().collect();
        let mut disk = Device::open(self.disks.disk)?;
        for run in blocks.chunk_by(|a, b| a + 1 == *b) {
            let mut bytes = vec![0; run.len() * BLOCK];
            self.image.get(run[0] * block, &mut bytes);
            disk.write(run[0] * block, &bytes)?;
        }
        Ok(())
    }
}
