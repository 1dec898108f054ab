//! # The way that writes take to the kernel
//!
//! Through a queue of libodio, or past it.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Result, anyhow, ensure};
use odio_core::{
    buffer::Buffer,
    contract::SyncKind,
    file::{File, OpenOptions},
    mode::{Cache, Engine, Mode, Sync},
    queue::Queue,
};

use crate::{
    case::{Case, Op},
    sys::aio::Aio,
};

/// What carries the writes.
pub(crate) enum Way {
    Odio(File, Box<Queue>),
    /// Without libodio.
    Kernel(Aio),
}

impl Way {
    pub(crate) fn open(case: &Case, path: &Path) -> Result<Way> {
        let mode: Mode = case.mode.parse()?;
        let engine: Engine = case.engine.parse()?;
        if !case.raw {
            let file = OpenOptions::new(mode).write(true).open(path)?;
            let queue = Queue::new(engine, case.depth)?;
            return Ok(Way::Odio(file, Box::new(queue)));
        }
        ensure!(engine == Engine::Libaio, "raw is libaio alone");
        let cache = match mode.cache {
            Cache::Direct => libc::O_DIRECT,
            Cache::Buffered => 0,
        };
        let sync = match mode.sync {
            Sync::None => 0,
            Sync::Dsync => libc::O_DSYNC,
            Sync::Sync => libc::O_SYNC,
        };
        let file = fs::OpenOptions::new()
            .write(true)
            .custom_flags(cache | sync)
            .open(path)?;
        Ok(Way::Kernel(Aio::new(file, case.depth)?))
    }

    pub(crate) fn write(&mut self, op: Op, buffer: Buffer) -> Result<()> {
        match self {
            Way::Odio(file, queue) => {
                queue
                    .write(file, buffer, op.offset, u64::from(op.number))
                    .map_err(odio_core::error::Error::from)?;
                Ok(queue.submit()?)
            }
            Way::Kernel(aio) => {
                aio.write(buffer, op.offset, u64::from(op.number));
                Ok(())
            }
        }
    }

    /// Waits for one: its number, and how many bytes were written.
    pub(crate) fn complete(&mut self) -> Result<(u64, u64)> {
        match self {
            Way::Odio(_, queue) => {
                let done = queue.complete()?;
                let moved = done
                    .result
                    .map_err(|errno| anyhow!("write {}: {errno}", done.user_data))?;
                Ok((done.user_data, u64::from(moved)))
            }
            Way::Kernel(aio) => aio.complete(),
        }
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        match self {
            Way::Odio(file, queue) => {
                queue.sync(file, SyncKind::Data, 0)?;
                let result = queue.complete()?.result;
                result.map_err(|errno| anyhow!("the sync: {errno}"))?;
            }
            Way::Kernel(aio) => aio.file().sync_data()?,
        }
        Ok(())
    }

    pub(crate) fn close(self) -> Result<()> {
        if let Way::Odio(file, queue) = self {
            queue.close()?;
            file.close()?;
        }
        Ok(())
    }
}
