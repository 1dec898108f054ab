//! # The requests of a matrix, made through libodio
//!
//! Runs as the workload of `matrix`, in a process of its own: it opens files that were prepared for it and makes
//! the requests one at a time.

use std::{fs, path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use odio_core::{
    contract::Situation,
    file::{File, OpenOptions},
    mode::{Engine, Mode},
    queue::Queue,
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::cli;

/// Bytes of every request.
pub(crate) const BLOCK: u64 = 4096;

/// Between two requests, more than a tick of most kernels.
const APART: Duration = Duration::from_millis(5);

/// One row of the matrix, as far as the requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    /// Where in the file its blocks begin.
    pub(crate) base: u64,
    pub(crate) engine: String,
    pub(crate) mode: String,
    pub(crate) situation: String,
    pub(crate) requests: u32,
}

/// All rows, and where to tell what went wrong in which.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cases {
    pub(crate) cases: Vec<Case>,
    pub(crate) failures: PathBuf,
}

/// A row that could not be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) case: Case,
    pub(crate) why: String,
    /// A request was made; before that the mode or the engine is merely not to be had here.
    pub(crate) asked: bool,
}

impl Case {
    /// Where request `i` goes. Reads start at the second block: libodio's own probe read takes the first.
    pub(crate) fn offset(&self, i: u32) -> u64 {
        self.base + (u64::from(i) + u64::from(self.reads())) * BLOCK
    }

    /// Behind the last request.
    pub(crate) fn end(&self) -> u64 {
        self.offset(self.requests)
    }

    fn reads(&self) -> bool {
        self.situation == Situation::Read.name()
    }
}

/// Makes the requests of every case.
pub(crate) fn make(requests: &cli::Requests) -> Result<u8> {
    let cases: Cases = serde_json::from_slice(&fs::read(&requests.cases)?)?;
    let mut failures = Vec::new();
    for case in &cases.cases {
        let failure = match ready(case) {
            Ok((file, queue)) => one(case, &file, queue).err().map(|error| (error, true)),
            Err(error) => Some((error, false)),
        };
        if let Some((error, asked)) = failure {
            failures.push(Failure {
                case: case.clone(),
                why: format!("{error:#}"),
                asked,
            });
        }
    }
    fs::write(&cases.failures, serde_json::to_vec(&failures)?)?;
    Ok(0)
}

fn ready(case: &Case) -> Result<(File, Queue)> {
    let mode: Mode = case.mode.parse()?;
    let engine: Engine = case.engine.parse()?;
    let file = OpenOptions::new(mode)
        .write(!case.reads())
        .open(&case.path)?;
    Ok((file, Queue::new(engine, 1)?))
}

fn one(case: &Case, file: &File, mut queue: Queue) -> Result<()> {
    let read = case.reads();
    for i in 0..case.requests {
        if i > 0 {
            await_another_tick();
        }
        request(&mut queue, file, read, case.offset(i), i).with_context(|| {
            format!(
                "{} at {}",
                if read { "read" } else { "write" },
                case.offset(i)
            )
        })?;
    }
    Ok(())
}

/// XFS sends a write to a worker when the file's time must change, which comes from the coarse clock: with that in another
/// tick each time, every request finds the same state. Where a machine is short of processors the clock may be late.
fn await_another_tick() {
    let coarse = || clock_gettime(ClockId::RealtimeCoarse);
    let last = coarse();
    thread::sleep(APART);
    while coarse() == last {
        thread::sleep(APART / 5);
    }
}

fn request(queue: &mut Queue, file: &File, read: bool, offset: u64, i: u32) -> Result<()> {
    let mut buffer = file.buffer(BLOCK as usize)?;
    buffer.fill(i as u8 + 1);
    if read {
        queue
            .read(file, buffer, offset, u64::from(i))
            .map_err(odio_core::error::Error::from)?;
    } else {
        queue
            .write(file, buffer, offset, u64::from(i))
            .map_err(odio_core::error::Error::from)?;
    }
    queue.wait(1, None)?;
    let done = queue.pop().context("no completion came")?;
    let moved = done.result.map_err(|errno| anyhow::anyhow!("{errno}"))?;
    ensure!(
        u64::from(moved) == BLOCK,
        "{moved} of {BLOCK} bytes were moved"
    );
    Ok(())
}
