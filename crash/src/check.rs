//! # A power cut at every point
//!
//! Keeps a disk with what is durable at a point of the log, and puts over it each time what a cut there could leave
//! besides. Each is mounted, which replays its journal, and the files in it are read. A disk that was found already is
//! not mounted again; what was found on it is held against what has to be there now.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    case::{Case, END, Expect, Files, Progress, READY, Wrong},
    device::Device,
    disk::{Digest, Disk},
    filesystem::{self, Filesystem},
    folder,
    log::{Flags, Log},
    nbd::Served,
    outcome::Outcomes,
    record::Record,
    replay::{self, Piece, Replay, StateName},
};

/// What is tried, and where.
#[derive(Debug, Clone)]
pub(crate) struct Options<'a> {
    /// Network block device that the disks are served as.
    pub(crate) nbd: &'a Path,
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
    /// Disks that a cut could leave, over all points.
    pub(crate) cuts: u64,
    /// Of these, different ones: each was mounted.
    pub(crate) images: u64,
    /// Cuts after which a write must be found.
    pub(crate) obliged: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) outcomes: Outcomes,
    pub(crate) took: Duration,
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
    let mut cuts = Cuts {
        served: Served::new(options.nbd, Disk::new(record.image.clone()))?,
        filesystem,
        at: filesystem::mount_point("checked")?,
        case: &told.case,
        found: HashMap::new(),
        mounts: Duration::ZERO,
    };
    let mut replay = Replay::default();
    let mut progress = Progress::default();
    let mut report = Report {
        outcomes: Outcomes::of(&told.acknowledged),
        ..Report::default()
    };
    let begun = Instant::now();
    for (i, entry) in entries[..end].iter().enumerate() {
        let device = match i < ready {
            true => replay::Device::Honest,
            false => options.device,
        };
        let durable = replay.step(i, entry, device);
        put(&durable, log, |offset, bytes| {
            cuts.served.disk().write_durably(offset, bytes);
        });
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
            report.cuts += 1;
            report.obliged += u64::from(obliged > 0);
            let found = cuts.find(&state.pieces, log)?;
            report
                .outcomes
                .count(&told.case, &progress, found.as_ref().as_ref().ok());
            let violations = judge(record, options, &progress, &found);
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
    report.mounts = cuts.mounts;
    report.images = cuts.found.len() as u64;
    let numbers: Vec<_> = told.acknowledged.iter().map(|op| op.number).collect();
    ensure!(
        progress.acknowledged().iter().eq(&numbers),
        "the marks of the log are not the acknowledged writes"
    );
    Ok(report)
}

/// The files, or why they cannot be read.
type Found = Result<Files, String>;

/// The disks that were found.
struct Cuts<'a> {
    served: Served,
    filesystem: Filesystem,
    at: PathBuf,
    case: &'a Case,
    found: HashMap<Digest, Rc<Found>>,
    mounts: Duration,
}

impl Cuts<'_> {
    /// What is found on what is durable with these pieces over it. An error is the lab's own.
    fn find(&mut self, pieces: &[Piece], log: &Log) -> Result<Rc<Found>> {
        let digest = {
            let mut disk = self.served.disk();
            disk.cut();
            put(pieces, log, |offset, bytes| disk.write(offset, bytes));
            disk.digest()
        };
        if let Some(found) = self.found.get(&digest) {
            return Ok(Rc::clone(found));
        }
        let found = Rc::new(self.mount()?);
        self.found.insert(digest, Rc::clone(&found));
        Ok(found)
    }

    fn mount(&mut self) -> Result<Found> {
        let begun = Instant::now();
        let mounted = self.filesystem.mount(self.served.path(), &self.at, true);
        self.mounts += begun.elapsed();
        let mounted = match mounted {
            Err(error) => return Ok(Err(format!("{error:#}"))),
            Ok(mounted) => mounted,
        };
        let files = match self.filesystem.is_disk() {
            true => {
                let disk = Device::open(self.served.path())?.image(self.case.disk)?;
                Ok(self.case.on_disk(&disk))
            }
            false => folder::read(&self.at, !self.filesystem.has_journal),
        };
        let begun = Instant::now();
        mounted.unmount()?;
        self.mounts += begun.elapsed();
        Ok(files.map_err(|error: io::Error| format!("the files: {error}")))
    }
}

fn judge(record: &Record, options: &Options<'_>, progress: &Progress, found: &Found) -> Vec<What> {
    let told = &record.told;
    match found {
        Err(why) => vec![What::Disk(why.clone())],
        Ok(files) => told
            .case
            .verify(&told.acknowledged, progress, options.expect, files)
            .into_iter()
            .map(What::Part)
            .collect(),
    }
}

/// Writes pieces of the log, in their order, with `write`.
fn put(pieces: &[Piece], log: &Log, mut write: impl FnMut(u64, &[u8])) {
    for piece in pieces {
        let offset = piece.sector * u64::from(log.sector);
        match piece.data(&log.entries, log.sector) {
            Some(bytes) => write(offset, bytes),
            None => {
                let zeros = vec![0; piece.sectors as usize * log.sector as usize];
                write(offset, &zeros);
            }
        }
    }
}
