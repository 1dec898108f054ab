//! # `odio-trace matrix`: every mode, engine and situation, held against its contract

use std::{
    ffi::OsString,
    fs::{self, File},
    os::linux::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, Result};
use odio_core::{
    buffer::Buffer,
    contract::{Contract, Durability, Situation, SyncKind},
    file::OpenOptions,
    mode::{Cache, Engine, Mode, Sync},
};
use serde_json::{Value, json};

use crate::{
    check::Verdict,
    cli,
    kernel::{Dev, Kernel},
    op::Op,
    output::{
        by_path::{completion, fsyncs},
        json,
        summary::Summary,
        text,
    },
    requests::{BLOCK, Case, Cases, Failure},
    session,
    workload::{self, Outcome},
};

/// A case with its file prepared, and what was seen of it.
struct Row {
    case: Case,
    engine: Engine,
    mode: Mode,
    situation: Situation,
    dev: Dev,
    ino: u64,
    /// `Err` where the file cannot be opened in this mode.
    contract: Result<Contract, String>,
    ops: Vec<Op>,
    /// The syncs that libodio ended a write with, each with the number of requests before it.
    finished: Vec<(usize, Op)>,
}

/// Runs the matrix; returns the exit status of its verdict.
pub(crate) async fn run(arguments: &cli::Matrix, kernel: &Kernel) -> Result<u8> {
    let plan = session::plan(kernel, &arguments.choice);
    let dir = fs::canonicalize(&arguments.dir)
        .with_context(|| format!("{}: give a folder with --dir", arguments.dir.display()))?;
    let scratch = tempfile::Builder::new()
        .prefix(".odio-matrix-")
        .tempdir_in(&dir)
        .with_context(|| format!("cannot make a folder in {}", dir.display()))?;
    let mut rows = prepare(arguments, kernel, scratch.path())?;

    // The case list lies elsewhere: reading it is not a request on the filesystem that is tried.
    let lists = tempfile::tempdir().context("cannot make a temporary folder")?;
    let cases = Cases {
        cases: rows
            .iter()
            .filter(|r| r.contract.is_ok())
            .map(|r| r.case.clone())
            .collect(),
        failures: lists.path().join("failures"),
    };
    let list = lists.path().join("cases");
    fs::write(&list, serde_json::to_vec(&cases)?)?;
    let command: Vec<OsString> = vec!["/proc/self/exe".into(), "requests".into(), list.into()];
    let outcome = workload::run(kernel, &plan, &dir, &command, |op| {
        if let Some(row) = rows.iter_mut().find(|r| r.owns(op)) {
            row.ops.push(op.clone());
        } else if let Some(row) = rows.iter_mut().find(|r| r.finishes(op)) {
            row.finished.push((row.ops.len(), op.clone()));
        }
        Ok(())
    })
    .await?;
    let failures: Vec<Failure> = fs::read(&cases.failures)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();

    let place = Place::of(kernel, &dir);
    let judged: Vec<(Row, Verdict, String)> = rows
        .into_iter()
        .map(|row| {
            let failure = failures.iter().find(|f| f.path == row.case.path);
            let (verdict, why) = row.judge(&outcome, failure);
            (row, verdict, why)
        })
        .collect();
    let verdict = judged
        .iter()
        .map(|(_, verdict, _)| *verdict)
        .max()
        .unwrap_or(Verdict::Inconclusive);
    let summary = Summary::of(&outcome, None);
    if arguments.json {
        for (row, verdict, why) in &judged {
            json::line(&row.json(&place, *verdict, why))?;
        }
        let mut summary = serde_json::to_value(&summary)?;
        summary["verdict"] = verdict.name().into();
        json::line(&summary)?;
    } else {
        text::line(format_args!(
            "kernel {}, {} on {}",
            place.kernel, place.fs, place.device
        ))?;
        text::line(table(&judged).trim_fmt())?;
        text::line(format_args!(
            "{}: {} rows; {}",
            verdict.name(),
            judged.len(),
            summary.counts()
        ))?;
        for caveat in summary.caveats() {
            eprintln!("odio-trace: {caveat}");
        }
    }
    Ok(verdict.status())
}

/// Where the matrix ran.
struct Place {
    kernel: String,
    fs: String,
    device: String,
}

impl Place {
    fn of(kernel: &Kernel, dir: &Path) -> Self {
        Self {
            kernel: kernel.release_name(),
            fs: kernel
                .fs_of(dir)
                .unwrap_or_else(|| "an unknown filesystem".into()),
            device: kernel.device_of(dir),
        }
    }
}

/// Makes a fresh file for every case, in the state its situation asks for, synced.
fn prepare(arguments: &cli::Matrix, kernel: &Kernel, dir: &Path) -> Result<Vec<Row>> {
    fn wanted<T: PartialEq>(filter: &[T], each: &T) -> bool {
        filter.is_empty() || filter.contains(each)
    }
    let mut rows = Vec::new();
    for mode in Mode::ALL.into_iter().filter(|m| wanted(&arguments.mode, m)) {
        for engine in Engine::ALL
            .into_iter()
            .filter(|e| wanted(&arguments.engine, e))
        {
            for situation in Situation::ALL
                .into_iter()
                .filter(|s| wanted(&arguments.situation, s))
            {
                let path = dir.join(format!(
                    "{}.{}.{}",
                    mode.name(),
                    engine.name(),
                    situation.name()
                ));
                let file = fresh(&path, situation, arguments.requests)
                    .with_context(|| format!("cannot prepare {}", path.display()))?;
                let metadata = file.metadata()?;
                drop(file);
                rows.push(Row {
                    case: Case {
                        path: path.clone(),
                        engine: engine.name().into(),
                        mode: mode.name().into(),
                        situation: situation.name().into(),
                        requests: arguments.requests,
                    },
                    engine,
                    mode,
                    situation,
                    dev: kernel
                        .dev_of(dir)
                        .unwrap_or_else(|| Dev::from_stat(metadata.st_dev())),
                    ino: metadata.st_ino(),
                    contract: OpenOptions::new(mode)
                        .write(true)
                        .open(&path)
                        .map(|file| file.contract())
                        .map_err(|error| error.to_string()),
                    ops: Vec::new(),
                    finished: Vec::new(),
                });
            }
        }
    }
    File::open(dir)?.sync_all()?;
    Ok(rows)
}

/// Prepares past the page cache where that can be had: a page left there sends io_uring's first try to a worker
/// (`__iomap_dio_rw`, 6.1: -EAGAIN where `filemap_range_has_page`).
fn fresh(path: &Path, situation: Situation, requests: u32) -> Result<File> {
    let size = (u64::from(requests) + 1) * BLOCK;
    let past_the_cache = Mode::new(Cache::Direct, Sync::None);
    let file = OpenOptions::new(past_the_cache)
        .fall_back(true)
        .write(true)
        .create(true)
        .exclusive(true)
        .open(path)?;
    let mut buffer = Buffer::new(BLOCK as usize, BLOCK as usize)?;
    buffer.fill(0xa5);
    match situation {
        Situation::Overwrite | Situation::Read => {
            for offset in (0..size).step_by(BLOCK as usize) {
                file.write_at(&buffer, offset)?;
            }
        }
        Situation::Unwritten => file.allocate(0, size)?,
        // A hole in a file that lives: the last block is there.
        Situation::Hole => file.write_at(&buffer, size - BLOCK)?,
        Situation::Append => {}
    }
    file.sync(SyncKind::Full)?;
    Ok(File::open(path)?)
}

impl Row {
    /// Whether an op is one of this row's requests, and not something the library did on its own.
    fn owns(&self, op: &Op) -> bool {
        let kind = if self.situation == Situation::Read {
            "read"
        } else {
            "write"
        };
        op.ino == self.ino
            && op.dev == self.dev
            && op.op == kind
            && op.offset >= self.case.offset(0)
            && op.len == BLOCK
    }

    /// Whether an op is a sync with which libodio ends a write of this row, since the kernel acknowledges it too early.
    fn finishes(&self, op: &Op) -> bool {
        let finishing = |contract: &Contract| contract.finishing_sync(self.engine).is_some();
        op.op == "sync"
            && op.ino == self.ino
            && op.dev == self.dev
            && self.contract.as_ref().is_ok_and(finishing)
    }

    /// The op that keeps the contract of request `i`: its own, or else the sync that libodio ended it with. Where its
    /// own is enough, that sync may have found nothing to do.
    fn acknowledging(&self, i: usize, contract: &Contract) -> &Op {
        let own = &self.ops[i];
        let seen = own.durability.and_then(|seen| seen.parse().ok());
        if seen.is_some_and(|seen| contract.permits(self.situation, seen) == Some(true)) {
            return own;
        }
        let finish = self.finished.iter().find(|(before, _)| *before == i + 1);
        finish.map_or(own, |(_, sync)| sync)
    }

    fn judge(&self, outcome: &Outcome, failure: Option<&Failure>) -> (Verdict, String) {
        let contract = match &self.contract {
            Ok(contract) => contract,
            Err(why) => return (Verdict::Inconclusive, format!("not to be had here: {why}")),
        };
        match failure {
            Some(failure) if failure.asked => return (Verdict::Fail, failure.why.clone()),
            Some(failure) => {
                return (
                    Verdict::Inconclusive,
                    format!("not to be had here: {}", failure.why),
                );
            }
            None => {}
        }
        if let Some(breach) = self.ops.iter().find_map(|op| self.breach(op)) {
            return (Verdict::Fail, breach);
        }
        // A step that is lost may be the very one that made a write durable: nothing after this is certain then.
        if let Some(lost) = losses(outcome) {
            return (Verdict::Inconclusive, lost);
        }
        let mut acknowledging = (0..self.ops.len()).map(|i| self.acknowledging(i, contract));
        if let Some(early) = acknowledging.find_map(|op| self.early(contract, op)) {
            return (Verdict::Fail, early);
        }
        if self.ops.len() != self.case.requests as usize {
            return (
                Verdict::Inconclusive,
                format!(
                    "{} of {} requests were seen",
                    self.ops.len(),
                    self.case.requests
                ),
            );
        }
        let open = self.ops.iter().find_map(unseen);
        let mut acknowledging = (0..self.ops.len()).map(|i| self.acknowledging(i, contract));
        if let Some(open) = open.or_else(|| acknowledging.find_map(|op| self.undecided(op))) {
            return (Verdict::Inconclusive, open);
        }
        let mut acknowledging = (0..self.ops.len()).map(|i| self.acknowledging(i, contract));
        let why = match acknowledging.find(|op| op.op == "sync") {
            Some(sync) => format!("libodio's own sync after it: {}", sync.why),
            None => self
                .ops
                .first()
                .map_or_else(String::new, |op| op.why.to_string()),
        };
        (Verdict::Pass, why)
    }

    /// How what an op did departs from what was asked for, if it does.
    fn breach(&self, op: &Op) -> Option<String> {
        if op.acknowledged && op.result != BLOCK as i64 {
            return Some(if op.result < 0 {
                let error = std::io::Error::from_raw_os_error(
                    i32::try_from(-op.result).unwrap_or(libc::EIO),
                );
                format!("refused: {error}")
            } else {
                format!("{} of {BLOCK} bytes", op.result)
            });
        }
        let asked = self.mode.cache.name();
        if let Some(seen) = op.cache
            && seen != asked
        {
            return Some(format!("asked for {asked}, was {seen}"));
        }
        (op.engine != "other" && op.engine != self.engine.name()).then(|| {
            format!(
                "asked for {}, was carried by {}",
                self.engine.name(),
                op.engine
            )
        })
    }

    /// How an op was acknowledged before the contract allows it, if it was.
    fn early(&self, contract: &Contract, op: &Op) -> Option<String> {
        let seen: Durability = op.durability?.parse().ok()?;
        (contract.permits(self.situation, seen) == Some(false))
            .then(|| format!("{} at the acknowledgement: {}", seen.name(), op.why))
    }

    /// Why where a write was when it was acknowledged is not known, if it is not.
    fn undecided(&self, op: &Op) -> Option<String> {
        let decided = self.situation == Situation::Read
            || op
                .durability
                .is_some_and(|seen| seen != Durability::Unknown.name());
        (!decided).then(|| op.why.to_string())
    }

    /// The values that occurred, joined by `|`: what depends on timing is a set.
    fn values(&self, value: impl Fn(&Op) -> String) -> String {
        let mut values: Vec<String> = Vec::new();
        for op in &self.ops {
            let value = value(op);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.sort();
        values.join("|")
    }

    fn json(&self, place: &Place, verdict: Verdict, why: &str) -> Value {
        let mut row = json!({
            "type": "row",
            "kernel": place.kernel,
            "fs": place.fs,
            "device": place.device,
            "engine": self.engine.name(),
            "mode": self.mode.name(),
            "situation": self.situation.name(),
            "requests": self.case.requests,
            "verdict": verdict,
            "reason": why,
            "completions": self.values(completion),
            "fsync_sets": self.values(fsyncs),
        });
        // The op's fields are those of the first request; what differs between requests stands in the sets above.
        if let (Some(first), Some(row)) = (
            self.ops
                .first()
                .and_then(|op| serde_json::to_value(op).ok()),
            row.as_object_mut(),
        ) && let Value::Object(first) = first
        {
            for (field, value) in first {
                row.entry(field).or_insert(value);
            }
        }
        row
    }
}

/// What was not seen of a request, if it bears on the contract.
fn unseen(op: &Op) -> Option<String> {
    if !op.acknowledged {
        Some("the end of a request was not seen".into())
    } else if op.cache.is_none() {
        Some("whether the request was direct was not seen".into())
    } else if op.engine == "other" {
        Some("which engine carried the request was not seen".into())
    } else {
        None
    }
}

/// What of the whole run was not seen, which any row may have needed.
fn losses(outcome: &Outcome) -> Option<String> {
    let summary = Summary::of(outcome, None);
    let unattributed = summary.unattributed;
    if summary.lost > 0 {
        Some("records were lost".into())
    } else if summary.missed > 0 {
        Some("the end of requests, or hits of probes, were missed".into())
    } else if unattributed > 0 {
        Some(format!("{unattributed} bios could be tied to no request"))
    } else {
        None
    }
}

fn table(rows: &[(Row, Verdict, String)]) -> comfy_table::Table {
    let mut table = text::table(&[
        "mode",
        "engine",
        "situation",
        "completion",
        "bios",
        "FUA",
        "flushes",
        "fsyncs",
        "commits",
        "durability",
        "verdict",
        "why",
    ]);
    for (row, verdict, why) in rows {
        table.add_row([
            row.mode.name().into(),
            row.engine.name().into(),
            row.situation.name().into(),
            row.values(completion),
            row.values(|op| op.bios.to_string()),
            row.values(|op| op.fua.to_string()),
            row.values(|op| op.flushes.to_string()),
            row.values(fsyncs),
            row.values(|op| op.commits.to_string()),
            row.values(|op| op.durability.unwrap_or("-").into()),
            verdict.name().into(),
            why.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests;
