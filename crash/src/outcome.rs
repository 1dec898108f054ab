//! # What became of each write
//!
//! Counts, for each write, the cuts between its acknowledgement and the sync after it, and after how many of them it was
//! not there. That is what a verdict on the write can be held against. Pure.

use serde::{Deserialize, Serialize};

use crate::case::{Case, Expect, Files, Op, Progress};

/// The cuts of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    #[serde(flatten)]
    pub(crate) op: Op,
    /// Cuts when it was acknowledged, and not synced by a later call.
    pub(crate) cuts: u64,
    /// Of these, after how many it was not there whole.
    pub(crate) lost: u64,
}

/// Of all writes of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcomes(pub(crate) Vec<Outcome>);

impl Outcomes {
    pub(crate) fn of(ops: &[Op]) -> Outcomes {
        let none = |op: &Op| Outcome {
            op: *op,
            cuts: 0,
            lost: 0,
        };
        Outcomes(ops.iter().map(none).collect())
    }

    /// Counts a cut with what was found; `None`: it could not be read.
    pub(crate) fn count(&mut self, case: &Case, progress: &Progress, files: Option<&Files>) {
        let ops: Vec<_> = self.0.iter().map(|outcome| outcome.op).collect();
        for outcome in &mut self.0 {
            let number = outcome.op.number;
            if progress.waits_for_sync(outcome.op) {
                let lost = files.is_none_or(|files| {
                    let wrong = case.verify(&ops, progress, Expect::This(number), files);
                    wrong.iter().any(|wrong| wrong.op == Some(number))
                });
                outcome.cuts += 1;
                outcome.lost += u64::from(lost);
            }
        }
    }
}
