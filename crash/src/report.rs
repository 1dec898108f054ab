//! # What is told
//!
//! Lines of JSON on standard output, one sentence for each case on standard error.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    case::{Case, Expect},
    check::{Options, Report, Violation, What},
    cross::Row,
    log::Log,
    record::Record,
    replay::Device,
};

/// Violations of one case that are told one by one.
const TOLD: usize = 5;

/// What a command ends with; the worst is the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    Pass,
    Inconclusive,
    Fail,
}

impl Verdict {
    pub(crate) fn status(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
            Verdict::Inconclusive => 3,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Inconclusive => "INCONCLUSIVE",
        }
    }
}

/// Tells what a check found.
pub(crate) fn tell(record: &Record, options: &Options<'_>, found: &Report) -> Verdict {
    let case = &record.told.case;
    for violation in found.violations.iter().take(TOLD) {
        println!("{}", told(record, options, violation));
    }
    // Where no write had to be there, nothing was asked.
    let verdict = match (found.violations.is_empty(), found.obliged) {
        (false, _) => Verdict::Fail,
        (true, 0) => Verdict::Inconclusive,
        (true, _) => Verdict::Pass,
    };
    let minutes = found.took.as_secs_f64() / 60.0;
    let rate = (found.images as f64 / minutes.max(f64::MIN_POSITIVE)).round();
    println!(
        "{}",
        json!({
            "type": "checked",
            "verdict": verdict.name(),
            "case": case,
            "kernel": record.told.kernel,
            "dev": record.told.dev,
            "expect": expected(options),
            "ignore_flushes": options.device == Device::IgnoresFlushes,
            "seed": options.seed,
            "acknowledged": record.told.acknowledged.len(),
            "entries": record.log.entries.len(),
            "points": found.points,
            "cuts": found.cuts,
            "images": found.images,
            "obliged": found.obliged,
            "violations": found.violations.len(),
            "images_per_minute": rate,
            "ms_mounts": found.mounts.as_millis() as u64,
            "ms": found.took.as_millis() as u64,
            "writes": found.outcomes.0,
        })
    );
    eprintln!(
        "{} {}: {} cuts at {} points, {} images, {} violations, {rate} images per minute",
        verdict.name(),
        case.name(),
        found.cuts,
        found.points,
        found.images,
        found.violations.len(),
    );
    verdict
}

fn expected(options: &Options<'_>) -> &'static str {
    match options.expect {
        Expect::Durable => "durable",
        Expect::Synced => "synced",
        Expect::AnySynced => "any-synced",
        Expect::This(_) => "this",
    }
}

fn told(record: &Record, options: &Options<'_>, violation: &Violation) -> Value {
    let case = &record.told.case;
    let Violation { point, state, what } = violation;
    let repeat = format!(
        "odio-crash check --record {} --seed {} --point {point} --state {state} --random {} --tear {} --expect {}{}",
        case.name(),
        options.seed,
        options.random,
        options.unit,
        expected(options),
        match options.device {
            Device::Honest => "",
            Device::IgnoresFlushes => " --ignore-flushes",
        }
    );
    let mut told = json!({
        "type": "violation",
        "seed": options.seed,
        "point": point,
        "state": state.to_string(),
        "repeat": repeat,
    });
    let more = match what {
        What::Disk(why) => json!({ "why": why }),
        What::Part(wrong) => json!({
            "op": wrong.op,
            "file": wrong.file,
            "offset": wrong.offset,
            "length": wrong.length,
            "expected": wrong.expected,
            "found": wrong.found.to_string(),
        }),
    };
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
    }
    told
}

/// Tells that a case could not be tried.
pub(crate) fn not_tried(case: &Case, error: &anyhow::Error) {
    let why = format!("{error:#}");
    println!(
        "{}",
        json!({
            "type": "checked",
            "verdict": Verdict::Inconclusive.name(),
            "case": case,
            "why": why,
        })
    );
    eprintln!("INCONCLUSIVE {}: {why}", case.name());
}

/// Tells which ops were acknowledged.
pub(crate) fn acknowledged(record: &Record) {
    for op in &record.told.acknowledged {
        println!(
            "{}",
            json!({
                "type": "acknowledged",
                "number": op.number,
                "action": op.action,
                "file": record.told.case.file_name(op.file),
                "offset": op.offset,
                "length": op.length,
                "generation": op.generation(),
            })
        );
    }
}

/// Tells on standard error of a row that does not agree, with what odio-trace saw.
pub(crate) fn contradictions(row: &Row) {
    let Row {
        case,
        groups,
        verdict,
        why,
        ..
    } = row;
    if *verdict == Verdict::Pass {
        return;
    }
    let why = why
        .as_deref()
        .unwrap_or("what was said is not what came of it");
    eprintln!("{} {}: {why}", verdict.name(), case.name());
    for group in groups {
        eprintln!(
            "    {} of the writes: {} ({}); not there after {} of {} cuts, {} of them never lost",
            group.writes, group.said, group.why, group.lost, group.cuts, group.kept
        );
    }
}

/// Shows a log.
pub(crate) fn entries(log: &Log) {
    for (i, entry) in log.entries.iter().enumerate() {
        let mut line = json!({ "entry": i, "flags": entry.flags.names() });
        match entry.mark() {
            Some(text) => line["mark"] = text.into(),
            None => {
                line["sector"] = entry.sector.into();
                line["sectors"] = entry.sectors.into();
            }
        }
        println!("{line}");
    }
}
