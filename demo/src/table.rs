//! The tables a person reads.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};

use crate::{
    answers::Line,
    claims,
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
    let shown = |run: &Run| run.shown.clone();
    for (run, shown) in runs.iter().filter_map(|run| Some((run, shown(run)?))) {
        let mut paths: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        for op in &run.writes {
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
            let mut cells = vec![if i == 0 { shown.clone() } else { String::new() }];
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
        let (mode, engine) = (row.first.mode.clone(), row.first.engine.clone());
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
            row.first.bios.to_string(),
            row.first.fua.to_string(),
            row.first.flushes.to_string(),
            row.fsync_sets.clone(),
            row.first.commits.to_string(),
            row.first.durability.clone().unwrap_or("-".into()),
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
pub(crate) fn claims(answers: &[Line]) -> String {
    claims::all()
        .zip(answers)
        .enumerate()
        .map(|(i, (claim, line))| {
            format!(
                "{:>2}. {}\n    {}: {}\n",
                i + 1,
                claim.says,
                line.answer.words().to_uppercase(),
                line.why
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
