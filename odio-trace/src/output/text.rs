//! Tables for a person.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use anyhow::Result;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};

use super::{
    by_file::{ByFile, Others, Tally},
    by_path::ByPath,
    classes::{Classes, Share},
    latency::{Stages, readable},
    not_written,
    summary::Summary,
    written_back,
};
use crate::writeback::Writeback;

/// Files that get a row of their own; the others share one.
pub(super) const FILES: usize = 40;

/// Width of the longest bar.
const BAR: u64 = 50;

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

/// What of a run is shown to a person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) paths: bool,
    pub(crate) histogram: bool,
}

/// The whole account of a run, ending in the line on the run itself. `None` where its end is not known.
pub(crate) fn account(
    files: &ByFile,
    paths: &ByPath,
    writeback: &[Writeback],
    summary: Option<&Summary>,
    shown: Shown,
) -> String {
    let mut out = String::new();
    let (top, others) = files.top(FILES);
    let total = files.total();
    if total.ops() > 0 {
        let _ = writeln!(out, "{}", by_file(&top, others.as_ref()).trim_fmt());
        let latency = latency(&top, others.as_ref());
        if !latency.is_empty() {
            let _ = writeln!(out, "\n{}", latency.trim_fmt());
        }
        for (why, n) in &total.failed {
            let _ = writeln!(out, "{n} failed: {}", printable(why));
        }
    }
    if !writeback.is_empty() {
        let _ = writeln!(out, "\n{}", written_back::table(writeback));
    }
    if shown.paths {
        let _ = writeln!(out, "\n{}", by_path(paths).trim_fmt());
        if paths.others() > 0 {
            let _ = writeln!(out, "{} ops took other paths", paths.others());
        }
    }
    if shown.histogram {
        out.push_str(&histograms(&total.stages));
    }
    match summary {
        Some(summary) => {
            let _ = writeln!(out, "{}", summary.counts());
            let _ = write!(out, "{}", summary.verdict());
        }
        None => {
            let _ = writeln!(out, "{} ops", total.ops());
            let _ = write!(out, "INCONCLUSIVE: the recording was cut off");
        }
    }
    out
}

/// The header of [`row`].
pub(crate) const COLUMNS: [&str; 14] = [
    "file",
    "reads",
    "writes",
    "syncs",
    "failed",
    "read",
    "written",
    "direct",
    "fallbacks",
    "durable",
    "writes were",
    "FUA",
    "flushes",
    "fsyncs/commits",
];

/// One line of the ledger.
pub(crate) fn row(name: &str, tally: &Tally) -> [String; 14] {
    let share =
        |share: Option<Share>| share.map_or_else(|| "-".to_owned(), |share| share.to_string());
    let not_seen = tally.cache.of("not seen");
    [
        printable(name),
        tally.reads.to_string(),
        tally.writes.to_string(),
        tally.syncs.to_string(),
        match (tally.failures(), tally.unended) {
            (failed, 0) => failed.to_string(),
            (failed, unended) => format!("{failed}, {unended} never ended"),
        },
        bytes(tally.bytes_read),
        bytes(tally.bytes_written),
        if not_seen > 0 {
            format!("{}, {not_seen} not seen", share(tally.direct()))
        } else {
            share(tally.direct())
        },
        tally.cache.of("fallback").to_string(),
        share(tally.durable()),
        classes(&tally.written),
        tally.fua.to_string(),
        tally.flushes.to_string(),
        format!("{}/{}", tally.fsyncs, tally.commits),
    ]
}

/// `20 durable, 3 uncommitted`
fn classes(classes: &Classes) -> String {
    let parts: Vec<String> = classes
        .iter()
        .map(|(class, n)| format!("{n} {}", printable(class)))
        .collect();
    if parts.is_empty() {
        return "-".into();
    }
    parts.join(", ")
}

/// `3 other files`
pub(crate) fn others_name(others: &Others) -> String {
    format!(
        "{}{} other file{}",
        if others.at_least { "at least " } else { "" },
        others.files,
        if others.files == 1 { "" } else { "s" }
    )
}

fn by_file(top: &[&Tally], others: Option<&Others>) -> Table {
    let mut table = table(&COLUMNS);
    for tally in top {
        table.add_row(row(&tally.name, tally));
    }
    if let Some(others) = others {
        table.add_row(row(&others_name(others), &others.tally));
    }
    table
}

/// The header of [`times`].
pub(crate) const TIMES: [&str; 7] = ["file", "latency", "ops", "p50", "p99", "p99.9", "max"];

/// The lines of a file in the table of latencies.
pub(crate) fn times(name: &str, stages: &Stages) -> Vec<[String; 7]> {
    stages
        .seen()
        .map(|(stage, times)| {
            [
                printable(name),
                stage.to_owned(),
                times.count().to_string(),
                readable(times.quantile(0.5)),
                readable(times.quantile(0.99)),
                readable(times.quantile(0.999)),
                readable(times.max()),
            ]
        })
        .collect()
}

fn latency(top: &[&Tally], others: Option<&Others>) -> Table {
    let mut table = table(&TIMES);
    for tally in top {
        table.add_rows(times(&tally.name, &tally.stages));
    }
    if let Some(others) = others {
        table.add_rows(times(&others_name(others), &others.tally.stages));
    }
    table
}

/// Ops by path.
fn by_path(paths: &ByPath) -> Table {
    let mut table = table(&PATHS);
    for (line, n) in paths.lines() {
        table.add_row(path(line, n));
    }
    table
}

/// The header of [`path`].
pub(crate) const PATHS: [&str; 14] = [
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
];

/// One line of the table of paths.
pub(crate) fn path(line: &super::by_path::Line, n: u64) -> [String; 14] {
    [
        printable(&line.file),
        printable(line.op),
        printable(line.engine),
        printable(line.mode),
        printable(line.cache),
        printable(&line.completion),
        n.to_string(),
        line.bios.to_string(),
        line.fua.to_string(),
        line.flushes.to_string(),
        printable(&line.fsyncs),
        line.commits.to_string(),
        printable(line.durability),
        printable(&line.why),
    ]
}

/// For each stage how many ops took how long, a line for every power of two.
pub(crate) fn histograms(stages: &Stages) -> String {
    let mut out = String::new();
    for (stage, times) in stages.seen() {
        let _ = writeln!(out, "\nlatency, {stage}: {} ops", times.count());
        let powers = times.by_power();
        let most = powers.iter().map(|(_, n)| *n).max().unwrap_or(0);
        for (power, n) in powers {
            let from = 1u64 << power;
            let to = from
                .checked_mul(2)
                .map_or_else(|| "more".to_owned(), readable);
            // What is there shows, however little it is.
            let bar = (u128::from(n) * u128::from(BAR)).div_ceil(u128::from(most.max(1)));
            let bar = "#".repeat(bar as usize);
            let _ = writeln!(
                out,
                "{}",
                format!("{:>8} .. {to:>8} {n:>12} {bar}", readable(from)).trim_end()
            );
        }
    }
    out
}

/// For a person, three digits, in units of 1024: `512`, `1.50KiB`, `23.0GiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (n as f64, "");
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match value {
        _ if unit.is_empty() => n.to_string(),
        v if v < 9.995 => format!("{v:.2}{unit}"),
        v if v < 99.95 => format!("{v:.1}{unit}"),
        v => format!("{v:.0}{unit}"),
    }
}

/// A file's name with control characters spelled out, so that it cannot speak to the terminal, and those that turn
/// the direction of the text around or are not seen at all, so that it cannot pass for another.
pub(crate) fn printable(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        let unseen = matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        );
        if c.is_control() || unseen {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same for a text of several lines.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    lines.join("\n")
}
