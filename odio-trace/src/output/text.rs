//! Tables for a person.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Result;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};

use odio_trace_common::Hook;

use super::{json, ledger::Ledger, not_written};
use crate::{plan::Missing, workload::Outcome};

/// Writes one line to standard output. Unlike `println!` it fails, and does not panic, where nobody reads any more.
pub(crate) fn line(line: impl Display) -> Result<()> {
    writeln!(io::stdout().lock(), "{line}").map_err(not_written)
}

/// An empty table in this tool's look.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')))
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
///
/// That the compiler inlined `dio_await_completion` is true nearly everywhere and changes no verdict; `doctor` tells it.
pub(crate) fn caveats(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome
        .account
        .losses
        .iter()
        .map(|(loss, n)| format!("{n} {}", loss.words()))
        .collect();
    lines.extend(
        outcome
            .account
            .missed
            .iter()
            .map(|(words, n)| format!("{n} {words}")),
    );
    if !outcome.account.uncounted.is_empty() {
        lines.push(format!(
            "this kernel does not count what these miss: {}",
            outcome.account.uncounted.join(", ")
        ));
    }
    lines.extend(outcome.account.uncalibrated.iter().cloned());
    if outcome.account.open > 0 {
        lines.push(format!(
            "{} ops were still open at the end",
            outcome.account.open
        ));
    }
    lines.extend(unseen(
        outcome.missing.iter().filter(|m| m.hook != Hook::DioAwait),
    ));
    lines
}

/// What is not seen here: each reason once, and under it each cost with the hooks it comes from.
pub(crate) fn unseen<'a>(missing: impl Iterator<Item = &'a Missing>) -> Vec<String> {
    type Costs<'a> = Vec<(&'a str, Vec<&'a str>)>;
    let mut reasons: Vec<(&str, Costs<'_>)> = Vec::new();
    for m in missing {
        let costs = entry(&mut reasons, m.why.as_str());
        entry(costs, m.costs).push(m.hook.name());
    }
    reasons
        .into_iter()
        .map(|(why, costs)| {
            let costs: Vec<String> = costs
                .into_iter()
                .map(|(costs, hooks)| format!("\n  {}: {costs}", hooks.join(", ")))
                .collect();
            format!("{why}; not seen for that:{}", costs.concat())
        })
        .collect()
}

/// The value of `key`, in the order in which keys first came.
fn entry<'a, 'b, T: Default>(list: &'a mut Vec<(&'b str, T)>, key: &'b str) -> &'a mut T {
    let at = list.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
        list.push((key, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}

/// The line under the table.
pub(crate) fn summary(outcome: &Outcome) -> String {
    format!(
        "{} ops,{} {} lost, {} missed, {} unattributed bios, {} probes",
        outcome.ops,
        match outcome.filtered {
            0 => String::new(),
            n => format!(" {n} filtered out,"),
        },
        json::lost(outcome),
        json::missed(outcome),
        outcome.account.of(odio_trace_common::Loss::BioUnattributed),
        outcome.attached.len(),
    )
}

/// A file's name with control characters spelled out, so that it cannot speak to the terminal, and those that turn
/// the direction of the text around, so that it cannot pass for another.
pub(crate) fn printable(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
