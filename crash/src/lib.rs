//! # The crash lab
//!
//! Logs the block writes of a workload in their order, builds the disk as a power cut at each point could leave it, and
//! looks whether every write that was acknowledged as durable is there.
//!
//! - `write` makes the writes, each by a `way`, over `filesystem` and the logging device of `sys`, and leaves a `record`
//! - `log` reads what dm-log-writes left
//! - `replay` says what is durable at a point and which disks could be found; pure
//! - `case` and `content` say what is written and what must be found; pure
//! - `check` builds, mounts and reads those disks
//! - `report` tells what came of it

mod case;
mod check;
mod cli;
mod content;
mod device;
mod filesystem;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod image;
mod log;
mod record;
mod replay;
mod report;
mod rng;
mod sys;
mod way;
mod write;

use std::{fs::File, io::BufReader, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use odio_core::{
    contract::Situation,
    mode::{Engine, Mode},
};

use crate::{
    case::{Case, Expect},
    cli::{Cli, Command, Expected},
    filesystem::Filesystem,
    record::Record,
    report::Verdict,
    write::Disks,
};

/// What the program does, and the status it ends with.
pub fn main() -> ExitCode {
    let verdict = match Cli::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Write(arguments) => write(&arguments),
        Command::Check(arguments) => check(&arguments),
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
    for fs in &arguments.fs {
        for mode in &arguments.mode {
            for engine in &arguments.engine {
                for situation in &arguments.situation {
                    let case = case(fs, mode, engine, situation, &arguments.written);
                    let verdict = one(&case, arguments).unwrap_or_else(|error| {
                        report::not_tried(&case, &error);
                        Verdict::Inconclusive
                    });
                    worst = worst.max(verdict);
                }
            }
        }
    }
    Ok(worst)
}

fn one(case: &Case, arguments: &cli::Run) -> Result<Verdict> {
    let disks = Disks {
        disk: &arguments.written.disk,
        log: &arguments.written.log,
    };
    let record = write::run(case, disks).context("the workload")?;
    let checked = &arguments.checked;
    let options = options(&record, checked, case.seed);
    let found = check::run(&record, &options).context("the check")?;
    if let (Some(keep), false) = (&arguments.keep, found.violations.is_empty()) {
        record.save(&keep.join(case.name()))?;
    }
    Ok(report::tell(&record, &options, &found))
}

fn case(
    fs: &Filesystem,
    mode: &Mode,
    engine: &Engine,
    situation: &Situation,
    written: &cli::Written,
) -> Case {
    Case {
        filesystem: fs.name.to_owned(),
        mode: mode.name().to_owned(),
        engine: engine.name().to_owned(),
        situation: situation.name().to_owned(),
        writes: written.writes,
        depth: written.depth,
        sync_every: written.sync_every,
        raw: written.raw,
        seed: written.seed,
        disk: fs.disk,
    }
}

fn write(arguments: &cli::Write) -> Result<Verdict> {
    let case = case(
        &arguments.fs,
        &arguments.mode,
        &arguments.engine,
        &arguments.situation,
        &arguments.written,
    );
    let disks = Disks {
        disk: &arguments.written.disk,
        log: &arguments.written.log,
    };
    let record = write::run(&case, disks)?;
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
        base: &checked.base,
        cow: &checked.cow,
        seed,
        random: checked.random,
        unit: checked.tear,
        expect: match checked.expect {
            Expected::Promise => record.told.case.promise(),
            Expected::Durable => Expect::Durable,
            Expected::Synced => Expect::Synced,
        },
        device: match checked.ignore_flushes {
            true => replay::Device::IgnoresFlushes,
            false => replay::Device::Honest,
        },
        point: None,
        state: None,
    }
}

fn show(arguments: &cli::Log) -> Result<Verdict> {
    let path = arguments.log.display();
    let file = File::open(&arguments.log).with_context(|| path.to_string())?;
    let log = log::Log::read(BufReader::new(file)).with_context(|| path.to_string())?;
    report::entries(&log);
    Ok(Verdict::Pass)
}
