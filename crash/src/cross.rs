//! # The tracer's verdict held against what cuts left
//!
//! Joins what odio-trace said of each write of a case with how often a cut took it away. Where it said `durable` none may
//! have; where it said that the write was in a cache, or not committed, one must, provided that no other was in flight.
//! Pure.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Case, Workload},
    outcome::Outcome,
    report::Verdict,
};

/// What is taken from the `op` lines of odio-trace (odio-trace/schema).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Traced {
    pub(crate) op: String,
    pub(crate) dev: String,
    pub(crate) ino: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) result: i64,
    pub(crate) acknowledged: bool,
    pub(crate) durability: Option<String>,
    /// The reason.
    pub(crate) why: String,
}

/// What is taken from its `summary` line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Summary {
    lost: u64,
    missed: u64,
    open: u64,
}

/// What is taken from the `checked` lines of this program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Checked {
    pub(crate) case: Case,
    #[serde(default)]
    kernel: String,
    #[serde(default)]
    dev: String,
    #[serde(default)]
    cuts: u64,
    #[serde(default)]
    images: u64,
    #[serde(default)]
    writes: Vec<Outcome>,
    verdict: Verdict,
    why: Option<String>,
}

/// Writes of a case of which the same was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// `durable`; with a sync of libodio's own behind it, `uncommitted, then durable`.
    pub(crate) said: String,
    /// The reason that odio-trace gave for the first of them: what it saw of the path.
    pub(crate) why: String,
    pub(crate) writes: u64,
    pub(crate) cuts: u64,
    /// After so many of the cuts one was not there.
    pub(crate) lost: u64,
    /// So many of them were there after each cut.
    pub(crate) kept: u64,
}

/// A case with both; without groups where the tracer's word cannot be told apart, and only what was promised counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) kernel: String,
    pub(crate) case: Case,
    pub(crate) cuts: u64,
    pub(crate) images: u64,
    pub(crate) groups: Vec<Group>,
    pub(crate) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// The lines of a trace, in which the cases are found one after another.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Not by the path: a filesystem that is as it was before may give a file all the numbers that it had, and its name
    /// is not told again.
    by_dev: BTreeMap<String, std::vec::IntoIter<Traced>>,
    summary: Summary,
}

impl Trace {
    /// Reads what `odio-trace run --json` printed.
    pub(crate) fn read(text: &str) -> Result<Trace> {
        let mut by_dev: BTreeMap<String, Vec<Traced>> = BTreeMap::new();
        let mut summary = None;
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line)?;
            match value["type"].as_str() {
                Some("op") => {
                    let op: Traced = serde_json::from_value(value)?;
                    by_dev.entry(op.dev.clone()).or_default().push(op);
                }
                Some("summary") => summary = Some(serde_json::from_value(value)?),
                _ => {}
            }
        }
        let by_dev = by_dev.into_iter().map(|(dev, ops)| (dev, ops.into_iter()));
        Ok(Trace {
            by_dev: by_dev.collect(),
            summary: summary.context("the trace has no summary: it was cut off")?,
        })
    }

    /// The row of a case, which comes behind those that were asked for before.
    pub(crate) fn row(&mut self, checked: &Checked) -> Row {
        let groups = match &checked.why {
            Some(why) => Err(anyhow::anyhow!("{why}")),
            None if !is_told_apart(&checked.case) => Ok(Vec::new()),
            None => self.groups(checked),
        };
        let (groups, why) = match groups {
            Ok(groups) => (groups, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        let said = match &why {
            None => {
                let judged = groups.iter().map(|group| judge(&checked.case, group));
                judged.max().unwrap_or(Verdict::Pass)
            }
            Some(_) => Verdict::Inconclusive,
        };
        Row {
            kernel: checked.kernel.clone(),
            case: checked.case.clone(),
            cuts: checked.cuts,
            images: checked.images,
            groups,
            verdict: checked.verdict.max(said),
            why,
        }
    }

    fn groups(&mut self, checked: &Checked) -> Result<Vec<Group>> {
        let Summary { lost, missed, open } = self.summary;
        ensure!(
            (lost, missed, open) == (0, 0, 0),
            "the trace has not all: {lost} lost, {missed} missed, {open} open"
        );
        let case = &checked.case;
        let ops = self
            .by_dev
            .get_mut(&checked.dev)
            .with_context(|| format!("nothing on {} is in the trace", checked.dev))?;
        if case
            .prepared(0)
            .is_some_and(|prepared| prepared.written.1 > 0)
        {
            let prepared = ops.find(|op| op.op == "write");
            prepared.context("the file was not seen to be prepared")?;
        }
        let mut said: Vec<Option<(String, String)>> = vec![None; checked.writes.len()];
        let mut last = None;
        while said.iter().any(Option::is_none) || last.is_some() {
            let Some(op) = ops.as_slice().first() else {
                break;
            };
            match op.op.as_str() {
                "write" => {
                    let next = checked.writes.iter().zip(&said).position(|(write, said)| {
                        said.is_none() && (write.op.offset, write.op.length) == (op.offset, op.len)
                    });
                    // The next case begins.
                    if next.is_none() && said.iter().all(Option::is_some) {
                        break;
                    }
                    let at = next.with_context(|| {
                        format!("a write of {} at {} is none of the case", op.len, op.offset)
                    })?;
                    ensure!(
                        op.acknowledged && op.result == op.len as i64,
                        "the write of {} at {} ended with {}",
                        op.len,
                        op.offset,
                        op.result
                    );
                    let durability = op.durability.clone();
                    let durability = durability.context("a write without a durability")?;
                    said[at] = Some((durability, op.why.clone()));
                    last = Some((at, Vec::new()));
                }
                "sync" => {
                    if let Some((_, syncs)) = &mut last {
                        syncs.push(op.durability.as_deref() == Some("durable"));
                    }
                }
                _ => {}
            }
            // The next case begins with the sync of a folder.
            let ends = !matches!(ops.as_slice().get(1), Some(next) if next.op == "sync" && next.ino == op.ino);
            ops.next();
            if ends && let Some((at, syncs)) = last.take() {
                let own = own_syncs(case, at, &syncs);
                if own
                    && let Some((said, _)) = &mut said[at]
                    && said != "durable"
                {
                    said.push_str(", then durable");
                }
            }
        }
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (write, said) in checked.writes.iter().zip(said) {
            let (said, why) =
                said.with_context(|| format!("write {} was not seen", write.op.number))?;
            let group = groups.entry(said.clone()).or_insert(Group {
                said,
                why,
                writes: 0,
                cuts: 0,
                lost: 0,
                kept: 0,
            });
            group.writes += 1;
            group.cuts += write.cuts;
            group.lost += write.lost;
            group.kept += u64::from(write.cuts > 0 && write.lost == 0);
        }
        Ok(groups.into_values().collect())
    }
}

/// Whether each write of a case has a request of its own in the trace.
pub(crate) fn is_told_apart(case: &Case) -> bool {
    case.workload == Workload::Write && case.files == 1
}

/// Whether a sync that came behind a write before the next one, and was durable, was libodio's own and not one of the
/// workload's, which come last.
fn own_syncs(case: &Case, number: usize, syncs: &[bool]) -> bool {
    let done = number as u32 + 1;
    let in_between = case.sync_every > 0 && done.is_multiple_of(case.sync_every);
    let asked = usize::from(in_between) + usize::from(done == case.writes);
    let own = syncs.len().saturating_sub(asked);
    case.depth == 1 && !case.raw && syncs[..own].contains(&true)
}

/// Whether what was said of these writes of a case agrees with what became of them.
fn judge(case: &Case, group: &Group) -> Verdict {
    let durable = group.said.ends_with("durable");
    // Others in flight flush the same disk and commit the same journal, and a sync of libodio's own is not told from theirs.
    let alone = case.depth == 1;
    match group.said.as_str() {
        // It says nothing, so nothing can be held against it.
        "unknown" => Verdict::Pass,
        _ if durable && group.lost > 0 => Verdict::Fail,
        _ if !durable && alone && group.kept > 0 => Verdict::Fail,
        _ => Verdict::Pass,
    }
}

#[cfg(test)]
mod tests;
