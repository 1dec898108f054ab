//! # The workload
//!
//! Logs what is written to a disk, prepares the files on it, and makes the ops through libodio: with a mark in the log
//! behind each acknowledgement.

use std::{collections::BTreeSet, fs, io::BufReader, path::Path};

use anyhow::{Context, Result, ensure};
use odio_core::{
    buffer::Buffer,
    contract::{Situation, SyncKind},
    file::OpenOptions,
    mode::{Cache, Mode, Sync},
};

use crate::{
    case::{self, Action, BLOCK, Case, END, OTHER, Op, READY, Workload},
    content,
    device::Device,
    filesystem,
    folder::Room,
    ground::{Disks, Ground},
    log::Log,
    record::{Record, Told},
    sys::dm::Mapped,
    way::{self, Way},
};

/// Runs the case. Where it fails, the disk is not as it was before.
pub(crate) fn run(case: &Case, ground: &Ground<'_>) -> Result<Record> {
    let filesystem = ground.filesystem;
    ensure!(
        !filesystem.is_disk() || case.is(Situation::Overwrite),
        "all blocks of a disk are there: overwrite is all it has"
    );
    ensure!(
        !filesystem.is_disk() || case.workload == Workload::Write && case.files == 1,
        "a disk is one file, and is written in whole blocks"
    );
    ensure!(!case.is(Situation::Read), "a read writes nothing");
    let Disks { disk, log } = ground.disks;
    let at = filesystem::mount_point("written")?;
    // A log of an earlier case must not be taken for this one's.
    Device::open(log)?.write(0, &[0; 4096])?;

    let parameters = format!("{} {}", disk.display(), log.display());
    let logged = Mapped::new("odio-crash-log", case.disk >> 9, "log-writes", &parameters)?;
    let mounted = filesystem.mount(logged.path(), &at, false)?;
    let room = match filesystem.is_disk() {
        true => Room::Disk(logged.path().to_owned()),
        false => Room::Folder(at),
    };
    let ops = case.ops();
    prepare(case, &room)?;
    workload(case, &ops, &room, &logged)?;
    let dev = room.dev()?;
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
        dev,
        acknowledged: ops,
    };
    Ok(Record {
        told,
        image: ground.image.clone(),
        log,
    })
}

/// Makes the files as the situation asks for them, durably.
fn prepare(case: &Case, room: &Room) -> Result<()> {
    if let Room::Folder(folder) = room {
        fs::create_dir(folder.join(OTHER))?;
        fs::File::open(folder.join(OTHER))?.sync_all()?;
    }
    for file in 0..case.files {
        let path = room.path(&case.file_name(file));
        file_as_prepared(case, file, &path, !room.is_disk())
            .with_context(|| format!("{}", path.display()))?;
    }
    if let Room::Folder(folder) = room {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn file_as_prepared(case: &Case, number: u32, path: &Path, create: bool) -> Result<()> {
    let Some(prepared) = case.prepared(number) else {
        return Ok(());
    };
    let file = OpenOptions::new(Mode::new(Cache::Direct, Sync::None))
        .fall_back(true)
        .bounce(true)
        .write(true)
        .create(create)
        .open(path)?;
    if case.is(Situation::Unwritten) {
        file.allocate(0, prepared.size)?;
    }
    let (from, length) = prepared.written;
    if length > 0 {
        file.write_at(&contents(case, number, from, length, 0)?, from)?;
    }
    file.sync(SyncKind::Full)?;
    Ok(file.close()?)
}

fn workload(case: &Case, ops: &[Op], room: &Room, logged: &Mapped) -> Result<()> {
    let mut lane = Lane {
        way: way::open(case, room, logged)?,
        in_flight: Vec::new(),
        logged,
    };
    lane.mark(READY)?;
    for op in ops {
        let meets = |other: &Op| other.meets(*op);
        while lane.in_flight.len() >= case.depth as usize || lane.in_flight.iter().any(meets) {
            lane.one()?;
        }
        lane.begin(case, *op)?;
        let done = op.number + 1;
        if case.sync_every > 0 && done.is_multiple_of(case.sync_every) && syncs(case, ops, op.file)
        {
            lane.sync(op.file, done)?;
        }
    }
    let files: BTreeSet<u32> = ops.iter().map(|op| op.file).collect();
    for file in files {
        if syncs(case, ops, file) {
            lane.sync(file, case.writes)?;
        }
    }
    while !lane.in_flight.is_empty() {
        lane.one()?;
    }
    lane.mark(END)?;
    lane.way.close()
}

/// Whether a sync of the file has anything to do. Past libodio it is there to bring the log on.
fn syncs(case: &Case, ops: &[Op], file: u32) -> bool {
    let mut of = ops.iter().filter(|op| op.file == file);
    case.raw || of.any(|op| op.action == Action::Write)
}

/// The writes in flight.
struct Lane<'a> {
    way: Box<dyn Way + 'a>,
    in_flight: Vec<Op>,
    logged: &'a Mapped,
}

impl Lane<'_> {
    /// Begins an op; what is no write is acknowledged when it returns.
    fn begin(&mut self, case: &Case, op: Op) -> Result<()> {
        let bytes = || contents(case, op.file, op.offset, op.length, op.generation());
        let done = match op.action {
            Action::Create => self.way.create(op),
            Action::Replace => self.way.replace(op, bytes()?),
            Action::Write => self.way.write(op, bytes()?),
        };
        done.with_context(|| format!("{:?} {} at {}", op.action, op.number, op.offset))?;
        match op.action {
            Action::Write => self.in_flight.push(op),
            _ => self.mark(&op.mark())?,
        }
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

    /// Waits for all writes to the file before `done`, and syncs it.
    fn sync(&mut self, file: u32, done: u32) -> Result<()> {
        while self.in_flight.iter().any(|op| op.file == file) {
            self.one()?;
        }
        self.way.sync(file)?;
        self.mark(&case::synced(file, done))
    }

    fn mark(&self, text: &str) -> Result<()> {
        self.logged.message(&format!("mark {text}"))
    }
}

fn contents(case: &Case, file: u32, offset: u64, length: u64, generation: u32) -> Result<Buffer> {
    let mut buffer = Buffer::new(length as usize, BLOCK as usize)?;
    content::fill(&mut buffer, case.key(), file, offset, generation);
    Ok(buffer)
}
