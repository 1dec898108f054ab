//! # A row: its requests, and what they come to
//!
//! Pure: the ops that were seen and the contract of the file go in, a verdict with its reason comes out.

use odio_core::{
    contract::{Contract, Durability, Situation},
    mode::{Engine, Mode, Sync},
};

use super::line::{Line, Of, Place};
use crate::{
    check::Verdict,
    kernel::Dev,
    op::Op,
    output::summary::Summary,
    requests::{BLOCK, Case, Failure},
    workload::Outcome,
};

/// A case with its file prepared, and what was seen of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) case: Case,
    pub(super) engine: Engine,
    pub(super) mode: Mode,
    pub(super) situation: Situation,
    pub(super) dev: Dev,
    /// `None` of a disk, which is one file for all rows.
    pub(super) ino: Option<u64>,
    /// `Err` where the file cannot be opened in this mode.
    pub(super) contract: Result<Contract, String>,
    pub(super) ops: Vec<Op>,
    /// The syncs that libodio ended a write with, each with the number of requests before it.
    pub(super) finished: Vec<(usize, Op)>,
}

impl Row {
    fn is_on(&self, op: &Op) -> bool {
        op.dev == self.dev && self.ino.is_none_or(|ino| ino == op.ino)
    }

    /// Whether an op is one of this row's requests, and not something the library did on its own.
    pub(super) fn owns(&self, op: &Op) -> bool {
        let kind = if self.situation == Situation::Read {
            "read"
        } else {
            "write"
        };
        self.is_on(op)
            && op.op == kind
            && self.case.offset(0) <= op.offset
            && op.offset < self.case.end()
            && op.len == BLOCK
    }

    /// Whether an op is a sync with which libodio ends a write of this row, since the kernel acknowledges it too early.
    pub(super) fn finishes(&self, op: &Op) -> bool {
        let finishing = |contract: &Contract| contract.finishing_sync(self.engine).is_some();
        op.op == "sync" && self.is_on(op) && self.contract.as_ref().is_ok_and(finishing)
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

    pub(super) fn judge(&self, outcome: &Outcome, failure: Option<&Failure>) -> (Verdict, String) {
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
        let mut breaches = self.ops.iter().filter_map(|op| self.breach(contract, op));
        if let Some(breach) = breaches.next() {
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
        let fell_back = self
            .ops
            .iter()
            .any(|op| seen_as_told(contract, self.situation, op));
        if let Some(told) = contract.fallback(self.situation).filter(|_| fell_back) {
            return (
                Verdict::Pass,
                format!("a fallback that the contract tells of: {told}"),
            );
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
    fn breach(&self, contract: &Contract, op: &Op) -> Option<String> {
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
        let told = || seen_as_told(contract, self.situation, op);
        if let Some(seen) = op.cache
            && seen != asked
            && !told()
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

    /// Why where a write was when it was acknowledged is not known, if it is not and the mode promises it. Without a
    /// sync it promises the cache alone, which is seen.
    fn undecided(&self, op: &Op) -> Option<String> {
        let decided = self.situation == Situation::Read
            || self.mode.sync == Sync::None
            || op
                .durability
                .is_some_and(|seen| seen != Durability::Unknown.name());
        (!decided).then(|| op.why.to_string())
    }

    /// The row as it is printed.
    pub(super) fn line(self, place: &Place, judged: (Verdict, String)) -> Line {
        let contract = self.contract.as_ref();
        let ended = |i: usize| contract.is_ok_and(|c| self.acknowledging(i, c).op == "sync");
        let of = Of {
            mode: self.mode.name().into(),
            engine: self.engine.name().into(),
            situation: self.situation.name().into(),
            requests: self.case.requests,
        };
        Line::new(place, of, &self.ops, ended, judged)
    }
}

/// Whether a request fell back where the contract says that it may.
fn seen_as_told(contract: &Contract, situation: Situation, op: &Op) -> bool {
    op.cache == Some("fallback") && contract.fallback(situation).is_some()
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
///
/// Not among it are returns of system calls that a program missed which ran already on that processor: since 7.2 a task
/// can be preempted in it, so any system call of the machine may be passed over. Here all requests are known, and one
/// whose own end was missed is not acknowledged.
fn losses(outcome: &Outcome) -> Option<String> {
    let summary = Summary::of(outcome, None);
    let unattributed = summary.unattributed;
    if summary.lost > 0 {
        Some("records were lost".into())
    } else if summary.missed > outcome.account.missed_exits {
        Some("the end of requests, or hits of probes, were missed".into())
    } else if unattributed > 0 {
        Some(format!("{unattributed} bios could be tied to no request"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
