//! # The crash lab
//!
//! Logs the block writes of a workload in their order, builds the disk as a power cut at each point could leave it, and
//! looks whether every write that was acknowledged as durable is there.
//!
//! - `ground` makes the disk and its `filesystem`, once for all cases
//! - `write` makes the ops, each by a `way`, over the logging device of `sys`, and leaves a `record`
//! - `log` reads what dm-log-writes left
//! - `replay` says what is durable at a point and which disks could be found; pure
//! - `case` and `content` say what is written and what must be found; pure
//! - `disk` is one of those disks in memory, and `nbd` what the kernel mounts it through
//! - `check` builds and mounts them, and reads the `folder` in each; `outcome` counts for each write how often it was lost
//! - `report` tells what came of it
//! - `cross` holds the verdicts of odio-trace against it, and `page` shows those as tables; both pure

mod case;
mod check;
mod cli;
mod content;
mod cross;
mod device;
mod disk;
mod filesystem;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod ground;
mod image;
mod log;
mod nbd;
mod outcome;
mod page;
mod record;
mod replay;
mod report;
mod rng;
mod sys;
mod way;
mod write;

use std::{fs::File, io::BufReader, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use odio_core::{
    contract::Situation,
    mode::{Engine, Mode},
};

use crate::{
    case::{Case, Expect, Workload},
    cli::{Cli, Command, Expected},
    cross::Trace,
    filesystem::Filesystem,
    ground::{Disks, Ground},
    record::Record,
    report::Verdict,
};

/// What the program does, and the status it ends with.
pub fn main() -> ExitCode {
    let verdict = match Cli::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Write(arguments) => write(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Cross(arguments) => cross(&arguments),
        Command::Page(arguments) => page(&arguments),
        Command::Log(arguments) => show(&arguments),
    };
    let verdict = verdict.unwrap_or_else(|error| {
        eprintln!("odio-crash: {error:#}");
        Verdict::Inconclusive
    });
    ExitCode::from(verdict.status())
}

/// The worst of all cases. One that could not be tried does not keep the others from it.
fn run(arguments: &cli::Run) -> Result<Verdict> {
    let mut worst = Verdict::Pass;
    // One is enough to look at, and a disk of many megabytes.
    let mut keep = arguments.keep.as_deref();
    for fs in &arguments.fs {
        let mut ground = None;
        for case in cases(fs, arguments) {
            let verdict =
                one(&case, *fs, arguments, &mut ground, &mut keep).unwrap_or_else(|error| {
                    report::not_tried(&case, &error);
                    Verdict::Inconclusive
                });
            worst = worst.max(verdict);
        }
    }
    Ok(worst)
}

fn cases(fs: &Filesystem, arguments: &cli::Run) -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in &arguments.mode {
        for engine in &arguments.engine {
            for workload in &arguments.workload {
                for situation in workload.situations(&arguments.situation) {
                    let what = (*workload, situation);
                    cases.push(case(fs, mode, engine, what, &arguments.written));
                }
            }
        }
    }
    cases
}

/// Tries a case on the ground that the one before it left, if it left one.
fn one<'a>(
    case: &Case,
    fs: Filesystem,
    arguments: &'a cli::Run,
    ground: &mut Option<Ground<'a>>,
    keep: &mut Option<&Path>,
) -> Result<Verdict> {
    let made = match ground.take() {
        Some(made) => made,
        None => Ground::make(fs, disks(&arguments.written))?,
    };
    let record = write::run(case, &made).context("the workload")?;
    *ground = Some(made);
    let checked = &arguments.checked;
    let options = options(&record, checked, case.seed);
    let found = check::run(&record, &options).context("the check")?;
    if !found.violations.is_empty()
        && let Some(keep) = keep.take()
    {
        record.save(&keep.join(case.name()))?;
    }
    Ok(report::tell(&record, &options, &found))
}

fn disks(written: &cli::Written) -> Disks<'_> {
    Disks {
        disk: &written.disk,
        log: &written.log,
    }
}

fn case(
    fs: &Filesystem,
    mode: &Mode,
    engine: &Engine,
    (workload, situation): (Workload, &Situation),
    written: &cli::Written,
) -> Case {
    Case {
        filesystem: fs.name.to_owned(),
        mode: mode.name().to_owned(),
        engine: engine.name().to_owned(),
        workload,
        situation: situation.name().to_owned(),
        files: written.files,
        writes: written.writes,
        depth: written.depth,
        sync_every: written.sync_every,
        sync_by: written.sync_by,
        raw: written.raw,
        seed: written.seed,
        disk: fs.disk,
    }
}

fn write(arguments: &cli::Write) -> Result<Verdict> {
    let situations = [arguments.situation];
    let workload = arguments.workload;
    let case = case(
        &arguments.fs,
        &arguments.mode,
        &arguments.engine,
        (workload, &workload.situations(&situations)[0]),
        &arguments.written,
    );
    let ground = Ground::make(arguments.fs, disks(&arguments.written))?;
    let record = write::run(&case, &ground)?;
    report::acknowledged(&record);
    record.save(&arguments.record)?;
    Ok(Verdict::Pass)
}

fn check(arguments: &cli::Check) -> Result<Verdict> {
    let record = Record::load(&arguments.record)?;
    let seed = arguments.seed.unwrap_or(record.told.case.seed);
    let mut options = options(&record, &arguments.checked, seed);
    options.point = arguments.point;
    options.state = arguments.state;
    let found = check::run(&record, &options)?;
    Ok(report::tell(&record, &options, &found))
}

fn options<'a>(record: &Record, checked: &'a cli::Checked, seed: u64) -> check::Options<'a> {
    check::Options {
        nbd: &checked.nbd,
        seed,
        random: checked.random,
        unit: checked.tear,
        expect: match checked.expect {
            Expected::Promise => record.told.case.promise(),
            Expected::Durable => Expect::Durable,
            Expected::Synced => Expect::Synced,
            Expected::AnySynced => Expect::AnySynced,
        },
        device: match checked.ignore_flushes {
            true => replay::Device::IgnoresFlushes,
            false => replay::Device::Honest,
        },
        point: None,
        state: None,
    }
}

fn cross(arguments: &cli::Cross) -> Result<Verdict> {
    let mut trace = Trace::read(&read(&arguments.trace)?)?;
    let mut worst = Verdict::Pass;
    for line in read(&arguments.cuts)?.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        if value["type"] != "checked" {
            continue;
        }
        let row = trace.row(&serde_json::from_value(value)?);
        println!("{}", serde_json::to_string(&row)?);
        report::contradictions(&row);
        worst = worst.max(row.verdict);
    }
    Ok(worst)
}

fn page(arguments: &cli::Page) -> Result<Verdict> {
    let mut rows = Vec::new();
    for path in &arguments.rows {
        for line in read(path)?.lines() {
            rows.push(serde_json::from_str(line).with_context(|| path.display().to_string())?);
        }
    }
    print!("{}", page::write(&rows));
    Ok(Verdict::Pass)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn show(arguments: &cli::Log) -> Result<Verdict> {
    let path = arguments.log.display();
    let file = File::open(&arguments.log).with_context(|| path.to_string())?;
    let log = log::Log::read(BufReader::new(file)).with_context(|| path.to_string())?;
    report::entries(&log);
    Ok(Verdict::Pass)
}
