//! # The workload
//!
//! Makes a filesystem, logs what is written to its disk from then on, prepares a file, and writes to it through libodio:
//! one write at a time, and a mark in the log behind each acknowledgement.

use std::{fs::File as Folder, io::BufReader, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use odio_core::{
    buffer::Buffer,
    contract::{Situation, SyncKind},
    file::{File, OpenOptions},
    mode::{Cache, Engine, Mode, Sync},
    queue::Queue,
};

use crate::{
    case::{BLOCK, Case, END, Op, READY},
    content,
    device::Device,
    filesystem::{self, Filesystem},
    log::Log,
    record::{Record, Told},
    sys::dm::Mapped,
};

/// The disk that is written to, and the one that its log is on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disks<'a> {
    pub(crate) disk: &'a Path,
    pub(crate) log: &'a Path,
}

/// Runs the case.
pub(crate) fn run(case: &Case, disks: Disks<'_>) -> Result<Record> {
    let filesystem: Filesystem = case.filesystem.parse().map_err(anyhow::Error::msg)?;
    let at = filesystem::mount_point("written")?;
    filesystem.make(disks.disk, case.disk)?;
    let image = Device::open(disks.disk)?.image(case.disk)?;
    // A log of an earlier case must not be taken for this one's.
    Device::open(disks.log)?.write(0, &[0; 4096])?;

    let parameters = format!("{} {}", disks.disk.display(), disks.log.display());
    let logged = Mapped::new("odio-crash-log", case.disk >> 9, "log-writes", &parameters)?;
    let mounted = filesystem.mount(logged.path(), &at, false)?;
    let path = filesystem.file(logged.path(), &at);
    let ops = case.ops();
    prepare(case, &path, &at)?;
    workload(case, &ops, &path, &logged)?;
    let status = logged.status()?;
    ensure!(!status.contains("disabled"), "the log is full: {status}");
    mounted.unmount()?;
    logged.remove()?;

    let mut log = Log::read(BufReader::with_capacity(
        1 << 20,
        Device::open(disks.log)?.reader(),
    ))
    .context("the log")?;
    let end = log.find(END).context("the log has no end")?;
    log.entries.truncate(end + 1);
    let told = Told {
        case: case.clone(),
        kernel: rustix::system::uname().release().to_string_lossy().into(),
        acknowledged: ops,
    };
    Ok(Record { told, image, log })
}

/// Makes the file as the situation asks for it, durably.
fn prepare(case: &Case, path: &Path, folder: &Path) -> Result<()> {
    let block = case.filesystem == "block";
    let file = OpenOptions::new(Mode::new(Cache::Direct, Sync::None))
        .fall_back(true)
        .write(true)
        .create(!block)
        .open(path)
        .context("the file to be prepared")?;
    if case.is(Situation::Unwritten) {
        file.allocate(0, case.size())?;
    }
    let (from, length) = case.written();
    if length > 0 {
        file.write_at(&contents(case, from, length, 0)?, from)?;
    }
    file.sync(SyncKind::Full)?;
    if !block {
        Folder::open(folder)?.sync_all()?;
    }
    Ok(file.close()?)
}

fn workload(case: &Case, ops: &[Op], path: &Path, logged: &Mapped) -> Result<()> {
    let mode: Mode = case.mode.parse()?;
    let engine: Engine = case.engine.parse()?;
    let file = OpenOptions::new(mode).write(true).open(path)?;
    let mut queue = Queue::new(engine, 1)?;
    mark(logged, READY)?;
    for op in ops {
        write(case, op, &file, &mut queue)
            .with_context(|| format!("write {} at {}", op.number, op.offset))?;
        mark(logged, &op.mark())?;
    }
    mark(logged, END)?;
    queue.close()?;
    Ok(file.close()?)
}

fn write(case: &Case, op: &Op, file: &File, queue: &mut Queue) -> Result<()> {
    let buffer = contents(case, op.offset, op.length, op.generation())?;
    queue
        .write(file, buffer, op.offset, u64::from(op.number))
        .map_err(odio_core::error::Error::from)?;
    let moved = queue
        .complete()?
        .result
        .map_err(|errno| anyhow!("{errno}"))?;
    ensure!(u64::from(moved) == op.length, "{moved} bytes were moved");
    Ok(())
}

fn contents(case: &Case, offset: u64, length: u64, generation: u32) -> Result<Buffer> {
    let mut buffer = Buffer::new(length as usize, BLOCK as usize)?;
    content::fill(&mut buffer, case.key(), offset, generation);
    Ok(buffer)
}

fn mark(logged: &Mapped, text: &str) -> Result<()> {
    logged.message(&format!("mark {text}"))
}
