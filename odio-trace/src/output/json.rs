//! One JSON object a line.

use std::io::{self, Write};

use anyhow::Result;
use odio_trace_common::{Hook, Loss};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::not_written;
use crate::workload::Outcome;

/// Writes one line and passes it on at once, so that a reader sees it while the workload runs.
pub(crate) fn line(value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)
        .and_then(|()| out.flush())
        .map_err(not_written)
}

/// The last line of a run.
pub(crate) fn summary(outcome: &Outcome) -> Value {
    let account = &outcome.account;
    let hits = |hook: Hook| -> u64 {
        account
            .hits
            .iter()
            .filter(|((h, _), _)| *h == hook)
            .map(|(_, n)| n)
            .sum()
    };
    let mut processes: Map<String, Value> = Map::new();
    for (&(hook, pid), &n) in &account.hits {
        let process = processes
            .entry(pid.to_string())
            .or_insert_with(|| json!({}));
        process[hook.name()] = n.into();
    }
    json!({
        "type": "summary",
        "pid": outcome.pid,
        "ops": outcome.ops,
        "filtered": outcome.filtered,
        "lost": lost(outcome),
        "missed": missed(outcome),
        "unattributed": account.of(Loss::BioUnattributed),
        "begun_before": account.of(Loss::BegunBefore),
        "losses": account.losses.iter().map(|(l, n)| (l.words().to_owned(), (*n).into()))
            .chain(account.missed.iter().map(|(words, n)| (words.clone(), (*n).into())))
            .collect::<Map<_, _>>(),
        "uncounted": account.uncounted,
        "uncalibrated": account.uncalibrated,
        "open": account.open,
        "probes": outcome.attached.iter().map(|p| json!({
            "hook": p.hook.name(), "kind": p.kind.name(), "target": p.target, "hook_hits": hits(p.hook),
        })).collect::<Vec<_>>(),
        "missing": outcome.missing.iter().map(|m| json!({
            "hook": m.hook.name(), "why": m.why, "costs": m.costs,
        })).collect::<Vec<_>>(),
        "processes": processes,
    })
}

/// Records that did not arrive, or could not be made.
pub(crate) fn lost(outcome: &Outcome) -> u64 {
    outcome
        .account
        .losses
        .iter()
        .filter(|(l, _)| {
            !matches!(
                l,
                Loss::EndMissed | Loss::BioUnattributed | Loss::BegunBefore
            )
        })
        .map(|(_, n)| n)
        .sum()
}

/// Ops whose end was not seen, and what probes did not see.
pub(crate) fn missed(outcome: &Outcome) -> u64 {
    let unseen: u64 = outcome.account.missed.iter().map(|(_, n)| n).sum();
    outcome.account.of(Loss::EndMissed) + outcome.account.open + unseen
}
