//! # `odio-trace matrix`: every mode, engine and situation, held against its contract
//!
//! On the filesystem of a folder or on a disk of this machine ([`here`]), or in throwaway VMs, one for each kernel,
//! filesystem and device that is named ([`guests`]). Both come to the same lines, which an earlier result can be held
//! against ([`compare`]).

pub(crate) mod compare;
mod guests;
mod here;
mod line;
mod prepare;
mod row;

use anyhow::Result;
use serde_json::{Value, json};

use self::{
    compare::{Change, Known},
    line::{Line, Vm},
};
use crate::{
    check::Verdict,
    cli,
    kernel::Kernel,
    output::{json, text},
};

/// What came of the matrix in one place.
#[derive(Debug)]
struct Found {
    /// The VM, where it was one.
    vm: Option<Vm>,
    lines: Vec<Line>,
    /// The summary of the run, as its JSON has it.
    summary: Value,
    /// The counts of the run in words, and what to know of it besides.
    counts: String,
    caveats: Vec<String>,
    verdict: Verdict,
}

/// A place of which there is nothing, and why.
#[derive(Debug)]
struct Absent {
    vm: Vm,
    why: String,
}

/// Runs the matrix where it is asked for; returns the exit status of its verdict.
pub(crate) async fn run(
    arguments: &cli::Matrix,
    able: impl FnOnce() -> Result<Kernel>,
) -> Result<u8> {
    let known = match Known::read(&arguments.compare) {
        Ok(known) => known,
        Err(error) => {
            eprintln!("odio-trace: {error:#}");
            return Ok(cli::USAGE);
        }
    };
    let mut all = Everything::new(arguments, known);
    if arguments.guests.are_wanted() {
        guests::run(arguments, |found| match found {
            Ok(found) => all.take(found),
            Err(absent) => all.lack(absent),
        })
        .await?;
    } else {
        all.take(here::run(arguments, &able()?).await?)?;
    }
    all.end()
}

/// Prints each place as it comes, and keeps what the end is about.
struct Everything<'a> {
    arguments: &'a cli::Matrix,
    known: Option<Known>,
    places: usize,
    rows: usize,
    absent: Vec<Absent>,
    changes: Vec<Change>,
    verdict: Option<Verdict>,
}

impl<'a> Everything<'a> {
    fn new(arguments: &'a cli::Matrix, known: Option<Known>) -> Self {
        Self {
            arguments,
            known,
            places: 0,
            rows: 0,
            absent: Vec::new(),
            changes: Vec::new(),
            verdict: None,
        }
    }

    fn take(&mut self, mut found: Found) -> Result<()> {
        self.places += 1;
        self.rows += found.lines.len();
        self.verdict = self.verdict.max(Some(found.verdict));
        if let Some(known) = &self.known {
            self.changes.extend(known.changes(&found, self.arguments));
        }
        found.summary["verdict"] = found.verdict.name().into();
        if self.arguments.json {
            for line in &found.lines {
                json::line(line)?;
            }
            json::line(&found.summary)
        } else {
            text::line(format_args!("{}", heading(&found)))?;
            text::line(table(&found.lines).trim_fmt())?;
            text::line(format_args!(
                "{}: {} rows; {}\n",
                found.verdict.name(),
                found.lines.len(),
                found.counts
            ))?;
            for caveat in &found.caveats {
                eprintln!("odio-trace: {caveat}");
            }
            Ok(())
        }
    }

    fn lack(&mut self, absent: Absent) -> Result<()> {
        self.verdict = self.verdict.max(Some(Verdict::Inconclusive));
        eprintln!("odio-trace: {}: {}", absent.vm, absent.why);
        self.absent.push(absent);
        Ok(())
    }

    /// The verdict on everything: of the comparison, where there is one, else of all rows.
    fn end(self) -> Result<u8> {
        let of_rows = self.verdict.unwrap_or(Verdict::Inconclusive);
        let verdict = match &self.known {
            None => of_rows,
            Some(_) if self.absent.is_empty() => compare::verdict(&self.changes),
            Some(_) => compare::verdict(&self.changes).max(Verdict::Inconclusive),
        };
        let whole = self.known.is_some() || self.places + self.absent.len() > 1;
        if self.arguments.json {
            if whole || !self.absent.is_empty() {
                let absent: Vec<Value> = self
                    .absent
                    .iter()
                    .map(|absent| json!({"vm": absent.vm, "why": absent.why}))
                    .collect();
                json::line(&json!({
                    "type": "matrix",
                    "places": self.places,
                    "rows": self.rows,
                    "absent": absent,
                    "changes": self.known.as_ref().map(|_| &self.changes),
                    "verdict": verdict,
                }))?;
            }
        } else if whole {
            for change in &self.changes {
                text::line(change)?;
            }
            let compared = match &self.known {
                Some(_) => format!(", {} changed", self.changes.len()),
                None => String::new(),
            };
            text::line(format_args!(
                "{}: {} rows in {} places{compared}; {} places not to be had",
                verdict.name(),
                self.rows,
                self.places,
                self.absent.len()
            ))?;
        }
        Ok(verdict.status())
    }
}

fn heading(found: &Found) -> String {
    let first = found.lines.first();
    let seen = first.map_or_else(String::new, |line| {
        format!("kernel {}, {} on {}", line.kernel, line.fs, line.device)
    });
    match &found.vm {
        Some(vm) => format!("{vm}: {seen}"),
        None => seen,
    }
}

fn table(lines: &[Line]) -> comfy_table::Table {
    let mut table = text::table(&["mode", "engine", "situation", "path", "verdict", "why"]);
    for line in lines {
        table.add_row([
            &line.mode,
            &line.engine,
            &line.situation,
            &line.paths.join("\n"),
            &line.verdict.name().to_owned(),
            &line.reason,
        ]);
    }
    table
}
