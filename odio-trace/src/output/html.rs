//! A report as one HTML file: no scripts, nothing from elsewhere, every text escaped.

use std::io::{self, Write};

use super::{
    text::{self, printable},
    written_back,
};
use crate::report::Report;

/// No source of anything but the style below: a report is opened where the recording came from strangers.
const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>odio-trace report</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; white-space: nowrap }
th { border-bottom: 1px solid #888 }
td { border-bottom: 1px solid #ddd }
pre { line-height: 1.2 }
.verdict { font-size: 1.2em; font-weight: bold }
.wide { overflow-x: auto }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } td { border-color: #444 } }
</style></head><body>
<h1>odio-trace report</h1>
";

/// Writes the whole report.
pub(crate) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let header = &report.header;
    out.write_all(HEAD.as_bytes())?;
    let total = report.files.total();
    let (counts, verdict) = match &report.summary {
        Some(summary) => (summary.counts(), summary.verdict()),
        None => (
            format!("{} ops", total.ops()),
            "INCONCLUSIVE: the recording was cut off".into(),
        ),
    };
    writeln!(out, "<p class=\"verdict\">{}</p>", escaped(&verdict))?;
    writeln!(out, "<p>{}</p>", escaped(&counts))?;
    let caveats = report.summary.as_ref().map(|s| s.caveats());
    for caveat in caveats.iter().flatten() {
        writeln!(
            out,
            "<pre>{}</pre>",
            escaped(&text::printable_lines(caveat))
        )?;
    }

    writeln!(out, "<h2>Files</h2>")?;
    let (top, others) = report.files.top(usize::MAX);
    let mut rows: Vec<_> = top.iter().map(|t| text::row(&t.name, t)).collect();
    let mut times: Vec<_> = top
        .iter()
        .flat_map(|t| text::times(&t.name, &t.stages))
        .collect();
    if let Some(others) = &others {
        let name = text::others_name(others);
        rows.push(text::row(&name, &others.tally));
        times.extend(text::times(&name, &others.tally.stages));
    }
    table(out, &text::COLUMNS, rows)?;
    if !total.failed.is_empty() {
        writeln!(out, "<h3>Failures</h3>")?;
        let failed = total.failed.iter();
        table(
            out,
            &["ops", "error"],
            failed.map(|(why, n)| [n.to_string(), printable(why)]),
        )?;
    }
    writeln!(out, "<h2>Latency</h2>")?;
    table(out, &text::TIMES, times)?;
    writeln!(
        out,
        "<pre>{}</pre>",
        escaped(&text::histograms(&total.stages))
    )?;

    writeln!(out, "<h2>Paths</h2>")?;
    table(
        out,
        &text::PATHS,
        report.paths.lines().map(|(line, n)| text::path(line, n)),
    )?;
    if report.paths.others() > 0 {
        writeln!(out, "<p>{} ops took other paths</p>", report.paths.others())?;
    }

    writeln!(out, "<h2>Written back</h2>")?;
    table(
        out,
        &written_back::COLUMNS,
        report.writeback.iter().map(written_back::row),
    )?;

    writeln!(out, "<h2>Where</h2>")?;
    let facts = header.kernel.iter();
    table(
        out,
        &["fact", "value"],
        facts.map(|(what, value)| [printable(what), printable(value)]),
    )?;
    table(
        out,
        &["filesystem or device"],
        report.devices.iter().map(|device| [device.words()]),
    )?;
    writeln!(out, "<h2>Probes</h2>")?;
    match &report.summary {
        Some(summary) => table(
            out,
            &["hook", "probe", "at", "hits of the hook"],
            summary.probes.iter().map(|p| {
                [&p.hook, &p.kind, &p.target, &p.hook_hits.to_string()].map(|text| printable(text))
            }),
        )?,
        None => table(
            out,
            &["hook", "planned probe", "at"],
            header
                .planned
                .iter()
                .map(|p| [&p.hook, &p.kind, &p.target].map(|text| printable(text))),
        )?,
    }
    let missing = report
        .summary
        .as_ref()
        .map_or(&header.not_planned, |s| &s.missing);
    table(
        out,
        &["not watched whole", "why", "what cannot be told"],
        missing
            .iter()
            .map(|m| [&m.hook, &m.why, &m.costs].map(|text| printable(text))),
    )?;
    writeln!(
        out,
        "<p>Recorded by odio-trace {}.</p>\n</body></html>",
        escaped(&printable(&header.tracer))
    )
}

fn table<const N: usize>(
    out: &mut impl Write,
    header: &[&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    write!(out, "<div class=\"wide\"><table><tr>")?;
    for name in header {
        write!(out, "<th>{}</th>", escaped(name))?;
    }
    writeln!(out, "</tr>")?;
    for row in rows {
        write!(out, "<tr>")?;
        for cell in row {
            write!(out, "<td>{}</td>", escaped(&cell))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div>")
}

/// Text, wherever HTML takes text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
