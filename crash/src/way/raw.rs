//! # Past libodio
//!
//! What a program gets that makes the system calls itself and leaves out what libodio adds: the lab must find what is
//! lost then.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::{FileExt, OpenOptionsExt},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use odio_core::{
    buffer::Buffer,
    mode::{Cache, Engine, Mode, Sync},
};

use super::Way;
use crate::{
    case::{BLOCK, Case, Op, SyncBy, Workload},
    folder::Room,
    sys::{aio::Aio, dm::Mapped},
};

/// Longer than any call takes that does not wait for the disk.
const LONGEST: Duration = Duration::from_secs(2);

pub(super) fn open<'a>(
    case: &'a Case,
    room: &'a Room,
    disk: &'a Mapped,
) -> Result<Box<dyn Way + 'a>> {
    let engine: Engine = case.engine.parse()?;
    let (wanted, why) = match case.workload {
        Workload::Write => (Engine::Libaio, "raw writes are libaio alone"),
        _ => (Engine::Psync, "without libodio this is psync alone"),
    };
    ensure!(engine == wanted, why);
    ensure!(
        case.sync_by == SyncBy::QueueData,
        "without libodio a sync is an fdatasync"
    );
    let mode: Mode = case.mode.parse()?;
    let mut files = BTreeMap::new();
    if matches!(case.workload, Workload::Write | Workload::Bounce) {
        for file in 0..case.files {
            let path = room.path(&case.file_name(file));
            files.insert(file, options(mode).open(path)?);
        }
    }
    Ok(match case.workload {
        Workload::Write => Box::new(Asynchronous {
            aio: Aio::new(case.depth)?,
            disk,
            files,
        }),
        _ => Box::new(Calls {
            case,
            room,
            mode,
            files,
            waiting: Vec::new(),
            done: Vec::new(),
        }),
    })
}

fn options(mode: Mode) -> fs::OpenOptions {
    let cache = match mode.cache {
        Cache::Direct => libc::O_DIRECT,
        Cache::Buffered => 0,
    };
    let sync = match mode.sync {
        Sync::None => 0,
        Sync::Dsync => libc::O_DSYNC,
        Sync::Sync => libc::O_SYNC,
    };
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(cache | sync);
    options
}

/// io_submit(2) and io_getevents(2).
struct Asynchronous<'a> {
    aio: Aio,
    disk: &'a Mapped,
    files: BTreeMap<u32, File>,
}

impl Asynchronous<'_> {
    fn file(&self, number: u32) -> Result<&File> {
        let file = self.files.get(&number);
        file.with_context(|| format!("file {number} is not open"))
    }

    /// Hands over what waits while the disk holds everything back: none of it is done within the call, which a fast disk
    /// or a slow processor would have now and then. A call that waits for the disk gets it all the same, later.
    fn submit(&mut self) -> Result<()> {
        let Asynchronous { aio, disk, .. } = self;
        disk.suspend()?;
        thread::scope(|scope| {
            let (returned, wait) = mpsc::channel::<()>();
            let resumed = scope.spawn(move || {
                // It ends when the call has returned, and its end is dropped.
                let _ = wait.recv_timeout(LONGEST);
                disk.resume()
            });
            let submitted = aio.submit();
            drop(returned);
            resumed.join().expect("it does not panic")?;
            submitted
        })
    }
}

impl Way for Asynchronous<'_> {
    fn create(&mut self, _: Op) -> Result<()> {
        bail!("libaio makes no files")
    }

    fn replace(&mut self, _: Op, _: Buffer) -> Result<()> {
        bail!("libaio renames no files")
    }

    fn write(&mut self, op: Op, buffer: Buffer) -> Result<()> {
        let file = self.file(op.file)?.try_clone()?;
        self.aio
            .write(file, buffer, op.offset, u64::from(op.number));
        Ok(())
    }

    fn complete(&mut self) -> Result<(u64, u64)> {
        if self.aio.has_waiting() {
            self.submit()?;
        }
        self.aio.complete()
    }

    fn sync(&mut self, file: u32) -> Result<()> {
        Ok(self.file(file)?.sync_data()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// open(2), pwrite(2) and rename(2), with no sync but those that the case asks for.
struct Calls<'a> {
    case: &'a Case,
    room: &'a Room,
    mode: Mode,
    files: BTreeMap<u32, File>,
    /// Writes that were begun.
    waiting: Vec<(Op, Buffer)>,
    /// Number and length.
    done: Vec<(u64, u64)>,
}

/// Whole blocks around an unaligned write.
struct Blocks {
    op: Op,
    from: u64,
    bytes: Buffer,
    /// Bytes of the file when the write is done.
    size: u64,
}

impl Calls<'_> {
    fn file(&self, number: u32) -> Result<&File> {
        let file = self.files.get(&number);
        file.with_context(|| format!("file {number} is not open"))
    }

    /// Unaligned writes as one does them without a second thought: nobody holds the blocks, so of two writes that read
    /// the same block one puts back what it was before the other; and the block that the file ends in is padded, and the
    /// file cut to its size after.
    fn bounce(&mut self) -> Result<()> {
        let begun = std::mem::take(&mut self.waiting);
        let mut read = Vec::new();
        let mut sizes = BTreeMap::new();
        for (op, buffer) in begun {
            let file = self.file(op.file)?;
            let size = match sizes.get(&op.file) {
                Some(size) => *size,
                None => file.metadata()?.len(),
            };
            sizes.insert(op.file, op.end().max(size));
            read.push(blocks(file, op, &buffer, op.end().max(size))?);
        }
        for blocks in read {
            let Blocks {
                op,
                from,
                bytes,
                size,
            } = blocks;
            let file = self.file(op.file)?;
            file.write_all_at(&bytes, from)?;
            if file.metadata()?.len() > size {
                file.set_len(size)?;
            }
            self.done.push((u64::from(op.number), op.length));
        }
        Ok(())
    }
}

fn blocks(file: &File, op: Op, buffer: &Buffer, size: u64) -> Result<Blocks> {
    let from = op.offset / BLOCK * BLOCK;
    let length = op.end().next_multiple_of(BLOCK) - from;
    let mut bytes = Buffer::new(length as usize, BLOCK as usize)?;
    file.read_at(&mut bytes, from)?;
    let at = (op.offset - from) as usize;
    bytes[at..at + buffer.len()].copy_from_slice(buffer);
    Ok(Blocks {
        op,
        from,
        bytes,
        size,
    })
}

impl Way for Calls<'_> {
    fn create(&mut self, op: Op) -> Result<()> {
        let path = self.room.path(&self.case.file_name(op.file));
        let made = options(self.mode).create_new(true).open(path)?;
        self.files.insert(op.file, made);
        Ok(())
    }

    fn replace(&mut self, op: Op, buffer: Buffer) -> Result<()> {
        let path = self.room.path(&Case::new_name(op));
        let new = options(self.mode).create_new(true).open(&path)?;
        new.write_all_at(&buffer, 0)?;
        Ok(fs::rename(
            path,
            self.room.path(&self.case.file_name(op.file)),
        )?)
    }

    fn write(&mut self, op: Op, buffer: Buffer) -> Result<()> {
        self.waiting.push((op, buffer));
        Ok(())
    }

    fn complete(&mut self) -> Result<(u64, u64)> {
        if self.done.is_empty() && self.case.workload == Workload::Bounce {
            self.bounce()?;
        }
        if self.done.is_empty() {
            ensure!(!self.waiting.is_empty(), "nothing was begun");
            let (op, buffer) = self.waiting.remove(0);
            self.file(op.file)?.write_all_at(&buffer, op.offset)?;
            return Ok((u64::from(op.number), op.length));
        }
        Ok(self.done.remove(0))
    }

    /// Of a file that was renamed it is the folder alone that is synced.
    fn sync(&mut self, file: u32) -> Result<()> {
        match self.files.get(&file) {
            Some(file) => Ok(file.sync_data()?),
            None => {
                let path = self.room.path(&self.case.file_name(file));
                let folder = path.parent().context("a folder")?;
                Ok(File::open(folder)?.sync_all()?)
            }
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
