//! Tables for a person.

use comfy_table::{ContentArrangement, Table, presets};

use super::{json, ledger::Ledger};
use crate::workload::Outcome;

/// An empty table in this tool's look.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

/// Ops by path.
pub(crate) fn ledger(ledger: &Ledger) -> Table {
    let mut table = table(&[
        "file",
        "op",
        "engine",
        "mode",
        "cache",
        "completion",
        "ops",
        "bios",
        "FUA",
        "flushes",
        "fsyncs",
        "commits",
        "durability",
        "why",
    ]);
    for (line, n) in ledger.lines() {
        table.add_row([
            printable(&line.file),
            line.op.into(),
            line.engine.into(),
            line.mode.clone(),
            line.cache.into(),
            line.completion.clone(),
            n.to_string(),
            line.bios.to_string(),
            line.fua.to_string(),
            line.flushes.to_string(),
            line.fsyncs.clone(),
            line.commits.to_string(),
            line.durability.into(),
            line.why.clone(),
        ]);
    }
    table
}

/// What a person must know of the run itself; empty where all was seen.
pub(crate) fn caveats(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome
        .account
        .losses
        .iter()
        .map(|(loss, n)| format!("{n} {}", loss.words()))
        .collect();
    if outcome.account.open > 0 {
        lines.push(format!(
            "{} ops were still open at the end",
            outcome.account.open
        ));
    }
    lines.extend(outcome.missing.iter().map(|m| {
        format!(
            "{} is not seen here ({}): {}",
            m.hook.name(),
            m.why,
            m.costs
        )
    }));
    lines
}

/// The line under the table.
pub(crate) fn summary(outcome: &Outcome) -> String {
    format!(
        "{} ops, {} lost, {} missed, {} unattributed bios, {} probes",
        outcome.ops,
        json::lost(outcome),
        json::missed(outcome),
        outcome.account.of(odio_trace_common::Loss::BioUnattributed),
        outcome.attached.len(),
    )
}

/// A file's name with control characters spelled out, so that it cannot speak to the terminal.
pub(crate) fn printable(name: &str) -> String {
    name.chars()
        .flat_map(|c| -> Box<dyn Iterator<Item = char>> {
            if c.is_control() {
                Box::new(c.escape_default())
            } else {
                Box::new(std::iter::once(c))
            }
        })
        .collect()
}
