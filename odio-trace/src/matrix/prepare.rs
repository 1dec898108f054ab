//! # The files of the rows, each in the state that its situation asks for
//!
//! Writes to the folder or the disk that is tried, past the page cache where that can be had: a page left there sends
//! io_uring's first try to a worker (`__iomap_dio_rw`, 6.1: -EAGAIN where `filemap_range_has_page`).

use std::{
    fs::File,
    os::linux::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use odio_core::{
    buffer::Buffer,
    contract::{Situation, SyncKind},
    file::OpenOptions,
    mode::{Cache, Engine, Mode, Sync},
};

use super::row::Row;
use crate::{
    cli,
    kernel::{Dev, Kernel},
    requests::{BLOCK, Case},
};

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// A file for each row in this folder; `shared`: with its blocks shared with a copy.
    Folder { dir: &'a Path, shared: bool },
    /// A place for each row on this disk.
    Disk(&'a Path),
}

/// How far apart the rows are on a disk.
const ROOM: u64 = 1 << 20;

impl Target<'_> {
    /// A disk has no blocks that are not there.
    fn situations(self) -> &'static [Situation] {
        match self {
            Self::Folder { .. } => &Situation::ALL,
            Self::Disk(_) => &[Situation::Overwrite, Situation::Read],
        }
    }
}

/// Prepares every row that is asked for, synced. Where a situation is not to be had, the row has the reason in place
/// of its contract.
pub(super) fn rows(
    arguments: &cli::Matrix,
    kernel: &Kernel,
    target: Target<'_>,
) -> Result<Vec<Row>> {
    fn wanted<T: PartialEq>(filter: &[T], each: &T) -> bool {
        filter.is_empty() || filter.contains(each)
    }
    let mut rows = Vec::new();
    for mode in Mode::ALL {
        for engine in Engine::ALL {
            for &situation in target.situations() {
                if wanted(&arguments.mode, &mode)
                    && wanted(&arguments.engine, &engine)
                    && wanted(&arguments.situation, &situation)
                {
                    let place = rows.len() as u64;
                    let case = Case {
                        path: match target {
                            Target::Folder { dir, .. } => {
                                dir.join(format!("{mode}.{engine}.{situation}"))
                            }
                            Target::Disk(disk) => disk.into(),
                        },
                        base: match target {
                            Target::Folder { .. } => 0,
                            // The first block is libodio's own, for its probe read.
                            Target::Disk(_) => (1 + place) * ROOM,
                        },
                        engine: engine.name().into(),
                        mode: mode.name().into(),
                        situation: situation.name().into(),
                        requests: arguments.requests,
                    };
                    rows.push(row(case, (mode, engine, situation), kernel, target)?);
                }
            }
        }
    }
    if let Target::Folder { dir, .. } = target {
        File::open(dir)?.sync_all()?;
    }
    Ok(rows)
}

fn row(
    case: Case,
    (mode, engine, situation): (Mode, Engine, Situation),
    kernel: &Kernel,
    target: Target<'_>,
) -> Result<Row> {
    let path = &case.path;
    let prepared = match target {
        Target::Folder { dir, shared } => fresh(&case, situation)
            .and_then(|()| match shared {
                true => share(path),
                false => Ok(()),
            })
            .map(|()| dir),
        Target::Disk(disk) => written(&case).map(|()| disk),
    };
    let metadata = path
        .metadata()
        .with_context(|| format!("{}", path.display()))?;
    let contract =
        prepared.and_then(|_| Ok(OpenOptions::new(mode).write(true).open(path)?.contract()));
    let (dev, ino) = match target {
        Target::Folder { dir, .. } => (
            kernel
                .dev_of(dir)
                .unwrap_or_else(|| Dev::from_stat(metadata.st_dev())),
            Some(metadata.st_ino()),
        ),
        Target::Disk(_) => (Dev::from_stat(metadata.st_rdev()), None),
    };
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    // A name that is another each time is no part of a reason.
    let named =
        |error: anyhow::Error| format!("{error:#}").replace(&format!("{}/", folder.display()), "");
    Ok(Row {
        engine,
        mode,
        situation,
        dev,
        ino,
        contract: contract.map_err(named),
        ops: Vec::new(),
        finished: Vec::new(),
        case,
    })
}

fn fresh(case: &Case, situation: Situation) -> Result<()> {
    let size = (u64::from(case.requests) + 1) * BLOCK;
    let file = OpenOptions::new(Mode::new(Cache::Direct, Sync::None))
        .fall_back(true)
        .write(true)
        .create(true)
        .exclusive(true)
        .open(&case.path)?;
    let buffer = pattern()?;
    match situation {
        Situation::Overwrite | Situation::Read => {
            for offset in (0..size).step_by(BLOCK as usize) {
                file.write_at(&buffer, offset)?;
            }
        }
        Situation::Unwritten => file.allocate(0, size)?,
        // A hole in a file that lives: the last block is there.
        Situation::Hole => {
            file.write_at(&buffer, size - BLOCK)?;
        }
        Situation::Append => {}
    }
    Ok(file.sync(SyncKind::Full)?)
}

fn written(case: &Case) -> Result<()> {
    let disk = OpenOptions::new(Mode::new(Cache::Direct, Sync::None))
        .write(true)
        .open(&case.path)?;
    let buffer = pattern()?;
    for i in 0..=u64::from(case.requests) {
        disk.write_at(&buffer, case.base + i * BLOCK)?;
    }
    Ok(disk.sync(SyncKind::Full)?)
}

fn pattern() -> Result<Buffer> {
    let mut buffer = Buffer::new(BLOCK as usize, BLOCK as usize)?;
    buffer.fill(0xa5);
    Ok(buffer)
}

/// Makes a copy that has all blocks of the file in common with it.
fn share(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    let copy = File::create_new(format!("{}.shared", path.display()))?;
    rustix::fs::ioctl_ficlone(&copy, &file)
        .context("its blocks cannot be shared with a copy (FICLONE)")?;
    Ok(copy.sync_all()?)
}
