//! # A power cut at every point
//!
//! Keeps on a RAM disk what is durable at a point of the log, and puts a throwaway snapshot over it for each disk that a
//! cut there could leave. Each is mounted, which replays its journal, and the files in it are read.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    case::{END, Expect, Files, Progress, READY, Wrong},
    device::Device,
    filesystem::{self, Filesystem},
    folder,
    log::{Entry, Flags},
    record::Record,
    replay::{self, Piece, Replay, State, StateName},
    sys::dm::Mapped,
};

/// What is tried, and where.
#[derive(Debug, Clone)]
pub(crate) struct Options<'a> {
    /// RAM disk for what is durable.
    pub(crate) base: &'a Path,
    /// RAM disk for what a mount changes.
    pub(crate) cow: &'a Path,
    pub(crate) seed: u64,
    /// Random disks at each point, besides none and all of what is pending.
    pub(crate) random: u32,
    /// Bytes that the device writes whole or not at all.
    pub(crate) unit: u32,
    pub(crate) expect: Expect,
    /// From the first write on.
    pub(crate) device: replay::Device,
    /// Only this point.
    pub(crate) point: Option<usize>,
    /// Only this disk of each point.
    pub(crate) state: Option<StateName>,
}

/// A disk on which something was not as it must be.
#[derive(Debug)]
pub(crate) struct Violation {
    /// Entries of the log before the cut.
    pub(crate) point: usize,
    pub(crate) state: StateName,
    pub(crate) what: What,
}

/// See [`Violation`].
#[derive(Debug)]
pub(crate) enum What {
    Part(Wrong),
    /// The disk could not be mounted, or the files not be read.
    Disk(String),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) points: u64,
    pub(crate) images: u64,
    /// Images on which a write must be found.
    pub(crate) obliged: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) took: Duration,
    /// What of it went into making and removing snapshots.
    pub(crate) snapshots: Duration,
    /// What of it went into mounting and unmounting.
    pub(crate) mounts: Duration,
}

/// Tries the points of a record.
pub(crate) fn run(record: &Record, options: &Options<'_>) -> Result<Report> {
    let told = &record.told;
    let log = &record.log;
    let entries = &log.entries;
    let ready = log.find(READY).context("the log has no beginning")?;
    let end = log.find(END).context("the log has no end")?;
    let sector = log.sector;
    ensure!(
        options.unit >= sector && options.unit.is_multiple_of(sector),
        "a device of sectors of {sector} bytes does not write {} whole",
        options.unit
    );

    let filesystem: Filesystem = told.case.filesystem.parse().map_err(anyhow::Error::msg)?;
    let at = filesystem::mount_point("checked")?;
    let mut base = Device::open(options.base)?;
    base.install(&record.image)?;
    let mut replay = Replay::default();
    let mut progress = Progress::default();
    let mut report = Report::default();
    let begun = Instant::now();
    for (i, entry) in entries[..end].iter().enumerate() {
        let device = match i < ready {
            true => replay::Device::Honest,
            false => options.device,
        };
        for piece in replay.step(i, entry, device) {
            put(&mut base, &piece, entries, sector)?;
        }
        progress.mark(entry.mark().unwrap_or_default());
        let next = &entries[i + 1];
        let point = i + 1;
        // At a mark the disk is the same on both sides, and behind it more must be there.
        let same = next.flags.has(Flags::MARK) && next.mark() != Some(END);
        if i < ready || same || options.point.is_some_and(|only| only != point) {
            continue;
        }
        report.points += 1;
        let ops = &told.acknowledged;
        let obliged = told.case.obliged(ops, &progress, options.expect);
        // It is in the log from the moment it completed; before that moment it was on its way. Not one that a flush goes
        // ahead of: that comes first.
        let in_flight =
            (next.flags.has(Flags::FUA) && next.sectors > 0 && !next.flags.has(Flags::FLUSH))
                .then(|| replay::whole(point, next));
        let unit = u64::from(options.unit / sector);
        let seed = [options.seed, point as u64];
        for state in replay.states(options.random, unit, in_flight, &seed) {
            if options.state.is_some_and(|only| only != state.name) {
                continue;
            }
            report.images += 1;
            report.obliged += u64::from(obliged > 0);
            let found = image(record, options, (filesystem, &at), &state, &mut report)?;
            let violations = judge(record, options, &progress, found);
            report
                .violations
                .extend(violations.into_iter().map(|what| Violation {
                    point,
                    state: state.name,
                    what,
                }));
        }
    }
    report.took = begun.elapsed();
    let numbers: Vec<_> = told.acknowledged.iter().map(|op| op.number).collect();
    ensure!(
        progress.acknowledged().iter().eq(&numbers),
        "the marks of the log are not the acknowledged writes"
    );
    Ok(report)
}

/// The files on the disk of a state, or why they cannot be read. An error is the lab's own.
fn image(
    record: &Record,
    options: &Options<'_>,
    (filesystem, at): (Filesystem, &Path),
    state: &State,
    report: &mut Report,
) -> Result<Result<Files, String>> {
    let size = record.told.case.disk;
    // Chunks of 8 sectors, gone when it is removed.
    let parameters = format!("{} {} N 8", options.base.display(), options.cow.display());
    let begun = Instant::now();
    let snapshot = Mapped::new("odio-crash-cut", size >> 9, "snapshot", &parameters)?;
    report.snapshots += begun.elapsed();
    if !state.pieces.is_empty() {
        let mut disk = Device::open(snapshot.path())?;
        for piece in &state.pieces {
            put(&mut disk, piece, &record.log.entries, record.log.sector)?;
        }
    }
    let begun = Instant::now();
    let mounted = filesystem.mount(snapshot.path(), at, true);
    report.mounts += begun.elapsed();
    let found = match mounted {
        Err(error) => Err(format!("{error:#}")),
        Ok(mounted) => {
            let files = match filesystem.is_disk() {
                true => {
                    let disk = Device::open(snapshot.path())?.image(size)?;
                    Ok(record.told.case.on_disk(&disk))
                }
                false => folder::read(at),
            };
            let begun = Instant::now();
            mounted.unmount()?;
            report.mounts += begun.elapsed();
            files.map_err(|error: io::Error| format!("the files: {error}"))
        }
    };
    let status = snapshot.status()?;
    ensure!(!status.contains("nvalid"), "the snapshot is full: {status}");
    let begun = Instant::now();
    snapshot.remove()?;
    report.snapshots += begun.elapsed();
    Ok(found)
}

fn judge(
    record: &Record,
    options: &Options<'_>,
    progress: &Progress,
    found: Result<Files, String>,
) -> Vec<What> {
    let told = &record.told;
    match found {
        Err(why) => vec![What::Disk(why)],
        Ok(files) => told
            .case
            .verify(&told.acknowledged, progress, options.expect, &files)
            .into_iter()
            .map(What::Part)
            .collect(),
    }
}

fn put(disk: &mut Device, piece: &Piece, entries: &[Entry], sector: u32) -> Result<()> {
    let offset = piece.sector * u64::from(sector);
    match piece.data(entries, sector) {
        Some(bytes) => disk.write(offset, bytes),
        None => disk.zero(offset, piece.sectors * u64::from(sector)),
    }
}
