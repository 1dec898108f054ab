//! # Block devices, past the page cache
//!
//! The device mapper reads and writes below the page cache of a disk, so whoever looks at the disk beside it must too.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use odio_core::buffer::Buffer;

use crate::image::Image;

/// Bytes that are moved at once.
const CHUNK: usize = 1 << 20;
const ALIGN: usize = 4096;

/// A device, and the aligned memory to move its bytes through.
#[derive(Debug)]
pub(crate) struct Device {
    file: File,
    size: u64,
    buffer: Buffer,
}

impl Device {
    pub(crate) fn open(path: &Path) -> Result<Device> {
        let open = || -> Result<Device> {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_DIRECT)
                .open(path)?;
            let size = file.seek(SeekFrom::End(0))?;
            Ok(Device {
                file,
                size,
                buffer: Buffer::new(CHUNK, ALIGN)?,
            })
        };
        open().with_context(|| format!("{}", path.display()))
    }

    /// Reads `length` bytes, a multiple of the logical block size, as `offset` is.
    pub(crate) fn read(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let part = &mut self.buffer[..length];
        self.file.read_exact_at(part, offset)?;
        Ok(part)
    }

    pub(crate) fn write(&mut self, mut offset: u64, bytes: &[u8]) -> Result<()> {
        for part in bytes.chunks(CHUNK) {
            self.buffer[..part.len()].copy_from_slice(part);
            self.file.write_all_at(&self.buffer[..part.len()], offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// What is on the first `size` bytes.
    pub(crate) fn image(&mut self, size: u64) -> Result<Image> {
        ensure!(size <= self.size, "the disk has {} bytes", self.size);
        let mut image = Image::new(size);
        for offset in (0..size).step_by(CHUNK) {
            let length = (size - offset).min(CHUNK as u64) as usize;
            image.put(offset, self.read(offset, length)?);
        }
        Ok(image)
    }

    /// Its bytes in a row.
    pub(crate) fn reader(&mut self) -> Reader<'_> {
        Reader {
            device: self,
            at: 0,
        }
    }
}

/// See [`Device::reader`].
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    device: &'a mut Device,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let from = self.at / ALIGN as u64 * ALIGN as u64;
        let skip = (self.at - from) as usize;
        let length = (skip + to.len())
            .next_multiple_of(ALIGN)
            .min(CHUNK)
            .min(self.device.size.saturating_sub(from) as usize);
        let moved = to.len().min(length.saturating_sub(skip));
        if moved > 0 {
            let bytes = self
                .device
                .read(from, length)
                .map_err(std::io::Error::other)?;
            to[..moved].copy_from_slice(&bytes[skip..skip + moved]);
        }
        self.at += moved as u64;
        Ok(moved)
    }
}
