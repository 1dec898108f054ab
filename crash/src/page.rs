//! # Verdicts and cuts as tables

use std::{collections::BTreeMap, fmt::Write as _};

use odio_core::{
    contract::Situation,
    mode::{Engine, Mode},
};

use crate::{
    cross::{Group, Row, is_told_apart},
    filesystem,
    report::Verdict,
};

/// The part of docs/durability.md that is made from rows.
pub(crate) fn write(rows: &[Row]) -> String {
    let mut page = String::new();
    sums(&mut page, rows);
    let told_apart = |row: &&Row| is_told_apart(&row.case);
    others(&mut page, rows.iter().filter(|row| !told_apart(row)));
    for filesystem in filesystem::ALL {
        let of: Vec<&Row> = rows
            .iter()
            .filter(|row| {
                row.case.filesystem == filesystem.name && row.case.depth == 1 && told_apart(row)
            })
            .collect();
        if !of.is_empty() {
            let _ = writeln!(page, "\n### {}\n", filesystem.name);
            cases(&mut page, &of);
        }
    }
    page
}

/// What was said, and how often it was so.
fn sums(page: &mut String, rows: &[Row]) {
    let mut sums: BTreeMap<(String, &str, u32, &str), Group> = BTreeMap::new();
    for row in rows {
        for group in &row.groups {
            let case = &row.case;
            let key = (series(row), &*case.filesystem, case.depth, &*group.said);
            let sum = sums.entry(key).or_insert_with(|| Group {
                said: group.said.clone(),
                why: String::new(),
                writes: 0,
                cuts: 0,
                lost: 0,
                kept: 0,
            });
            sum.writes += group.writes;
            sum.cuts += group.cuts;
            sum.lost += group.lost;
            sum.kept += group.kept;
        }
    }
    let images: u64 = rows.iter().map(|row| row.images).sum();
    let cuts: u64 = rows.iter().map(|row| row.cuts).sum();
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let _ = writeln!(
        page,
        "{} cases, {cuts} cuts, {images} different disks that were mounted; {} PASS, {} FAIL, {} INCONCLUSIVE.\n",
        rows.len(),
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::Inconclusive),
    );
    page.push_str("| kernel | filesystem | in flight | odio-trace said | writes | cuts behind them | lost after | writes never lost |\n");
    page.push_str("|---|---|---|---|---|---|---|---|\n");
    for ((kernel, filesystem, depth, said), sum) in sums {
        let Group {
            writes,
            cuts,
            lost,
            kept,
            ..
        } = sum;
        let _ = writeln!(
            page,
            "| {kernel} | {filesystem} | {depth} | {said} | {writes} | {cuts} | {lost} | {kept} |"
        );
    }
}

/// What has no request of its own, as far as it was promised.
fn others<'a>(page: &mut String, rows: impl Iterator<Item = &'a Row>) {
    let mut sums: BTreeMap<(&str, String, &str), Others> = BTreeMap::new();
    for row in rows {
        let key = (row.case.workload.name(), series(row), &*row.case.filesystem);
        let sum = sums.entry(key).or_default();
        sum.cases += 1;
        sum.kept += u64::from(row.verdict == Verdict::Pass);
        sum.cuts += row.cuts;
        sum.images += row.images;
    }
    if sums.is_empty() {
        return;
    }
    page.push_str("\n| workload | kernel | filesystem | cases | PASS | cuts | images |\n|---|---|---|---|---|---|---|\n");
    for ((workload, kernel, filesystem), sum) in sums {
        let Others {
            cases,
            kept,
            cuts,
            images,
        } = sum;
        let _ = writeln!(
            page,
            "| {workload} | {kernel} | {filesystem} | {cases} | {kept} | {cuts} | {images} |"
        );
    }
}

/// Cases without groups.
#[derive(Debug, Default)]
struct Others {
    cases: u64,
    kept: u64,
    cuts: u64,
    images: u64,
}

/// A line for each mode and situation, a column for each kernel and engine, of writes that were in flight alone.
fn cases(page: &mut String, rows: &[&Row]) {
    let mut kernels: Vec<String> = rows.iter().map(|row| series(row)).collect();
    kernels.dedup();
    let mut columns = Vec::new();
    for kernel in &kernels {
        for engine in Engine::ALL {
            columns.push((kernel.clone(), engine.name()));
        }
    }
    let titles: Vec<String> = columns.iter().map(|(k, e)| format!("{k} {e}")).collect();
    let _ = writeln!(page, "| mode | situation | {} |", titles.join(" | "));
    let _ = writeln!(page, "|---|---|{}", "---|".repeat(columns.len()));
    for mode in Mode::ALL {
        for situation in Situation::ALL {
            let cells: Vec<String> = columns
                .iter()
                .map(|(kernel, engine)| {
                    let row = rows.iter().find(|row| {
                        series(row) == *kernel
                            && row.case.engine == *engine
                            && row.case.mode == mode.name()
                            && row.case.situation == situation.name()
                    });
                    row.map_or("–".to_owned(), |row| cell(row))
                })
                .collect();
            if cells.iter().any(|cell| cell != "–") {
                let (mode, situation) = (mode.name(), situation.name());
                let _ = writeln!(page, "| {mode} | {situation} | {} |", cells.join(" | "));
            }
        }
    }
}

fn cell(row: &Row) -> String {
    if let Some(why) = &row.why {
        return format!("? {why}");
    }
    let groups: Vec<String> = row
        .groups
        .iter()
        .map(|group| format!("{} {}/{}", group.said, group.lost, group.cuts))
        .collect();
    let mark = if row.verdict == Verdict::Pass {
        ""
    } else {
        "**!** "
    };
    format!("{mark}{}", groups.join("; "))
}

/// `6.1` of `6.1.0-56-cloud-amd64`.
fn series(row: &Row) -> String {
    let mut parts = row.kernel.split(['.', '-', '+']);
    let part = |part: Option<&str>| part.unwrap_or("?").to_owned();
    format!("{}.{}", part(parts.next()), part(parts.next()))
}
