//! # Through libodio

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result, anyhow, bail, ensure};
use odio_core::{
    buffer::Buffer,
    contract::SyncKind,
    error::Error,
    file::{File, OpenOptions},
    flags::Flags,
    mode::{Engine, Mode, Sync},
    queue::Queue,
};

use super::Way;
use crate::{
    case::{Case, Op, SyncBy, Workload},
    folder::Room,
};

/// Open files, and a queue for all of them.
pub(super) struct Odio<'a> {
    case: &'a Case,
    room: &'a Room,
    mode: Mode,
    files: BTreeMap<u32, File>,
    queue: Queue,
    /// Writes that were done while a sync of another file was waited for.
    early: VecDeque<(u64, u64)>,
}

/// What a sync is known by; no write has this number.
const SYNC: u64 = u64::MAX;

impl Odio<'_> {
    pub(super) fn open<'a>(case: &'a Case, room: &'a Room) -> Result<Odio<'a>> {
        let mode: Mode = case.mode.parse()?;
        let engine: Engine = case.engine.parse()?;
        let mut odio = Odio {
            case,
            room,
            mode,
            files: BTreeMap::new(),
            // With room for a sync beside the writes.
            queue: Queue::new(engine, case.depth + 1)?,
            early: VecDeque::new(),
        };
        if matches!(case.workload, Workload::Write | Workload::Bounce) {
            let options = odio.options().bounce(case.workload == Workload::Bounce);
            for file in 0..case.files {
                let opened = options.open(room.path(&case.file_name(file)))?;
                odio.files.insert(file, opened);
            }
        }
        Ok(odio)
    }

    fn options(&self) -> OpenOptions {
        OpenOptions::new(self.mode).write(true)
    }

    fn next(&mut self) -> Result<(u64, u64)> {
        let done = self.queue.complete()?;
        let moved = done.result.map_err(|errno| match done.user_data {
            SYNC => anyhow!("the sync: {errno}"),
            number => anyhow!("write {number}: {errno}"),
        })?;
        Ok((done.user_data, u64::from(moved)))
    }
}

impl Way for Odio<'_> {
    /// A mode with a sync makes the name durable without being asked to: of two such files one does not ask.
    fn create(&mut self, op: Op) -> Result<()> {
        let asks = self.mode.sync == Sync::None || op.file.is_multiple_of(2);
        let options = self.options().create(true).exclusive(true);
        let path = self.room.path(&self.case.file_name(op.file));
        let made = options.create_durably(asks).open(path)?;
        self.files.insert(op.file, made);
        Ok(())
    }

    fn replace(&mut self, op: Op, buffer: Buffer) -> Result<()> {
        let options = self.options().create(true).exclusive(true);
        let new = options.open(self.room.path(&Case::new_name(op)))?;
        self.files.insert(op.file, new);
        self.write(op, buffer)?;
        let (_, moved) = self.complete()?;
        ensure!(moved == op.length, "{moved} bytes were moved");
        let new = self.files.remove(&op.file).context("just opened")?;
        new.rename(self.room.path(&self.case.file_name(op.file)))?;
        Ok(new.close()?)
    }

    fn write(&mut self, op: Op, buffer: Buffer) -> Result<()> {
        let flags = match self.case.sync_by {
            SyncBy::ThenData => Flags::THEN_DATASYNC,
            SyncBy::ThenFull => Flags::THEN_SYNC,
            _ => Flags::NONE,
        };
        let file = self.files.get(&op.file);
        let file = file.with_context(|| format!("file {} is not open", op.file))?;
        self.queue
            .write_with(file, buffer, op.offset, flags, u64::from(op.number))
            .map_err(Error::from)?;
        Ok(self.queue.submit()?)
    }

    fn complete(&mut self) -> Result<(u64, u64)> {
        match self.early.pop_front() {
            Some(done) => Ok(done),
            None => self.next(),
        }
    }

    fn sync(&mut self, number: u32) -> Result<()> {
        let Some(file) = self.files.get(&number) else {
            bail!("file {number} is not open");
        };
        let kind = match self.case.sync_by {
            SyncBy::FileData => return Ok(file.sync(SyncKind::Data)?),
            SyncBy::FileFull => return Ok(file.sync(SyncKind::Full)?),
            SyncBy::Range => return Ok(file.sync_range(0, 0)?),
            SyncBy::Nothing => return Ok(()),
            SyncBy::QueueFull | SyncBy::ThenFull => SyncKind::Full,
            SyncBy::QueueData | SyncBy::ThenData => SyncKind::Data,
        };
        self.queue.sync(file, kind, SYNC)?;
        loop {
            match self.next()? {
                (SYNC, _) => return Ok(()),
                written => self.early.push_back(written),
            }
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.queue.close()?;
        for file in self.files.into_values() {
            file.close()?;
        }
        Ok(())
    }
}
