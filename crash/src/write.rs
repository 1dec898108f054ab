//! # The workload
//!
//! Logs what is written to a disk, prepares a file on it, and writes to that through libodio: with a mark in the log
//! behind each acknowledgement.

use std::{fs, io::BufReader, path::Path};

use anyhow::{Context, Result, ensure};
use odio_core::{
    buffer::Buffer,
    contract::{Situation, SyncKind},
    file::OpenOptions,
    mode::{Cache, Mode, Sync},
};

use crate::{
    case::{self, BLOCK, Case, END, Op, READY},
    content,
    device::Device,
    filesystem,
    ground::{Disks, Ground},
    log::Log,
    record::{Record, Told},
    sys::dm::Mapped,
    way::Way,
};

/// Runs the case. Where it fails, the disk is not as it was before.
pub(crate) fn run(case: &Case, ground: &Ground<'_>) -> Result<Record> {
    let filesystem = ground.filesystem;
    ensure!(
        !filesystem.is_disk() || case.is(Situation::Overwrite),
        "all blocks of a disk are there: overwrite is all it has"
    );
    ensure!(!case.is(Situation::Read), "a read writes nothing");
    let Disks { disk, log } = ground.disks;
    let at = filesystem::mount_point("written")?;
    // A log of an earlier case must not be taken for this one's.
    Device::open(log)?.write(0, &[0; 4096])?;

    let parameters = format!("{} {}", disk.display(), log.display());
    let logged = Mapped::new("odio-crash-log", case.disk >> 9, "log-writes", &parameters)?;
    let mounted = filesystem.mount(logged.path(), &at, false)?;
    let path = filesystem.file(logged.path(), &at, &case.name());
    let ops = case.ops();
    prepare(case, filesystem.is_disk(), &path, &at)?;
    workload(case, &ops, &path, &logged)?;
    let status = logged.status()?;
    ensure!(!status.contains("disabled"), "the log is full: {status}");
    mounted.unmount()?;
    logged.remove()?;

    let mut log = Device::open(log)?;
    let mut log = Log::read(BufReader::with_capacity(1 << 20, log.reader())).context("the log")?;
    ground.restore(&log)?;
    let end = log.find(END).context("the log has no end")?;
    log.entries.truncate(end + 1);
    let told = Told {
        case: case.clone(),
        kernel: rustix::system::uname().release().to_string_lossy().into(),
        file: path.display().to_string(),
        acknowledged: ops,
    };
    Ok(Record {
        told,
        image: ground.image.clone(),
        log,
    })
}

/// Makes the file as the situation asks for it, durably.
fn prepare(case: &Case, block: bool, path: &Path, folder: &Path) -> Result<()> {
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
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(file.close()?)
}

fn workload(case: &Case, ops: &[Op], path: &Path, logged: &Mapped) -> Result<()> {
    let mut lane = Lane {
        way: Way::open(case, path)?,
        in_flight: Vec::new(),
        logged,
    };
    lane.mark(READY)?;
    for op in ops {
        let meets = |other: &Op| other.meets(*op);
        while lane.in_flight.len() >= case.depth as usize || lane.in_flight.iter().any(meets) {
            lane.one()?;
        }
        let buffer = contents(case, op.offset, op.length, op.generation())?;
        lane.begin(*op, buffer)?;
        let done = op.number + 1;
        if case.sync_every > 0 && done.is_multiple_of(case.sync_every) {
            lane.sync(done)?;
        }
    }
    lane.sync(case.writes)?;
    lane.mark(END)?;
    lane.way.close()
}

/// The writes in flight.
struct Lane<'a> {
    way: Way,
    in_flight: Vec<Op>,
    logged: &'a Mapped,
}

impl Lane<'_> {
    fn begin(&mut self, op: Op, buffer: Buffer) -> Result<()> {
        self.way
            .write(op, buffer)
            .with_context(|| format!("write {} at {}", op.number, op.offset))?;
        self.in_flight.push(op);
        Ok(())
    }

    /// Waits for one and marks its acknowledgement.
    fn one(&mut self) -> Result<()> {
        let (number, moved) = self.way.complete()?;
        let place = |op: &Op| u64::from(op.number) == number;
        let at = self.in_flight.iter().position(place);
        let op = self
            .in_flight
            .remove(at.context("a completion of nothing")?);
        ensure!(moved == op.length, "{moved} bytes were moved");
        self.mark(&op.mark())
    }

    /// Waits for all of the writes before `done`, and syncs them.
    fn sync(&mut self, done: u32) -> Result<()> {
        while !self.in_flight.is_empty() {
            self.one()?;
        }
        self.way.sync()?;
        self.mark(&case::synced(done))
    }

    fn mark(&self, text: &str) -> Result<()> {
        self.logged.message(&format!("mark {text}"))
    }
}

fn contents(case: &Case, offset: u64, length: u64, generation: u32) -> Result<Buffer> {
    let mut buffer = Buffer::new(length as usize, BLOCK as usize)?;
    content::fill(&mut buffer, case.key(), offset, generation);
    Ok(buffer)
}
