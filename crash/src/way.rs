//! # The way that ops take to the kernel
//!
//! Through libodio, or past it.

mod odio;
mod raw;

use anyhow::Result;
use odio_core::buffer::Buffer;

use crate::{
    case::{Case, Op},
    folder::Room,
    sys::dm::Mapped,
};

/// What carries the ops.
pub(crate) trait Way {
    /// Makes the file of the op, and has done so when it returns.
    fn create(&mut self, op: Op) -> Result<()>;

    /// Writes a new file and gives it the name of the op's, and has done so when it returns.
    fn replace(&mut self, op: Op, buffer: Buffer) -> Result<()>;

    /// Begins a write.
    fn write(&mut self, op: Op, buffer: Buffer) -> Result<()>;

    /// Waits for one write: its number, and how many bytes were written.
    fn complete(&mut self) -> Result<(u64, u64)>;

    /// Syncs a file.
    fn sync(&mut self, file: u32) -> Result<()>;

    fn close(self: Box<Self>) -> Result<()>;
}

/// Opens the files that are there, on this disk.
pub(crate) fn open<'a>(
    case: &'a Case,
    room: &'a Room,
    disk: &'a Mapped,
) -> Result<Box<dyn Way + 'a>> {
    Ok(match case.raw {
        true => raw::open(case, room, disk)?,
        false => Box::new(odio::Odio::open(case, room)?),
    })
}
