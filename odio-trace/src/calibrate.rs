//! # Calibration: whether the probes see what is sent
//!
//! A probe that is attached need not fire: the compiler may have inlined the function into the callers that matter,
//! or somebody may have disarmed all kprobes. So known requests are made on the workload's filesystem, a prime number
//! of each kind, and each hook is held against what was sent. One that did not see it is not trusted.
//!
//! The requests are made by this process on a file without a name, which goes away with its descriptor; or, where a disk
//! itself is tried and its content given up, in the disk's first MiB.

use std::{
    fs::{File as StdFile, OpenOptions as StdOptions},
    os::{
        fd::AsRawFd,
        linux::fs::MetadataExt,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use odio_core::{
    contract::SyncKind,
    file::{File, OpenOptions},
    mode::{Cache, Engine, Mode, Sync},
    queue::Queue,
};
use odio_trace_common::{EngineSeen, Hook, OpFlags, OpKind, OpRecord};

use crate::{
    kernel::Kernel,
    plan::{Kind, Missing, costs},
    session::{Record, Session},
};

const BLOCK: u64 = 4096;

/// How many of each kind.
const BUFFERED: u64 = 5;
const DIRECT: u64 = 7;
const DSYNC: u64 = 11;
const READS: u64 = 3;
/// Of blocks that are written already, two at a time: by that they are told from the others.
const OVERWRITES: u64 = 13;
const OVERWRITE: u64 = 2 * BLOCK;

/// How long the last of them may take to be acknowledged.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calibration {
    /// Hooks that were held against what was sent, with what was sent and what they saw.
    pub(crate) tried: Vec<(Hook, u64, u64)>,
    /// What could not be sent, and why.
    pub(crate) not_sent: Vec<String>,
}

impl Calibration {
    /// The hooks that did not see what was sent.
    pub(crate) fn distrusted(&self) -> impl Iterator<Item = Missing> + '_ {
        self.tried
            .iter()
            .filter(|(_, sent, saw)| saw != sent)
            .map(|&(hook, sent, saw)| Missing {
                hook,
                why: format!("calibration sent {sent} and it saw {saw}"),
                costs: costs(hook),
            })
    }
}

/// Makes the requests in `dir`, a folder or a disk to overwrite, and holds the session's hooks against them. The session follows no process yet, or
/// none any more: what comes in meanwhile and is not of this is dropped.
pub(crate) fn run(session: &mut Session, kernel: &Kernel, dir: &Path) -> Calibration {
    // What is mounted where is known by whole paths.
    let dir = &dir.canonicalize().unwrap_or_else(|_| dir.into());
    let mut calibration = Calibration::default();
    let mut seen = Seen::default();
    let sent = session
        .while_followed(std::process::id(), |session| {
            send(session, dir, &mut seen, &mut calibration.not_sent)
        })
        .unwrap_or_else(|error| {
            calibration
                .not_sent
                .push(format!("nothing was calibrated: {error:#}"));
            Sent::default()
        });
    // Where no write is seen to begin, as on a kernel with few tracepoints, what it does belongs to none.
    let begins = session
        .attached
        .iter()
        .any(|p| matches!(p.hook, Hook::WriteBegin | Hook::DioBegin));
    let iomap = begins
        && kernel
            .fs_of(dir)
            .is_some_and(|fs| matches!(fs.as_str(), "ext4" | "xfs"));
    let issues_fua = kernel.dev_of(dir).is_some_and(|dev| {
        let cache = kernel.storage().write_cache(dev);
        [cache.volatile, cache.fua, cache.requests] == [Some(true); 3]
    });
    let watched = |hook: &Hook| {
        session.attached.iter().any(|p| p.hook == *hook)
            && !session.missing.iter().any(|m| m.hook == *hook)
    };
    // Where requests are first seen in the direct I/O code, there is nothing of the buffered ones but their syncs.
    let sent = match watched(&Hook::WriteBegin) {
        true => sent,
        false => Sent {
            buffered: 0,
            ..sent
        },
    };
    let returns = session
        .attached
        .iter()
        .any(|p| matches!(p.kind, Kind::Fexit | Kind::Kretprobe));
    calibration.tried = seen
        .held_against(&sent, iomap, issues_fua)
        .into_iter()
        .filter(|(hook, sent, _)| *sent > 0 && watched(hook))
        // A tracepoint tells only that a request was queued.
        .filter(|(hook, ..)| returns || *hook != Hook::OpReturn)
        .collect();
    calibration
}

/// What was sent, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sent {
    buffered: u64,
    syncs: u64,
    aio: u64,
    uring: u64,
    dsync: u64,
    reads: u64,
    overwrites: u64,
}

/// The records of what was sent.
#[derive(Debug, Default)]
struct Seen {
    ino: u64,
    ops: Vec<OpRecord>,
}

impl Seen {
    fn take(&mut self, session: &mut Session) {
        let pid = std::process::id();
        let (ino, ops) = (self.ino, &mut self.ops);
        session.take(|record| {
            if let Record::Op(op) = record
                && op.tgid == pid
                && op.ino == ino
            {
                ops.push(*op);
            }
        });
    }

    fn count(&self, wanted: impl Fn(&OpRecord) -> bool) -> u64 {
        self.ops.iter().filter(|op| wanted(op)).count() as u64
    }

    /// Each hook with what was sent through it and what it saw.
    ///
    /// `iomap`: the filesystem's direct I/O is that of iomap, and a new block makes its dsync write an fsync.
    /// `issues_fua`: its device is issued requests, and FUA with them where a write asks for it.
    fn held_against(&self, sent: &Sent, iomap: bool, issues_fua: bool) -> Vec<(Hook, u64, u64)> {
        let is = |op: &OpRecord, kind: OpKind| op.op == kind as u32;
        // libodio tries a read of the first block where it opens a file for direct I/O.
        let read = |op: &OpRecord| is(op, OpKind::Read) && op.offset >= BLOCK;
        let overwrite = |op: &OpRecord| is(op, OpKind::Write) && op.len == OVERWRITE;
        let write = |op: &OpRecord| is(op, OpKind::Write) && op.len != OVERWRITE;
        let sync = |op: &OpRecord| is(op, OpKind::Sync);
        let has = |op: &OpRecord, flag| (op.flags | op.completion_flags) & flag != 0;
        let by = |op: &OpRecord, engine: EngineSeen| write(op) && op.engine == engine as u32;
        let writes = sent.buffered + sent.aio + sent.uring + sent.dsync;
        // A filesystem may carry a direct request through the page cache; then it is not the direct I/O code's.
        let fell_back = self
            .count(|op| write(op) && op.len == BLOCK && has(op, OpFlags::BUFFERED))
            .saturating_sub(sent.buffered);
        let direct = (sent.aio + sent.uring + sent.dsync).saturating_sub(fell_back);
        let only_iomap = |n| if iomap { n } else { 0 };
        vec![
            (Hook::WriteBegin, writes, self.count(write)),
            (Hook::ReadBegin, sent.reads, self.count(read)),
            (
                Hook::OpReturn,
                writes,
                self.count(|op| write(op) && has(op, OpFlags::RETURN_SEEN)),
            ),
            (
                Hook::DioBegin,
                only_iomap(direct),
                self.count(|op| write(op) && has(op, OpFlags::DIO)),
            ),
            (
                Hook::DioComplete,
                only_iomap(direct),
                self.count(|op| {
                    write(op) && (has(op, OpFlags::DIO_COMPLETE_SEEN) || op.dio_bytes > 0)
                }),
            ),
            (
                Hook::BufferedCopy,
                sent.buffered,
                self.count(|op| write(op) && has(op, OpFlags::BUFFERED))
                    .saturating_sub(fell_back),
            ),
            (
                Hook::BioSubmit,
                only_iomap(direct),
                self.count(|op| write(op) && has(op, OpFlags::DIO) && op.bios > 0),
            ),
            (
                Hook::FuaIssue,
                // That a write needs no fsync, and so asks for FUA, is up to the filesystem.
                match iomap && issues_fua && sent.overwrites > 0 {
                    true => self.count(|op| overwrite(op) && op.fua > 0),
                    false => 0,
                },
                self.count(|op| overwrite(op) && op.fua > 0 && op.fua_issued == u64::from(op.fua)),
            ),
            (
                Hook::VfsFsync,
                only_iomap(sent.dsync),
                self.count(|op| write(op) && op.vfs_fsyncs > 0),
            ),
            (
                Hook::FsFsync,
                only_iomap(sent.syncs),
                self.count(|op| sync(op) && op.fs_fsyncs > 0),
            ),
            (
                Hook::AioComplete,
                sent.aio,
                self.count(|op| by(op, EngineSeen::Libaio) && has(op, OpFlags::ACKED)),
            ),
            (
                Hook::UringComplete,
                sent.uring,
                self.count(|op| by(op, EngineSeen::IoUring) && has(op, OpFlags::ACKED)),
            ),
            (
                Hook::SyscallExit,
                sent.buffered + sent.dsync,
                self.count(|op| by(op, EngineSeen::Psync) && has(op, OpFlags::ACKED)),
            ),
        ]
    }
}

/// Makes the requests; a kind that cannot be had is told in `not_sent`.
fn send(
    session: &mut Session,
    dir: &Path,
    seen: &mut Seen,
    not_sent: &mut Vec<String>,
) -> Result<Sent> {
    let mut sent = Sent::default();
    let file = match dir.metadata()?.file_type().is_block_device() {
        true => StdOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_EXCL)
            .open(dir),
        false => tempfile::tempfile_in(dir),
    };
    let file = file.with_context(|| format!("cannot make a file in {}", dir.display()))?;
    seen.ino = file.metadata()?.st_ino();
    let mut end = 0;
    let mut next = |sent: &mut u64| {
        *sent += 1;
        end += BLOCK;
        end - BLOCK
    };

    let mut refused = |kind: &str, error: anyhow::Error| {
        not_sent.push(format!("{kind} were not calibrated: {error:#}"));
    };
    match open(&file, Cache::Buffered, Sync::None) {
        Ok(buffered) => {
            for _ in 0..BUFFERED {
                let bytes = buffered.buffer(BLOCK as usize)?;
                buffered.write_at(&bytes, next(&mut sent.buffered))?;
                buffered.sync(SyncKind::Full)?;
                sent.syncs += 1;
                seen.take(session);
            }
        }
        Err(error) => refused("buffered requests", error),
    }
    for (engine, kind) in [
        (Engine::Libaio, "requests through Linux AIO"),
        (Engine::IoUring, "requests through io_uring"),
    ] {
        let made = open(&file, Cache::Direct, Sync::None)
            .and_then(|direct| Ok((Queue::new(engine, 1)?, direct)));
        match made {
            Ok((mut queue, direct)) => {
                let count = match engine {
                    Engine::Libaio => &mut sent.aio,
                    _ => &mut sent.uring,
                };
                for _ in 0..DIRECT {
                    let bytes = direct.buffer(BLOCK as usize)?;
                    queue
                        .write(&direct, bytes, next(count), 0)
                        .map_err(odio_core::error::Error::from)?;
                    queue.wait(1, None)?;
                    let done = queue.pop().context("no completion came")?;
                    done.result.map_err(|errno| anyhow::anyhow!("{errno}"))?;
                    seen.take(session);
                }
            }
            Err(error) => refused(kind, error),
        }
    }
    match open(&file, Cache::Direct, Sync::Dsync) {
        Ok(dsync) => {
            for _ in 0..DSYNC {
                let bytes = dsync.buffer(BLOCK as usize)?;
                dsync.write_at(&bytes, next(&mut sent.dsync))?;
                seen.take(session);
            }
            let first = end - DSYNC * BLOCK;
            for _ in 0..OVERWRITES {
                let bytes = dsync.buffer(OVERWRITE as usize)?;
                dsync.write_at(&bytes, first)?;
                sent.overwrites += 1;
                seen.take(session);
            }
            let mut bytes = dsync.buffer(BLOCK as usize)?;
            for i in 1..=READS {
                dsync.read_at(&mut bytes, i * BLOCK)?;
                sent.reads += 1;
                seen.take(session);
            }
        }
        Err(error) => refused("direct requests", error),
    }

    // The last step of a record may be another processor's.
    let late = Instant::now() + PATIENCE;
    while session.open_ops() > 0 && Instant::now() < late {
        thread::sleep(Duration::from_millis(1));
    }
    seen.take(session);
    Ok(sent)
}

/// Opens the file once more, in a mode; it has no name but that of its descriptor.
fn open(file: &StdFile, cache: Cache, sync: Sync) -> Result<File> {
    Ok(OpenOptions::new(Mode::new(cache, sync))
        .write(true)
        .shared_device(true)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))?)
}

#[cfg(test)]
mod tests;
