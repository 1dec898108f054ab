//! Where the ops of a run go: to a ledger for a person or out as JSON, and into a recording.

use anyhow::{Context, Result};

use super::{
    by_file::ByFile,
    by_path::ByPath,
    json, steps,
    summary::Summary,
    text::{self, Shown},
};
use crate::{
    cli, kernel::Kernel, op::Op, plan::Plan, recording::Recorder, step::Step, workload::Outcome,
};

/// Bytes that are passed on though more ops are there.
const MANY: usize = 1 << 16;

/// Takes every op of a run, then its end.
pub(crate) struct Sink<'a> {
    asked: &'a cli::Output,
    files: ByFile,
    paths: ByPath,
    recorder: Option<Recorder<'a>>,
    /// JSON that is not passed on yet.
    lines: Vec<u8>,
    /// Why the recording ended early. The run goes on; it cannot be had again.
    unrecorded: Option<anyhow::Error>,
}

impl<'a> Sink<'a> {
    /// Begins the recording, if one is asked for.
    pub(crate) fn new(asked: &'a cli::Output, kernel: &'a Kernel, plan: &Plan) -> Result<Self> {
        let recorder = match &asked.record {
            Some(path) => Some(Recorder::create(path, kernel, plan)?),
            None => None,
        };
        Ok(Self {
            asked,
            files: ByFile::default(),
            paths: ByPath::default(),
            recorder,
            lines: Vec::new(),
            unrecorded: None,
        })
    }

    /// Takes an op with its steps, none where they were not asked for.
    pub(crate) fn op(&mut self, op: &Op, steps: &[Step]) -> Result<()> {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.op(op, steps)
        {
            // What is there stays, as a recording that was cut off.
            self.recorder = None;
            self.unrecorded = Some(error);
        }
        // The ledger is small, and the line on the run itself is from it.
        self.files.add(op);
        if self.asked.json {
            json::add(op, &mut self.lines)?;
            for step in steps {
                json::add(step, &mut self.lines)?;
            }
            if self.lines.len() >= MANY {
                self.pass_on()?;
            }
            return Ok(());
        }
        if op.steps.is_some() {
            text::line(steps::op(op, steps))?;
        }
        if self.asked.paths {
            self.paths.add(op);
        }
        Ok(())
    }

    /// Passes on what was printed, so that a reader sees it while the workload runs. For each op by itself that would
    /// be a system call, which takes longer than all else that is done for it.
    pub(crate) fn pass_on(&mut self) -> Result<()> {
        let passed_on = json::raw(&self.lines);
        self.lines.clear();
        passed_on
    }

    /// Says how the run ended.
    pub(crate) fn end(mut self, outcome: &Outcome) -> Result<()> {
        self.pass_on()?;
        let summary = Summary::of(outcome, Some(&self.files.total()));
        if let Some(recorder) = self.recorder.take()
            && let Err(error) = recorder.end(&outcome.writeback, &summary, outcome.status())
        {
            self.unrecorded = Some(error);
        }
        if self.asked.json {
            for file in &outcome.writeback {
                json::line(file)?;
            }
            json::line(&summary)?;
        } else {
            let shown = Shown {
                paths: self.asked.paths,
                histogram: self.asked.histogram,
            };
            text::line(text::account(
                &self.files,
                &self.paths,
                &outcome.writeback,
                Some(&summary),
                shown,
            ))?;
            for caveat in summary.caveats() {
                eprintln!("odio-trace: {}", text::printable_lines(&caveat));
            }
        }
        match self.unrecorded {
            Some(error) => Err(error).context("the recording is not whole"),
            None => Ok(()),
        }
    }
}
