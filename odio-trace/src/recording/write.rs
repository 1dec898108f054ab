//! Writes a recording while the run goes on.

use std::{
    collections::HashSet,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use serde_json::json;

use super::{Device, EndMark, Header, LONGEST, partial::Partial};
use crate::{
    kernel::{Dev, Kernel},
    op::Op,
    output::summary::Summary,
    plan::Plan,
    step::Step,
    writeback::Writeback,
};

/// How long an op may wait in this process before it is passed on to the file, while ops come.
pub(crate) const PASS_ON: Duration = Duration::from_secs(1);

/// Writes to a file.
pub(crate) struct Recorder<'a> {
    kernel: &'a Kernel,
    lines: Lines<Partial>,
    devices: HashSet<Dev>,
    ops: u64,
}

impl<'a> Recorder<'a> {
    /// Begins a recording with what the kernel is and what is planned.
    pub(crate) fn create(path: &Path, kernel: &'a Kernel, plan: &Plan) -> Result<Self> {
        let partial = Partial::create(path).context("cannot record")?;
        let mut recorder = Self {
            kernel,
            lines: Lines::new(partial),
            devices: HashSet::new(),
            ops: 0,
        };
        recorder.lines.write(&Header::of(kernel, plan))?;
        recorder.lines.pass_on()?;
        Ok(recorder)
    }

    /// An op and the steps that it says to have.
    pub(crate) fn op(&mut self, op: &Op, steps: &[Step]) -> Result<()> {
        if self.ops == 0 {
            // Until here there is nothing that could not be had again.
            self.lines.gzip.get_mut().keep();
        }
        if self.devices.insert(op.dev) {
            self.lines.write(&Device::of(self.kernel, op.dev))?;
        }
        self.lines.write(op)?;
        for step in steps {
            self.lines.write(step)?;
        }
        self.ops += 1;
        Ok(())
    }

    /// Ends the recording, and gives it its name.
    ///
    /// `status` is the command's, as a shell says it.
    pub(crate) fn end(
        mut self,
        writeback: &[Writeback],
        summary: &Summary,
        status: Option<u8>,
    ) -> Result<()> {
        for file in writeback {
            self.lines.write(file)?;
        }
        self.lines.write(summary)?;
        let ops = self.ops;
        self.lines.end(EndMark { ops, status })?.finish()
    }
}

/// Lines of JSON, compressed.
pub(super) struct Lines<W: Write> {
    gzip: GzEncoder<W>,
    line: Vec<u8>,
    passed_on: Instant,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            // The tracer must keep up with the workload.
            gzip: GzEncoder::new(to, Compression::fast()),
            line: Vec::new(),
            passed_on: Instant::now(),
        }
    }

    pub(super) fn write(&mut self, value: &impl Serialize) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        ensure!(
            (self.line.len() as u64) < LONGEST,
            "a line of {} bytes is too long for a recording",
            self.line.len()
        );
        self.line.push(b'\n');
        self.gzip.write_all(&self.line)?;
        if self.passed_on.elapsed() >= PASS_ON {
            self.pass_on()?;
        }
        Ok(())
    }

    pub(super) fn pass_on(&mut self) -> io::Result<()> {
        self.passed_on = Instant::now();
        self.gzip.flush()
    }

    /// Writes the last line and the checksum.
    pub(super) fn end(mut self, end: EndMark) -> Result<W> {
        self.write(&json!({"type": "end", "ops": end.ops, "status": end.status}))?;
        Ok(self.gzip.finish()?)
    }
}
