//! The tables a person reads.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};

use crate::{
    claims::Claim,
    record::{Op, landed_on},
    runs::{Matrix, Run},
};

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

/// One line per program and path taken.
pub(crate) fn programs(runs: &[Run]) -> Table {
    let mut table = table(&[
        "program",
        "engine",
        "mode",
        "on",
        "cache",
        "writes",
        "completion",
        "bios",
        "FUA",
        "flushes",
        "fsyncs",
        "durability",
    ]);
    for run in runs {
        let mut paths: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        for op in &run.ops {
            *paths
                .entry(vec![
                    op.engine.clone(),
                    op.mode.clone(),
                    landed_on(op).into(),
                    op.cache.clone().unwrap_or("?".into()),
                    completion(op),
                    op.bios.to_string(),
                    op.fua.to_string(),
                    op.flushes.to_string(),
                    fsyncs(op),
                    op.durability.clone().unwrap_or("-".into()),
                ])
                .or_default() += 1;
        }
        for (i, (path, writes)) in paths.into_iter().enumerate() {
            let mut cells = vec![if i == 0 {
                run.shown.clone()
            } else {
                String::new()
            }];
            cells.extend_from_slice(&path[..4]);
            cells.push(writes.to_string());
            cells.extend_from_slice(&path[4..]);
            table.add_row(cells);
        }
    }
    table
}

/// One line per row of the matrix; what repeats is left out.
pub(crate) fn matrix(matrix: &Matrix) -> Table {
    let mut table = table(&[
        "mode",
        "engine",
        "situation",
        "completion",
        "bios",
        "FUA",
        "flushes",
        "fsyncs",
        "commits",
        "durability",
        "verdict",
    ]);
    let mut last = (String::new(), String::new());
    for row in &matrix.rows {
        let (mode, engine) = (row.op.mode.clone(), row.op.engine.clone());
        table.add_row([
            if mode == last.0 {
                String::new()
            } else {
                mode.clone()
            },
            if (&mode, &engine) == (&last.0, &last.1) {
                String::new()
            } else {
                engine.clone()
            },
            row.situation.clone(),
            row.completions.clone(),
            row.op.bios.to_string(),
            row.op.fua.to_string(),
            row.op.flushes.to_string(),
            row.fsync_sets.clone(),
            row.op.commits.to_string(),
            row.op.durability.clone().unwrap_or("-".into()),
            if row.verdict == "PASS" {
                "PASS".into()
            } else {
                format!("{}: {}", row.verdict, row.reason)
            },
        ]);
        last = (mode, engine);
    }
    table
}

/// One paragraph per claim.
pub(crate) fn claims(claims: &[Claim]) -> String {
    claims
        .iter()
        .enumerate()
        .map(|(i, claim)| {
            format!(
                "{:>2}. {}\n    {}: {}\n",
                i + 1,
                claim.text,
                claim.outcome.words(),
                claim.why
            )
        })
        .collect()
}

fn completion(op: &Op) -> String {
    match op.completion.as_deref() {
        Some("punted") if op.queued => "punted, queued".into(),
        Some(completion) => completion.into(),
        None => "?".into(),
    }
}

fn fsyncs(op: &Op) -> String {
    if op.fsyncs == 0 {
        "0".into()
    } else {
        format!("{} {}", op.fsyncs, op.fsync_by)
    }
}
